"""One copy of a store's chunks in shared memory, filled by whoever comes first, found by everybody else.

The kernel keeps the register: the memory carries the name of what it holds, any process that has it
leads others to it, and it is gone with the last of them, however they end. A lock on the store's
`zarr.json` lets one process fill it at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.digest import canonical_json, digest
from pipeline.memory.address_range import HUGE_PAGE, AddressRange
from pipeline.memory.mapped_array import MappedArray, Samples
from pipeline.memory.shared_memory import Handle, PageTaker, SharedMemory

Chunks = NDArray[np.int64]
Slot = tuple[MappedArray, int, Callable[[], Samples]]
"""An array, one of its chunks, and what takes the memory for the chunk's samples."""
Fill = Callable[[Sequence[Slot]], None]

_STATE, _COUNT = 0, 1
_FILLED, _VERIFIED = 1, 2


class SharedChunks:
    """Chunks `chunks[:count]` of some arrays, of one store or of several that hold the same samples.

    The first bytes say whether all of them have been filled and verified, and how many they are; then
    come the arrays, each from a multiple of the huge page's size.
    """

    def __init__(self, memory: SharedMemory, arrays: Sequence[MappedArray], chunks: Chunks) -> None:
        self.memory = memory
        self._region = AddressRange(memory.size)
        self._region.place(0, memory.descriptor, memory.size, shared=True)
        self._header = self._region.bytes()[:16].view(np.int64)
        self.arrays = arrays
        self.chunks = chunks[: int(self._header[_COUNT])]

    @classmethod
    def obtain(
        cls,
        arrays: Sequence[MappedArray],
        chunks: Chunks,
        count: int,
        fill: Fill,
        *,
        verify: bool = True,
        huge_pages: bool = True,
    ) -> SharedChunks:
        """Attach to what another process has filled, or make it from the first `count` chunks.

        `fill` gets the slots to fill. With `verify` it compares samples with their checksums, and what
        others filled without doing so is left to them.
        Raises OSError where there is too little memory, and whatever `fill` raises.
        """
        name, wanted = _name(arrays, chunks, huge_pages), _VERIFIED if verify else _FILLED
        with _alone(arrays[0].store.path):
            for found in SharedMemory.find(name):
                if found.size < HUGE_PAGE:  # without a lock it may have been made just now
                    continue
                shared = cls(found, arrays, chunks)
                if shared._header[_STATE] >= wanted:
                    return shared
            memory = SharedMemory.create(name, sum(_sizes(arrays, count), HUGE_PAGE), taken=False)
            os.pwrite(memory.descriptor, np.array([0, count], np.int64).tobytes(), 0)
            shared = cls(memory, arrays, chunks)
            fill(list(shared._slots(PageTaker(memory, shared._region, huge_pages))))
            shared._header[_STATE] = wanted
            return shared

    @classmethod
    def attach(cls, handle: Handle, arrays: Sequence[MappedArray], chunks: Chunks) -> SharedChunks | None:
        """Attach to what the process of `handle` holds; None where it is gone."""
        memory = SharedMemory.attach(handle)
        return cls(memory, arrays, chunks) if memory else None

    def place(self, shared: bool = False) -> None:
        """Put the arrays' chunks in this memory; privately, unless `shared` (for a device to reach them).

        The pages are entered in the page table at once: the first epoch is like every other.
        """
        for array, start in zip(self.arrays, self._starts(), strict=True):
            position = 0
            for first, count in runs(self.chunks):
                at = start + position * array.slot_bytes
                array.place(first, count, self.memory.descriptor, at, shared)
                array.region.populate(first * array.slot_bytes, count * array.slot_bytes)
                position += count

    def ranges(self) -> Iterator[tuple[AddressRange, int, int]]:
        """Where the arrays' chunks are in this memory: offset and length in an array's region."""
        for array in self.arrays:
            for first, count in runs(self.chunks):
                yield array.region, first * array.slot_bytes, count * array.slot_bytes

    def _starts(self) -> list[int]:
        sizes = [HUGE_PAGE, *_sizes(self.arrays, len(self.chunks))]
        return [sum(sizes[: position + 1]) for position in range(len(self.arrays))]

    def _slots(self, taker: PageTaker) -> Iterator[Slot]:
        """Every slot, chunk by chunk, as the files of a sample lie on the disk."""
        starts = self._starts()
        for position, chunk in enumerate(self.chunks.tolist()):
            for array, start in zip(self.arrays, starts, strict=True):
                yield array, chunk, partial(self._take, taker, array, start + position * array.slot_bytes)

    def _take(self, taker: PageTaker, array: MappedArray, at: int) -> Samples:
        taker.take(at, array.slot_bytes)
        flat = self._region.bytes()[at : at + array.chunk_bytes]
        return flat.view(array.dtype).reshape(array.chunk_shape)


def runs(chunks: Chunks) -> Iterator[tuple[int, int]]:
    """Consecutive chunks: the first, and how many."""
    if len(chunks):
        for run in np.split(chunks, np.flatnonzero(np.diff(chunks) != 1) + 1):
            yield int(run[0]), len(run)


def _sizes(arrays: Sequence[MappedArray], count: int) -> list[int]:
    return [-(-count * array.slot_bytes // HUGE_PAGE) * HUGE_PAGE for array in arrays]


def _name(arrays: Sequence[MappedArray], chunks: Chunks, huge_pages: bool) -> str:
    """Name what the memory holds: the generation, its arrays, the chunks that were asked for, and how."""
    places = [(str(path), path.stat()) for path in dict.fromkeys(array.store.path for array in arrays)]
    what: list[object] = [(path, status.st_dev, status.st_ino) for path, status in places]
    what += [[(array.name, array.slot_bytes) for array in arrays], huge_pages]
    return f"warmstore-{digest(canonical_json(what), chunks.tobytes()).hex()}"


@contextlib.contextmanager
def _alone(generation: Path) -> Iterator[None]:
    """Hold a lock that every process over the same generation sees; works on read-only file systems."""
    descriptor = os.open(generation / "zarr.json", os.O_RDONLY)
    try:
        # Without locks (some network file systems) every process fills a copy of its own.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):  # a child that another thread forked meanwhile would hold it on
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
