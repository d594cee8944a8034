"""Stores to read, and the least that reading may mean: one byte of every page that is given."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ocr.datasets import TensorDataset
from ocr.datasets.batches import DEFAULT_FIELDS
from ocr.datasets.stored import CacheParams
from tests.support.stores import tensors_store

TOUCHED = ("images", "prob_maps", "prob_masks", "thresh_maps", "thresh_masks")
MODES = ("mmap", "ram")


class Reading(NamedTuple):
    """What is to be read and how; `folder` holds what is written on the way, `many` is a store to open."""

    store: Path
    folder: Path
    batches: list[int]
    rounds: int
    libraries: list[str]
    many: int
    rest: float


def noise_store(folder: Path, count: int = 404, side: int = 640) -> Path:
    """A store of noise, written once; the contents make no difference to raw reads."""
    path = folder / "tensors.zarr"
    return path if path.exists() else tensors_store(folder, count, (side, side))


def open_warm(path: Path, mode: str, fields: Sequence[str] = DEFAULT_FIELDS) -> TensorDataset:
    """Open a store and warm it."""
    dataset = TensorDataset(path, fields, cache=CacheParams(mode=mode))  # type: ignore[arg-type]
    dataset.warm()
    return dataset


def touch(arrays: Iterable[Any]) -> int:
    """Read one byte of every 4 KiB, as little as shows that a page is there."""
    return sum(int(np.asarray(array).reshape(-1).view(np.uint8)[::4096].sum()) for array in arrays)


def read_epoch(
    dataset: TensorDataset, batch: int, order: Literal["sequential", "shuffled"] = "sequential"
) -> int:
    """Touch the images and maps of all batches once; gives the number of samples."""
    for found in dataset.batches(batch, order, seed=time.perf_counter_ns()):
        touch(found[name].numpy() for name in TOUCHED if name in found)
    return len(dataset)
