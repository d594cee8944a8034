"""A client of dask, of a scheduler that runs somewhere or of a cluster on this machine: or one error."""

from __future__ import annotations

import logging
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

from pipeline.errors import ConfigError, PipelineError
from pipeline.extras import extra

log = logging.getLogger(__name__)

_DEADLINE = 10  # seconds to connect
_GRACE = 2  # seconds until dask must have kept to that
_FAREWELL = 5  # seconds to take leave of a scheduler that may be gone


@contextmanager
def connected(address: str | None, width: int) -> Iterator[Any]:
    """Give a client of the scheduler at `address`, or of a cluster of `width` workers on this machine.

    Raises ConfigError where dask is not installed or no scheduler answers, PipelineError where no
    cluster can be started.
    """
    with extra("cluster", "executor.kind=dask"):
        from distributed import Client
    with ExitStack() as stack:
        stack.enter_context(_without_tracebacks())
        if address is None:
            address = stack.enter_context(_cluster_here(width)).scheduler_address
        try:
            client = _within(
                _DEADLINE + _GRACE, lambda: Client(address, timeout=_DEADLINE, set_as_default=False)
            )
        except Exception as error:  # what dask raises depends on what is at the other end
            raise ConfigError(
                f"no dask scheduler answers at executor.address={address} "
                f"({_one_line(error)}); start one with `dask scheduler`, or leave the address out for a "
                "cluster on this machine"
            ) from None
        stack.callback(client.close, timeout=_FAREWELL)
        shown = "dashboard" in client.scheduler_info().get("services", {})
        log.info("dask scheduler at %s%s", address, f", dashboard {client.dashboard_link}" if shown else "")
        yield client


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Keep dask's own account of a lost connection from the user, who is told in one sentence."""
    talkative = logging.getLogger("distributed.client")
    before = talkative.level
    talkative.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        talkative.setLevel(before)


def _within(seconds: float, make: Callable[[], Any]) -> Any:
    """Make something that may never come about: dask waits for ever for what listens and never answers.

    Raises TimeoutError after so many seconds; the thread that waits ends with the process.
    """
    made: Future[Any] = Future()

    def try_it() -> None:
        try:
            made.set_result(make())
        except Exception as error:
            made.set_exception(error)

    threading.Thread(target=try_it, daemon=True).start()
    return made.result(timeout=seconds)


@contextmanager
def _cluster_here(width: int) -> Iterator[Any]:
    from distributed import LocalCluster

    try:
        with _deaf_to_interrupts():
            # The workers' own processes stay small: what computes are their children, with their own limit.
            cluster = LocalCluster(
                n_workers=width, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
            )
    except Exception as error:  # what dask raises depends on where a process failed to start
        raise PipelineError(
            f"dask cannot start {width} workers on this machine ({_one_line(error)}); see whether there is "
            f"room in {_temporary()} and for more processes, or set executor.kind=processes"
        ) from error
    with cluster:
        yield cluster


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Have the processes that start meanwhile ignore Ctrl-C, which reaches all: the run ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # none of them can be written
        return "the folder for temporary files (TMPDIR)"


def _one_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    return " ".join(f"{type(cause).__name__}: {cause}".split())
