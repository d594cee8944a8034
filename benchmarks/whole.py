"""The whole job on drawn receipts, as it is typed, and whole validation epochs of its detector.

    python -m benchmarks.whole [--train 48 --val 24 --epochs 40]

`warmstore data`, `run` and `train`, each by the clock; then, in turns, `bench epoch` (every rung in a process
of its own, epochs 0, 1 and 2) and `precision`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from benchmarks.measure import arguments, parse, show
from benchmarks.record import Row


class Shell:
    """Types commands of warmstore with the settings of one run, and keeps their seconds."""

    def __init__(self, *settings: str) -> None:
        self.settings = settings
        self.seconds = 0.0

    def __call__(self, *words: str, checked: bool = True) -> Any:
        """Give what a command prints as JSON."""
        command = [sys.executable, "-m", "warmstore", *words, "--json", *self.settings]
        began = time.perf_counter()
        done = subprocess.run(command, check=checked, stdout=subprocess.PIPE)
        self.seconds = time.perf_counter() - began
        return json.loads(done.stdout)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--train", type=int, default=48)
    parser.add_argument("--val", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=40, help="of the training")
    parser.add_argument("--rounds", type=int, default=2, help="of the validation epochs")
    parser.add_argument("--validations", type=int, default=3, help="epochs of each rung in a round")
    asked = parse(parser)
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        where = (f"data.root={folder}/data", f"work_dir={folder}/work")
        sizes = (f"data.generate.train={asked.train}", f"data.generate.val={asked.val}")
        shell = Shell(*where, *sizes, f"trainer.max_epochs={asked.epochs}")
        job(shell)
        ladder = [row for _ in range(asked.rounds) for row in epochs(shell, asked.validations)]
        for epoch, rows in groupby(sorted(together(ladder), key=epoch_of), epoch_of):
            show(f"validation, epoch {epoch}", list(rows), part="ladder")
        show("precision", list(precision(shell)), part="precision")


def epoch_of(row: Row) -> int:
    """The epoch of a row of the ladder."""
    return int(row.conditions["epoch"])


def job(shell: Shell) -> None:
    """The whole job: seconds of each command, and how good the detector is."""
    rows = []
    for name, words in {
        "draw the receipts": ["data"],
        "four stages": ["run"],
        "train and validate": ["train"],
    }.items():
        found = shell(*words)
        rows.append(Row(name=name, unit="s", values=(shell.seconds,)))
    rows.append(Row(name="all", unit="s", values=(sum(row.values[0] for row in rows),)))
    told = {
        "H-mean": found["val"]["hmean"],
        "CLEval": found["cleval"]["hmean"],
        "samples": found["val"]["samples"],
    }
    rows += [Row(name="the detector", unit=unit, values=(value,)) for unit, value in told.items()]
    show("the whole job", rows, part="job")


def epochs(shell: Shell, count: int) -> Iterator[Row]:
    """One round of the ladder."""
    for one in shell("bench", "epoch", "--epochs", str(count), checked=False)["epochs"]:
        metrics = one["metrics"]
        conditions = {
            "epoch": one["epoch"],
            "precision": one["precision"],
            "samples": int(metrics["samples"]),
        }
        found = {
            "s": one["wall_s"],
            "% waiting": 100 * one["data_wait_s"] / one["wall_s"],
            "% forward": 100 * one["forward_s"] / one["wall_s"],
            "H-mean": metrics["hmean"],
            "CLEval": metrics["cleval_hmean"],
        }
        for unit, value in found.items():
            yield Row(name=one["rung"], unit=unit, values=(value,), conditions=conditions)


def together(rows: Sequence[Row]) -> Iterator[Row]:
    """One row of the same side's rounds."""
    alike: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        alike.setdefault((row.name, row.unit, *row.conditions.items()), []).append(row)
    for same in alike.values():
        yield same[0].model_copy(update={"values": tuple(row.values[0] for row in same)})


def precision(shell: Shell) -> Iterator[Row]:
    """What mixed precision changes."""
    for name, one in shell("precision", checked=False)["precisions"].items():
        found = {
            "H-mean": one["hmean"],
            "CLEval": one["cleval"]["hmean"],
            "largest difference": one["largest_difference"],
            "boxes": one["boxes"],
            "changed": one["boxes_changed"],
            "ms": 1e3 * one["seconds"] / one["samples"],
        }
        for unit, value in found.items():
            yield Row(name=name, unit=unit, values=(value,), conditions={"samples": one["samples"]})


if __name__ == "__main__":
    main()
