"""Arrays of samples in shared memory, filled as they are computed, by any process that computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.memory import available_memory
from pipeline.pages import Region, whole_pages
from pipeline.shared import Handle, SharedMemory

Arrays = dict[str, NDArray[Any]]
Layout = dict[str, tuple[tuple[int, ...], str]]
"""Shape and dtype of each array of a sample."""


class SampleCache:
    """Room for `count` samples of one layout. What it gives are private views: writing changes no other's.

    Raises ConfigError where the memory for all of them is not free.
    """

    def __init__(self, purpose: str, count: int, layout: Layout, handle: Handle | None = None) -> None:
        self.purpose, self.count, self.layout = purpose, count, layout
        sizes = [np.dtype(dtype).itemsize * int(np.prod(shape)) for shape, dtype in layout.values()]
        self._stride = sum(map(whole_pages, sizes))
        self._flags = whole_pages(max(count, 1))  # nothing cannot be mapped
        size = self._flags + count * self._stride
        memory = SharedMemory.attach(handle) if handle else None
        self._memory = memory or self._create(size)
        self._write, self._read = Region(size), Region(size)
        self._write.place(0, self._memory.descriptor, size, shared=True)
        self._read.place(0, self._memory.descriptor, size)
        self._filled: NDArray[np.uint8] = self._write.bytes()[:count]

    def get(self, index: int) -> Arrays | None:
        """Give the arrays of a sample, or None where nobody has put them."""
        return self._arrays(self._read, index) if self._filled[index] else None

    def put(self, index: int, arrays: Arrays) -> None:
        """Keep the arrays of a sample."""
        for name, target in self._arrays(self._write, index).items():
            target[...] = arrays[name]
        self._filled[index] = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return SampleCache, (self.purpose, self.count, self.layout, self._memory.handle)

    def _create(self, size: int) -> SharedMemory:
        free = available_memory()
        if size <= free:
            try:
                return SharedMemory.create("warmstore-samples", size)
            except OSError:
                free = available_memory()
        raise ConfigError(
            f"{self.purpose} needs {size / 1e9:.2f} GB for {self.count:,} samples where {free / 1e9:.2f} GB "
            "of memory are free; switch it off, or read from the store instead"
        )

    def _arrays(self, region: Region, index: int) -> Arrays:
        memory, at = region.bytes(), self._flags + index * self._stride
        arrays = {}
        for name, (shape, dtype) in self.layout.items():
            size = np.dtype(dtype).itemsize * int(np.prod(shape))
            arrays[name] = memory[at : at + size].view(dtype).reshape(shape)
            at += whole_pages(size)
        return arrays
