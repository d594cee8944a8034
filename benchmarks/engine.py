"""What the engine costs: nothing to do, one edit, its share of a full run, 100,000 samples, one publish.

    python benchmarks/engine.py [--receipts FOLDER] [--samples 404]

Each figure is a ratio of two sides of this one run, or a time with what it consists of.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ocr.splits import annotated_split
from ocr.synthetic import generate
from pipeline import workspace
from pipeline.digest import digest
from pipeline.execution import ExecutorConfig, assembly, task
from pipeline.maintenance import compute_chain
from pipeline.planning import FileHashes, Pipeline, SourceSample, survey
from pipeline.runner import run_stages
from pipeline.stage import Chunked, Field, Inputs, Row, Stage
from pipeline.store import encode
from pipeline.workspace import Workspace
from warmstore.configuration import RunConfig, load_config
from warmstore.show import Progress

SILENT = Progress(None)
SERIAL = ExecutorConfig(kind="serial", batch=64)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=404, help="synthetic receipts of 1152 × 864 pixels")
    parser.add_argument("--receipts", type=Path, help="a folder with img/ and box/ instead, which is copied")
    parser.add_argument("--many", type=int, default=100_000)
    asked = parser.parse_args()
    receipts = asked.receipts and asked.receipts.resolve()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        os.chdir(folder)
        name, overrides = _receipts(receipts) if receipts else _synthetic(asked.samples)
        full_and_small_runs(name, [*overrides, "data.root=data", "executor.kind=serial"])
        many_samples(asked.many)
        one_of_ten_thousand()


def _synthetic(samples: int) -> tuple[str, list[str]]:
    generate(Path("data"), train=0, val=samples, size=(1152, 864))
    return "synthetic", []


def _receipts(folder: Path) -> tuple[str, list[str]]:
    for part in ("img", "box"):
        shutil.copytree(folder / part, Path("data", part))
    count = sum(1 for _ in Path("data/img").iterdir())
    return "receipts", ["canvas=640", f"data.splits.val.part=[0, {count}]"]


def full_and_small_runs(name: str, overrides: list[str]) -> None:
    """A full run against bare functions, then a run with nothing to do, then one edited image.

    What is the engine's own: everything but the stages' `compute`, reading labels, reading and verifying
    what stages read, encoding and writing chunks and files, and flushing. So it is listing and hashing the
    source, planning, checking outputs, digests, records, assembling, publishing and sweeping.
    """
    config, _ = load_config(name, overrides)
    bare, written = _bare(config)
    full, parts = _timed_run(config)
    functions = parts["computing"]
    reading = parts["reading"] + parts["labels"]
    writing = parts["writing"] + parts["files"]
    flushing = parts["flushing"] + parts["folders"]
    own = full - functions - reading - writing - flushing

    def part(what: str, seconds: float, note: str = "") -> None:
        row(what, f"{seconds:7.3f} s {seconds / functions:7.1%}{note}")

    row("", "         of the functions")
    part(f"full run over {name} samples, four stages, serial", full)
    part("  stage functions", functions, f" (in a bare loop {bare:.2f} s)")
    part("  reading labels", parts["labels"])
    part("  reading and verifying what stages read", parts["reading"])
    part("  encoding and writing chunks, upright files", writing, f" (chunks in a bare loop {written:.2f} s)")
    part("  flushing generations to the disk", flushing)
    part("  the engine's own: all the rest", own, f" ({own / bare:.1%} of the bare loop)")
    command = [sys.executable, "-m", "warmstore", "run", "--config", name, "--split", "val", *overrides]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    walls = [_timed(command, environment) for _ in range(5)]
    row("whole command, nothing to do", f"{min(walls):.2f} s (median {sorted(walls)[2]:.2f} s)")
    began = time.perf_counter()
    list(run_stages(config.pipeline("val"), _names(config), config.executor, SILENT))
    row("  of which ours, after imports", f"{time.perf_counter() - began:.3f} s")

    image = min(Path("data").rglob("*.jpg"))
    image.write_bytes(image.read_bytes() + b"\0")
    edited = dict(run_stages(config.pipeline("val"), _names(config), config.executor, SILENT))
    again = sum(result.compute_seconds for result in edited.values())
    row("one edited image: computing, share of the full run's", f"{again / functions:.2%}")
    row("  samples computed per stage", " ".join(str(result.computed) for result in edited.values()))


def _bare(config: RunConfig) -> tuple[float, float]:
    """Seconds for the stage functions in a loop, and for encoding and writing what they give."""
    pipeline = config.pipeline("val")
    samples = pipeline.source.samples(pipeline.hashes)
    compute_chain(pipeline.stages, samples[0])  # compiles what is compiled once
    functions = writing = 0.0
    Path("bare").mkdir()
    for number, sample in enumerate(samples):
        began = time.perf_counter()
        outcome = compute_chain(pipeline.stages, sample)
        functions += time.perf_counter() - began
        began = time.perf_counter()
        for stage in pipeline.stages:
            values: Any = outcome[stage.name]
            for field in stage.fields():
                if isinstance(field, Chunked):
                    Path(f"bare/{number}.{stage.name}.{field.name}").write_bytes(
                        encode(field.codec, values[field.name][None])
                    )
        writing += time.perf_counter() - began
    return functions, writing


BESIDES: dict[str, tuple[Any, str]] = {  # what is not the engine's own
    "computing": (task, "compute_sample"),
    "reading": (task, "read_inputs"),
    "writing": (task, "_write_chunks"),
    "files": (task, "_write_files"),
    "labels": (annotated_split, "read_annotations"),
    "flushing": (assembly, "_sync_all"),
    "folders": (workspace, "sync"),
}


def _timed_run(config: RunConfig) -> tuple[float, dict[str, float]]:
    """Run all stages serially; gives seconds in all, and of its parts, each with those inside it."""
    with _clocks() as seconds:
        began = time.perf_counter()
        list(run_stages(config.pipeline("val"), _names(config), config.executor, SILENT))
        return time.perf_counter() - began, {name: spent for name, (spent,) in seconds.items()}


@contextmanager
def _clocks() -> Iterator[dict[str, list[float]]]:
    """Collect seconds of wall time: asking for the processor's would take ten times as long."""
    seconds = {name: [0.0] for name in BESIDES}
    originals = {name: getattr(place, function) for name, (place, function) in BESIDES.items()}

    def timed(name: str) -> Callable[..., Any]:
        original, spent, now = originals[name], seconds[name], time.perf_counter

        def call(*args: Any) -> Any:
            began = now()
            try:
                return original(*args)
            finally:
                spent[0] += now() - began

        return call

    try:
        for name, (place, function) in BESIDES.items():
            setattr(place, function, timed(name))
        yield seconds
    finally:
        for name, (place, function) in BESIDES.items():
            setattr(place, function, originals[name])


class Trivial(Stage):
    """A stage that does next to nothing, on a tiny canvas."""

    name = "trivial"
    version = 1
    store = "trivial.zarr"
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def fields(self) -> tuple[Field, ...]:
        return (Chunked("image", "uint8", (3, 8, 8), codec="none"), Row("number", "int64"))

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        return {
            "image": np.full((3, 8, 8), inputs.source % 251, dtype=np.uint8),
            "number": np.int64(inputs.source),
        }


@dataclass
class Numbers:
    """A source of numbers."""

    numbers: Sequence[int]

    def samples(self, hashes: FileHashes) -> list[SourceSample]:
        return [SourceSample(f"{i:06}", {"n": digest(n.to_bytes(8))}, n) for i, n in enumerate(self.numbers)]


def _trivial(numbers: Sequence[int]) -> Pipeline:
    workspace = Workspace(Path(f"many-{len(numbers)}"), "val")
    hashes = FileHashes(workspace.folder / ".hashes", Path.cwd())
    return Pipeline(workspace, (Trivial(),), Numbers(numbers), hashes)


def many_samples(count: int) -> None:
    """Planning and running over many samples of a trivial stage."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipeline = _trivial(range(count))
    began = time.perf_counter()
    list(survey(pipeline))
    row(f"planning {count:,} samples", f"{time.perf_counter() - began:.2f} s")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    row("  peak memory above what was there", f"{max(0, grown) / 1e3:.0f} MB")
    began = time.perf_counter()
    list(run_stages(pipeline, ["trivial"], SERIAL, SILENT))
    row(f"full run over {count:,} samples", f"{time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    list(run_stages(_trivial(range(count)), ["trivial"], SERIAL, SILENT))
    row(f"run with nothing to do over {count:,} samples", f"{time.perf_counter() - began:.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row("  peak memory of the whole process", f"{peak / 1e3:.0f} MB")


def one_of_ten_thousand() -> None:
    """Publishing a generation in which one sample of 10,000 has changed."""
    list(run_stages(_trivial(range(10_000)), ["trivial"], SERIAL, SILENT))
    changed = _trivial([*range(5000), -1 % 2**40, *range(5001, 10_000)])
    began = time.perf_counter()
    ((_, result),) = run_stages(changed, ["trivial"], SERIAL, SILENT)
    row(
        f"one changed sample of 10,000 ({result.computed} computed), published",
        f"{time.perf_counter() - began:.2f} s",
    )


def _names(config: RunConfig) -> list[str]:
    return [stage.name for stage in config.stages.in_order()]


def _timed(command: list[str], environment: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def row(what: str, figure: str) -> None:
    """Print one line of the table."""
    print(f"{what:<62} {figure}", flush=True)


if __name__ == "__main__":
    main()
