"""Which of a store's files are in memory, whatever wrote them and however they are encoded."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.pages import Region, whole_pages
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
        region = Region(size)
        region.place(0, descriptor, size)
        return InMemory(min(size, region.resident(0, whole_pages(size))), size)
    finally:
        os.close(descriptor)
