"""Arrays of samples in shared memory, filled as they are computed, by any process that computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.memory import PAGE, AddressRange, Handle, SharedMemory, available_memory

Arrays = dict[str, NDArray[Any]]
Layout = Sequence[tuple[str, str, tuple[int, ...]]]
"""Name, dtype and shape of each array of a sample."""


class SampleCache:
    """Room for `count` samples of one layout. What it gives are private views: writing changes no other's.

    Raises ConfigError where the memory for all of them is not free.
    """

    def __init__(self, purpose: str, count: int, layout: Layout, handle: Handle | None = None) -> None:
        self.purpose, self.count, self.layout = purpose, count, layout
        packed = np.dtype([("filled", "u1"), *layout], align=True)
        # A sample has pages of its own: one that a process writes into is private to it from then on.
        self._record = np.dtype([("sample", packed), ("rest", "u1", (-packed.itemsize % PAGE,))])
        memory = SharedMemory.attach(handle) if handle else None
        self._memory = memory or self._create()
        self._write, self._read = self._mapped(shared=True), self._mapped(shared=False)

    def get(self, index: int) -> Arrays | None:
        """Give the arrays of a sample, or None where nobody has put them."""
        if not self._write["filled"][index]:
            return None
        return {name: self._read[name][index] for name, _, _ in self.layout}

    def put(self, index: int, arrays: Arrays) -> None:
        """Keep the arrays of a sample."""
        for name, _, _ in self.layout:
            self._write[name][index] = arrays[name]
        self._write["filled"][index] = 1

    def __reduce__(self) -> tuple[Any, ...]:
        return SampleCache, (self.purpose, self.count, self.layout, self._memory.handle)

    def _create(self) -> SharedMemory:
        size = max(self.count, 1) * self._record.itemsize  # nothing cannot be mapped
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

    def _mapped(self, shared: bool) -> NDArray[np.void]:
        region = AddressRange(self._memory.size)
        region.place(0, self._memory.descriptor, self._memory.size, shared=shared)
        return region.bytes().view(self._record)["sample"]
