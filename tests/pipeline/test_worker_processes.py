"""Worker processes: whatever ends a worker is laid to the one call that it had."""

import ast
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import PipelineError, WorkerLost
from pipeline.execution import WorkerProcesses, process_pool

pytestmark = pytest.mark.slow


class TwoArguments(Exception):  # noqa: N818
    """Survives no pickling: it is built from two arguments and keeps one."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class KillsItsReader:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return os._exit, (7,)


def work(task: Any, tell: Callable[[], object]) -> Any:
    if task == "hang":
        tell()
        time.sleep(3600)
    elif task == "say so and hang":
        print("begun", flush=True)
        time.sleep(60)
    elif task == "slow":
        print("begun", flush=True)
        for _ in range(4):
            tell()
            time.sleep(0.3)
        return "done"
    elif isinstance(task, tuple):
        kind, at = task
        for _ in range(at + 1):
            tell()
        work(kind, tell)
    elif task == "odd":
        raise TwoArguments("one", "two")
    elif task < 0:
        os._exit(-task)
    return 100 // task


def loaded(module: str, tell: Callable[[], object]) -> tuple[str, bool, str, str]:
    """Tell whether a module was loaded when the process started, which process it is, and its variable."""
    tell()
    time.sleep(0.2)  # so that the other task is not done here, too
    return module, module in sys.modules, multiprocessing.current_process().name, os.environ["SAID"]


def process_id(task: Any, tell: Callable[[], object]) -> int:
    tell()
    return os.getpid()


@pytest.fixture
def processes() -> Iterator[WorkerProcesses]:
    pool = WorkerProcesses(width=2, timeout=0.5, memory=1 << 30)
    yield pool
    pool.stop()


def outcomes(pool: WorkerProcesses, tasks: list[Any]) -> list[Any]:
    """Give each task's value or error, in the order of the tasks."""
    by_task = {ended.task: ended.error or ended.value for ended in pool.run(work, deque(tasks))}
    assert set(by_task) == set(tasks)
    return [by_task[task] for task in tasks]


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


def test_the_limit_is_a_samples_and_whoever_is_lost_says_at_which(processes: WorkerProcesses) -> None:
    slow, third, first = outcomes(processes, ["slow", ("hang", 1), (-9, 0)])
    assert slow == "done"  # in more than one limit, and each sample in less
    assert isinstance(third, WorkerLost) and (third.code, third.at) == ("timed_out", 2)
    assert isinstance(first, WorkerLost) and (first.code, first.at) == ("crashed", 0)


def test_a_process_that_has_waited_long_is_replaced_before_it_ends_by_itself(
    processes: WorkerProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    def who() -> set[int]:
        return {ended.value for ended in processes.run(process_id, deque([1]))}

    assert who() == (first := who())
    monkeypatch.setattr(process_pool, "_IDLE", 0.0)
    assert who().isdisjoint(first)


def test_tasks_that_are_added_while_others_run_are_run(processes: WorkerProcesses) -> None:
    tasks: deque[Any] = deque([1])
    values = []
    for ended in processes.run(work, tasks):
        values.append(ended.value)
        if len(values) < 3:
            tasks.append(len(values) + 1)
    assert values == [100, 50, 33]


def test_errors_come_back_with_their_traceback(processes: WorkerProcesses) -> None:
    zero, odd, fine = outcomes(processes, [0, "odd", 1])
    assert isinstance(zero, ZeroDivisionError) and "return 100 // task" in zero.__notes__[0]
    assert isinstance(odd, RuntimeError) and "TwoArguments('one')" in str(odd)
    assert fine == 100


def test_a_worker_that_dies_before_it_begins_is_no_fault_of_the_call(processes: WorkerProcesses) -> None:
    with pytest.raises(PipelineError, match=r"died with exit code 7 before it began.*executor\.memory"):
        list(processes.run(work, deque([KillsItsReader()])))


_CALLER = """
from pipeline.execution.process_pool import WorkerProcesses
from collections import deque
from tests.pipeline.test_worker_processes import work
pool = WorkerProcesses(width=1, timeout=60, memory=1 << 30)
list(pool.run(work, deque(["say so and hang"])))
"""

_PROGRAM = """
import os, sys
from collections import deque
from stages import Canonicalize, Maps, Tensors
from pipeline.execution import WorkerProcesses
from tests.pipeline.test_worker_processes import loaded
class Interrupted:
    lazy_imports = ("ctrl_c",)
print("begun")
pool = WorkerProcesses(width=2, timeout=60, memory=4 << 30)
pool.start(2, Canonicalize(), Maps(), Tensors(), Interrupted())
for _ in range(2):
    found = [ended.result() for ended in pool.run(loaded, deque(["numba", "torch"]))]
    print(sorted(found))
pool.stop()
"""

_LIMITED = """
import resource
from collections import deque
from tests.pipeline.test_worker_processes import work
from pipeline.execution.process_pool import WorkerProcesses
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
pool = WorkerProcesses(width=1, timeout=60, memory=8 << 30)
print([ended.result() for ended in pool.run(work, deque([14]))])
pool.stop()
"""

_STOPPED = """
from collections import deque
from tests.pipeline.test_worker_processes import work
from pipeline.execution.process_pool import WorkerProcesses
pool = WorkerProcesses(width=1, timeout=0.6, memory=1 << 30)
print([ended.result() for ended in pool.run(work, deque(["slow"]))])
"""


def test_time_in_which_everything_was_stopped_is_not_held_against_a_sample() -> None:
    """Ctrl-Z stops the workers too: what they were at is not late when they go on."""
    command = [sys.executable, "-c", _STOPPED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as caller:
        assert caller.stdout and caller.stdout.readline() == "begun\n"
        os.killpg(caller.pid, signal.SIGSTOP)
        time.sleep(2.5)
        os.killpg(caller.pid, signal.SIGCONT)
        assert caller.communicate(timeout=60)[0] == "['done']\n"


def test_workers_end_with_a_caller_that_is_killed() -> None:
    """Who reads what they print sees its end once all of them are gone."""
    with subprocess.Popen([sys.executable, "-c", _CALLER], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout and caller.stdout.readline() == "begun\n"
        caller.kill()
        assert caller.communicate(timeout=30) == ("", None)


def test_a_program_is_not_run_again_and_workers_have_what_their_stages_import(tmp_path: Path) -> None:
    """In a folder that holds other code by the same names, from a script, and with Ctrl-C while they load."""
    (tmp_path / "program.py").write_text(_PROGRAM)
    (tmp_path / "ctrl_c.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    for name in ("stages", "numba", "torch"):
        (tmp_path / f"folder/{name}").mkdir(parents=True)
        (tmp_path / f"folder/{name}/__init__.py").write_text("raise SystemExit(3)")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "SAID": "here"}
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path / "folder",
        env=environment,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "begun" and len(lines) == 3 and "Traceback" not in done.stderr, done.stderr
    first, second = map(ast.literal_eval, lines[1:])
    assert [(module, there) for module, there, *_ in first] == [("numba", True), ("torch", False)]
    assert {process for *_, process, _ in first} == {process for *_, process, _ in second}
    assert len({process for *_, process, _ in first}) == 2 and first[0][-1] == "here"


def test_a_limit_of_the_users_own_is_kept() -> None:
    """The allowance may be more than what `ulimit -v` leaves."""
    done = subprocess.run([sys.executable, "-c", _LIMITED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[7]\n"), done.stderr
