"""Samples and batches: their keys, and how samples become a batch.

| in a sample | in a batch | what |
| --- | --- | --- |
| `image` | `images` | (B, 3, H, W), as stored |
| `prob_map`, `prob_mask` | `prob_maps`, `prob_masks` | (B, 1, H, W) |
| `thresh_map`, `thresh_mask` | `thresh_maps`, `thresh_masks` | (B, 1, H, W) |
| `inverse_matrix`, `matrix` | the same | float64 (B, 3, 3): canvas → upright pixel, and back |
| `size` | `size` | int32 (B, 2): upright height, width |
| `polygons` | `polygons` | for each sample a list of float32 (P, 2), upright frame |
| `ignore` | `ignore` | for each sample uint8 (polygons,) |
| `text` | `text` | for each sample a list of strings |
| `sample_id` | `sample_id` | a list of strings |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import ConfigError

ARRAYS = {
    "image": "images",
    "prob_map": "prob_maps",
    "prob_mask": "prob_masks",
    "thresh_map": "thresh_maps",
    "thresh_mask": "thresh_masks",
}
ROWS = ("inverse_matrix", "matrix", "size")
LISTS = ("polygons", "ignore", "text", "sample_id")
DEFAULT_FIELDS = (*ARRAYS, "inverse_matrix", "size", "polygons", "ignore")

Sample = dict[str, Any]
Batch = dict[str, Any]


def check_fields(names: Sequence[str]) -> None:
    """Raise ConfigError for a name that is no field of a sample."""
    known = (*ARRAYS, *ROWS, *LISTS)
    for name in names:
        if name not in known:
            raise ConfigError(f"{name} is no field of a sample; choose from {', '.join(known)}")


def collate(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Stack samples into a batch; the keys are those of the first."""
    batch: Batch = {}
    for key in samples[0]:
        values = [sample[key] for sample in samples]
        if key in LISTS:
            batch[key] = values
        else:
            batch[ARRAYS.get(key, key)] = torch.stack(values)
    return batch


def as_collated(batch: Batch) -> Batch:
    """`collate_fn` of a DataLoader over a dataset whose `__getitems__` gives whole batches."""
    return batch


class Deferred:
    """Reads like a list of one value a sample, but each is made when it is looked at, and only then.

    No `Sequence` on purpose: Lightning walks through those, array by array, for every batch.
    """

    __slots__ = ("_read", "_rows")

    def __init__(self, rows: range | NDArray[np.int64], read: Callable[[int], Any]) -> None:
        self._rows = rows
        self._read = read

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._read(int(row)) for row in self._rows[index]]
        return self._read(int(self._rows[index]))

    def __iter__(self) -> Iterator[Any]:
        return (self._read(int(row)) for row in self._rows)

    def __repr__(self) -> str:
        return f"{list(self)!r}"

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        """Travel to another process as the plain list."""
        return list, (list(self),)
