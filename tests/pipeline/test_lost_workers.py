"""Workers that are lost: the sample at fault alone gets a verdict, and no sample where the machine is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import PipelineError, WorkerLost
from pipeline.execution import Ended, Executor, ExecutorConfig
from pipeline.runner import run_stages
from pipeline.store import open_store
from tests.support.toy import Silent, make_pipeline, write

Fate = Callable[[Any], WorkerLost | None]


class Losing(Executor):
    """Runs tasks here, but for those that lose their worker as `fate` says."""

    def __init__(self, fate: Fate) -> None:
        super().__init__(ExecutorConfig(kind="serial", batch=4))
        self.fate, self.lost = fate, 0

    def run(self, kind: Any, function: Any, tasks: deque[Any], *_: Any) -> Generator[Ended]:
        while tasks:
            task = tasks.popleft()
            loss = self.fate(task)
            self.lost += loss is not None
            yield Ended(task, None if loss else function(task, lambda: None), loss)


def at(task: Any, name: str, code: str, fresh: bool = False) -> WorkerLost | None:
    """Lose the worker at a sample."""
    names = [item.sample_id for item in task.items]
    return WorkerLost(code, "it died", names.index(name), fresh) if name in names else None


def outcome(raw: Path, work: Path, fate: Fate) -> tuple[dict[str, str], int]:
    """Run the first stage; gives its verdicts' codes, and how often a worker was lost."""
    write(raw, c="good luck")
    executor = Losing(fate)
    ((_, result),) = run_stages(make_pipeline(raw, work), ["read"], executor, Silent())
    assert result.accepted + result.quarantined == 4
    verdicts = open_store(work / "val/read.zarr").info.quarantined
    return {verdict["sample_id"]: verdict["code"] for verdict in verdicts}, executor.lost


@pytest.mark.parametrize(
    ("code", "fresh", "times"),
    [("crashed", False, 2), ("crashed", True, 2), ("timed_out", True, 2), ("timed_out", False, 1)],
)
def test_a_sample_is_tried_once_more_where_the_machine_may_be_at_fault(
    raw: Path, tmp_path: Path, code: str, fresh: bool, times: int
) -> None:
    found = outcome(raw, tmp_path / "work", lambda task: at(task, "b.txt", code, fresh))
    assert found == ({"b.txt": code}, times)


def test_a_sample_that_is_lost_once_is_none(raw: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def fate(task: Any) -> WorkerLost | None:
        loss = None if seen else at(task, "b.txt", "crashed")
        seen.extend([1] * (loss is not None))
        return loss

    assert outcome(raw, tmp_path / "work", fate) == ({}, 1)


def test_who_dies_before_the_first_sample_says_nothing_of_it(raw: Path, tmp_path: Path) -> None:
    left = [WorkerLost("crashed", "it died", -1, True)]
    assert outcome(raw, tmp_path / "once", lambda task: left.pop() if left else None) == ({}, 1)
    with pytest.raises(PipelineError, match=r"^read on \S+: it died before its first sample, twice"):
        outcome(raw, tmp_path / "twice", lambda task: WorkerLost("crashed", "it died", -1, True))
    assert not (tmp_path / "twice/val/read.zarr").exists()
