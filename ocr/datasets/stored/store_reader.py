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

from ocr.datasets.batches import ARRAYS, LISTS, ROWS, Batch, BufferPool, Deferred, Sample
from ocr.datasets.stored.chosen_rows import Rows
from ocr.datasets.stored.store_check import check_together
from pipeline.errors import ConfigError, StoreError
from pipeline.memory import MappedArray
from pipeline.stage import Chunked, FileContent, Row
from pipeline.store import Store

Counts = tuple[int, int, int, int]

_STORED_AS = {"inverse_matrix": "matrix", "polygons": "points"}


class StoreReader:
    """The chosen fields of one generation, or of several that hold the same samples; nothing else is read.

    A field is read from the first store that has it: those of a sample (`ocr.datasets.batches.batch`), and
    whatever else a stage has stored, by its own name: arrays and rows as tensors, all other kinds as lists.
    Raises ConfigError for a name that no store has, StoreError where one of a sample's own is missing, or
    the stores do not belong together.
    """

    def __init__(self, stores: Sequence[Store], fields: Sequence[str], pool: BufferPool) -> None:
        self.store, self.fields, self._pool = stores[0], tuple(fields), pool
        check_together(stores)
        self._homes = {name: _home(stores, name) for name in self.fields if name != "sample_id"}
        declared = {name: store.declared[_stored(name)] for name, store in self._homes.items()}
        self.arrays = {
            name: MappedArray(self._homes[name], _stored(name))
            for name, field in declared.items()
            if isinstance(field, Chunked)
        }
        self._row_fields = [name for name, field in declared.items() if isinstance(field, Row)]
        self.sample_bytes = sum(array.sample_bytes for array in self.arrays.values())
        self._known = np.zeros(len(self.store), bool)
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
        for name, store in self._homes.items():
            if name in self.arrays:
                batch[ARRAYS.get(name, name)] = self._samples(name, rows, copies)
            elif name in self._row_fields:
                batch[name] = torch.from_numpy(self._rows[name][pick].copy())
            else:
                batch[name] = Deferred(rows, partial(_listed, store, name))
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

    def _samples(self, name: str, rows: Rows, copies: list[Callable[[], object]]) -> torch.Tensor:
        """Samples as a view, or a buffer that a call added to `copies` fills."""
        array = self.arrays[name]
        view = array.view(rows.start, rows.stop) if isinstance(rows, range) else None
        if view is not None:
            return as_tensor(view) if name in ARRAYS else torch.from_numpy(view)
        out = self._pool.take((len(rows), *array.shape[1:]), self._dtype(name))
        values = out.view(torch.uint8).numpy().view(array.dtype)
        copies.append(partial(array.gather, np.asarray(rows, np.int64), values))
        return out

    def _dtype(self, name: str) -> torch.dtype:
        dtype = self.arrays[name].dtype
        return _tensor_dtype(dtype) if name in ARRAYS else torch.from_numpy(np.empty(0, dtype)).dtype

    @cached_property
    def _rows(self) -> dict[str, NDArray[Any]]:
        rows = {name: self._homes[name].small(_stored(name)) for name in self._row_fields}
        return {name: np.linalg.inv(v) if name == "inverse_matrix" else v for name, v in rows.items()}


def _stored(name: str) -> str:
    return _STORED_AS.get(name, name)


def _home(stores: Sequence[Store], name: str) -> Store:
    """Find the store that a field is read from."""
    for store in stores:
        if _stored(name) in store.declared:
            return store
    where = " and ".join(str(store.name) for store in stores)
    known = ", ".join(dict.fromkeys(field for store in stores for field in store.declared))
    if name not in (*ARRAYS, *ROWS, *LISTS):
        raise ConfigError(f"{name} is no field of a sample, nor of {where}, which has {known}")
    raise StoreError(
        f"{where} has no field {_stored(name)} ({name} of a sample); it has {known}: "
        "leave it out of fields, or rerun the stage"
    )


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


def _listed(store: Store, name: str, row: int) -> Any:
    """Read a sample's value of a kind that is listed in a batch."""
    value = store.value(_stored(name), row)
    if name == "text":
        return [part.tobytes().decode() for part in value]
    if isinstance(value, FileContent):
        return value.data
    if isinstance(value, np.ndarray):
        return np.array(value)
    return value if isinstance(value, str) else [np.array(part) for part in value]


def _tensor_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """Find the dtype of a tensor over stored values; uint16 is how bfloat16 is stored."""
    return torch.bfloat16 if dtype == np.uint16 else torch.from_numpy(np.empty(0, dtype)).dtype


def as_tensor(array: NDArray[Any]) -> torch.Tensor:
    """Give stored values as a tensor over the same memory."""
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if array.dtype == np.uint16 else tensor
