"""One array over many chunk files, without reading them.

Each chunk file of raw samples is mapped at its place in one range of addresses, so consecutive
samples adjoin although every file can be replaced alone. Where that is impossible (compressed chunks,
chunks of no whole number of pages, a file system without `mmap`) the same samples come by a copy.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.chunk_files import ChunkFiles, Samples
from pipeline.pages import PAGE, Region, whole_pages
from pipeline.store import Store

# The kernel allows a process 65,530 maps by default: five fields of two splits fit.
_MAX_MAPS = 6144


class MappedArray:
    """The samples of a Chunked field, (N, *shape), as views where they adjoin in memory.

    The maps are private: writing into a view changes this process's copy of a page, never the store.
    No descriptor stays open, and no more than a tenth of the maps that the kernel allows are made.
    Files of a store never change, so their sizes are checked when they are mapped and warmed, and not
    for every view.

    Raises StoreError where a chunk is missing or has another size than its samples.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.files = ChunkFiles(store, name)
        self.name = name
        self.shape, self.dtype = self.files.shape, self.files.dtype
        self.sample_bytes = self.files.sample_bytes
        self.samples_per_chunk = self.files.samples_per_chunk
        self.slot_bytes = whole_pages(self.files.chunk_bytes)
        self.region = Region(len(self.files) * self.slot_bytes)
        self.placed = np.zeros(len(self.files), bool)
        self._adjoin = self.slot_bytes == self.files.chunk_bytes or len(self.files) <= 1
        self._whole: Samples | None = None
        self._last: tuple[int, Samples] | None = None
        self._why_unmapped = self.files.not_raw or self._map_files()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        return len(self) * self.sample_bytes

    @property
    def why_copied(self) -> str | None:
        """Why samples come by a copy; None where any run of them is a view."""
        if not self.placed.all():
            return self._why_unmapped
        if not self._adjoin:
            return f"in chunks of {self.files.chunk_bytes} bytes, no whole number of {PAGE}-byte pages"
        return None

    def view(self, start: int, stop: int) -> Samples | None:
        """Samples start … stop - 1 as a view, or None where they do not adjoin in memory."""
        if self._whole is not None:
            return self._whole[start:stop]
        first, last = start // self.samples_per_chunk, max(start, stop - 1) // self.samples_per_chunk
        if not self.placed[first : last + 1].all() or not (self._adjoin or first == last):
            return None
        return self._array(self._offset(start), (stop - start, *self.shape[1:]))

    def gather(self, rows: NDArray[np.int64], out: Samples) -> Samples:
        """Copy samples, in the order of `rows`, into `out` (B, *shape)."""
        if self._whole is not None:
            # Clipping makes NumPy copy straight to `out`; torch's threads would spin on a busy machine.
            return np.take(self._whole, rows, axis=0, out=out, mode="clip")
        for target, row in zip(out, rows, strict=True):
            chunk, within = divmod(int(row), self.samples_per_chunk)
            if self.samples_per_chunk == 1 and not self.placed[chunk]:
                self.files.read(chunk, target[None])
            else:
                np.copyto(target, self._chunk(chunk)[within])
        return out

    def resident(self, start: int, stop: int) -> int:
        """Ask the kernel how many bytes of samples start … stop - 1 are in memory, to the page.

        What has to be read from its file for every use counts as absent.
        """
        if start >= stop:
            return 0
        first, last = start // self.samples_per_chunk, (stop - 1) // self.samples_per_chunk
        if not self.placed[first : last + 1].all():
            return sum(self.resident(row, row + 1) for row in range(start, stop)) if stop - start > 1 else 0
        begin = self._offset(start) // PAGE * PAGE
        end = self._offset(stop - 1) + self.sample_bytes
        absent = whole_pages(end - begin) - self.region.resident(begin, whole_pages(end - begin))
        return max(0, (stop - start) * self.sample_bytes - absent)

    def slot(self, chunk: int) -> Samples:
        """The memory of a chunk, (k, *shape), to be touched only where it is `placed`."""
        return self._array(chunk * self.slot_bytes, self.files.chunk_shape)

    def place(self, chunk: int, count: int, descriptor: int, start: int, shared: bool = False) -> None:
        """Back `count` chunks by a file (a RAM cache) that holds their slots from byte `start`."""
        self.region.place(chunk * self.slot_bytes, descriptor, count * self.slot_bytes, start, shared)
        self._are_placed(chunk, count)

    def read_in(self, chunk: int) -> Samples:
        """Make the mapped file of a chunk resident; gives its samples.

        Raises StoreError where it has another size by now.
        """
        at, size = chunk * self.slot_bytes, self.files.chunk_bytes
        try:
            self._check_size(chunk, self.files.path(chunk).stat())
            self.region.prefer_large_pages(at, size)
            self.region.populate(at, size)
        except OSError as error:
            raise self.files.problem(chunk, f"cannot be read ({error})") from error
        return self.slot(chunk)

    def _are_placed(self, chunk: int, count: int) -> None:
        self.placed[chunk : chunk + count] = True
        self._whole = self._array(0, self.shape) if self.why_copied is None else None

    def _offset(self, row: int) -> int:
        """Where a sample begins in the region, in bytes."""
        chunk, within = divmod(row, self.samples_per_chunk)
        return chunk * self.slot_bytes + within * self.sample_bytes

    def _array(self, at: int, shape: tuple[int, ...]) -> Samples:
        size = self.sample_bytes * shape[0]
        return self.region.bytes()[at : at + size].view(self.dtype).reshape(shape)

    def _chunk(self, chunk: int) -> Samples:
        if self.placed[chunk]:
            return self.slot(chunk)
        last = self._last
        if last is None or last[0] != chunk:
            last = (chunk, np.empty(self.files.chunk_shape, self.dtype))
            self.files.read(*last)
            self._last = last
        return last[1]

    def _map_files(self) -> str | None:
        """Map every chunk file at its place; say why where that is not possible."""
        if len(self.files) > min(_MAX_MAPS, _maps_allowed() // 10):
            return f"in {len(self.files)} chunk files, more than can be mapped"
        if not len(self.files):
            return None
        try:
            for chunk in range(len(self.files)):
                self._map_file(chunk)
        except OSError as error:
            return f"on a file system that cannot map it ({error.strerror})"
        self._are_placed(0, len(self.files))
        return None

    def _map_file(self, chunk: int) -> None:
        try:
            descriptor = os.open(self.files.path(chunk), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self.files.problem(chunk, f"cannot be read ({error.strerror})") from None
        try:
            self._check_size(chunk, os.fstat(descriptor))
            self.region.place(chunk * self.slot_bytes, descriptor, self.files.chunk_bytes)
        finally:
            os.close(descriptor)

    def _check_size(self, chunk: int, status: os.stat_result) -> None:
        if status.st_size != self.files.chunk_bytes:
            raise self.files.problem(
                chunk, f"has {status.st_size} bytes where {self.files.chunk_bytes} belong"
            )


def _maps_allowed() -> int:
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return _MAX_MAPS * 10
