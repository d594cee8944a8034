"""Where tasks run: one interface, the standard library's `submit` and `as_completed`.

    with open_executor(ExecutorConfig(kind="threads")) as executor:
        futures = [executor.submit(function, task) for task in tasks]
        for future in executor.as_completed(futures):
            future.result()

Nothing runs at `submit` in any of them. A task that kills its process or outlives `timeout` fails
alone, with `WorkerLost`, where the executor has processes to lose.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, Protocol

from pydantic import Field

from pipeline.errors import ConfigError, WorkerLost
from pipeline.execution.process_pool import Call, WorkerProcesses
from pipeline.extras import extra
from pipeline.stage import Parameters

Kind = Literal["serial", "threads", "processes", "dask"]


class ExecutorConfig(Parameters):
    """Where and how wide stages run."""

    kind: Kind = "threads"
    """`processes` isolates each task from crashes; `dask` uses a cluster."""
    workers: int | None = Field(default=None, ge=1)
    """Number of workers; by default all the processors that this process may use."""
    batch: int = Field(default=16, ge=1)
    """Samples a task, rounded up to whole chunks."""
    address: str | None = None
    """Of a running dask scheduler; without one, dask starts a cluster on this machine."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds that a task of one sample may take before its worker is ended (`processes`)."""
    memory: int = Field(default=8 << 30, ge=1 << 28)
    """Bytes of address space that a worker may use beyond what it starts with (`processes`).

    Libraries that it loads count.
    """

    @property
    def width(self) -> int:
        """Number of workers."""
        return self.workers or len(os.sched_getaffinity(0))


class Executor(Protocol):
    """What runs tasks: `as_completed` yields the very futures that `submit` gave, as they end."""

    def submit(self, function: Callable[..., Any], /, *args: Any) -> Any:
        """Schedule a call."""
        ...

    def as_completed(self, futures: Iterable[Any]) -> Iterator[Any]:
        """Yield futures as they complete; `result()` then gives the value or raises."""
        ...


@contextmanager
def open_executor(config: ExecutorConfig) -> Iterator[Executor]:
    """Start an executor; on leaving, what has not begun is cancelled and workers are gone."""
    with ExitStack() as stack:
        if config.kind == "serial":
            yield _Serial()
        elif config.kind == "threads":
            threads = _Threads(config.width, thread_name_prefix="stage")
            stack.callback(threads.shutdown, cancel_futures=True)
            yield threads
        elif config.kind == "processes":
            processes = WorkerProcesses(config.width, config.timeout, config.memory)
            stack.callback(processes.stop)
            yield processes
        else:
            yield stack.enter_context(_dask(config))


class _Serial:
    def submit(self, function: Callable[..., Any], /, *args: Any) -> Call:
        return Call(function, args)

    def as_completed(self, calls: Iterable[Call]) -> Iterator[Call]:
        for call in calls:
            call.run()
            yield call


class _Threads(ThreadPoolExecutor):
    as_completed = staticmethod(as_completed)


class _DaskFuture:
    """A dask future that says in our words how its worker was lost."""

    def __init__(self, future: Any) -> None:
        self.future = future

    def result(self) -> Any:
        from distributed.scheduler import KilledWorker

        try:
            return self.future.result()
        except KilledWorker as error:
            raise WorkerLost("crashed", f"workers died while running it ({error})") from None


class _Dask:
    def __init__(self, client: Any) -> None:
        self._client = client

    def submit(self, function: Callable[..., Any], /, *args: Any) -> _DaskFuture:
        # pure=False: a task writes files, so equal arguments are no reason to skip it.
        return _DaskFuture(self._client.submit(function, *args, pure=False))

    def as_completed(self, futures: Iterable[_DaskFuture]) -> Iterator[_DaskFuture]:
        from distributed import as_completed as dask_as_completed

        by_key = {future.future.key: future for future in futures}
        inner = [future.future for future in by_key.values()]
        for done in dask_as_completed(inner, loop=self._client.loop):
            yield by_key[done.key]


@contextmanager
def _dask(config: ExecutorConfig) -> Iterator[Executor]:
    with extra("cluster", "executor.kind=dask"):
        from distributed import Client, LocalCluster

    if config.address:
        try:
            client = Client(config.address, timeout="10s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise ConfigError(
                f"no dask scheduler answers at executor.address={config.address} ({error}); "
                "start one, or leave the address out for a cluster on this machine"
            ) from None
        with client:
            yield _Dask(client)
        return
    with (
        LocalCluster(
            n_workers=config.width, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield _Dask(client)
