"""Time the maps against the plain loop that everyone uses and the toolkits that are installed.

OMP_NUM_THREADS=1 python -m benchmarks.maps [--receipts FOLDER]
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.measure import arguments, compare_cases, parse, show
from benchmarks.receipts import RECEIPTS, kind_of, receipts_in
from benchmarks.record import Row
from ocr.maps import build_maps
from tests.support.map_referees import INSTALLED
from tests.support.map_reference import reference_maps
from tests.support.receipt_labels import curve, receipt_polygons

Polygons = list[npt.NDArray[np.float64]]
LINES = 52


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--receipts", type=Path, help=RECEIPTS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=24, help="receipts to draw where no folder is given")
    options = parse(parser)
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")  # the toolkits divide by zero
    started = time.perf_counter()
    build_maps([], [], 32, 32)
    loaded = Row(
        name="compile the loops, or load them",
        unit="s",
        values=(time.perf_counter() - started,),
    )
    show("before the first map", [loaded])
    sides: dict[str, Callable[..., Any]] = {
        "warmstore": lambda polygons, *size: build_maps(polygons, [False] * len(polygons), *size),
        "plain loop": lambda polygons, *size: reference_maps(polygons, [False] * len(polygons), *size),
        **INSTALLED,
    }
    with receipts_in(options.receipts, options.samples) as folder:
        for side in (640, 1024):
            receipts = receipt_polygons(folder, (side, side)).values()
            boxes = min(receipts, key=lambda polygons: abs(len(polygons) - LINES))
            for what, polygons in shapes(boxes, side).items():
                found = compare_cases(sides, [(polygons, side, side)], options.rounds)
                show(f"{what} at {side}", found, polygons=what, canvas=side, data=kind_of(options.receipts))


def shapes(boxes: Polygons, side: int) -> dict[str, Polygons]:
    """The boxes of a receipt, turned, and bent."""
    cosine, sine = np.cos(np.radians(5)), np.sin(np.radians(5))
    turn, middle = np.array([[cosine, sine], [-sine, cosine]]), side / 2
    return {
        f"{len(boxes)} boxes of a receipt": boxes,
        "the same, turned by 5 degrees": [(box - middle) @ turn + middle for box in boxes],
        "the same, as curves of 14 points": [curve(box) for box in boxes],
    }


if __name__ == "__main__":
    main()
