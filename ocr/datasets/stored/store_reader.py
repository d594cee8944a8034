"""Batches of a store's samples: views where samples adjoin in memory, copies in reused buffers elsewhere."""

from __future__ import annotations

import resource
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from threading import Thread
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ocr.datasets.batches import ARRAYS, ROWS, Batch, BufferPool, Deferred, Sample, check_fields
from pipeline.errors import StoreError
from pipeline.memory import MappedArray
from pipeline.store import Store

Rows = range | NDArray[np.int64]
Counts = tuple[int, int, int, int]

_STORED_AS = {"inverse_matrix": "matrix", "polygons": "points"}


class StoreReader:
    """The chosen fields of one generation; nothing else of it is read.

    Raises ConfigError for a name that is no field of a sample, StoreError where the store lacks one.
    """

    def __init__(self, store: Store, fields: Sequence[str], pool: BufferPool) -> None:
        self.store, self.fields, self._pool = store, tuple(fields), pool
        check_fields(self.fields)
        for name in self.fields:
            if name != "sample_id" and _STORED_AS.get(name, name) not in store.declared:
                raise StoreError(
                    f"{store.name} has no field {_STORED_AS.get(name, name)} ({name} of a sample); "
                    f"it has {', '.join(store.declared)}: leave it out of fields, or rerun the stage"
                )
        self.arrays = {name: MappedArray(store, name) for name in self.fields if name in ARRAYS}
        self.sample_bytes = sum(array.sample_bytes for array in self.arrays.values())
        self._lists = {name: partial(read, store) for name, read in _LISTS.items() if name in self.fields}
        self._known = np.zeros(len(store), bool)
        self._faults = -1

    @property
    def why_copied(self) -> str | None:
        """Why batches are copies, in words; None where they are views."""
        names: dict[str, list[str]] = {}
        for name, array in self.arrays.items():
            if array.why_copied:
                names.setdefault(array.why_copied, []).append(name)
        return "; ".join(f"{', '.join(found)} stored {why}" for why, found in names.items()) or None

    @property
    def image_dtype(self) -> torch.dtype | None:
        """Type of the images' values, where images are read."""
        return _tensor_dtype(self.arrays["image"].dtype) if "image" in self.arrays else None

    def sample(self, row: int) -> Sample:
        """One sample; its arrays are views where they can be."""
        batch = self.batch(range(row, row + 1))
        return Sample({name: batch[ARRAYS.get(name, name)][0] for name in (*self.fields, "sample_id")})

    def batch(self, rows: Rows) -> Batch:
        """A batch of samples: views for a range of rows, copies in lent buffers for any others."""
        pick = _index(rows)
        batch = Batch()
        copies: list[Callable[[], object]] = []
        for name in self.fields:
            if name in ARRAYS:
                batch[ARRAYS[name]] = self._samples(self.arrays[name], rows, copies)
            elif name in ROWS:
                batch[name] = torch.from_numpy(self._rows[name][pick].copy())
            elif name in self._lists:
                batch[name] = Deferred(rows, self._lists[name])
        ids = self.store.sample_ids
        batch["sample_id"] = list(ids[pick]) if isinstance(pick, slice) else [ids[row] for row in pick]
        _call_all(copies)
        return batch

    def residency(self, rows: Rows) -> Counts:
        """Hits, misses, bytes in memory and bytes on disk, of samples that are about to be read.

        The kernel is asked, which looks at every page. So a sample that was resident is asked about again
        only after this process had a page fault that waited for a disk: the kernel counts those, and
        without one nothing can have been evicted and read again.
        """
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        if faults != self._faults:
            self._known[:] = False
            self._faults = faults
        size, count, pick = self.sample_bytes, len(rows), _index(rows)
        if self._known[pick].all():
            return count, 0, count * size, 0
        if isinstance(rows, range) and self._resident(rows) == count * size:
            self._known[pick] = True
            return count, 0, count * size, 0
        each = np.array([self._resident(range(row, row + 1)) for row in rows], np.int64)
        self._known[pick] = each == size
        hits, resident = int((each == size).sum()), int(each.sum())
        return hits, count - hits, resident, count * size - resident

    def _resident(self, rows: range) -> int:
        return sum(array.resident(rows.start, rows.stop) for array in self.arrays.values())

    def _samples(self, array: MappedArray, rows: Rows, copies: list[Callable[[], object]]) -> torch.Tensor:
        """Samples as a view, or a buffer that a call added to `copies` fills."""
        view = array.view(rows.start, rows.stop) if isinstance(rows, range) else None
        if view is not None:
            return as_tensor(view)
        out = self._pool.take((len(rows), *array.shape[1:]), _tensor_dtype(array.dtype))
        values = out.view(torch.uint8).numpy().view(array.dtype)
        copies.append(partial(array.gather, np.asarray(rows, np.int64), values))
        return out

    @cached_property
    def _rows(self) -> dict[str, NDArray[Any]]:
        small = {}
        for name in self.fields:
            if name in ROWS:
                values = self.store.small(_STORED_AS.get(name, name))
                small[name] = np.linalg.inv(values) if name == "inverse_matrix" else values
        return small


def _call_all(calls: Sequence[Callable[[], object]]) -> None:
    """Make calls side by side, on as many threads as torch computes on, of which this is one.

    Raises what a call raises. Each thread takes the next call that nobody has taken.
    """
    left, failed = deque(calls), list[Exception]()

    def make() -> None:
        while True:
            try:
                call = left.popleft()
            except IndexError:  # nothing is left
                return
            try:
                call()
            except Exception as error:
                failed.append(error)

    others = [Thread(target=make) for _ in range(min(torch.get_num_threads(), len(calls)) - 1)]
    for thread in others:
        thread.start()
    make()
    for thread in others:
        thread.join()
    if failed:
        raise failed[0]


def _index(rows: Rows) -> slice | NDArray[np.int64]:
    return slice(rows.start, rows.stop) if isinstance(rows, range) else rows


def _polygons(store: Store, row: int) -> list[NDArray[np.float32]]:
    return [np.array(points) for points in store.value("points", row)]


def _ignore(store: Store, row: int) -> NDArray[np.uint8]:
    return np.array(store.value("ignore", row))


def _text(store: Store, row: int) -> list[str]:
    return [part.tobytes().decode() for part in store.value("text", row)]


_LISTS: dict[str, Callable[[Store, int], Any]] = {"polygons": _polygons, "ignore": _ignore, "text": _text}


def _tensor_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """Find the dtype of a tensor over stored values; uint16 is how bfloat16 is stored."""
    return torch.bfloat16 if dtype == np.uint16 else torch.from_numpy(np.empty(0, dtype)).dtype


def as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Give stored values as a tensor over the same memory."""
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if array.dtype == np.uint16 else tensor
