"""warmstore: preprocess photographed documents once, then validate at the speed of the model.

The public names, in one place, imported when they are used; `__init__.pyi` says for type checkers what
they are. The command line is `warmstore.cli`, which nothing imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "pipeline.store": ("open_store",),
    "ocr.maps": ("MapParams", "build_maps"),
    "ocr.datasets": ("OcrDataModule", "OnlineDataset", "TensorDataset", "collate"),
    "ocr.detection": ("BoxDecoder",),
    "ocr.metrics": ("CLEval", "IouHmean"),
    "ocr.training": ("DetectorModule",),
}
__all__ = sorted(name for names in _HOMES.values() for name in names)


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__} has no {name}; it has {', '.join(__all__)}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
