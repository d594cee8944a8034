"""What limits preprocessing on more cores: how fast workers start, what their parent does, and a simulation.

python -m benchmarks.scaling [--receipts FOLDER] [--samples 209] [--workers 1 2 4 8 16 32 64]

A stage that sleeps as long as decoding takes stands for cores that this machine has not: workers wait
beside each other, and what they and their parent do besides is real. `lock` measures the two figures that
`executor=auto` chooses by (`pipeline/execution/executor_config.py`).
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal

from benchmarks.measure import arguments, parse, show
from benchmarks.receipts import RECEIPTS, kind_of, receipts_in
from benchmarks.record import Row
from benchmarks.trivial_stage import Sleeping
from pipeline.digest import digest
from pipeline.execution import Executor, ExecutorConfig, WorkerProcesses
from pipeline.planning import FileHashes, Pipeline, SourceSample
from pipeline.runner import run_stages
from pipeline.workspace import Workspace
from warmstore.configuration import load_config

SECONDS = 4.0  # of a simulated run
Kind = Literal["threads", "processes"]


class Counted:
    """A source of so many numbers."""

    def __init__(self, count: int) -> None:
        self.count = count

    def samples(self, hashes: FileHashes) -> list[SourceSample]:
        return [SourceSample(f"{i:06}", {"n": digest(i.to_bytes(8))}, i) for i in range(self.count)]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--receipts", type=Path, help=RECEIPTS)
    parser.add_argument("--samples", type=int, default=209)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--kinds", nargs="+", default=["threads", "processes"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--milliseconds", type=float, default=30.0, help="that the simulated stage sleeps")
    parser.add_argument("--parts", nargs="+", default=["start", "lock", "simulation"])
    asked = parse(parser)
    with TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        work = Path(folder).absolute()
        if "start" in asked.parts:
            show("to start", start())
        if "lock" in asked.parts:
            with receipts_in(asked.receipts, asked.samples) as receipts:
                stages(receipts, work, asked)
        if "simulation" in asked.parts:
            for kind in asked.kinds:
                rows = [row for workers in asked.workers for row in simulated(kind, workers, work, asked)]
                show(f"{kind}, sleeping {asked.milliseconds:g} ms", rows, kind=kind, ms=asked.milliseconds)


def start() -> list[Row]:
    """Start workers, the server first: seconds by the clock until all of them have begun a task."""
    config, _ = load_config("receipts")
    needed, rows = config.stages.in_order(), []
    for name, workers in (("the server and one worker", 1), ("16 workers more", 16), ("64 workers more", 64)):
        pool = WorkerProcesses(workers, 60.0, 8 << 30)
        began = time.perf_counter()
        pool.start(workers, *needed)
        rows.append(Row(name=name, unit="s", values=(time.perf_counter() - began,)))
        pool.stop()
    return rows


def stages(receipts: Path, work: Path, asked: Any) -> None:
    """Four stages on two workers, threads and processes in turns: seconds, and milliseconds of the parent."""
    kinds, cores = ("threads", "processes"), len(os.sched_getaffinity(0))
    seconds: dict[str, dict[str, list[float]]] = {kind: {} for kind in kinds}
    parents: dict[str, list[float]] = {}
    for number in range(asked.rounds):
        for kind in kinds if number % 2 else reversed(kinds):
            folder = work / f"{kind}-{number}"
            where = [
                f"data.root={receipts}",
                f"work_dir={folder}",
                f"data.splits.val.part=[0, {asked.samples}]",
            ]
            config, _ = load_config("receipts", ["canvas=640", *where])
            pipeline = config.pipeline("val")
            names = [stage.name for stage in pipeline.stages]
            with Executor(ExecutorConfig(kind=kind, workers=cores)) as executor:  # type: ignore[arg-type]
                used = time.process_time()
                for name, result in run_stages(pipeline, names, executor):
                    seconds[kind].setdefault(name, []).append(result.seconds)
                    spent, used = time.process_time() - used, time.process_time()
                    if kind == "processes":
                        parents.setdefault(name, []).append(1e3 * spent / result.computed)
    given = {"workers": cores, "data": kind_of(asked.receipts), "samples": asked.samples}
    for kind in kinds:
        rows = [Row(name=name, unit="s", values=values) for name, values in seconds[kind].items()]
        show(f"{kind}, {cores} workers", rows, kind=kind, **given)
    rows = [Row(name=name, unit="parent's CPU ms", values=values) for name, values in parents.items()]
    show("processes", rows, **given)
    lost = [
        sum(t) - sum(p) for t, p in zip(*(zip(*seconds[k].values(), strict=True) for k in kinds), strict=True)
    ]
    locked = [1e3 * one / asked.samples / (1 - 1 / cores) for one in lost]
    show("under the interpreter's lock", [Row(name="all stages", unit="ms a sample", values=locked)], **given)
    print(f"median {median(locked):.1f}")


def simulated(kind: Kind, workers: int, work: Path, asked: Any) -> list[Row]:
    """Let so many workers sleep: images a second, the share of what they could do, the parent's CPU."""
    count = int(SECONDS * workers / (asked.milliseconds / 1e3))
    stage = Sleeping(milliseconds=asked.milliseconds)
    folder = work / f"{kind}-{workers}"
    pipeline = Pipeline(
        Workspace(folder, "val"), (stage,), Counted(count), FileHashes(folder / "hashes", folder)
    )
    with Executor(ExecutorConfig(kind=kind, workers=workers)) as executor:
        used = time.process_time()
        ((_, result),) = run_stages(pipeline, [stage.name], executor)
        parent = 1e3 * (time.process_time() - used) / count
    row = partial(Row, name=f"{workers} workers", conditions={"workers": workers})
    rate = count / result.seconds
    share = 100 * rate * asked.milliseconds / 1e3 / workers
    return [
        row(unit="images/s", values=(rate,)),
        row(unit="% of its workers", values=(share,)),
        row(unit="parent's CPU ms", values=(parent,)),
    ]


if __name__ == "__main__":
    main()
