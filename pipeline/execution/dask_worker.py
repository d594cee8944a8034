"""What happens on a dask worker: a task runs in an isolating process, and its outcome leaves as plain bytes.

Dask blames every task that was queued on a worker that dies. So no sample runs in dask's own process: each
of its threads has an isolating one, with the limits and the verdicts of `executor=processes`.
"""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError, host
from pipeline.execution.process_pool import Ended, Function, WorkerProcesses, portable

STRANGER = b""
"""In place of an outcome: this process has not been greeted by the run, and does nothing for it."""

_own = threading.local()
_greeted: set[str] = set()


def greet(function: Function, task: Any, limits: tuple[float, int], run: str) -> bytes:
    """Make the first call of a run here; from then on its tasks are taken."""
    _greeted.add(run)
    return work(function, task, limits, run)


def work(function: Function, task: Any, limits: tuple[float, int], run: str) -> bytes:
    """Run a task in this thread's isolating process, within the limits (seconds a sample, bytes).

    Gives its value and its error, and this machine's name, pickled: dask carries bytes whatever is in them.
    """
    if run not in _greeted:
        return STRANGER
    try:
        (ended,) = _processes(limits).run(function, deque([task]))
        value, error = ended.value, ended.error
    except OSError as failure:
        value, error = None, _no_process(failure)
    except Exception as failure:
        value, error = None, failure
    return pickle.dumps((value, error and portable(error), host()))


def _no_process(error: OSError) -> PipelineError:
    return PipelineError(
        f"a dask worker on {host()} cannot start a process ({error}); see whether there is room in its "
        "folder for temporary files (TMPDIR) and for more processes, and run again, which continues"
    )


def left_in(file: Path, tell: Callable[[], object]) -> Any:
    """Run the task that the run has left in its folder."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise PipelineError(
            f"a task cannot be read on {host()} ({file}: {error.strerror}); mount the run's folder there, "
            "and run again, which continues from what is finished"
        ) from None
    function, task = pickle.loads(data)
    return function(task, tell)


def outcome(task: Any, data: bytes) -> tuple[Ended, str]:
    """Read what `work` gave; gives also the machine that it was given on."""
    value, error, machine = pickle.loads(data)
    return Ended(task, value, error), machine


def _processes(limits: tuple[float, int]) -> WorkerProcesses:
    """Give this thread's isolating process."""
    if getattr(_own, "limits", None) != limits:
        if hasattr(_own, "processes"):
            _own.processes.stop()
        # Python lets no daemon have children, since nobody would end them; ours end with their caller.
        multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
        _own.processes, _own.limits = WorkerProcesses(1, *limits), limits
    processes: WorkerProcesses = _own.processes
    return processes
