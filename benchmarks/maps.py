"""Time the maps against the plain loop that everyone uses and the toolkits that are installed, in turns.

    OMP_NUM_THREADS=1 python -m benchmarks.maps [--receipts FOLDER]

Without a folder (one with img/NNN.jpg and box/NNN.csv) the polygons are generated. Each figure is the best
of several rounds, in which the sides take turns, as CPU time of the thread; the ratio is what to look at.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.turns import fastest
from ocr.maps import MapParams, build_maps
from tests.support.map_referees import INSTALLED
from tests.support.map_reference import reference_maps
from tests.support.receipt_labels import curve, receipt_polygons

Polygons = list[npt.NDArray[np.float64]]
LINES = 52


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--receipts", type=Path, help="a folder with img/NNN.jpg and box/NNN.csv")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore")  # the toolkits divide by zero
    started = time.perf_counter()
    build_maps([], [], 32, 32)
    print(f"load or compile the loops, once for each process: {time.perf_counter() - started:.2f} s")
    for side in (640, 1024):
        for name, polygons in cases(side, arguments.receipts).items():
            times = compare(polygons, side, arguments.rounds)
            ours = times.pop("maps")
            others = ", ".join(f"{other} {ms:.1f} ({ms / ours:.0f} ×)" for other, ms in times.items())
            print(f"{name} at {side}: maps {ours:.2f} ms, {others}")
    for name, polygons in cases(640, arguments.receipts).items():
        print(f"{name}: {differences(polygons, 640)}")


def cases(side: int, receipts: Path | None) -> dict[str, Polygons]:
    """Give one sample of about 52 polygons of each kind."""
    upright = generated_lines(side)
    found = {f"{LINES} upright lines": upright}
    if receipts:
        samples = receipt_polygons(receipts, (side, side))
        sample = min(samples.values(), key=lambda polygons: abs(len(polygons) - LINES))
        found = {f"{len(sample)} boxes of a receipt": sample}
    angle = np.radians(5)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = side / 2
    found["the same, turned by 5 degrees"] = [
        (polygon - middle) @ turn + middle for polygon in next(iter(found.values()))
    ]
    found[f"{LINES} curved lines of 14 points"] = [curve(polygon) for polygon in upright]
    return found


def generated_lines(side: int) -> Polygons:
    """Lay out 52 upright lines of text in two columns on a square canvas."""
    random = np.random.default_rng(0)
    pitch = side / (LINES // 2 + 1)
    lines = []
    for index in range(LINES):
        left = side * (0.05 + 0.5 * (index % 2)) + random.uniform(0, 4)
        top = pitch * (index // 2 + 0.5) + random.uniform(0, 2)
        right, bottom = left + side * random.uniform(0.1, 0.38), top + pitch * random.uniform(0.5, 0.9)
        lines.append(np.array([[left, top], [right, top], [right, bottom], [left, bottom]]))
    return lines


def compare(polygons: Polygons, side: int, rounds: int) -> dict[str, float]:
    """Time all sides in turns; give the best of each in milliseconds."""
    ignore = [False] * len(polygons)
    sides: dict[str, Callable[[], object]] = {
        "maps": lambda: build_maps(polygons, ignore, side, side),
        "the plain loop": lambda: reference_maps(polygons, ignore, side, side),
    }
    sides |= {name: partial(draw, polygons, side, side) for name, draw in INSTALLED.items()}
    times, _ = fastest(sides, rounds)
    return times


def differences(polygons: Polygons, side: int) -> str:
    """Tell what the true distance changes in the threshold map, and how many holes the original leaves."""
    ignore = [False] * len(polygons)
    ours = build_maps(polygons, ignore, side, side).thresh_map
    true = build_maps(polygons, ignore, side, side, MapParams(distance="euclidean")).thresh_map
    holed = reference_maps(polygons, ignore, side, side, holes=True).thresh_map
    share = 100 * float((np.abs(true - ours) > 1e-6).mean())
    holes = int((np.abs(holed - ours) > 1e-6).sum())
    most = np.abs(true - ours).max()
    return f"euclidean differs by at most {most:.3f}, on {share:.2f} % of pixels; {holes} holes"


if __name__ == "__main__":
    main()
