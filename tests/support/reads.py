"""What tests of reading share: a canvas, cold files, and whether what is read is what was stored."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from ocr.datasets import TensorDataset
from tests.support.stores import sample

CANVAS = (64, 64)
SAMPLE_BYTES = 64 * 64 * 8
IMAGE_BYTES = 64 * 64 * 3


def evict(store: TensorDataset | Path) -> None:
    """Drop a store's files from the page cache, but for those that somebody has mapped."""
    path = store if isinstance(store, Path) else store.store.path
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as open_file:
                os.fsync(open_file.fileno())
                os.posix_fadvise(open_file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def assert_reads(dataset: TensorDataset, count: int, canvas: tuple[int, int] = CANVAS) -> None:
    for order in ("sequential", "shuffled"):
        seen = 0
        for batch in dataset.batches(3, order):  # type: ignore[arg-type]
            for image, name in zip(batch["images"], batch["sample_id"], strict=True):
                np.testing.assert_array_equal(image, sample(int(name[7:12]), *canvas)["image"])
                seen += 1
        assert seen == count


def copies(process: int | str = "self") -> dict[int, str]:
    """Copies of stores in shared memory that a process holds: their names by inode."""
    found = {}
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(OSError):
            name = str(descriptor.readlink()).removeprefix("/memfd:").removesuffix(" (deleted)")
            if name.startswith("warmstore-"):
                found[descriptor.stat().st_ino] = name
    return found
