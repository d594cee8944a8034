"""`executor=auto`: threads for a few samples, processes for many, and what else decides."""

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import PipelineError
from pipeline.execution import Executor, ExecutorConfig, break_even
from pipeline.stage import Stage
from tests.support.toy import STAGES, Read, run, write


@pytest.fixture
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))


class InTheProgram(Read):
    """As a class that is written into a script or a notebook."""

    __module__ = "__main__"


FEW, MANY = 10, 10_000


@pytest.mark.usefixtures("four_cores")
@pytest.mark.parametrize(
    ("settings", "stage", "samples", "kind", "why"),
    [
        ({}, Read(), FEW, "threads", f"auto: processes pay from {break_even(4):.0f} samples on"),
        ({}, Read(), MANY, "processes", f"auto: processes pay from {break_even(4):.0f} samples on"),
        ({"workers": 2}, Read(), break_even(2) - 1, "threads", "auto: processes pay from"),
        ({"workers": 2}, Read(), break_even(2), "processes", "auto: processes pay from"),
        ({"workers": 64}, Read(), break_even(4), "processes", "auto: processes pay from"),  # on four cores
        ({"workers": 1}, Read(), MANY, "threads", "auto: one worker gains nothing"),
        ({"timeout": 60.0}, Read(), FEW, "processes", "auto: threads cannot hold executor.timeout"),
        ({"memory": 1 << 30}, Read(), FEW, "processes", "auto: threads cannot hold executor.memory"),
        ({}, InTheProgram(), MANY, "threads", "auto: processes cannot import read"),
        ({"kind": "threads"}, Read(), MANY, "threads", ""),
        ({"kind": "processes"}, Read(), FEW, "processes", ""),
    ],
)
def test_what_runs_and_why(settings: dict[str, Any], stage: Stage, samples: int, kind: str, why: str) -> None:
    choice = Executor(ExecutorConfig(**settings)).choose(stage, samples)
    assert (choice.kind, choice.why[: len(why)]) == (kind, why)
    assert bool(choice.why) == bool(why)
    assert choice.workers == settings.get("workers", 4)


def test_more_workers_than_processors_gain_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    choice = Executor(ExecutorConfig(workers=2)).choose(Read(), MANY)
    assert (choice.kind, choice.why) == ("threads", "auto: there is one processor")


def test_more_cores_pay_sooner_and_one_never() -> None:
    counts = [break_even(cores) for cores in (1, 2, 4, 16, 64)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == float("inf") and counts[-1] > 1


@pytest.mark.usefixtures("four_cores")
def test_processes_stay_once_they_have_started() -> None:
    executor = Executor(ExecutorConfig())
    kinds = [executor.choose(Read(), samples).kind for samples in (FEW, MANY, FEW)]
    assert kinds == ["threads", "processes", "processes"]


def test_processes_refuse_a_stage_that_they_cannot_import() -> None:
    with pytest.raises(PipelineError, match=r"move InTheProgram into a module.*executor\.kind=threads"):
        Executor(ExecutorConfig(kind="processes")).choose(InTheProgram(), FEW)


def test_a_run_says_what_ran(tmp_path: Path) -> None:
    raw, work = tmp_path / "raw", tmp_path / "work"
    write(raw, a="one", b="two")
    auto = ExecutorConfig(workers=2)
    ran = run(raw, work, executor=auto)
    assert [ran[name].as_json()["executor"]["kind"] for name in STAGES] == ["threads"] * 3
    assert [result.executor for result in run(raw, work, executor=auto).values()] == [None] * 3


def test_an_address_is_for_dask_alone() -> None:
    with pytest.raises(
        ValidationError, match=r"address=tcp://there:1 is of a dask scheduler, and kind is threads"
    ):
        ExecutorConfig(kind="threads", address="tcp://there:1")
