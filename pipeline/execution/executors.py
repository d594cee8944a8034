"""Where tasks run: one interface over serial, threads, worker processes and dask.

    with Executor(ExecutorConfig(kind="threads")) as executor:
        for ended in executor.run(function, deque(tasks), offered):
            ended.result()

Nothing starts before there is a task, and what has started serves all stages of a run. No more tasks are
under way than workers need; tasks that are added while others run are run too. A sample that kills its
process or outlives `timeout` ends its task with `WorkerLost`, where the executor has processes to lose.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any, Literal, Protocol, Self

from pydantic import Field, model_validator

from pipeline.execution.handshake import Handshake
from pipeline.execution.process_pool import Ended, Function, WorkerProcesses
from pipeline.stage import Parameters

Kind = Literal["serial", "threads", "processes", "dask"]


class ExecutorConfig(Parameters):
    """Where and how wide stages run."""

    kind: Kind = "threads"
    """`processes` isolates each task from crashes; `dask` uses a cluster, and isolates too."""
    workers: int | None = Field(default=None, ge=1)
    """Number of workers; by default all the processors that this process may use."""
    batch: int = Field(default=16, ge=1)
    """Samples a task, rounded up to whole chunks."""
    address: str | None = None
    """Of a running dask scheduler; without one, dask starts a cluster on this machine."""
    wait_workers: float = Field(default=60.0, gt=0)
    """Seconds without a worker that can be used after which a run on `dask` gives up."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds that a sample may take before its worker is ended (`processes`, `dask`)."""
    memory: int = Field(default=8 << 30, ge=1 << 28)
    """Bytes of address space that a worker may use beyond what it starts with (`processes`, `dask`).

    Libraries that it loads count.
    """

    @model_validator(mode="after")
    def _address_is_dasks(self) -> Self:
        if self.address is not None and self.kind != "dask":
            raise ValueError(
                f"address={self.address} is of a dask scheduler, and kind is {self.kind}: set kind=dask, or "
                "leave the address out"
            )
        return self

    @property
    def width(self) -> int:
        """Number of workers."""
        return self.workers or len(os.sched_getaffinity(0))


class Backend(Protocol):
    """One way of running tasks."""

    def run(self, function: Function, tasks: deque[Any], offered: Handshake | None) -> Generator[Ended]:
        """Take tasks while there are any, and yield each when it has ended."""
        ...


class Executor:
    """Runs tasks as its configuration says; on leaving, workers are gone."""

    def __init__(self, config: ExecutorConfig) -> None:
        self.config = config
        self._stack = ExitStack()
        self._started: dict[Kind, Backend] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._started.clear()
        self._stack.close()

    def run(
        self,
        function: Function,
        tasks: deque[Any],
        offered: Handshake | None = None,
        isolated: bool = False,
    ) -> Generator[Ended]:
        """Run tasks; with `isolated`, threads are replaced by processes, which a sample may crash.

        Workers on other machines `answer` the handshake that is offered before they are given a task.
        """
        kind: Kind = "processes" if isolated and self.config.kind == "threads" else self.config.kind
        if kind not in self._started:
            self._started[kind] = self._start(kind)
        return self._started[kind].run(function, tasks, offered)

    def _start(self, kind: Kind) -> Backend:
        config = self.config
        if kind == "serial":
            return _Serial()
        if kind == "threads":
            threads = _Threads(config.width)
            self._stack.callback(threads.stop)
            return threads
        if kind == "processes":
            processes = WorkerProcesses(config.width, config.timeout, config.memory)
            self._stack.callback(processes.stop)
            return processes
        from pipeline.execution.dask_client import connected
        from pipeline.execution.dask_cluster import DaskWorkers

        client = self._stack.enter_context(connected(config.address, config.width))
        return DaskWorkers(client, config.timeout, config.memory, config.wait_workers)


def _made_here(function: Function, task: Any) -> Ended:
    try:
        return Ended(task, function(task, _nobody))
    except Exception as error:
        return Ended(task, error=error)


def _nobody() -> None:
    """Is told that a sample begins."""


class _Serial:
    def run(self, function: Function, tasks: deque[Any], offered: Handshake | None) -> Generator[Ended]:
        while tasks:
            yield _made_here(function, tasks.popleft())


class _Threads:
    def __init__(self, width: int) -> None:
        self._width = width
        self._threads = ThreadPoolExecutor(width, thread_name_prefix="stage")

    def run(self, function: Function, tasks: deque[Any], offered: Handshake | None) -> Generator[Ended]:
        under_way = set[Future[Ended]]()
        while tasks or under_way:
            while tasks and len(under_way) < 2 * self._width:
                under_way.add(self._threads.submit(_made_here, function, tasks.popleft()))
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)

    def stop(self) -> None:
        """End the threads once they have done what they are at."""
        self._threads.shutdown(cancel_futures=True)
