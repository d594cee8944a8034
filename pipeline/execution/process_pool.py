"""Worker processes that a sample may crash, or outstay its time in, without taking any other along.

A pool that hands work out through one queue has to guess whose worker died. Here every process has a
pipe of its own and one task at a time, and says when it begins another sample of it: so whatever ends it
is laid to that sample alone, and a time limit is a sample's. How they start: `worker_start`.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import pickle
import resource
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError, WorkerLost, host
from pipeline.execution.worker_start import CONTEXT, start, start_server

# What runs a task: it is given the task, and a function to call as it begins each sample.
Function = Callable[[Any, Callable[[], object]], Any]

_IDLE = 60.0  # seconds without a task after which a process ends by itself, whatever became of its caller
LOADING = 600.0  # seconds that a task may take to its first sample: libraries are loaded, stores opened
_BLINK = 1.0  # seconds by which a caller may be late; more, and it was stopped


@dataclass(frozen=True)
class Ended:
    """A task that has ended: `result()` gives its value, or raises what it raised, or WorkerLost."""

    task: Any
    value: Any = None
    error: Exception | None = None

    def result(self) -> Any:
        """Give the task's value."""
        if self.error is not None:
            raise self.error
        return self.value


class WorkerProcesses:
    """Up to `width` processes, started when they are needed and replaced when they are lost.

    `timeout` is in seconds for a sample, once its worker has loaded what the task needs; `memory` is what
    `pipeline.execution.executors.ExecutorConfig` says.
    """

    def __init__(self, width: int, timeout: float, memory: int) -> None:
        self._width, self._timeout, self._memory = width, timeout, memory
        self._idle: list[_Worker] = []

    def start(self, tasks: int, *needed: Any) -> None:
        """Have a process for each of so many tasks, with what `needed` names loaded (see `start_server`)."""
        start_server(_serve, *needed)
        while len(self._idle) < min(tasks, self._width):
            self._idle.append(_Worker(self._timeout, self._memory))

    def run(self, function: Function, tasks: deque[Any], _: object = None) -> Generator[Ended]:
        """Take tasks while there are any (more may be added meanwhile), and yield each when it has ended."""
        busy: dict[Connection, _Worker] = {}
        looked = time.monotonic()
        if tasks:
            start_server(function, tasks[0])
        try:
            while tasks or busy:
                while tasks and len(busy) < self._width:
                    worker = self._worker()
                    busy[worker.connection] = worker
                    worker.begin(function, tasks.popleft())
                for worker in _heard_of(busy, looked):
                    if worker.advance():
                        del busy[worker.connection]
                        if worker.alive:
                            worker.idle_since = time.monotonic()
                            self._idle.append(worker)
                        yield worker.ended
                looked = time.monotonic()
        finally:  # whoever stops listening wants no more of them
            for worker in busy.values():
                worker.end()

    def _worker(self) -> _Worker:
        """Give a process that waits, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            if time.monotonic() - worker.idle_since < _IDLE / 2:
                return worker
            worker.end()
        return _Worker(self._timeout, self._memory)

    def stop(self) -> None:
        """End the processes that wait for a task."""
        while self._idle:
            self._idle.pop().end()


def _heard_of(busy: dict[Connection, _Worker], looked: float) -> list[_Worker]:
    """Wait for workers that have sent something, or died, or are past their time.

    Where nobody `looked` for a while, since this process was stopped (Ctrl-Z) or had other things to do,
    the workers may have been stopped, too: their time begins anew.
    """
    began = time.monotonic()
    _forgive(busy, began - looked)
    left = max(0.0, min(worker.deadline for worker in busy.values()) - began)
    ready = wait(list(busy), None if left == inf else left)
    if not ready:
        _forgive(busy, time.monotonic() - began - left)
    now = time.monotonic()
    return [w for connection, w in busy.items() if connection in ready or w.deadline <= now]


def _forgive(busy: dict[Connection, _Worker], late: float) -> None:
    for worker in busy.values() if late > _BLINK else ():
        worker.deadline = max(worker.deadline, time.monotonic() + worker.timeout)


class _Worker:
    """One process, and the task that it has."""

    ended: Ended

    def __init__(self, timeout: float, memory: int) -> None:
        self.connection, theirs = CONTEXT.Pipe()
        self.process = start(_serve, theirs, memory)
        theirs.close()
        self.timeout = timeout
        self.deadline = inf
        self.idle_since = time.monotonic()
        self.alive = True
        self._first = True

    def begin(self, function: Function, task: Any) -> None:
        """Hand a task over."""
        self._task, self._begun = task, 0
        with suppress(ConnectionError):  # it has died, as `advance` will read
            self.connection.send((function, task))

    def advance(self) -> bool:
        """Take what the process has sent, if anything; tell whether its task has ended."""
        if not self.connection.poll():
            self._lose("timed_out", f"the worker was ended after {self.timeout:g} s")
            return True
        try:
            outcome = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            died = f"died with exit code {self.process.exitcode}"
            if not self._begun:
                raise PipelineError(
                    f"a worker process on {host()} {died} before it began to work: executor.memory may be "
                    "too small, or the machine short of it; run the same command again, or with "
                    "executor=threads"
                ) from None
            self._lose("crashed", f"the worker {died}")
            return True
        if outcome is None:
            self._begun += 1
            limit = self.timeout if self._begun > 1 else max(self.timeout, LOADING)
            self.deadline = time.monotonic() + limit
            return False
        self.deadline, self._first = inf, False
        self.ended = Ended(self._task, *outcome)
        return True

    def _lose(self, code: str, reason: str) -> None:
        self.end()
        # What is told first is that everything is imported, and then each sample that begins.
        at = self._begun - 2
        self.ended = Ended(self._task, error=WorkerLost(code, reason, at, fresh=self._first and at < 1))

    def end(self) -> None:
        """Kill the process."""
        self.alive = False
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, memory: int) -> None:
    """Run tasks until the other end is closed (by `stop`, or because its process is gone) or silent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the caller ends them
    _die_with_caller()
    _limit_memory(memory)
    with suppress(EOFError, ConnectionError):
        while connection.poll(_IDLE):
            connection.send(_outcome(connection))


def _die_with_caller() -> None:
    """Have the kernel kill this process once its caller is gone: it must not work beside the next run.

    A thread that waited for that would not get its turn while compiled code holds the interpreter's lock.
    """
    caller = multiprocessing.parent_process()
    assert caller is not None
    with suppress(OSError):  # where the kernel has no such signal, a worker still ends after its task
        fcntl.fcntl(caller.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(caller.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(caller.sentinel, fcntl.F_SETFL, os.O_ASYNC)
    if wait([caller.sentinel], timeout=0):  # it was gone before
        os._exit(1)


def _outcome(connection: Connection) -> tuple[Any, Exception | None]:
    """Receive a task, send None for "it begins" and once more for each sample; give its value and error."""
    call = connection.recv_bytes()
    try:
        function, task = pickle.loads(call)  # imports what the task needs
        connection.send(None)
        return function(task, lambda: connection.send(None)), None
    except Exception as error:
        return None, portable(error)


def portable(error: Exception) -> Exception:
    """Give an error as it survives the way to another process, with its traceback as a note."""
    error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(repr(error))
    return error


def _limit_memory(allowance: int) -> None:
    """Cap the address space of a worker: a runaway allocation fails there instead of on the machine."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    cap = pages * resource.getpagesize() + allowance
    if hard != resource.RLIM_INFINITY:  # the user's own cap (`ulimit -v`) cannot be raised
        cap = min(cap, hard)
    resource.setrlimit(resource.RLIMIT_AS, (cap, hard))
