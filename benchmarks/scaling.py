"""What limits preprocessing on more cores: how fast workers start, what their parent does, and a simulation.

python -m benchmarks.scaling [--receipts FOLDER] [--samples 209] [--workers 1 2 4 8 16 32 64]

A stage that sleeps as long as decoding takes stands for cores that this machine has not: workers wait
beside each other, and what they and their parent do besides is real.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from benchmarks.cpu_time import cpu_seconds
from benchmarks.measure import arguments, parse, show
from benchmarks.receipts import RECEIPTS, first_of, kind_of, receipts_in
from benchmarks.record import Row
from benchmarks.trivial_stage import Sleeping
from pipeline.digest import digest
from pipeline.execution import Executor, ExecutorConfig, WorkerProcesses
from pipeline.planning import FileHashes, Pipeline, SourceSample
from pipeline.runner import run_stages
from pipeline.workspace import Workspace
from warmstore.configuration import load_config

MOST_DASK = 16  # workers: each loads its libraries for itself
Kind = Literal["threads", "processes", "dask"]


class Counted:
    """A source of so many numbers."""

    def __init__(self, count: int) -> None:
        self.count = count

    def samples(self, hashes: FileHashes) -> list[SourceSample]:
        return [SourceSample(f"{i:06}", {"n": digest(i.to_bytes(8))}, i) for i in range(self.count)]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--receipts", type=Path, help=RECEIPTS)
    parser.add_argument("--samples", type=int, default=104)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--kinds", nargs="+", default=["threads", "processes", "dask"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--milliseconds", type=float, default=30.0, help="that the simulated stage sleeps")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a simulated run")
    parser.add_argument("--parts", nargs="+", default=["start", "stages", "simulation"])
    asked = parse(parser)
    with TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        work = Path(folder).absolute()
        if "start" in asked.parts:
            show("to start", start(), part="start")
        if "stages" in asked.parts:
            with receipts_in(asked.receipts, asked.samples) as receipts:
                stages(first_of(receipts, asked.samples, work), work, asked)
        if "simulation" in asked.parts:
            for kind in asked.kinds:
                counts = (n for n in asked.workers if kind != "dask" or n <= MOST_DASK)
                rows = [row for workers in counts for row in simulated(kind, workers, work, asked)]
                show(f"{kind}, sleeping {asked.milliseconds:g} ms", rows, kind=kind, ms=asked.milliseconds)


def start() -> list[Row]:
    """Start workers, the server first: seconds by the clock, and of CPU."""
    config, _ = load_config("receipts")
    needed, rows = config.stages.in_order(), []
    for name, workers in (("the server and one worker", 1), ("16 workers more", 16), ("64 workers more", 64)):
        pool = WorkerProcesses(workers, 60.0, 8 << 30)
        began, used = time.perf_counter(), cpu_seconds()
        pool.start(workers, *needed)
        rows.append(Row(name=name, unit="s", values=(time.perf_counter() - began,)))
        pool.stop()
        rows.append(Row(name=name, unit="CPU s", values=(cpu_seconds() - used,)))
    return rows


def stages(receipts: Path, work: Path, asked: Any) -> None:
    """Four stages in processes: milliseconds a receipt, of their parent and of all; and what follows."""
    parent: dict[str, list[float]] = {}
    everything: dict[str, list[float]] = {}
    for number in range(asked.rounds):
        where = [
            f"data.root={receipts}",
            f"work_dir={work}/{number}",
            f"data.splits.val.part=[0, {asked.samples}]",
        ]
        config, _ = load_config("receipts", ["canvas=640", *where])
        pipeline = config.pipeline("val")
        names = [stage.name for stage in pipeline.stages]
        with Executor(ExecutorConfig(kind="processes")) as executor:
            executor.expect(pipeline.stages)
            executor.prepare(pipeline.stages[0], asked.samples)
            own, used = time.process_time(), cpu_seconds()
            for name, result in run_stages(pipeline, names, executor):
                now, spent = time.process_time(), cpu_seconds()
                parent.setdefault(name, []).append(1e3 * (now - own) / result.computed)
                everything.setdefault(name, []).append(1e3 * (spent - used) / result.computed)
                own, used = now, spent
    given = {"data": kind_of(asked.receipts), "samples": asked.samples}
    for unit, found in (("parent's CPU ms", parent), ("CPU ms", everything)):
        show(
            "processes", [Row(name=name, unit=unit, values=values) for name, values in found.items()], **given
        )
    alone = [sum(values) for values in zip(*parent.values(), strict=True)]
    together = [sum(values) for values in zip(*everything.values(), strict=True)]
    for cores in (1, 2, 16, 64):
        expected = [1e3 / (p + (c - p) / cores) for p, c in zip(alone, together, strict=True)]
        show(
            f"expected on {cores} cores",
            [Row(name="all stages", unit="images/s", values=expected)],
            cores=cores,
        )


def simulated(kind: Kind, workers: int, work: Path, asked: Any) -> list[Row]:
    """Let so many workers sleep: images a second, the share of what they could do, the parent's CPU."""
    count = int(asked.seconds * workers / (asked.milliseconds / 1e3))
    stage = Sleeping(milliseconds=asked.milliseconds)

    def pipeline(count: int) -> Pipeline:
        folder = work / f"{kind}-{workers}-{count}"
        hashes = FileHashes(folder / "hashes", folder)
        return Pipeline(Workspace(folder, "val"), (stage,), Counted(count), hashes)

    with Executor(ExecutorConfig(kind=kind, workers=workers)) as executor:
        list(run_stages(pipeline(16 * workers), [stage.name], executor))  # starts them
        used = time.process_time()
        ((_, result),) = run_stages(pipeline(count), [stage.name], executor)
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
