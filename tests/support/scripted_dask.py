"""A client of dask without dask: its workers answer at once in this process, or as a test scripts it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any

import pytest

from pipeline.execution import Ended, dask_cluster, dask_worker, process_pool

ADDRESS = "tcp://10.0.0.1:8786"


class Future:
    """What a call is to give; its script says what."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.given: Any = None
        self.told: list[Callable[[Future], None]] = []
        self.over = self.released = False

    def end(self, given: Any) -> None:
        """Give something, or raise it where it is an exception."""
        self.given, self.over = given, True
        for tell in self.told:
            tell(self)

    def add_done_callback(self, tell: Callable[[Future], None]) -> None:
        self.told.append(tell)
        if self.over:
            tell(self)

    def result(self, timeout: float) -> Any:
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given

    def release(self) -> None:
        self.released = True


class Client:
    """Workers by address. Those in `silent` do not answer; of those in `failing` dask fails so many calls."""

    status = "running"
    failure: BaseException = RuntimeError("dask could not carry it")

    def __init__(self, *workers: str) -> None:
        self.workers = dict.fromkeys(workers, 1)
        self.silent: set[str] = set()
        self.failing: dict[str, int] = {}
        self.futures: list[Future] = []
        self.calls: list[tuple[str, Callable[[], Any], Future]] = []
        self.done: list[str] = []
        self.bytes = 0

    @property
    def scheduler(self) -> Any:
        return type("Scheduler", (), {"address": ADDRESS})

    def nthreads(self, callback_timeout: float) -> dict[str, int]:
        return self.workers

    def submit(
        self, function: Callable[..., Any], data: bytes, *, key: str, workers: list[str], **_: Any
    ) -> Future:
        (address,) = workers
        self.bytes += len(data)
        future = Future(key)
        self.futures.append(future)
        if address in self.silent:
            self.calls.append((address, lambda: function(data), future))
        elif self.failing.get(address, 0) and self.done:
            self.failing[address] -= 1
            future.end(self.failure)
        else:
            self.done.append(address)
            future.end(function(data))
        return future

    def wake(self) -> None:
        """Let the silent ones answer all that they were sent."""
        self.silent.clear()
        while self.calls:
            address, call, future = self.calls.pop(0)
            self.done.append(address)
            future.end(call())


class Clock:
    """A second passes at every look; `at` says what happens then."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: dict[float, Callable[[], object]] = {}

    def __call__(self) -> float:
        self.now += 1.0
        self.at.pop(self.now, lambda: None)()
        return self.now


class _Here:
    def run(self, function: process_pool.Function, tasks: deque[Any]) -> Generator[Ended]:
        for task in tasks:
            yield Ended(task, function(task, lambda: None))


def isolate_nothing(patch: pytest.MonkeyPatch) -> None:
    """Have tasks run in this process, and nobody wait for it."""
    patch.setattr(dask_worker, "_processes", lambda limits: _Here())
    patch.setattr(dask_cluster, "_LOOK", 0.0)
