"""Preprocessing: seconds a stage by executor and workers, beside the least that the same work can cost.

    python -m benchmarks.throughput [--receipts FOLDER] [--kinds threads processes] [--workers 1 2 16]
    python -m benchmarks.throughput --parts split syscalls     # where a sample's time goes

All sides take turns in one run, each into a work folder of its own, with workers that have been started
and have loaded their libraries. The floor is, in as many processes as workers: read a file, decode it by
TurboJPEG, resize it, write as many bytes as `tensors` does for it; and flush the disk once.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, NamedTuple
from unittest.mock import patch

import psutil
import turbojpeg

from benchmarks.measure import arguments, parse, show
from benchmarks.receipts import RECEIPTS, receipts_in
from benchmarks.record import Row
from benchmarks.syscalls import counted
from benchmarks.tables_of_preprocessing import ALL
from benchmarks.throughput_split import PARTS, Stopwatch, split_times
from ocr.geometry import letterbox
from ocr.images import resize
from pipeline.execution import Executor, ExecutorConfig
from pipeline.planning import Pipeline
from pipeline.runner import run_stages
from warmstore.configuration import load_config

CANVAS = (640, 640)
TENSORS = 640 * 640 * (3 + 1 + 1 + 2 + 1)
"""Bytes that `tensors` stores of a sample, but for small fields."""
SAMPLE = bytes(range(256)) * (TENSORS // 256)
BARE = turbojpeg.TurboJPEG()
QUESTIONS = ("stages", "split", "syscalls")
COLUMNS = ("s", "s inside", "s of CPU", "s in the kernel", "page faults", "s to flush", "s alone")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--receipts", type=Path, help=RECEIPTS)
    parser.add_argument("--samples", type=int, default=209, help="at most so many; all of them are drawn")
    parser.add_argument("--kinds", nargs="+", default=["threads", "processes"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 16])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--parts", nargs="+", default=QUESTIONS, choices=QUESTIONS)
    asked = parse(parser)
    with (
        receipts_in(asked.receipts, asked.samples) as receipts,
        TemporaryDirectory(dir=".", prefix=".bench-") as folder,
    ):
        data = Data(receipts, Path(folder), min(asked.samples, len(list((receipts / "img").iterdir()))))
        if "stages" in asked.parts:
            stages_in_turns(data, asked.kinds, asked.workers, asked.rounds)
        if "split" in asked.parts:
            for workers in asked.workers[:2]:
                rows = split_times(fresh(data, data.count), workers)
                show(f"{data.count} receipts, threads, {workers}: ms a sample", rows, workers=workers)
        if "syscalls" in asked.parts:
            show(f"{data.count} receipts: system calls a sample", counted(fresh(data, data.count)))


class Data(NamedTuple):
    """Receipts, where to write, and how many samples there are."""

    receipts: Path
    folder: Path
    count: int


def fresh(data: Data, count: int) -> Pipeline:
    """Give a pipeline over the first `count` samples, with an empty work folder.

    It stays to the end (`benchmarks.measure.set_aside` says why).
    """
    work = mkdtemp(dir=data.folder)
    where = [f"data.root={data.receipts}", f"work_dir={work}", f"data.splits.val.part=[0, {count}]"]
    config, _ = load_config("receipts", [f"canvas={list(CANVAS)}", *where])
    return config.pipeline("val")


def stages_in_turns(data: Data, kinds: list[str], workers: list[int], rounds: int) -> None:
    """The floor and every executor at every number of workers."""
    with ExitStack() as stack:
        sides: dict[str, Callable[[], dict[str, dict[str, float]]]] = {}
        for count in workers:
            if count <= len(os.sched_getaffinity(0)):
                pool = ProcessPoolExecutor(count, get_context("spawn"))
                stack.enter_context(pool)
                sides[f"floor, {count}"] = partial(floor, data, pool)
        for kind in kinds:
            for count in workers:
                config = ExecutorConfig(kind=kind, workers=count)  # type: ignore[arg-type]
                sides[f"{kind}, {count}"] = partial(whole_run, data, config)
        found: dict[str, list[dict[str, dict[str, float]]]] = {name: [] for name in sides}
        for number in range(rounds):
            for name in random.Random(number).sample(list(sides), len(sides)):
                found[name].append(sides[name]())
    tell(data, found)


def whole_run(data: Data, config: ExecutorConfig) -> dict[str, dict[str, float]]:
    """Run the four stages; gives what each took, by column, and the whole from the listing on."""
    pipeline = fresh(data, data.count)
    with Timed(config) as executor:
        executor.expect(pipeline.stages)
        executor.prepare(pipeline.stages[0], data.count)  # starts processes
        if config.kind == "threads":
            for stage in pipeline.stages:
                stage.prepare()
        os.sync()
        return run(pipeline, executor)


def run(pipeline: Pipeline, executor: Timed) -> dict[str, dict[str, float]]:
    """Run all stages."""
    taken: dict[str, dict[str, float]] = {}
    names = [stage.name for stage in pipeline.stages]
    watch, began, before = Stopwatch(), time.perf_counter(), used()
    with ExitStack() as stack:
        for owner, function in PARTS["flushing"]:
            timed = watch.timed("flush", getattr(owner, function))
            stack.enter_context(patch.object(owner, function, timed))
        for name, result in run_stages(pipeline, names, executor):
            cost, flush = since(before), watch.clock.pop("flush")
            taken[name] = {
                "s": result.seconds,
                "s inside": result.compute_seconds,
                **cost,
                "s to flush": flush,
                "s alone": result.seconds - executor.under_way - flush,
            }
            executor.under_way, before = 0.0, used()
    whole = time.perf_counter() - began
    cpu = sum(columns["s of CPU"] for columns in taken.values())  # of planning, too
    return taken | {ALL: {"s": whole, "s of CPU": cpu}}


class Timed(Executor):
    """An executor that tells how long tasks were under way."""

    under_way = 0.0

    def run(self, *given: Any, **named: Any) -> Generator[Any]:
        """Run tasks."""
        began = time.perf_counter()
        yield from super().run(*given, **named)
        self.under_way += time.perf_counter() - began


def used() -> dict[int, tuple[float, ...]]:
    """CPU seconds, those in the kernel, and page faults so far, of this process and each below it."""
    found, tick = {}, os.sysconf("SC_CLK_TCK")
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with suppress(OSError):  # it has ended
            told = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            faults, user, system = (int(told[place]) for place in (7, 11, 12))
            found[process.pid] = ((user + system) / tick, system / tick, float(faults))
    return found


def since(before: dict[int, tuple[float, ...]]) -> dict[str, float]:
    """What processes have used since then, those that are still there."""
    spent = [
        [now - then for now, then in zip(figures, before.get(pid, (0.0, 0.0, 0.0)), strict=True)]
        for pid, figures in used().items()
    ]
    return dict(
        zip(("s of CPU", "s in the kernel", "page faults"), map(sum, zip(*spent, strict=True)), strict=True)
    )


def floor(data: Data, pool: ProcessPoolExecutor) -> dict[str, dict[str, float]]:
    """Bare decoding; one write of what `tensors` stores, flushed; and decoding, resizing and that write."""
    files = sorted((data.receipts / "img").iterdir())[: data.count]
    taken, folder = {}, mkdtemp(dir=data.folder)
    steps = {
        "bare decode": partial(decoded, resized=False),
        "write": partial(written, Path(folder, "alone")),
        "floor": partial(everything, Path(folder, "all")),
    }
    list(pool.map(partial(everything, Path(folder, "first")), files[:64]))  # starts them, and loads libraries
    for name, step in steps.items():
        os.sync()
        before, began = used(), time.perf_counter()
        list(pool.map(step, files, chunksize=4))
        if name in ("write", "floor"):
            os.sync()
        taken[name] = {"s": time.perf_counter() - began, "s of CPU": since(before)["s of CPU"]}
    return taken


def decoded(path: Path, resized: bool) -> None:
    """Decode a JPEG, and bring it to the canvas's size."""
    pixels = BARE.decode(path.read_bytes(), pixel_format=turbojpeg.TJPF_RGB)
    if resized:
        box = letterbox(pixels.shape[:2], CANVAS)
        resize(pixels, (box.height, box.width))


def written(target: Path, path: Path) -> None:
    """Write what `tensors` stores of a sample into a new file."""
    descriptor = os.open(f"{target}-{path.name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, SAMPLE)
    os.close(descriptor)


def everything(target: Path, path: Path) -> None:
    """Decode, resize and write."""
    decoded(path, resized=True)
    written(target, path)


def tell(data: Data, found: dict[str, list[dict[str, dict[str, float]]]]) -> None:
    """Print and record the seconds, and how they stand to each other within a round."""
    for stage in dict.fromkeys(stage for rounds in found.values() for stage in rounds[0]):
        sides = {name: [one[stage] for one in rounds] for name, rounds in found.items() if stage in rounds[0]}
        rows = [
            Row(name=name, unit=column, values=tuple(one[column] for one in rounds))
            for name, rounds in sides.items()
            for column in COLUMNS
            if column in rounds[0]
        ]
        show(f"{stage}, {data.count} receipts", rows, stage=stage)


if __name__ == "__main__":
    main()
