"""Worker processes that a call may crash, or outstay its time in, without taking any other call along.

A pool that hands calls out through one queue has to guess whose worker died. Here every process has a
pipe of its own and one call at a time, so that whatever ends it is laid to that call alone.
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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from math import inf
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError, WorkerLost


class Call:
    """A call that waits for its turn; `result()` gives its value, or raises, once it has completed."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], timeout: float = inf) -> None:
        self.function, self.args, self.timeout = function, args, timeout
        self.future: Future[Any] = Future()

    def run(self) -> None:
        """Make the call here and now."""
        try:
            self.future.set_result(self.function(*self.args))
        except Exception as error:
            self.future.set_exception(error)

    def result(self) -> Any:
        """Give the value; raises what the call raised, or WorkerLost."""
        return self.future.result(timeout=0)


class WorkerProcesses:
    """Up to `width` processes, started when they are needed and replaced when they are lost.

    `timeout` is in seconds for a call on one sample, counted from where its worker has everything
    imported; `memory` is what `pipeline.execution.executors.ExecutorConfig` says.
    """

    def __init__(self, width: int, timeout: float, memory: int) -> None:
        self._width, self._timeout, self._memory = width, timeout, memory
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, _Worker] = {}

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Call:
        """Describe a call; an argument's `size`, where it has one, is the number of its samples."""
        samples = sum(getattr(arg, "size", 0) for arg in args)
        return Call(function, args, self._timeout * max(1, samples))

    def as_completed(self, calls: Iterable[Call]) -> Iterator[Call]:
        """Run the calls and yield each when it has ended."""
        waiting = deque(calls)
        while waiting or self._busy:
            while waiting and len(self._busy) < self._width:
                worker = self._idle.pop() if self._idle else _Worker(self._memory)
                self._busy[worker.connection] = worker
                worker.begin(waiting.popleft())
            for worker in self._heard_of():
                if worker.advance():
                    del self._busy[worker.connection]
                    if worker.alive:
                        self._idle.append(worker)
                    yield worker.call

    def _heard_of(self) -> list[_Worker]:
        """Wait for workers that have sent something, or died, or are past their time."""
        left = min(worker.deadline for worker in self._busy.values()) - time.monotonic()
        ready = wait(list(self._busy), None if left == inf else max(0.0, left))
        now = time.monotonic()
        return [
            worker
            for connection, worker in self._busy.items()
            if connection in ready or worker.deadline <= now
        ]

    def stop(self) -> None:
        """End all processes, whatever they are doing."""
        for worker in [*self._idle, *self._busy.values()]:
            worker.end()


class _Worker:
    """One process, and the call that it has."""

    call: Call

    def __init__(self, memory: int) -> None:
        # A fork of a process that has run threads may deadlock; a server forks from a clean one.
        context = multiprocessing.get_context("forkserver")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, memory), daemon=True)
        self.process.start()
        theirs.close()
        self.deadline = inf
        self.alive = True

    def begin(self, call: Call) -> None:
        """Hand the call over."""
        self.call = call
        with suppress(ConnectionError):  # it has died, as `advance` will read
            self.connection.send((call.function, call.args))

    def advance(self) -> bool:
        """Take what the process has sent, if anything; tell whether its call has ended."""
        if not self.connection.poll():
            self._lose("timed_out", f"the worker was ended after {self.call.timeout:g} s")
            return True
        try:
            outcome = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            died = f"died with exit code {self.process.exitcode}"
            if self.deadline == inf:
                raise PipelineError(
                    f"a worker process {died} before it began to work: executor.memory may be too small, "
                    "or the machine short of it; run the same command again, or with executor=threads"
                ) from None
            self._lose("crashed", f"the worker {died}")
            return True
        if outcome is None:
            self.deadline = time.monotonic() + self.call.timeout
            return False
        value, error = outcome
        self.deadline = inf
        if error is None:
            self.call.future.set_result(value)
        else:
            self.call.future.set_exception(error)
        return True

    def _lose(self, code: str, reason: str) -> None:
        self.end()
        self.call.future.set_exception(WorkerLost(code, reason))

    def end(self) -> None:
        """Kill the process."""
        self.alive = False
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection: Connection, memory: int) -> None:
    """Run calls until the other end is closed: by `stop`, or because its process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the caller ends them
    _die_with_caller()
    _limit_memory(memory)
    with suppress(EOFError, ConnectionError):
        while True:
            connection.send(_outcome(connection))


def _die_with_caller() -> None:
    """Have the kernel kill this process once its caller is gone: it must not work beside the next run.

    A thread that waited for that would not get its turn while compiled code holds the interpreter's lock.
    """
    caller = multiprocessing.parent_process()
    assert caller is not None
    with suppress(OSError):  # where the kernel has no such signal, a worker still ends after its call
        fcntl.fcntl(caller.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(caller.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(caller.sentinel, fcntl.F_SETFL, os.O_ASYNC)
    if wait([caller.sentinel], timeout=0):  # it was gone before
        os._exit(1)


def _outcome(connection: Connection) -> tuple[Any, Exception | None]:
    """Receive a call, send None for "it has begun", and give its value and its error."""
    call = connection.recv_bytes()
    try:
        function, args = pickle.loads(call)  # imports what the call needs
        connection.send(None)
        return function(*args), None
    except Exception as error:
        return None, _portable(error)


def _portable(error: Exception) -> Exception:
    """Give the error as it survives the way to another process, with its traceback as a note."""
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
