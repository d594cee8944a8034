"""Preprocessing, from raw files to stores: beside what people write today, by executor, and by stage.

    python -m benchmarks.preprocess [--receipts FOLDER] [--samples 209] [--compared 48]

On one core: the floor (decode and resize, nothing kept), a script of Pillow, a toolkit's maps and
`np.savez_compressed`, and a whole run of the four stages into an empty folder, published and synced. Then the
whole command `warmstore run` with every executor, as it is typed: starting Python counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from benchmarks.by_hand import CANVAS, TOOLKIT, decode_and_resize, labelled, script
from benchmarks.engine import run
from benchmarks.measure import arguments, compare, parse, set_aside, show
from benchmarks.receipts import RECEIPTS, first_of, kind_of, receipts_in
from benchmarks.record import Row
from warmstore.configuration import load_config

KINDS = ("threads", "serial", "processes", "dask")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--receipts", type=Path, help=RECEIPTS)
    parser.add_argument("--samples", type=int, default=209, help="of the commands")
    parser.add_argument("--compared", type=int, default=48, help="samples on one core")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parse(parser)
    warnings.simplefilter("ignore")  # the toolkits divide by zero
    data = kind_of(asked.receipts)
    with (
        receipts_in(asked.receipts, asked.samples) as receipts,
        tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as work,
    ):
        folder = Path(work).absolute()
        on_one_core(receipts, folder, asked.compared, asked.rounds, data)
        by_executor(receipts, folder, asked.samples, asked.rounds, data)


def settings(receipts: Path, work: Path, samples: int) -> list[str]:
    """The receipts with DBNet's usual parameters, as the toolkits have them."""
    maps = ("stages.maps.min_text_size=8", "stages.maps.shrink_ratio=0.4")
    where = (f"data.root={receipts}", f"work_dir={work}", f"data.splits.val.part=[0, {samples}]")
    return [f"canvas={CANVAS}", *maps, *where]


def on_one_core(receipts: Path, folder: Path, samples: int, rounds: int, data: str) -> None:
    """The floor, the script and a run, one after another in this process."""
    cv2.setNumThreads(1)
    few = first_of(receipts, samples, folder)
    images, labels = few / "img", labelled(few, samples)
    config, _ = load_config("receipts", settings(few, folder / "store", len(labels)))

    def empty() -> None:
        for made in ("store", "by hand"):
            set_aside(folder / made)

    def stages() -> int:
        run(config.pipeline("val"))
        return len(labels)

    sides = {
        f"Pillow, {TOOLKIT}, np.savez_compressed": partial(script, images, labels, folder / "by hand"),
        "warmstore": stages,
        "decode and resize alone": partial(decode_and_resize, images, labels),
    }
    show("one core, everything", compare(sides, rounds, empty), data=data, canvas=CANVAS, part="one core")


def by_executor(receipts: Path, folder: Path, samples: int, rounds: int, data: str) -> None:
    """The whole command into an empty folder, by executor; and by stage with threads."""
    told: dict[str, list[dict[str, Any]]] = {}

    def command(kind: str) -> int:
        words = (f"executor.kind={kind}", *settings(receipts, folder / kind, samples))
        typed = [sys.executable, "-m", "warmstore", "run", "--config", "receipts", "--split", "val", "--json"]
        done = subprocess.run([*typed, *words], check=True, stdout=subprocess.PIPE)
        told.setdefault(kind, []).append(json.loads(done.stdout)["val"])
        return int(told[kind][-1]["tensors"]["samples"])

    def empty() -> None:
        for kind in KINDS:
            set_aside(folder / kind)

    sides = {kind: partial(command, kind) for kind in KINDS}
    found = compare(sides, rounds, empty, warm_up=False)
    show("the whole command, by executor", found, data=data, canvas=CANVAS, part="command")
    show("by stage, threads", list(by_stage(told["threads"])), data=data, canvas=CANVAS, part="stages")


def by_stage(runs: list[dict[str, Any]]) -> Iterator[Row]:
    """Milliseconds a sample by the clock, and the size of each stage's store."""
    for stage, first in runs[0].items():
        count = first["samples"]
        ms = tuple(1e3 * one[stage]["seconds"] / count for one in runs)
        yield Row(name=stage, unit="ms", values=ms, conditions={"samples": count})
        yield Row(name=stage, unit="MB", values=(first["bytes"] / 1e6,), conditions={"samples": count})


if __name__ == "__main__":
    main()
