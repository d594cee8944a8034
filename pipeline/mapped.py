"""One array over many chunk files, without reading them.

Each chunk file of raw samples is mapped at its place in one range of addresses, so consecutive
samples adjoin although every file can be replaced alone. Where that is impossible (compressed chunks,
chunks of no whole number of pages, a file system without `mmap`) the same samples come by a copy.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import numpy as np

from pipeline.chunk_files import ChunkFiles, Samples
from pipeline.pages import PAGE, Region, whole_pages
from pipeline.store import Store

# The kernel allows a process 65,530 maps by default: five fields of two splits fit.
_MAX_MAPS = 6144


class MappedArray:
    """The samples of a Chunked field, (N, *shape), as views where they adjoin in memory.

    The maps are private: writing into a view changes this process's copy of a page, never the store.
    No descriptor stays open, and no more than a tenth of the maps that the kernel allows are made.
    `why_copied` says in words why samples come by a copy, if they do.

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
        self._from_file = np.zeros(len(self.files), bool)
        self._adjoin = self.slot_bytes == self.files.chunk_bytes or len(self.files) <= 1
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
        first, last = start // self.samples_per_chunk, max(start, stop - 1) // self.samples_per_chunk
        if not self.placed[first : last + 1].all() or not (self._adjoin or first == last):
            return None
        return self._array(self.offset(start), (stop - start, *self.shape[1:]))

    def gather(self, rows: Iterable[int], out: Samples) -> Samples:
        """Copy samples, in the order of `rows`, into `out` (B, *shape)."""
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
        begin = self.offset(start) // PAGE * PAGE
        end = self.offset(stop - 1) + self.sample_bytes
        absent = whole_pages(end - begin) - self.region.resident(begin, whole_pages(end - begin))
        return max(0, (stop - start) * self.sample_bytes - absent)

    @property
    def reads_pages_of_files(self) -> bool:
        """Whether a file that is cut short would take pages from under its samples."""
        return bool(self._from_file.any())

    def resized(self) -> Iterator[Path]:
        """Mapped files that have another size by now."""
        for chunk in np.flatnonzero(self._from_file).tolist():
            path = self.files.directory / self.files.key(chunk)
            # A file that has gone stays mapped.
            with contextlib.suppress(OSError):
                if path.stat().st_size != self.files.chunk_bytes:
                    yield path

    def check_unchanged(self, changed: Container[Path]) -> None:
        """Raise StoreError where one of these files is mapped: its pages may be gone."""
        for chunk in np.flatnonzero(self._from_file).tolist():
            if self.files.directory / self.files.key(chunk) in changed:
                raise self.files.problem(chunk, "was written to while it was open")

    def offset(self, row: int) -> int:
        """Where a sample begins in the region, in bytes."""
        chunk, within = divmod(row, self.samples_per_chunk)
        return chunk * self.slot_bytes + within * self.sample_bytes

    def slot(self, chunk: int) -> Samples:
        """The memory of a chunk, (k, *shape), to be touched only where it is `placed`."""
        return self._array(chunk * self.slot_bytes, self.files.chunk_shape)

    def place(self, chunk: int, count: int, descriptor: int, start: int, shared: bool = False) -> None:
        """Back `count` chunks by a file (a RAM cache) that holds their slots from byte `start`."""
        self.region.place(chunk * self.slot_bytes, descriptor, count * self.slot_bytes, start, shared)
        self.placed[chunk : chunk + count] = True
        self._from_file[chunk : chunk + count] = False

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
            directory = os.open(self.files.directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise self.files.problem(0, f"cannot be read ({error.strerror})") from None
        try:
            for chunk in range(len(self.files)):
                self._map_file(directory, chunk)
        except OSError as error:
            return f"on a file system that cannot map it ({error.strerror})"
        finally:
            os.close(directory)
        self.placed[:] = self._from_file[:] = True
        return None

    def _map_file(self, directory: int, chunk: int) -> None:
        try:
            descriptor = os.open(self.files.key(chunk), os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        except OSError as error:
            raise self.files.problem(chunk, f"cannot be read ({error.strerror})") from None
        try:
            size = os.fstat(descriptor).st_size
            if size != self.files.chunk_bytes:
                raise self.files.problem(chunk, f"has {size} bytes where {self.files.chunk_bytes} belong")
            self.region.place(chunk * self.slot_bytes, descriptor, self.files.chunk_bytes)
        finally:
            os.close(descriptor)


def _maps_allowed() -> int:
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return _MAX_MAPS * 10
