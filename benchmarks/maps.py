"""Time the maps against the plain loop that everyone uses, on the same polygons, in turns.

    python -m benchmarks.maps [--receipts FOLDER]

Without a folder (one with img/NNN.jpg and box/NNN.csv) the polygons are generated. Each figure is the best
of several rounds, in which the sides take turns, as CPU time of the thread; the ratio is what to look at.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, wait
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.map_reference import reference_maps
from ocr.geometry import letterbox, transform_points
from ocr.map_backends import compiled_backend
from ocr.maps import MapParams, build_maps

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

    started = time.perf_counter()
    compiled_backend()
    print(f"load or compile the loops, once for each process: {time.perf_counter() - started:.2f} s")
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'polygons':34}{'canvas':>8}{'loop ms':>10}{'plain ms':>10}{'maps ms':>10}{'loop/maps':>11}")
    for side in (640, 1024):
        for name, polygons in cases(side, arguments.receipts).items():
            loop, plain, ours = compare(polygons, side, arguments.rounds)
            print(f"{name:34}{side:8}{loop:10.2f}{plain:10.2f}{ours:10.2f}{loop / ours:11.1f}")
    for name, polygons in cases(640, arguments.receipts).items():
        print(f"{name}: {differences(polygons, 640)}")
    for name, polygons in cases(640, arguments.receipts).items():
        threads, processes = two_over_one(polygons, 640, arguments.rounds)
        print(f"two over one, {name}: {threads:.2f} x as threads, {processes:.2f} x as processes")


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


def curve(box: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bend an upright box into an arc of 14 points."""
    (left, top), (right, bottom) = box[0], box[2]
    xs = np.linspace(left, right, 7)
    sag = 0.6 * (bottom - top) * np.sin(np.pi * np.linspace(0, 1, 7))
    upper = np.stack([xs, top + sag], axis=1)
    lower = np.stack([xs, bottom + sag], axis=1)
    return np.concatenate([upper, lower[::-1]])


def receipt_polygons(folder: Path, canvas: tuple[int, int]) -> dict[str, Polygons]:
    """Read the quadrilaterals of box/NNN.csv (x1,y1,…,x4,y4,text) and put them on the canvas."""
    samples = {}
    for path in sorted((folder / "box").glob("*.csv")):
        with Image.open(folder / "img" / f"{path.stem}.jpg") as image:
            matrix = letterbox((image.height, image.width), canvas).matrix
        rows = [
            line.split(",")[:8] for line in path.read_text("utf-8", errors="replace").splitlines() if line
        ]
        samples[path.stem] = [transform_points(matrix, np.array(row, float).reshape(4, 2)) for row in rows]
    return samples


def compare(polygons: Polygons, side: int, rounds: int) -> tuple[float, float, float]:
    """Time the loop, the plain and the compiled maps in turns; give the best of each in milliseconds."""
    ignore = [False] * len(polygons)
    best = [np.inf] * 3
    for _ in range(rounds):
        sides: tuple[tuple[Callable[[], object], int], ...] = (
            (lambda: reference_maps(polygons, ignore, side, side), 1),
            (lambda: build_maps(polygons, ignore, side, side, compiled=False), 2),
            (lambda: build_maps(polygons, ignore, side, side), 10),
        )
        for which, (function, repeats) in enumerate(sides):
            for _ in range(repeats):
                started = time.thread_time()
                function()
                best[which] = min(best[which], 1e3 * (time.thread_time() - started))
    return best[0], best[1], best[2]


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


def two_over_one(polygons: Polygons, side: int, rounds: int) -> tuple[float, float]:
    """Compare the throughput of two threads, and of two processes, with that of one; best rounds."""
    best = [np.inf] * 3
    work = partial(build_samples, polygons, side)
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2, get_context("spawn")) as processes:
        wait([processes.submit(work) for _ in range(4)])  # each has loaded its loops
        for _ in range(2 * rounds):
            turns: tuple[tuple[Executor, int], ...] = ((threads, 1), (threads, 2), (processes, 2))
            for which, (pool, count) in enumerate(turns):
                started = time.perf_counter()
                wait([pool.submit(work) for _ in range(count)])
                best[which] = min(best[which], time.perf_counter() - started)
    return 2 * best[0] / best[1], 2 * best[0] / best[2]


def build_samples(polygons: Polygons, side: int, samples: int = 150) -> None:
    """Build the maps of one sample many times."""
    for _ in range(samples):
        build_maps(polygons, [False] * len(polygons), side, side)


if __name__ == "__main__":
    main()
