"""What a run on dask costs: microseconds a sample, and the memory of the client and of the scheduler.

python -m benchmarks.cluster [--samples 100000] [--workers 2] [--batch 32] [--payload 4096]

A scheduler and workers are started as processes of this machine. The stage does next to nothing, so what
is measured is carrying tasks, writing chunks, and collecting outcomes; threads run the same for comparison.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
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
        """List the numbers."""
        return [
            SourceSample(
                f"{i:07}", {"n": digest(i.to_bytes(8))}, int.from_bytes(i.to_bytes(8) * (self.payload // 8))
            )
            for i in range(self.count)
        ]


@dataclass
class Memory:
    """Peak of a process's resident memory while it is watched, and what it was at first."""

    process: psutil.Process
    first: int = 0
    peak: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Memory:
        self.first = self.peak = self.process.memory_info().rss
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            self.peak = max(self.peak, self.process.memory_info().rss)

    def __str__(self) -> str:
        return f"{self.first / 1e6:.0f} → {self.peak / 1e6:.0f}"


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--payload", type=int, default=4096, help="bytes a sample")
    asked = parse(parser)
    table = {}
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as given:
        folder = Path(given).absolute()
        with cluster(folder, asked.workers) as (address, scheduler):
            for kind in ("threads", "dask"):
                config = ExecutorConfig(
                    kind=kind,  # type: ignore[arg-type]
                    workers=asked.workers,
                    batch=asked.batch,
                    address=address if kind == "dask" else None,
                )
                pipeline = Pipeline(
                    Workspace(folder / kind, "val"),
                    (Trivial(),),
                    Padded(asked.samples, asked.payload),
                    FileHashes(folder / "hashes", folder),
                )
                outlook = next(survey(pipeline))  # the plan is in memory before anything is measured
                table[kind] = measure(pipeline, config, scheduler)
                del outlook
    show(f"{asked.samples:,} samples of {asked.payload} bytes, {asked.workers} workers", table)


def measure(pipeline: Pipeline, config: ExecutorConfig, scheduler: psutil.Process) -> dict[str, str]:
    """Run the stage; gives what it took."""
    with Memory(psutil.Process()) as own, Memory(scheduler) as theirs, Executor(config) as executor:
        began = time.perf_counter()
        ((_, result),) = run_stages(pipeline, ["trivial"], executor, Progress(None))
        seconds = time.perf_counter() - began
    return {
        "seconds": f"{seconds:.1f}",
        "µs a sample": f"{1e6 * seconds / result.samples:.0f}",
        "client MB": str(own),
        "scheduler MB": str(theirs),
    }


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, psutil.Process]]:
    """Start a scheduler and workers; gives its address and its process."""
    file = folder / "scheduler.json"
    dask, quiet = [sys.executable, "-m", "dask"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    where = ["--scheduler-file", str(file)]
    started = [subprocess.Popen([*dask, "scheduler", "--port", "0", *where], **quiet)]  # type: ignore[call-overload]
    options = [*where, "--nthreads", "1", "--no-nanny", "--local-directory", str(folder)]
    try:
        while not file.exists():
            time.sleep(0.1)
        started += [subprocess.Popen([*dask, "worker", *options], **quiet) for _ in range(workers)]  # type: ignore[call-overload]
        yield json.loads(file.read_text())["address"], psutil.Process(started[0].pid)
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
