"""Samples that take their process along: each is refused alone, by the same code on every executor."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipeline.execution import ExecutorConfig
from pipeline.store import open_store
from tests.support.poison import CODES
from tests.support.toy import run, write

TAME = ("leave", "recurse", "unpicklable")
"""What ends no process, so that executors without isolation live through it."""


def refused(work: Path) -> dict[str, str]:
    """Give the codes of the samples that stage `read` itself refused."""
    verdicts = [v for v in open_store(work / "val/read.zarr").info.quarantined if v["stage"] == "read"]
    return {verdict["sample_id"].removesuffix(".txt"): verdict["code"] for verdict in verdicts}


@pytest.mark.parametrize("kind", ["serial", "threads", "processes", "dask"])
def test_exactly_the_samples_at_fault_are_refused(raw: Path, tmp_path: Path, kind: str) -> None:
    words = [word for word in CODES if kind in ("processes", "dask") or word in TAME]
    write(raw, c="good luck", **{f"{word}{i}": f"{word} now" for word in words for i in range(2)})
    executor = ExecutorConfig(kind=kind, workers=2, batch=8, timeout=3.0)
    results = run(raw, tmp_path / "work", executor=executor)
    assert refused(tmp_path / "work") == {f"{word}{i}": CODES[word] for word in words for i in range(2)}
    assert results["pack"].accepted == 4


def test_a_hung_sample_costs_its_own_limit_and_not_its_tasks(raw: Path, tmp_path: Path) -> None:
    """Sixteen samples share a task, and it was given sixteen limits, twice."""
    write(raw, c="good luck", **{f"s{i:02}": "slowly now" for i in range(12)})
    executor = ExecutorConfig(kind="processes", workers=1, batch=16, timeout=2.0)

    def seconds(work: str) -> float:
        began = time.monotonic()
        run(raw, tmp_path / work, ["read"], executor=executor)
        return time.monotonic() - began

    without = seconds("without")
    write(raw, s05="hang now")
    assert seconds("work") - without < 5 * executor.timeout
    assert refused(tmp_path / "work") == {"s05": "timed_out"}
