"""What a run on dask costs: time and processor time a sample, and memory of the client and the scheduler.

python -m benchmarks.cluster [--samples 5000 20000 100000] [--workers 2] [--batch 32] [--payload 4096]

A scheduler and workers are started as processes of this machine. The stage does next to nothing, so what
is measured is carrying tasks, writing chunks, and collecting outcomes; threads run the same for comparison.
Processor time tells the same on a busy machine as on a quiet one; seconds do not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psutil

from benchmarks.measure import arguments, parse, show
from benchmarks.trivial_stage import Trivial
from pipeline.digest import digest
from pipeline.execution import Executor, ExecutorConfig
from pipeline.planning import FileHashes, Pipeline, SourceSample, survey
from pipeline.runner import run_stages
from pipeline.workspace import Workspace
from warmstore.show import Progress


@dataclass
class Padded:
    """A source of numbers, each of `payload` bytes."""

    count: int
    payload: int

    def samples(self, hashes: FileHashes) -> list[SourceSample]:
        """List the numbers, the same objects each time."""
        return self._samples

    @cached_property
    def _samples(self) -> list[SourceSample]:
        return [
            SourceSample(
                f"{i:07}", {"n": digest(i.to_bytes(8))}, int.from_bytes(i.to_bytes(8) * (self.payload // 8))
            )
            for i in range(self.count)
        ]


@dataclass
class Watched:
    """A process while it is watched: processor seconds (a worker's with its children's), peak of memory."""

    process: psutil.Process
    first: int = 0
    peak: int = 0
    _began: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watched:
        self.first = self.peak = self.process.memory_info().rss
        self._began = self._used()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.used = self._used() - self._began

    def _used(self) -> float:
        total = 0.0
        children = self.process.children(recursive=True) if self.process.pid != os.getpid() else []
        for process in (self.process, *children):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            self.peak = max(self.peak, self.process.memory_info().rss)

    @property
    def memory(self) -> str:
        """Resident memory, before and at its peak, in MB."""
        return f"{self.first / 1e6:.0f} → {self.peak / 1e6:.0f}"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[5_000, 20_000, 100_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--payload", type=int, default=4096, help="bytes a sample")
    parser.add_argument("--executors", nargs="+", default=["threads", "dask"])
    asked = parse(parser)
    table = {}
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as given:
        folder = Path(given).absolute()
        for kind in asked.executors:
            for samples in asked.samples:
                # Each has workers of its own: what they take to start is in it.
                with cluster(folder / f"{kind}{samples}", asked.workers) as (address, processes):
                    config = ExecutorConfig(
                        kind=kind,
                        workers=asked.workers,
                        batch=asked.batch,
                        address=address if kind == "dask" else None,
                    )
                    table[f"{kind}, {samples:,}"] = measure(
                        folder / kind / str(samples), Padded(samples, asked.payload), config, processes
                    )
    show(f"samples of {asked.payload} bytes, {asked.workers} workers", table)


def measure(
    folder: Path, source: Padded, config: ExecutorConfig, cluster: Sequence[psutil.Process]
) -> dict[str, str | float]:
    """Run the stage; gives what it took."""
    pipeline = Pipeline(Workspace(folder, "val"), (Trivial(),), source, FileHashes(folder / "hashes", folder))
    outlook = next(survey(pipeline))  # the plan is in memory before anything is measured
    with ExitStack() as stack:
        own, scheduler, *workers = (stack.enter_context(Watched(p)) for p in (psutil.Process(), *cluster))
        executor = stack.enter_context(Executor(config))
        began = time.perf_counter()
        ((_, result),) = run_stages(pipeline, ["trivial"], executor, Progress(None))
        seconds = time.perf_counter() - began
    del outlook
    per_sample = 1e6 / result.samples
    return {
        "seconds": round(seconds, 1),
        "µs": round(seconds * per_sample),
        "client CPU µs": round(own.used * per_sample),
        "scheduler CPU µs": round(scheduler.used * per_sample),
        "workers CPU µs": round(sum(worker.used for worker in workers) * per_sample),
        "client MB": own.memory,
        "scheduler MB": scheduler.memory,
    }


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[psutil.Process]]]:
    """Start a scheduler and workers; gives its address, and its process and theirs."""
    folder.mkdir(parents=True)
    file = folder / "scheduler.json"
    dask, quiet = [sys.executable, "-m", "dask"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    where = ["--scheduler-file", str(file)]
    started = [subprocess.Popen([*dask, "scheduler", "--port", "0", *where], **quiet)]  # type: ignore[call-overload]
    options = [*where, "--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
    try:
        while not file.exists():
            time.sleep(0.1)
        started += [subprocess.Popen([*dask, "worker", *options], **quiet) for _ in range(workers)]  # type: ignore[call-overload]
        yield json.loads(file.read_text())["address"], [psutil.Process(one.pid) for one in started]
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
