"""Reading past the page cache: whole files come right, and everything else is left to the usual way."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.memory import PAGE, file_residency, read_direct

CONTENT = np.random.default_rng(0).integers(0, 256, 3 * PAGE, np.uint8)


def cold_file(path: Path) -> Path:
    path.write_bytes(CONTENT.tobytes())
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return path


def memory(size: int = len(CONTENT), start: int = 0) -> np.ndarray:
    """Make memory that begins at a page, or `start` bytes behind one."""
    return np.frombuffer(mmap.mmap(-1, size + PAGE), np.uint8)[start : start + size]


def test_a_cold_file_is_read_to_its_place_and_stays_cold(tmp_path: Path) -> None:
    path, out = cold_file(tmp_path / "chunk"), memory()
    if file_residency(path).resident:
        pytest.skip("this file system is memory itself")
    if not read_direct(path, out):
        pytest.skip("this file system knows no direct reading")
    np.testing.assert_array_equal(out, CONTENT)
    assert file_residency(path).resident == 0


def test_what_the_page_cache_has_is_not_read_from_the_disk(tmp_path: Path) -> None:
    path = cold_file(tmp_path / "chunk")
    path.read_bytes()
    assert not read_direct(path, memory())


@pytest.mark.parametrize(
    "out",
    [memory(2 * PAGE), memory(4 * PAGE), memory(3 * PAGE - 1), memory(start=64)],
    ids=["too small", "too large", "no whole pages", "from the middle of a page"],
)
def test_memory_that_a_disk_cannot_fill_is_refused(tmp_path: Path, out: np.ndarray) -> None:
    assert not read_direct(cold_file(tmp_path / "chunk"), out)


def test_a_file_that_is_not_there_is_left_to_who_can_name_it(tmp_path: Path) -> None:
    assert not read_direct(tmp_path / "chunk", memory())
