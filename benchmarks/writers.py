"""Preprocessing beside what people write today and the writers of two libraries.

OMP_NUM_THREADS=1 python -m benchmarks.writers [--receipts FOLDER] [--samples 209] [--workers 2]

All sides have as many worker processes and the same receipts. warmstore lists and hashes them, and stores
four stages, checked and flushed to the disk. The script of `benchmarks.by_hand` is what a project writes for
itself. FFCV's and LitData's writers are given samples by the functions of warmstore's stages, so they differ
in writing alone: they store the final arrays, once, and flush and check nothing.

LitData comes with benchmarks/requirements.txt. pip builds FFCV from source, with the headers of OpenCV 4
and of libturbojpeg (`apt-get install libopencv-dev libturbojpeg0-dev pkg-config`).
"""

from __future__ import annotations

import multiprocessing
import random
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from benchmarks.by_hand import CANVAS, TOOLKIT, labelled, script_sample
from benchmarks.cpu_time import cpu_seconds
from benchmarks.measure import Side, arguments, note, parse, set_aside, show
from benchmarks.receipts import RECEIPTS, first_of, kind_of, receipts_in
from benchmarks.record import Row
from ocr.preprocess import MAP_DTYPES
from pipeline.execution import ExecutorConfig
from pipeline.maintenance import compute_chain
from pipeline.planning import SourceSample
from pipeline.runner import run_stages
from pipeline.stage import Stage
from warmstore.configuration import RunConfig, load_config

FIELDS = {"image": ("uint8", 3), **{name: (dtype, 1) for name, dtype in MAP_DTYPES.items()}}


class Work(NamedTuple):
    """What every side is given."""

    config: RunConfig
    receipts: Path
    samples: Sequence[SourceSample]
    workers: int


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--receipts", type=Path, help=RECEIPTS)
    parser.add_argument("--samples", type=int, default=209)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parse(parser)
    warnings.simplefilter("ignore")  # PaddleOCR divides by zero
    with (
        receipts_in(asked.receipts, asked.samples) as receipts,
        TemporaryDirectory(dir=".", prefix=".bench-") as folder,
    ):
        out = Path(folder, "out").absolute()
        few = first_of(receipts, asked.samples, Path(folder))
        where = [f"data.root={few}", f"work_dir={out}", f"data.splits.val.part=[0, {asked.samples}]"]
        config, _ = load_config("receipts", [f"canvas={CANVAS}", *where])
        pipeline = config.pipeline("val")
        work = Work(config, few, pipeline.samples(), asked.workers)
        sides = {
            name: partial(write, work, out) for name, write in WRITERS.items() if runs(name, write, work, out)
        }
        clock, cpu = in_turns(sides, asked.rounds, out)
        conditions = {"workers": asked.workers, "canvas": CANVAS, "data": kind_of(asked.receipts)}
        title = f"{len(work.samples)} receipts, {asked.workers} workers"
        for unit, taken in (("CPU ms", cpu), ("samples/s", clock)):
            show(title, [Row(name=n, unit=unit, values=values) for n, values in taken.items()], **conditions)
        show("written", [size(name, side, out) for name, side in sides.items()], **conditions)


def in_turns(sides: dict[str, Side], rounds: int, out: Path) -> tuple[dict[str, list[float]], ...]:
    """Let all sides take turns: samples a second by the clock, CPU milliseconds a sample of all processes."""
    clock: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in random.Random(number).sample(list(sides), len(sides)):
            emptied(out)
            began, used = time.perf_counter(), cpu_seconds()
            count = sides[name]()
            clock[name].append(count / (time.perf_counter() - began))
            cpu[name].append(1e3 * (cpu_seconds() - used) / count)
    return clock, cpu


def runs(name: str, write: Callable[[Work, Path], int], work: Work, out: Path) -> bool:
    """Let a writer write once, which loads what it needs; one that does not run is named and left out."""
    emptied(out)
    try:
        return write(work, out) > 0
    except Exception as error:
        note(f"{name} does not run here: {type(error).__name__}: {error}")
        return False


def emptied(out: Path) -> None:
    """Make an empty folder."""
    set_aside(out)
    out.mkdir(parents=True)


def size(name: str, side: Side, out: Path) -> Row:
    """Say how much a side writes of a sample."""
    emptied(out)
    count = side()
    files = {file.stat().st_ino: file.stat().st_size for file in out.rglob("*") if file.is_file()}
    return Row(name=name, unit="MB a sample", values=(sum(files.values()) / 1e6 / count,))


def warmstore(work: Work, out: Path) -> int:
    """List, hash, compute, store and publish all four stages."""
    pipeline = work.config.pipeline("val")
    names = [stage.name for stage in pipeline.stages]
    executor = ExecutorConfig(kind="processes", workers=work.workers)
    return [result.accepted for _, result in run_stages(pipeline, names, executor)][-1]


def plain(work: Work, out: Path) -> int:
    """A pool of processes over the script that writes one file a receipt."""
    samples = labelled(work.receipts, len(work.samples))
    with multiprocessing.get_context("fork").Pool(work.workers) as pool:
        written = partial(script_sample, work.receipts / "img", out)
        return len(pool.map(written, samples, chunksize=4))


class Samples:
    """Final arrays by index, computed by warmstore's stages."""

    def __init__(self, stages: Sequence[Stage], samples: Sequence[SourceSample]) -> None:
        self.stages, self.samples = stages, samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        tensors: Any = compute_chain(self.stages, self.samples[int(index)])["tensors"]
        return tuple(np.ascontiguousarray(tensors[name]) for name in FIELDS)

    def by_name(self, index: int) -> dict[str, Any]:
        """Arrays by name."""
        return dict(zip(FIELDS, self[index], strict=True))


def ffcv(work: Work, out: Path) -> int:
    """FFCV's `DatasetWriter`: raw arrays in one file."""
    from ffcv.fields import NDArrayField
    from ffcv.writer import DatasetWriter

    fields = {
        n: NDArrayField(np.dtype(dtype), (depth, CANVAS, CANVAS)) for n, (dtype, depth) in FIELDS.items()
    }
    writer = DatasetWriter(str(out / "samples.beton"), fields, num_workers=work.workers)
    writer.from_indexed_dataset(Samples(work.config.stages.in_order(), work.samples), chunksize=4)
    return len(work.samples)


def litdata(work: Work, out: Path) -> int:
    """LitData's `optimize`: raw arrays in chunks of 64 MB."""
    from litdata import optimize

    samples = Samples(work.config.stages.in_order(), work.samples)
    rows = list(range(len(samples)))
    options = {"chunk_bytes": "64MB", "num_workers": work.workers, "start_method": "fork", "verbose": False}
    optimize(samples.by_name, rows, str(out / "chunks"), **options)
    return len(samples)


WRITERS: dict[str, Callable[[Work, Path], int]] = {
    "warmstore, four stages": warmstore,
    f"Pillow, {TOOLKIT}, npz": plain,
    "FFCV": ffcv,
    "LitData": litdata,
}


if __name__ == "__main__":
    main()
