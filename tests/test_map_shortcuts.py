"""The loops that stand in for Clipper and OpenCV, against Clipper and OpenCV."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pyclipper
import pytest

from benchmarks.maps import curve
from ocr.map_backends import PLAIN, compiled_backend, offset_outlines
from ocr.map_raster import fill_outlines

Points = npt.NDArray[np.float64]
Outline = npt.NDArray[np.int32]
Paths = list[list[list[int]]]


def quad(random: np.random.Generator) -> Points:
    width, height = 10 ** random.uniform(0.7, 2.3, 2)
    return turned(np.array([[0, 0], [width, 0], [width, height], [0, height]]), random)


def perspective(random: np.random.Generator) -> Points:
    corners = quad(random)
    return corners + random.uniform(-0.2, 0.2, (4, 2)) * np.ptp(corners, axis=0).min()


def sliver(random: np.random.Generator) -> Points:
    width, height = random.uniform(100, 2000), random.uniform(3, 8)
    return turned(np.array([[0, 0], [width, 0], [width, height], [0, height]]), random)


def curved(random: np.random.Generator) -> Points:
    width, height = random.uniform(30, 300), random.uniform(8, 40)
    bent = curve(np.array([[0, 0], [width, 0], [width, height], [0, height]]))
    return turned(bent, random) + random.uniform(-0.5, 0.5, bent.shape)


def convex(random: np.random.Generator) -> Points:
    points = random.normal(0, 10 ** random.uniform(0.7, 2.3), (random.integers(3, 15), 2))
    return np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0].astype(np.float64))


def star(random: np.random.Generator) -> Points:
    angles = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 15)))
    radii = 10 ** random.uniform(0.7, 2) * random.uniform(0.3, 1, len(angles))
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)


def anyhow(random: np.random.Generator) -> Points:
    return np.asarray(random.uniform(0, 10 ** random.uniform(0.7, 2.3), (random.integers(3, 7), 2)))


def turned(points: Points, random: np.random.Generator) -> Points:
    angle = random.choice([0, random.normal(0, 0.1), random.uniform(0, 2 * np.pi)])
    turn: Points = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(points @ turn)


def outlines_of(kind: Callable[[np.random.Generator], Points], count: int) -> list[tuple[Outline, float]]:
    """Give integer outlines that run clockwise, and a distance for each."""
    random, found = np.random.default_rng(0), []
    while len(found) < count:
        points = kind(random)
        points += random.uniform(0, 1000, 2) - points.min(axis=0)
        x, y = points.T
        area = float((np.roll(x, 1) * y - x * np.roll(y, 1)).sum() / 2)
        perimeter = float(np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).sum())
        distance = abs(area) * (1 - random.choice([0.1, 0.4, 0.9]) ** 2) / perimeter
        found.append((points[:: 1 if area > 0 else -1].astype(np.int32), distance))
    return found


def by_clipper(outline: Outline, distance: float) -> Paths:
    clipper = pyclipper.PyclipperOffset()
    clipper.AddPath(outline.tolist(), pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return clipper.Execute(distance)  # type: ignore[no-any-return]


def without_idle(path: list[list[int]]) -> list[list[int]]:
    """Drop the points at which a path does not turn; start at the first of the others."""
    path = list(path)
    at = 0
    while at < len(path):
        (x0, y0), (x1, y1), (x2, y2) = path[at - 1], path[at], path[(at + 1) % len(path)]
        if (x1 - x0) * (y2 - y1) == (y1 - y0) * (x2 - x1):
            del path[at]
            at = 0
        else:
            at += 1
    first = path.index(min(path))
    return path[first:] + path[:first]


@pytest.mark.parametrize(
    ("kind", "share"),
    [
        (quad, 0.9),
        (perspective, 0.7),
        (sliver, 0.4),
        (curved, 0.2),
        (convex, 0.4),
        (star, 0.1),
        (anyhow, 0.1),
    ],
)
def test_offsets_are_clippers_or_left_to_it(
    kind: Callable[[np.random.Generator], Points], share: float
) -> None:
    backend = compiled_backend() or PLAIN
    outlines = outlines_of(kind, 600)
    points = np.concatenate([outline for outline, _ in outlines])
    bounds = np.cumsum([0, *(len(outline) for outline, _ in outlines)])
    distance = np.array([each for _, each in outlines])
    offsets = backend.offset_outlines(points, bounds, np.ones(len(outlines), bool), distance)
    done = 0
    for index, (outline, reach) in enumerate(outlines):
        for delta, moved, moved_bounds in ((-reach, *offsets[:2]), (reach, *offsets[2:])):
            ours = moved[moved_bounds[index] : moved_bounds[index + 1]].tolist()
            if ours:
                theirs = by_clipper(outline, delta)
                assert [without_idle(ours)] == [without_idle(path) for path in theirs]
                done += 1
    assert done >= 2 * share * (distance >= 1).sum() or backend is PLAIN


@pytest.mark.parametrize("kind", [quad, curved, anyhow])
def test_offsets_are_the_same_uncompiled(kind: Callable[[np.random.Generator], Points]) -> None:
    backend = compiled_backend()
    if backend is None:
        pytest.skip("numba is not installed")
    for outline, distance in outlines_of(kind, 10):
        one = outline, np.array([0, len(outline)]), np.array([True]), np.array([distance])
        for compiled, plain in zip(backend.offset_outlines(*one), offset_outlines(*one), strict=True):
            np.testing.assert_array_equal(compiled, plain)


@pytest.mark.parametrize(
    ("outline", "why"),
    [
        ([[0, 0], [40, 40], [40, 0], [0, 40]], "crosses itself"),
        ([[0, 0], [40, 0], [40, 9], [0, 9]], "vanishes"),
        ([[0, 0], [0, 40], [40, 40], [40, 0]], "runs the other way"),
        ([[0, 0], [40, 0], [40, 40], [22, 40], [22, 20], [18, 20], [18, 40], [0, 40]], "meets itself grown"),
        ([[0, 0], [40, 0]], "has no interior"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_left_to_clipper(outline: list[list[int]], why: str) -> None:
    points = np.array(outline, np.int32)
    one = points, np.array([0, len(points)]), np.array([True]), np.array([5.0])
    shrunk, shrunk_bounds, grown, grown_bounds = offset_outlines(*one)
    assert not len(shrunk) and not len(grown) and not shrunk_bounds.any() and not grown_bounds.any(), why


def test_fills_are_opencvs() -> None:
    random = np.random.default_rng(0)
    for trial in range(300):
        outline = random.integers(0, (30, 24), (random.integers(1, 10), 2), dtype=np.int32)
        if trial % 3 == 0:
            outline = np.ascontiguousarray(cv2.convexHull(outline)[:, 0])
        ours, theirs = np.zeros((2, 24, 30), np.uint8)
        filled = np.zeros(1, bool)
        fill_outlines(ours, outline, np.array([0, len(outline)]), 1, filled)
        assert filled.all()
        cv2.fillPoly(theirs, [outline], 1)
        np.testing.assert_array_equal(ours, theirs, err_msg=str(outline.tolist()))


def test_fills_across_the_border_are_left_to_opencv() -> None:
    plane = np.zeros((24, 30), np.uint8)
    outlines = np.array([[5, 5], [40, 5], [5, 20], [5, 5], [20, 5], [5, 20]], np.int32)
    filled = np.zeros(2, bool)
    fill_outlines(plane, outlines, np.array([0, 3, 6]), 1, filled)
    assert filled.tolist() == [False, True]
    assert plane[5, 5:21].all() and not plane[:, 21:].any()
