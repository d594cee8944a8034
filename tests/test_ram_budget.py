"""The budget of the RAM cache: what it may be, what memory is left, and what is read beyond it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ocr.datasets import TensorDataset
from ocr.datasets.stored import CacheParams
from pipeline.memory import available_memory
from tests.support.reads import CANVAS, SAMPLE_BYTES, assert_reads, evict
from tests.support.stores import tensors_store


@pytest.mark.parametrize("mode", ["mmap", "ram"])
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_what_exceeds_the_budget_is_read_from_the_files(
    tmp_path: Path, mode: Any, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tensors_store(tmp_path, 10, CANVAS, codec=codec)
    evict(TensorDataset(path))
    dataset = TensorDataset(path, cache=CacheParams(mode=mode, budget=4 * SAMPLE_BYTES + 5))
    warmth = dataset.warm()
    if codec == "none" or mode == "ram":
        assert 4 <= warmth.resident < 10
        assert "are read from the store's files (the budget is 0.00 GB)" in caplog.text
    else:
        assert "read from the store's files (copied or decoded for each batch" in caplog.text
    assert_reads(dataset, 10)


@pytest.mark.parametrize("mode", ["mmap", "ram"])
def test_a_budget_of_nothing_caches_nothing_and_reads_everything(tmp_path: Path, mode: Any) -> None:
    path = tensors_store(tmp_path, 5, CANVAS)
    evict(TensorDataset(path))
    dataset = TensorDataset(path, cache=CacheParams(mode=mode, budget=0))
    assert dataset.warm().resident == 0
    assert_reads(dataset, 5)


def test_a_budget_above_the_memory_is_cut_to_it_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 3, CANVAS), cache=CacheParams(budget=10**15))
    assert dataset.warm().resident == 3
    assert dataset.cache.budget < 10**15
    assert "no more than these are used" in caplog.text


@pytest.mark.parametrize("mode", ["mmap", "ram", "off"])
def test_warming_reads_nothing_beyond_the_budget(tmp_path: Path, mode: Any) -> None:
    path = tensors_store(tmp_path, 40, CANVAS)
    evict(TensorDataset(path))
    dataset = TensorDataset(path, cache=CacheParams(mode=mode, budget=20 * SAMPLE_BYTES))
    resident = dataset.warm().bytes
    assert resident == (0 if mode == "off" else 20 * SAMPLE_BYTES)
    assert dataset.resident()[0] == resident


@pytest.mark.parametrize(
    ("budget", "available", "expected"),
    [
        (0, 100, 0),
        (50, 100, 50),
        (500, 100, 100),
        (0.5, 100, 50),
        (1.0, 100, 100),
        ("2GB", 10**10, 2 * 10**9),
        ("1.5 MB", 10**10, 1_500_000),
        ("25%", 1000, 250),
        ("0.25", 1000, 250),
        ("4096", 10**6, 4096),
    ],
)
def test_budgets(budget: Any, available: int, expected: int) -> None:
    assert CacheParams(budget=budget).budget_bytes(available) == expected


@pytest.mark.parametrize("budget", [-1, -0.1, 1.5, "200%", "much", "5XB", True, "nan"])
def test_budgets_that_are_none_are_refused(budget: Any) -> None:
    with pytest.raises(ValidationError):
        CacheParams(budget=budget)


@pytest.mark.parametrize("version", [1, 2])
def test_the_memory_that_is_left_respects_control_groups(tmp_path: Path, version: int) -> None:
    mount = tmp_path / "sys/fs/cgroup" / ("memory" if version == 1 else "")
    group = mount / "jobs/one"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    line = "9:memory:/jobs/one" if version == 1 else "0::/jobs/one"
    (tmp_path / "proc/self/cgroup").write_text(f"{line}\n")
    names = ("limit_in_bytes", "usage_in_bytes", "total_") if version == 1 else ("max", "current", "")
    for folder, limit, usage in ((group, "max", 10), (mount / "jobs", 5000, 4000), (mount, "9" * 19, 0)):
        (folder / f"memory.{names[0]}").write_text(f"{limit}\n")
        (folder / f"memory.{names[1]}").write_text(f"{usage}\n")
        stat = "".join(
            f"{names[2]}{name} {value}\n" for name, value in (("inactive_file", 20), ("active_file", 3))
        )
        (folder / "memory.stat").write_text(stat)
    assert available_memory(tmp_path) == 5000 - 4000 + 23
    (mount / "jobs" / f"memory.{names[0]}").unlink()
    assert available_memory(tmp_path) > 10**6
