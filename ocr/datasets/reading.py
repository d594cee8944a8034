"""Batches of a store's samples: views where samples adjoin in memory, gathered into buffers elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ocr.datasets.buffers import BufferPool
from ocr.datasets.collate import ARRAYS, ROWS, Batch, Deferred, Sample, check_fields
from ocr.datasets.gather import Gathering
from pipeline.chunk_files import Samples
from pipeline.errors import StoreError
from pipeline.mapped import MappedArray
from pipeline.pages import PAGE
from pipeline.store import Store
from pipeline.watch import ChangeWatch

Rows = range | NDArray[np.int64]

_AT_ONCE = 64
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
        names = [name for name in self.fields if name in ARRAYS]
        self.arrays: dict[str, MappedArray] = {}
        # Watched before their sizes are looked at.
        self._watch = ChangeWatch((store.path / name for name in names), partial(_resized, self.arrays))
        self.arrays |= {name: MappedArray(store, name) for name in names}
        self.sample_bytes = sum(array.sample_bytes for array in self.arrays.values())
        self._lists = {name: partial(read, store) for name, read in _LISTS.items() if name in self.fields}
        self._wholes: dict[str, Samples | None] = {}
        self._tensors: dict[str, torch.Tensor | None] = {}
        self.remap()

    def remap(self) -> None:
        """Take note of how the arrays lie in memory, after a cache changed that."""
        for name, array in self.arrays.items():
            whole = self._wholes[name] = array.view(0, len(array))
            self._tensors[name] = None if whole is None else as_tensor(whole)
        self._may_change = any(array.reads_pages_of_files for array in self.arrays.values())

    @property
    def why_copied(self) -> str | None:
        """Why batches are copies, in words; None where they are views."""
        names: dict[str, list[str]] = {}
        for name, array in self.arrays.items():
            if array.why_copied:
                names.setdefault(array.why_copied, []).append(name)
        return "; ".join(f"{', '.join(found)} stored {why}" for why, found in names.items()) or None

    def resident(self, rows: range) -> int:
        """Ask the kernel how many bytes of consecutive samples are in memory, to the page."""
        return sum(array.resident(rows.start, rows.stop) for array in self.arrays.values())

    def check(self) -> None:
        """Raise StoreError where a mapped file was written to: reading it could kill the process."""
        if self._may_change and (changed := self._watch.changed()):
            for array in self.arrays.values():
                array.check_unchanged(changed)

    def sample(self, row: int) -> Sample:
        """One sample; its arrays are views where they can be."""
        sample: Sample = {}
        gathering = Gathering()
        for name in self.fields:
            if name in ARRAYS:
                sample[name] = self._samples(name, range(row, row + 1), gathering)[0]
            elif name in ROWS:
                sample[name] = self._rows[name][row].clone()
            elif name in self._lists:
                sample[name] = self._lists[name](row)
        sample["sample_id"] = self.store.sample_ids[row]
        gathering.help()
        return sample

    def batch(self, rows: Rows) -> Batch:
        """A batch of samples: views for a range of rows, copies in lent buffers for any others."""
        batch, gathering = self.begin(rows)
        gathering.help()
        return batch

    def begin(self, rows: Rows) -> tuple[Batch, Gathering]:
        """Like `batch`, but for what is left to do: until then the buffers hold anything."""
        run = slice(rows.start, rows.stop) if isinstance(rows, range) else None
        batch: Batch = {}
        gathering = Gathering()
        for name in self.fields:
            if name in ARRAYS:
                batch[ARRAYS[name]] = self._samples(name, rows, gathering)
            elif name in ROWS:
                batch[name] = self._rows[name][run].clone() if run else self._rows[name][rows]
            elif name in self._lists:
                batch[name] = Deferred(rows, self._lists[name])
        ids = self.store.sample_ids
        batch["sample_id"] = list(ids[run]) if run else [ids[row] for row in rows]
        return batch, gathering

    def views(self, rows: range, size: int) -> Iterator[tuple[range, Batch]]:
        """Batches of `size` consecutive samples and what is left, as views, each with its rows.

        Many are made at once, which takes half the time; none of their pages is looked at. `why_copied`
        has to be None.
        """
        ids = self.store.sample_ids
        tensors: dict[str, Any] = {ARRAYS[name]: self._tensors[name] for name in self.arrays} | self._rows
        for start in range(rows.start, rows.stop, size * _AT_ONCE):
            stop = min(start + size * _AT_ONCE, rows.stop)
            parts = [range(at, min(at + size, stop)) for at in range(start, stop, size)]
            columns: dict[str, Iterable[Any]] = {
                key: tensor[start:stop].split(size) for key, tensor in tensors.items()
            }
            for name, read in self._lists.items():
                columns[name] = [Deferred(part, read) for part in parts]
            columns["sample_id"] = [list(ids[part.start : part.stop]) for part in parts]
            batches = [
                dict(zip(columns, batch, strict=True)) for batch in zip(*columns.values(), strict=True)
            ]
            yield from zip(parts, batches, strict=True)

    def _samples(self, name: str, rows: Rows, gathering: Gathering) -> torch.Tensor:
        """Samples of an array as a view, or a buffer that `gathering` fills."""
        array, tensor, whole = self.arrays[name], self._tensors[name], self._wholes[name]
        if isinstance(rows, range):
            # No slice of `tensor`: a worker that sends one sends all that it is a slice of, and shares that.
            view = array.view(rows.start, rows.stop) if whole is None else whole[rows.start : rows.stop]
            if view is not None:
                return as_tensor(view)
        out = self._pool.take((len(rows), *array.shape[1:]), _tensor_dtype(array.dtype))
        if tensor is not None:
            gathering.copy(tensor, rows, out)
        else:
            values = out.view(torch.uint8).numpy().view(array.dtype)
            gathering.read(partial(array.gather, rows, values))
        return out

    @cached_property
    def _rows(self) -> dict[str, torch.Tensor]:
        small = {}
        for name in self.fields:
            if name in ROWS:
                values = np.array(self.store.small(_STORED_AS.get(name, name)))
                small[name] = torch.from_numpy(np.linalg.inv(values) if name == "inverse_matrix" else values)
        return small


def _resized(arrays: dict[str, MappedArray]) -> Iterator[Path]:
    return (path for array in arrays.values() for path in array.resized())


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


def walk(batch: Batch) -> None:
    """Read one byte of every page of a batch of views."""
    for name in ARRAYS.values():
        if name in batch:
            batch[name].view(torch.uint8).numpy().reshape(-1)[::PAGE].max(initial=0)


def as_tensor(array: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(array).view(_tensor_dtype(array.dtype))
