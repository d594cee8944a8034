"""The page cache: which of a store's files are in it, and reading past it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.memory.address_range import PAGE, AddressRange, whole_pages
from pipeline.store import Store


@dataclass(frozen=True)
class InMemory:
    """Bytes of files that the page cache holds, to the page, of all their bytes."""

    resident: int
    bytes: int

    def __add__(self, other: InMemory) -> InMemory:
        return InMemory(self.resident + other.resident, self.bytes + other.bytes)


def store_residency(store: Store) -> dict[str, InMemory]:
    """Ask the kernel about every folder of a generation: arrays and files by their name."""
    found: dict[str, InMemory] = {}
    for folder, _, names in os.walk(store.path):
        label = Path(folder).relative_to(store.path).parts[:1]
        for name in names:
            key = label[0] if label else "metadata"
            with contextlib.suppress(FileNotFoundError):  # a link to a raw image that is gone
                found[key] = found.get(key, InMemory(0, 0)) + file_residency(Path(folder, name))
    return dict(sorted(found.items()))


def file_residency(path: Path) -> InMemory:
    """Ask the kernel about one file; asking reads nothing."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            return InMemory(0, 0)
        region = AddressRange(size)
        region.place(0, descriptor, size)
        return InMemory(min(size, region.resident(0, whole_pages(size))), size)
    finally:
        os.close(descriptor)


def residency_is_told(generation: Path) -> bool:
    """Tell whether the kernel says what of a generation's files is in memory.

    To who neither owns them nor may write to them it calls all their pages resident, since Linux 5.2
    (`can_do_mincore` in mm/mincore.c).
    """
    file = generation / "zarr.json"
    return os.geteuid() in (0, file.stat().st_uid) or os.access(file, os.W_OK)


def read_direct(path: Path, out: NDArray[np.uint8]) -> bool:
    """Read a whole file, most of which is not in the page cache, straight from the disk to its place.

    False, with `out` in any state, where it is to be read the usual way instead: the page cache has it,
    it has another size, or memory, file or file system are not made for direct reading.
    """
    if out.nbytes % PAGE or out.ctypes.data % PAGE:
        return False
    try:
        found = file_residency(path)
        if found.bytes != out.nbytes or 2 * found.resident > found.bytes:
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.preadv(descriptor, [out.data], 0) == out.nbytes
    except OSError:
        return False
    finally:
        os.close(descriptor)
