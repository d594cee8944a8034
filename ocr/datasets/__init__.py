"""Reading samples: from a store, or online from the raw files; and the data module that trains on them.

Names are imported when they are used: a notebook that opens a store pays neither for OpenCV nor for
Lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocr.datasets.config import CacheConfig as CacheConfig
    from ocr.datasets.config import DatasetConfig as DatasetConfig
    from ocr.datasets.config import ImageLoadingConfig as ImageLoadingConfig
    from ocr.datasets.datamodule import OcrDataModule as OcrDataModule
    from ocr.datasets.online import OnlineDataset as OnlineDataset
    from ocr.datasets.tensor import TensorDataset as TensorDataset

_HOMES = {
    "CacheConfig": "config",
    "DatasetConfig": "config",
    "ImageLoadingConfig": "config",
    "OcrDataModule": "datamodule",
    "OnlineDataset": "online",
    "TensorDataset": "tensor",
}
__all__ = [
    "CacheConfig",
    "DatasetConfig",
    "ImageLoadingConfig",
    "OcrDataModule",
    "OnlineDataset",
    "TensorDataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no {name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
