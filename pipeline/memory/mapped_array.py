"""One array over many chunk files, without reading them.

Each chunk file of raw samples is mapped at its place in one range of addresses, so consecutive
samples adjoin although every file can be replaced alone. A file that ends within a page leaves a gap behind
it: views of one sample a file step over it, by their stride. Where that is impossible (compressed chunks,
several samples in a file with a gap, a file system without `mmap`) the same samples come by a copy.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import StoreError
from pipeline.memory.address_range import PAGE, AddressRange, whole_pages
from pipeline.memory.page_cache import read_direct
from pipeline.stage import Chunked
from pipeline.store import Store, chunk_key, decode

Samples = NDArray[Any]

# The kernel allows a process 65,530 maps by default: five fields of two splits fit.
_MAX_MAPS = 6144


class MappedArray:
    """The samples of a Chunked field, (N, *shape), as views where they lie at even distances in memory.

    Each sample of a view is C-contiguous; the view itself is not where a gap is left behind each file.

    The maps are private: writing into a view changes this process's copy of a page, never the store.
    No descriptor stays open, and no more than a tenth of the maps that the kernel allows are made.
    Files of a store never change, so their sizes are checked when they are mapped and warmed, and not
    for every view.

    Raises StoreError where the field is none, or a chunk is missing or has another size than its samples.
    """

    def __init__(self, store: Store, name: str) -> None:
        field = store.declared.get(name)
        if not isinstance(field, Chunked):
            have = ", ".join(f.name for f in store.declared.values() if isinstance(f, Chunked))
            raise StoreError(f"{store.name} has no array field {name}; it has {have or 'none'}")
        self.store, self.name, self.codec = store, name, field.codec
        self.dtype, self.shape = np.dtype(field.dtype), (len(store), *field.shape)
        self.samples_per_chunk = store.samples_per_chunk
        self.chunks = -(-len(store) // self.samples_per_chunk)
        self.chunk_shape = (self.samples_per_chunk, *field.shape)
        self.sample_bytes: int = self.dtype.itemsize * math.prod(field.shape)
        self.chunk_bytes = self.samples_per_chunk * self.sample_bytes
        self.slot_bytes = whole_pages(self.chunk_bytes)
        self.region = AddressRange(self.chunks * self.slot_bytes)
        self.placed = np.zeros(self.chunks, bool)
        self._shared = np.zeros(self.chunks, bool)
        self._adjoin = self.slot_bytes == self.chunk_bytes or self.chunks <= 1
        self._even = self._adjoin or self.samples_per_chunk == 1
        step = self.slot_bytes if self.samples_per_chunk == 1 else self.sample_bytes
        self._strides = (step, *np.empty(field.shape, self.dtype).strides)  # of C-contiguous samples
        self._whole: Samples | None = None
        self._last: tuple[int, Samples] | None = None
        self._why_unmapped = f"compressed ({self.codec})" if self.codec != "none" else self._map_files()

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
        if not self._even:
            size = f"{self.samples_per_chunk} samples and {self.chunk_bytes} bytes"
            return f"in chunks of {size}, no whole number of {PAGE}-byte pages"
        return None

    def view(self, start: int, stop: int) -> Samples | None:
        """Samples start … stop - 1 as a view, or None where they lie at uneven distances in memory.

        None also where only some of them are in memory that was placed to be `shared`: CUDA refuses to copy a
        range that it knows a part of (`CUDA_ERROR_INVALID_VALUE`, says `cuMemcpyHtoD` in its manual).
        """
        if self._whole is not None:
            return self._whole[start:stop]
        first, last = start // self.samples_per_chunk, max(start, stop - 1) // self.samples_per_chunk
        if not self.placed[first : last + 1].all() or not (self._even or first == last):
            return None
        if not _all_same(self._shared[first : last + 1]):
            return None
        return self._array(self._offset(start), (stop - start, *self.shape[1:]))

    def gather(self, rows: NDArray[np.int64], out: Samples) -> Samples:
        """Copy samples, in the order of `rows`, into `out` (B, *shape)."""
        if self._whole is not None and self._adjoin:  # NumPy would copy all of an array with gaps first
            # Clipping makes NumPy copy straight to `out`; torch's threads would spin on a busy machine.
            return np.take(self._whole, rows, axis=0, out=out, mode="clip")
        for target, row in zip(out, rows, strict=True):
            chunk, within = divmod(int(row), self.samples_per_chunk)
            if self.samples_per_chunk == 1 and not self.placed[chunk]:
                self.read(chunk, target[None])
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

    def place(self, chunk: int, count: int, descriptor: int, start: int, shared: bool = False) -> None:
        """Back `count` chunks by a file (a RAM cache) that holds their slots from byte `start`.

        With `shared`, a device may be given their memory.
        """
        self.region.place(chunk * self.slot_bytes, descriptor, count * self.slot_bytes, start, shared)
        self._shared[chunk : chunk + count] = shared
        self._are_placed(chunk, count)

    def read(self, chunk: int, out: Samples) -> None:
        """Read a chunk's file into `out`, (k, *shape).

        Raises StoreError naming the first of its samples where it is missing or damaged.
        """
        path = self._path(chunk)
        try:
            if self.codec != "none":
                out[...] = decode(self.codec, path.read_bytes(), str(self.dtype), self.chunk_shape)
                return
            with path.open("rb") as file:  # buffered: it asks again where one call does not give all
                if file.readinto(out.reshape(-1).view(np.uint8).data) != out.nbytes or file.read(1):
                    raise ValueError(f"its file has not the {out.nbytes} bytes of its samples")
        except (OSError, ValueError) as error:
            raise self._problem(chunk, f"cannot be read ({error})") from error

    def read_once(self, chunk: int, out: Samples) -> None:
        """Like `read`, for whoever keeps the samples: what the page cache lacks is read past it.

        From a disk that takes a fraction of the CPU time, and holds nothing in memory twice.
        """
        if self.codec != "none" or not read_direct(self._path(chunk), out.reshape(-1).view(np.uint8)):
            self.read(chunk, out)

    def read_in(self, chunk: int) -> Samples:
        """Make a chunk resident where it is mapped, or else in the page cache; gives its samples."""
        if not self.placed[chunk]:
            samples = np.empty(self.chunk_shape, self.dtype)
            self.read(chunk, samples)
            return samples
        at = chunk * self.slot_bytes
        try:
            self._check_size(chunk, self._path(chunk).stat())
            self.region.prefer_large_pages(at, self.chunk_bytes)
            self.region.populate(at, self.chunk_bytes)
        except OSError as error:
            raise self._problem(chunk, f"cannot be read ({error})") from error
        return self._slot(chunk)

    def _path(self, chunk: int) -> Path:
        return self.store.chunk_file(self.name, chunk)

    def _problem(self, chunk: int, what: str) -> StoreError:
        return self.store.damaged(chunk * self.samples_per_chunk, f"{self.name} {what}")

    def _are_placed(self, chunk: int, count: int) -> None:
        self.placed[chunk : chunk + count] = True
        whole = self.why_copied is None and _all_same(self._shared)
        self._whole = self._array(0, self.shape) if whole else None

    def _offset(self, row: int) -> int:
        """Where a sample begins in the region, in bytes."""
        chunk, within = divmod(row, self.samples_per_chunk)
        return chunk * self.slot_bytes + within * self.sample_bytes

    def _array(self, at: int, shape: tuple[int, ...]) -> Samples:
        """Samples, (B, *shape), from an offset in the region on."""
        return np.ndarray(shape, self.dtype, self.region.bytes(), at, self._strides)

    def _slot(self, chunk: int) -> Samples:
        return self._array(chunk * self.slot_bytes, self.chunk_shape)

    def _chunk(self, chunk: int) -> Samples:
        if self.placed[chunk]:
            return self._slot(chunk)
        last = self._last
        if last is None or last[0] != chunk:
            last = (chunk, np.empty(self.chunk_shape, self.dtype))
            self.read(*last)
            self._last = last
        return last[1]

    def _map_files(self) -> str | None:
        """Map every chunk file at its place; say why where that is not possible."""
        if self.chunks > min(_MAX_MAPS, _maps_allowed() // 10):
            return f"in {self.chunks} chunk files, more than can be mapped"
        folder = str(self.store.path / self.name)
        try:
            for chunk in range(self.chunks):
                self._map_file(chunk, f"{folder}/{chunk_key(chunk, len(self.shape))}")
        except OSError as error:
            return f"on a file system that cannot map it ({error.strerror})"
        self._are_placed(0, self.chunks)
        return None

    def _map_file(self, chunk: int, path: str) -> None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._problem(chunk, f"cannot be read ({error.strerror})") from None
        try:
            self._check_size(chunk, os.fstat(descriptor))
            self.region.place(chunk * self.slot_bytes, descriptor, self.chunk_bytes)
        finally:
            os.close(descriptor)

    def _check_size(self, chunk: int, status: os.stat_result) -> None:
        if status.st_size != self.chunk_bytes:
            raise self._problem(chunk, f"has {status.st_size} bytes where {self.chunk_bytes} belong")


def _all_same(flags: NDArray[np.bool_]) -> bool:
    return bool(flags.all() or not flags.any())


def _maps_allowed() -> int:
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return _MAX_MAPS * 10
