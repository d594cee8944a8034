"""Worker processes: whatever ends a worker is laid to the one call that it had."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.errors import PipelineError, WorkerLost
from pipeline.execution import WorkerProcesses

pytestmark = pytest.mark.slow


class TwoArguments(Exception):  # noqa: N818
    """Survives no pickling: it is built from two arguments and keeps one."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class KillsItsReader:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return os._exit, (7,)


def work(task: Any) -> Any:
    if task == "hang":
        time.sleep(3600)
    elif task == "odd":
        raise TwoArguments("one", "two")
    elif task < 0:
        os._exit(-task)
    return 100 // task


@pytest.fixture
def processes() -> Iterator[WorkerProcesses]:
    pool = WorkerProcesses(width=2, timeout=0.5, memory=1 << 30)
    yield pool
    pool.stop()


def outcomes(pool: WorkerProcesses, tasks: list[Any]) -> list[Any]:
    """Give each task's value or error, in the order of the tasks."""
    calls = [pool.submit(work, task) for task in tasks]
    ended = []
    for call in pool.as_completed(calls):
        try:
            ended.append((call, call.result()))
        except Exception as error:
            ended.append((call, error))
    assert {id(call) for call, _ in ended} == {id(call) for call in calls} and len(ended) == len(calls)
    by_call = {id(call): outcome for call, outcome in ended}
    return [by_call[id(call)] for call in calls]


def test_calls_that_die_at_once_take_no_other_along(processes: WorkerProcesses) -> None:
    tasks = [-3, 1, -5, -6, 2, -7, 4, 5, -8]
    for task, outcome in zip(tasks, outcomes(processes, tasks), strict=True):
        if task > 0:
            assert outcome == 100 // task
        else:
            assert isinstance(outcome, WorkerLost) and outcome.code == "crashed"
            assert outcome.reason == f"the worker died with exit code {-task}"


def test_a_call_past_its_time_is_ended_and_the_rest_goes_on(processes: WorkerProcesses) -> None:
    first, lost, last = outcomes(processes, [1, "hang", 2])
    assert (first, last) == (100, 50)
    assert isinstance(lost, WorkerLost) and (lost.code, lost.reason) == (
        "timed_out",
        "the worker was ended after 0.5 s",
    )


def test_errors_come_back_with_their_traceback(processes: WorkerProcesses) -> None:
    zero, odd, fine = outcomes(processes, [0, "odd", 1])
    assert isinstance(zero, ZeroDivisionError) and "return 100 // task" in zero.__notes__[0]
    assert isinstance(odd, RuntimeError) and "TwoArguments('one')" in str(odd)
    assert fine == 100


def test_a_worker_that_dies_before_it_begins_is_no_fault_of_the_call(processes: WorkerProcesses) -> None:
    with pytest.raises(PipelineError, match=r"died with exit code 7 before it began.*executor\.memory"):
        list(processes.as_completed([processes.submit(work, KillsItsReader())]))


_CALLER = """
from pipeline.execution.process_pool import WorkerProcesses
pool = WorkerProcesses(width=1, timeout=60, memory=1 << 30)
list(pool.as_completed([pool.submit(exec, "import time; print('begun', flush=True); time.sleep(60)")]))
"""

_LIMITED = """
import resource
from pipeline.execution.process_pool import WorkerProcesses
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
pool = WorkerProcesses(width=1, timeout=60, memory=8 << 30)
print([call.result() for call in pool.as_completed([pool.submit(abs, -7)])])
pool.stop()
"""


def test_workers_end_with_a_caller_that_is_killed() -> None:
    """Who reads what they print sees its end once all of them are gone."""
    with subprocess.Popen([sys.executable, "-c", _CALLER], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout and caller.stdout.readline() == "begun\n"
        caller.kill()
        assert caller.communicate(timeout=30) == ("", None)


def test_a_limit_of_the_users_own_is_kept() -> None:
    """The allowance may be more than what `ulimit -v` leaves."""
    done = subprocess.run([sys.executable, "-c", _LIMITED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[7]\n"), done.stderr
