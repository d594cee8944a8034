"""warmstore: preprocess photographed documents once, then validate at the speed of the model.

The public names, in one place, imported when they are used; `__init__.pyi` says for type checkers what
they are. The command line is `warmstore.cli`, which nothing imports.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_HOMES = {
    "pipeline.stage": ("Parameters",),
    "pipeline.store": ("open_store",),
    "ocr.maps": ("MapParams", "build_maps"),
    "ocr.datasets": ("OcrDataModule", "OnlineDataset", "TensorDataset", "collate"),
    "ocr.detection": ("BoxDecoder", "Detections"),
    "ocr.detectors": ("Detector", "DetectorOutput"),
    "ocr.evaluation": ("DetectorScore", "evaluate_detector"),
    "ocr.metrics": ("CLEval", "IouHmean"),
    "ocr.training": ("DetectorModule",),
}
__all__ = sorted(name for names in _HOMES.values() for name in names)


def _refuse_hidden() -> None:
    """Raise ImportError where a folder or file of another's hides one of the packages beside this one."""
    beside = Path(__file__).resolve().parents[1]
    for name in ("pipeline", "ocr", "stages"):
        spec = find_spec(name)
        found = [*(spec.submodule_search_locations or [spec.origin])] if spec else []
        if spec and (beside / name) not in [Path(place or "").resolve() for place in found]:
            raise ImportError(
                f"{found[0]} hides the package {name} of warmstore, since Python looks there first: "
                f"rename it, or start Python where there is no {name}"
            )


_refuse_hidden()


def __getattr__(name: str) -> Any:
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module {__name__} has no {name}; it has {', '.join(__all__)}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
