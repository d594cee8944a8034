"""Where tasks run: one interface over serial, threads, worker processes and dask.

    with Executor(ExecutorConfig()) as executor:
        choice = executor.choose(stage, samples)
        for ended in executor.run(choice.kind, function, deque(tasks), offered):
            ended.result()

Nothing starts before there is a task, and what has started serves all stages of a run. No more tasks are
under way than workers need; tasks that are added while others run are run too. A sample that kills its
process or outlives `timeout` ends its task with `WorkerLost`, where the executor has processes to lose.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import Any, Protocol, Self

from pipeline.execution.executor_config import Choice, ExecutorConfig, Kind, choose
from pipeline.execution.handshake import Handshake
from pipeline.execution.process_pool import LOADING, Ended, Function, WorkerProcesses
from pipeline.stage import Stage


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
        self._processes = False
        self._stages: tuple[Stage, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._started.clear()
        self._stack.close()

    def choose(self, stage: Stage, samples: int, died: bool = False) -> Choice:
        """Choose what computes `samples` of a stage (see `executor_config.choose`).

        `auto` stays with processes once it has chosen them.
        """
        choice = choose(self.config, stage, samples, running=self._processes, died=died)
        self._processes |= choice.kind == "processes"
        return choice

    def expect(self, stages: Sequence[Stage]) -> None:
        """Know what will run, so that processes load what all of it needs, and once."""
        self._stages = tuple(stages)

    def prepare(self, stage: Stage, samples: int) -> None:
        """Do what the first of `samples` would wait for; samples are timed from then on."""
        kind = self.choose(stage, samples).kind
        if kind == "dask":  # its workers prepare themselves
            return
        backend = self._backend(kind)
        if isinstance(backend, WorkerProcesses):
            backend.start(math.ceil(samples / self.config.batch), *self._stages)
        else:
            stage.prepare()

    def run(
        self, kind: Kind, function: Function, tasks: deque[Any], offered: Handshake | None = None
    ) -> Generator[Ended]:
        """Run tasks on what was chosen.

        Workers on other machines `answer` the handshake that is offered before they are given a task.
        """
        return self._backend(kind).run(function, tasks, offered)

    def _backend(self, kind: Kind) -> Backend:
        if kind not in self._started:
            self._started[kind] = self._start(kind)
        return self._started[kind]

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
        # Workers that this machine has started are there, however long they take to load what they need.
        wait = config.wait_workers if config.address else max(config.wait_workers, LOADING)
        return DaskWorkers(client, config.timeout, config.memory, wait)


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
