"""A dask cluster of real processes: a scheduler and workers, each of which a test may kill or stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

PROJECT = Path(__file__).resolve().parents[2]


class Cluster:
    """Processes of dask, in `folder`; whoever opens it waits for nothing but the scheduler."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", self._file)
        self.workers: list[subprocess.Popen[bytes]] = []
        while not Path(self._file).exists() and self.scheduler.poll() is None:
            time.sleep(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Kill all processes."""
        for process in [*self.workers, self.scheduler]:
            kill(process)

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        return str(json.loads(Path(self._file).read_text())["address"])

    def join(
        self, nanny: bool = True, folder: Path | None = None, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start a worker of one thread; it works in `folder`, with variables of its own."""
        options = ["--nthreads", "1", "--nworkers", "1", "--local-directory", str(self.folder)]
        if not nanny:
            options.append("--no-nanny")
        scheduler = ("--scheduler-file", self._file)
        worker = self._start("worker", *scheduler, *options, folder=folder, environment=environment)
        self.workers.append(worker)
        return worker

    def wait(self, workers: int) -> None:
        """Wait until so many workers have joined."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)

    def refill(self, workers: int) -> None:
        """Have so many workers that live, whatever became of those before."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            while True:
                self.workers = [worker for worker in self.workers if worker.poll() is None]
                complete = len(self.workers) == workers
                while len(self.workers) < workers:
                    self.join()
                if complete and len(client.nthreads()) == workers:
                    return
                time.sleep(0.05)

    @property
    def _file(self) -> str:
        return str(self.folder / "scheduler.json")

    def _start(
        self, what: str, *options: str, folder: Path | None = None, environment: Mapping[str, str] = {}
    ) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), str(PROJECT))))
        log = (self.folder / f"{what}-{time.monotonic_ns()}.log").open("wb")
        with log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", what, *options, "--no-dashboard"],
                cwd=folder or self.folder,
                env={**os.environ, **environment, "PYTHONPATH": path},
                stdout=log,
                stderr=log,
            )


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Give a process and all that it has started."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        return [*parent.children(recursive=True), parent]
    return []


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it has started."""
    for member in family(process):
        with suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    process.wait()


def tell(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and all that it has started."""
    for member in family(process):
        with suppress(psutil.NoSuchProcess):
            member.send_signal(number)
