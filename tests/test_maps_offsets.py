"""The outlines of convex polygons against Clipper's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyclipper
import pytest

from ocr.maps import MapParams, shape_polygons

Points = npt.NDArray[np.float64]
SIDE = 640


def circle(random: np.random.Generator, corners: int, turns: int = 1) -> Points:
    angles = np.arange(corners) * 2 * np.pi * turns / corners + random.uniform(0, np.pi)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * random.uniform(3, 120, 2)


def box(random: np.random.Generator) -> Points:
    return np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * random.uniform(3, 150, 2)


def turned(random: np.random.Generator) -> Points:
    angle = random.uniform(0, np.pi)
    return np.asarray(box(random) @ [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


KINDS: dict[str, Callable[[np.random.Generator], Points]] = {
    "box": box,
    "turned box": turned,
    "perspective": lambda random: turned(random) + random.uniform(-6, 6, (4, 2)),
    "triangle": lambda random: circle(random, 3),
    "convex of many corners": lambda random: circle(random, random.integers(5, 14)),
    "star that turns twice": lambda random: circle(random, 5, turns=2),
    "any": lambda random: random.normal(0, 40, (random.integers(3, 9), 2)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_equal_clippers_outlines(kind: str) -> None:
    random = np.random.default_rng(list(KINDS).index(kind))
    for ratio in (0.1, 0.4, 0.9):
        polygons = [
            np.roll(np.trunc(KINDS[kind](random) + random.uniform(0, SIDE, 2)), random.integers(3), axis=0)
            for _ in range(150)
        ]
        shapes = shape_polygons(
            polygons,
            [False] * len(polygons),
            SIDE,
            SIDE,
            MapParams(shrink_ratio=ratio, min_text_size=1, parts="all"),
        )
        shrunk = []
        for index, grown in shapes.grown.items():
            ring = shapes.rings[shapes.bounds[index] : shapes.bounds[index + 1]].astype(int).tolist()
            expected = clipper(ring, shapes.distance[index])
            assert outline(grown) == (expected[0] if expected else outline(ring))
            shrunk += clipper(ring, -shapes.distance[index])
        assert shapes.grown
        assert [outline(part) for part in shapes.kernels] == shrunk


def clipper(ring: list[list[int]], distance: float) -> list[list[tuple[int, int]]]:
    offset = pyclipper.PyclipperOffset()
    offset.AddPath(ring, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return [outline(part) for part in offset.Execute(distance)]


def outline(points: Any) -> list[tuple[int, int]]:
    """The points as a ring, from its least one on, whichever way round it was drawn."""
    ring = [(int(x), int(y)) for x, y in points]
    first = ring.index(min(ring))
    ring = ring[first:] + ring[:first]
    return min(ring, ring[:1] + ring[:0:-1])
