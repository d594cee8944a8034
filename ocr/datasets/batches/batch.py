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
from torch.utils.data import default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

from pipeline.errors import ConfigError, PipelineError

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


class Sample(dict[str, Any]):
    """A dict of one sample. A DataLoader makes batches of them by `collate`, without being told to."""

    def __repr__(self) -> str:
        return _described(f"Sample {self.get('sample_id', 'without a name')}", self)


class Batch(dict[str, Any]):
    """A dict of a whole batch."""

    def __repr__(self) -> str:
        names = self.get("sample_id", [])
        more = ", …" if len(names) > 3 else ""
        return _described(f"Batch of {len(names)} samples ({', '.join(names[:3])}{more})", self)


class Samples(Sequence[Sample]):
    """The samples of a `batch` one by one: what a DataLoader hands to whatever `collate_fn` it has.

    `collate` gives the batch back as it is, with its views. `samples["images"]` looks into it.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch["sample_id"])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self.batch[index]
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        singular = {plural: name for name, plural in ARRAYS.items()}
        return Sample({singular.get(key, key): values[index] for key, values in self.batch.items()})


def check_fields(names: Sequence[str]) -> None:
    """Raise ConfigError for a name that is no field of a sample."""
    known = (*ARRAYS, *ROWS, *LISTS)
    for name in names:
        if name not in known:
            raise ConfigError(f"{name} is no field of a sample; choose from {', '.join(known)}")


def collate(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Make a batch of samples: tensors are stacked, everything else is listed.

    A DataLoader does so by itself with samples as our datasets give them. Where a dataset of your own
    makes other dicts of them, give it `collate_fn=collate`. Raises PipelineError where samples differ in
    their keys, or in a tensor's dtype or shape.
    """
    if isinstance(samples, Samples):
        return samples.batch
    batch = Batch()
    for key in samples[0]:
        values = [_value(sample, key, samples[0]) for sample in samples]
        if key in LISTS or not isinstance(values[0], torch.Tensor):
            batch[key] = values
        else:
            batch[ARRAYS.get(key, key)] = default_collate(values)  # in a worker, into shared memory
    return batch


def _value(sample: Mapping[str, Any], key: str, first: Mapping[str, Any]) -> Any:
    """Give a sample's value. Raises PipelineError where it does not go with that of the first."""
    names = f"{sample.get('sample_id')} beside {first.get('sample_id')}"
    if sample.keys() != first.keys():
        differing = ", ".join(sorted(sample.keys() ^ first.keys()))
        raise PipelineError(
            f"one of two samples in a batch lacks {differing} ({names}); give their datasets the same fields"
        )
    value, expected = sample[key], first[key]
    if isinstance(value, torch.Tensor) and isinstance(expected, torch.Tensor) and key not in LISTS:
        found, wanted = _layout(value), _layout(expected)
        if found != wanted:
            raise PipelineError(
                f"{key} of two samples in a batch is {found} and {wanted} ({names}); concatenate stores of "
                "one canvas and one stages.tensors.dtype, or give them loaders of their own"
            )
    return value


def _collated(samples: Sequence[Mapping[str, Any]], *, collate_fn_map: Any = None) -> Batch:
    return collate(samples)


# How torch's default collate function is told of a type (documented with `torch.utils.data.default_collate`).
default_collate_fn_map[Sample] = _collated


def _described(title: str, values: Mapping[str, Any]) -> str:
    """Say what a sample or a batch holds, a line for each key, without its values."""
    width = max(map(len, values), default=0)
    lines = [f"  {key:{width}}  {_layout(value)}" for key, value in values.items() if key != "sample_id"]
    return "\n".join([title, *lines])


def _layout(value: Any) -> str:
    """Say an array's dtype and shape, or how long a list is."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"{len(value)} in a list" if isinstance(value, Sequence | Deferred) else repr(value)


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
        return f"[{len(self)} values, each read when it is looked at]"

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[Any]]]:
        """Travel to another process as the plain list."""
        return list, (list(self),)
