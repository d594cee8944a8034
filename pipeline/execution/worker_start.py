"""How worker processes start: forked, by a server that has loaded what all of them need.

A fork of a process in which threads run may deadlock, so a server forks that only imports. What it
imports is loaded once, beside the caller, and lies in memory once.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import PipelineError, host

CONTEXT = multiprocessing.get_context("forkserver")

_starting = threading.Lock()


def start_server(*needed: Any) -> None:
    """Start the server, if there is none, which loads what the classes of `needed` (stages, tasks) need.

    It looks for modules where this process does: a folder `stages` in which a command is typed is another
    one. Returns at once; whoever starts a process waits until they are loaded.
    """
    found = _Modules()
    found.dump(needed)
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    resource_tracker.ensure_running()  # which lets signals through again
    with _starting, _environment(PYTHONPATH=path, PYTHONSAFEPATH="1"):
        CONTEXT.set_forkserver_preload(sorted(found.names - {"__main__"}))
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C reaches all processes
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def start(serve: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Start a process that runs `serve` in this environment; it ends with its caller.

    It does not run the program's own script, as processes of `multiprocessing` do: a script that does not
    expect that would begin all its work again.
    """
    environment = dict(os.environ)
    process = CONTEXT.Process(target=_in_environment, args=(environment, serve, arguments), daemon=True)
    with _starting:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            process.start()
        except (EOFError, ConnectionError) as error:
            raise PipelineError(
                f"the server that worker processes are forked from died on {host()}, maybe for want of "
                "memory; run the same command again, or with executor=threads"
            ) from error
        finally:
            sys.modules["__main__"] = script
    return process


def _in_environment(environment: Mapping[str, str], serve: Callable[..., None], arguments: Any) -> None:
    os.environ.clear()
    os.environ.update(environment)
    serve(*arguments)


class _Modules(pickle.Pickler):
    """Pickles into nothing, and gives the names of the modules that unpickling would import."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.names = set[str]()

    def reducer_override(self, value: Any) -> Any:
        """Note where a class or a function is from, and what a stage imports later; pickle as always."""
        self.names |= {getattr(value, "__module__", None) or "builtins", *getattr(value, "lazy_imports", ())}
        return NotImplemented


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
