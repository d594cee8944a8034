"""What the engine costs: a whole run beside the bare stage functions, nothing to do, one edit, many samples.

python -m benchmarks.engine [--receipts FOLDER] [--samples 404] [--many 100000]
"""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import arguments, parse, show
from benchmarks.receipts import RECEIPTS, kind_of, receipts_in
from benchmarks.record import Row
from benchmarks.trivial_stage import Trivial
from pipeline.digest import digest
from pipeline.execution import Executor, ExecutorConfig
from pipeline.maintenance import compute_chain
from pipeline.planning import FileHashes, Pipeline, SourceSample, survey
from pipeline.runner import run_stages
from pipeline.workspace import Workspace
from warmstore.configuration import load_config
from warmstore.show import Progress

SERIAL = ExecutorConfig(kind="serial", batch=64)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--receipts", type=Path, help=RECEIPTS)
    parser.add_argument("--samples", type=int, default=404, help="receipts to draw")
    parser.add_argument("--many", type=int, default=100_000)
    asked = parse(parser)
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        with receipts_in(asked.receipts, asked.samples) as receipts:
            for part in ("img", "box"):
                shutil.copytree(receipts / part, Path(folder, part))
        whole_runs(Path(folder), kind_of(asked.receipts))
        many_samples(Path(folder), asked.many)


def whole_runs(folder: Path, data: str) -> None:
    """Four stages over receipts, one after another on one core."""
    images = sorted(Path(folder, "img").iterdir())
    where = [f"data.root={folder}", f"work_dir={folder}/work", f"data.splits.val.part=[0, {len(images)}]"]
    config, _ = load_config("receipts", ["canvas=640", *where])
    stages, samples = config.pipeline("val").stages, config.pipeline("val").samples()
    compute_chain(stages, samples[0])  # compiles what is compiled once

    def functions() -> None:
        for sample in samples:
            compute_chain(stages, sample)

    def edit() -> None:
        images[0].write_bytes(images[0].read_bytes() + b"\0")
        run(config.pipeline("val"))

    steps = {
        "the stages' functions alone": functions,
        "a whole run": lambda: run(config.pipeline("val")),
        "a run with nothing to do": lambda: run(config.pipeline("val")),
        "a run after one edited image": edit,
    }
    show_times(f"{len(images)} receipts, four stages", steps, samples=len(images), data=data)


@dataclass
class Numbers:
    """A source of numbers."""

    numbers: Sequence[int]

    def samples(self, hashes: FileHashes) -> list[SourceSample]:
        return [SourceSample(f"{i:06}", {"n": digest(n.to_bytes(8))}, n) for i, n in enumerate(self.numbers)]


def many_samples(folder: Path, count: int) -> None:
    """A trivial stage over many samples."""
    workspace, hashes = Workspace(folder / "many", "val"), FileHashes(folder / "hashes", folder)

    def pipeline(numbers: Sequence[int] = range(count)) -> Pipeline:
        return Pipeline(workspace, (Trivial(),), Numbers(numbers), hashes)

    steps = {
        "planning": lambda: list(survey(pipeline())),
        "a whole run": lambda: run(pipeline()),
        "a run with nothing to do": lambda: run(pipeline()),
        "a run after one changed sample": lambda: run(pipeline([count, *range(1, count)])),
    }
    show_times(f"{count:,} samples, a trivial stage", steps, samples=count, data="a trivial stage")


def run(pipeline: Pipeline) -> None:
    """Run all stages of a split."""
    names = [stage.name for stage in pipeline.stages]
    list(run_stages(pipeline, names, Executor(SERIAL), Progress(None)))


def show_times(title: str, steps: Mapping[str, Callable[[], object]], **conditions: str | int) -> None:
    """Take one step after another; print what each took."""
    rows = []
    for name, step in steps.items():
        began, used = time.perf_counter(), time.process_time()
        step()
        clock, cpu = time.perf_counter() - began, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        found = {"s": clock, "CPU s": cpu, "MB, peak so far": peak}
        rows += [Row(name=name, unit=unit, values=(value,)) for unit, value in found.items()]
    show(title, rows, **conditions)


if __name__ == "__main__":
    main()
