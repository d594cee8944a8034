"""Everything that wants a GPU, in one command and less than eight minutes: `make gpu`.

    python -m benchmarks.gpu                              # build/gpu.json, build/gpu.md, logs in build/gpu/
    python -m benchmarks.gpu --receipts FOLDER            # with img/NNN.jpg and box/NNN.csv
    python -m benchmarks.gpu --only preprocess transfer   # some steps

Device tests; transfers in GB/s and as a share of the link; where an evaluation with a ResNet-50 spends its
time; the receipts run, trained with all its epochs on its canvas of 960; with what that has learnt, an epoch
of validation beside the forward pass alone, epochs on every rung of reading, and the precision meter. The
receipts are ../shared/receipts where they are there, and drawn otherwise.

A step is a process: one that fails or takes too long costs only itself, and what it leaves of its time is
the next one's. Without a CUDA device each step is rehearsed on the CPU with the tiny run, and reported as
not run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks import gpu_figures as figures
from benchmarks.child import TO_STOP, ended, started
from benchmarks.measure import RECORD, arguments, note, parse
from benchmarks.record import Result, Row

BUILD = Path("build")
FOLDER = BUILD / "gpu"
SHARED = Path("../shared/receipts")
NO_DEVICE = "not run: no CUDA device"
WARMSTORE = (sys.executable, "-m", "warmstore")
# Without the project's settings: other versions warn of other things, and may lack a plugin.
PYTEST = (sys.executable, "-W", "default", "-m", "pytest", "-c", os.devnull, "--rootdir", ".", "-q", "-ra")
TESTS = tuple(f"tests/test_{name}.py" for name in ("cuda", "device", "pinning", "direct", "precision"))


class Step(NamedTuple):
    """A command, its seconds, and what makes rows of what it prints, or of the file that it writes."""

    name: str
    limit: float
    command: Sequence[str | Path]
    read: Callable[[str], Iterable[Row]]
    written: Path | None = None
    device: bool = True


class Outcome(NamedTuple):
    """How a step ended in words, what it found, and whether that is all that was asked."""

    ended: str
    rows: tuple[Row, ...]
    fine: bool


def main() -> None:
    device = torch.cuda.is_available()
    parser = arguments(__doc__)
    parser.add_argument("--receipts", type=Path, default=SHARED if SHARED.is_dir() else None)
    parser.add_argument("--only", nargs="*", metavar="STEP", help="some steps")
    options = parse(parser)
    RECORD.file = options.json or BUILD / "gpu.json"
    FOLDER.mkdir(parents=True, exist_ok=True)
    note(f"device: {figures.device()}" if device else "device: none; steps are rehearsed on the CPU")
    ends, failed = time.monotonic(), []
    for step in steps(options.receipts, device):
        if options.only and step.name not in options.only:
            continue
        ends += step.limit
        print(f"== {step.name}", flush=True)
        began = time.monotonic()
        outcome = run(step, ends)
        if step.device and not device:
            rehearsed = "rehearsed on the CPU" if outcome.fine else f"its rehearsal failed: {outcome.ended}"
            outcome = Outcome(f"{NO_DEVICE} ({rehearsed})", (), outcome.fine)
        note(f"{step.name}: {outcome.ended}, {time.monotonic() - began:.0f} s")
        print(figures.table_of(outcome.rows))
        rows = [
            row.model_copy(update={"conditions": {**row.conditions, "step": step.name}})
            for row in outcome.rows
        ]
        keep(rows)
        failed += [] if outcome.fine else [step.name]
    if failed:
        sys.exit(f"look at {FOLDER}/<step>.log of: {', '.join(failed)}")


def steps(receipts: Path | None, device: bool) -> list[Step]:
    """All steps, each with what the ones before it have made; their seconds add up to less than 480."""
    config, data = "receipts", [f"data.root={receipts}"]
    if not device:
        config, receipts, data = "tiny", None, [f"data.root={FOLDER / 'tiny'}"]
    elif receipts is None:
        drawn = ("data=synthetic", "data.generate.train=150", "data.generate.val=59")
        data = [*drawn, f"data.root={FOLDER / 'drawn'}"]
    work = FOLDER / f"work-{config}"
    asked = ["--config", config, f"work_dir={work}", "cache.mode=ram", *data]

    def warmstore(*words: str) -> list[str | Path]:
        return [*WARMSTORE, *words, "--json", *asked]

    def benchmark(name: str, *words: str | Path) -> Step:
        file = FOLDER / f"{name}.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", file, *words]
        return Step(name, 35, command, figures.of_benchmark, file)

    store = ("--store", work / "train" / "tensors.zarr")
    network = ("--backbone", "resnet50") if device else ("--backbone", "tiny", "--batch", "4")
    epochs = () if device else ("--epochs", "1")
    draw = Step("draw", 30, [*WARMSTORE, "data", *asked], figures.of_nothing, device=False)
    return [
        *([] if receipts else [draw]),
        Step("preprocess", 30, warmstore("run"), figures.of_stages, device=False),
        Step("tests", 45, [*PYTEST, *TESTS], figures.of_tests),
        benchmark("transfer", *store),
        benchmark("detector", *store, *network, *epochs),
        Step("training", 150, [*warmstore("train"), "trainer.max_time=00:00:02:10"], figures.of_training),
        benchmark("epoch", *asked),
        Step("epochs", 85, [*warmstore("bench", "epoch"), *epochs], figures.of_rungs),
        Step("precision", 30, warmstore("precision"), figures.of_precisions),
    ]


def run(step: Step, ends: float) -> Outcome:
    """Run a step until `ends` on the monotonic clock, and read what it has left."""
    out, log = FOLDER / f"{step.name}.out", FOLDER / f"{step.name}.log"
    found = step.written or out
    found.unlink(missing_ok=True)
    with out.open("w") as stdout, log.open("w") as stderr:
        process = started(step.command, out=stdout, errors=stderr)
        code = ended(process, max(0.0, ends - TO_STOP - time.monotonic()))
    try:
        rows, unread = tuple(step.read(found.read_text())), ""
    except Exception as error:  # whatever half of a file makes of it
        rows, unread = (), f"{type(error).__name__}: {error}"
    if code is None:
        return Outcome("stopped, its time was over", rows, False)
    if code == 0 and not unread:
        return Outcome("ran", rows, True)
    last = next((line for line in reversed(log.read_text().splitlines()) if line.strip()), unread)
    return Outcome(f"exit code {code}: {last.strip() or unread}", rows, bool(rows) and code == 1)


def keep(rows: Iterable[Row]) -> None:
    """Write the record and its page; both are whole after each step."""
    RECORD.add(rows)
    assert RECORD.file is not None
    result = Result.model_validate_json(RECORD.file.read_bytes())
    RECORD.file.with_suffix(".md").write_text(figures.page(result))


if __name__ == "__main__":
    main()
