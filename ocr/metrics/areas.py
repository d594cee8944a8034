"""Areas that polygons share, and points that they hold: exact, for every pair of an image at once.

Nearly all regions are convex, and two convex polygons are clipped in well under a microsecond; only
pairs with another shape go to shapely, which takes twenty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ocr.jit import compiled

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class PackedPolygons:
    """Polygons end to end: `points` float64 (P, 2), polygon i from `offsets[i]` to `offsets[i + 1]`."""

    points: Floats
    offsets: Indices

    @classmethod
    def of(cls, polygons: Sequence[NDArray[np.floating[Any]]]) -> PackedPolygons:
        """Lay a list of (P, 2) arrays end to end."""
        sizes = np.fromiter(map(len, polygons), dtype=np.int64, count=len(polygons))
        points = np.concatenate(polygons) if len(sizes) else np.empty((0, 2))
        return cls(np.ascontiguousarray(points, dtype=np.float64), np.concatenate([[0], np.cumsum(sizes)]))

    def truncated(self) -> PackedPolygons:
        """The same polygons with coordinates cut towards zero to whole numbers."""
        return PackedPolygons(np.trunc(self.points), self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def areas(self) -> Floats:
        """The absolute value of the shoelace formula, which counts a bow tie's lobes against each other."""
        areas: Floats = np.abs(_signed_areas(self.points, self.offsets))
        return areas

    @cached_property
    def convex(self) -> Flags:
        """Which polygons are convex and have an area."""
        flags: Flags = _convex(self.points, self.offsets)
        return flags

    @cached_property
    def simple(self) -> Flags:
        """Which polygons have an area and do not touch or cross themselves."""
        flags = self.convex.copy()
        rest = np.flatnonzero(~flags)
        flags[rest] = shapely.is_valid(self.shapes(rest))
        return flags

    def shapes(self, indices: Indices) -> NDArray[np.object_]:
        """The polygons at `indices` as shapely geometries."""
        shapes = np.empty(len(indices), dtype=object)
        for position, index in enumerate(indices):
            shapes[position] = shapely.Polygon(self.points[self.offsets[index] : self.offsets[index + 1]])
        return shapes


def shared_areas(first: PackedPolygons, second: PackedPolygons) -> Floats:
    """Area that polygon i of `first` and polygon j of `second` have in common: float64 (N, M).

    A polygon that crosses itself is filled by the even-odd rule.
    """
    shared = _shared_convex(
        first.points, first.offsets, first.convex, second.points, second.offsets, second.convex
    )
    # The kernel leaves -1 where a pair meets and is not its business.
    rows, columns = np.nonzero(shared < 0)
    if len(rows):
        row_set, row_of = np.unique(rows, return_inverse=True)
        column_set, column_of = np.unique(columns, return_inverse=True)
        row_shapes = shapely.make_valid(first.shapes(row_set))
        column_shapes = shapely.make_valid(second.shapes(column_set))
        common = shapely.intersection(row_shapes[row_of], column_shapes[column_of])
        shared[rows, columns] = shapely.area(common)
    return np.asarray(shared)


def points_inside(points: Floats, polygons: PackedPolygons) -> Flags:
    """Which of the points (K, 2) lie in which polygon, by the even-odd rule: bool (K, N).

    A point on a left or upper edge is inside, one on a right or lower edge outside.
    """
    flags: Flags = _inside(points, polygons.points, polygons.offsets)
    return flags


@compiled
def _signed_areas(points: Floats, offsets: Indices) -> Floats:
    areas = np.zeros(len(offsets) - 1)
    for index in range(len(areas)):
        start, end = offsets[index], offsets[index + 1]
        before = end - 1
        for here in range(start, end):
            areas[index] += points[before, 0] * points[here, 1] - points[here, 0] * points[before, 1]
            before = here
    return areas / 2


@compiled
def _convex(points: Floats, offsets: Indices) -> Flags:
    """Every corner turns the same way, and x changes its direction no more than twice all around.

    A corner that does not turn may be the tip of a spike, or hide a turn where it is there twice.
    """
    areas = _signed_areas(points, offsets)
    flags = np.zeros(len(areas), dtype=np.bool_)
    for index in range(len(areas)):
        start, count = offsets[index], offsets[index + 1] - offsets[index]
        flag = areas[index] != 0
        turns, last, first = 0, 0.0, 0.0
        for step in range(count):
            a = points[start + step]
            b = points[start + (step + 1) % count]
            c = points[start + (step + 2) % count]
            cross = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])
            if cross * areas[index] <= 0:
                flag = False
            direction = np.sign(b[0] - a[0])
            if direction != 0:
                if last != 0 and direction != last:
                    turns += 1
                if first == 0:
                    first = direction
                last = direction
        flags[index] = flag and turns + (first != last) <= 2
    return flags


@compiled
def _bounds(points: Floats, offsets: Indices) -> Floats:
    bounds = np.empty((len(offsets) - 1, 4))
    for index in range(len(bounds)):
        bounds[index, :2], bounds[index, 2:] = np.inf, -np.inf
        for here in range(offsets[index], offsets[index + 1]):
            for axis in range(2):
                bounds[index, axis] = min(bounds[index, axis], points[here, axis])
                bounds[index, 2 + axis] = max(bounds[index, 2 + axis], points[here, axis])
    return bounds


@compiled
def _shared_convex(
    points: Floats,
    offsets: Indices,
    convex: Flags,
    other_points: Floats,
    other_offsets: Indices,
    other_convex: Flags,
) -> Floats:
    """Shared area where both are convex, 0 where bounding boxes are apart, -1 everywhere else."""
    bounds, other_bounds = _bounds(points, offsets), _bounds(other_points, other_offsets)
    shared = np.zeros((len(bounds), len(other_bounds)))
    for row in range(len(bounds)):
        for column in range(len(other_bounds)):
            # Number by number: views of both rows would cost ten times the comparison.
            if (
                bounds[row, 0] >= other_bounds[column, 2]
                or other_bounds[column, 0] >= bounds[row, 2]
                or bounds[row, 1] >= other_bounds[column, 3]
                or other_bounds[column, 1] >= bounds[row, 3]
            ):
                continue
            if convex[row] and other_convex[column]:
                shared[row, column] = _clipped_area(
                    points[offsets[row] : offsets[row + 1]],
                    other_points[other_offsets[column] : other_offsets[column + 1]],
                )
            else:
                shared[row, column] = -1
    return shared


@compiled
def _clipped_area(subject: Floats, clip: Floats) -> float:
    """Area of a convex polygon inside another: Sutherland and Hodgman, CACM 17 (1974)."""
    # Coordinates relative to a corner keep their precision in large images.
    origin = subject[0]
    here, sides, size = subject - origin, clip - origin, len(subject)
    orientation = 0.0
    for k in range(len(sides)):
        orientation += sides[k - 1, 0] * sides[k, 1] - sides[k, 0] * sides[k - 1, 1]
    turns = np.sign(orientation)
    for k in range(len(sides)):
        x, y = sides[k - 1, 0], sides[k - 1, 1]
        dx, dy = (sides[k, 0] - x) * turns, (sides[k, 1] - y) * turns
        there, kept = np.empty((2 * size, 2)), 0
        for i in range(size):
            before = i - 1 if i else size - 1
            ax, ay, bx, by = here[before, 0], here[before, 1], here[i, 0], here[i, 1]
            a_in, b_in = dx * (ay - y) - dy * (ax - x), dx * (by - y) - dy * (bx - x)
            if (a_in < 0) != (b_in < 0):
                part = a_in / (a_in - b_in)
                there[kept, 0], there[kept, 1] = ax + (bx - ax) * part, ay + (by - ay) * part
                kept += 1
            if b_in >= 0:
                there[kept, 0], there[kept, 1] = bx, by
                kept += 1
        here, size = there, kept
    area = 0.0
    for i in range(size):
        before = i - 1 if i else size - 1
        area += here[before, 0] * here[i, 1] - here[i, 0] * here[before, 1]
    return abs(area) / 2


@compiled
def _inside(points: Floats, polygon_points: Floats, offsets: Indices) -> Flags:
    inside = np.zeros((len(points), len(offsets) - 1), dtype=np.bool_)
    bounds = _bounds(polygon_points, offsets)
    for row in range(len(points)):
        x, y = points[row]
        for column in range(len(bounds)):
            if not (bounds[column, 1] <= y < bounds[column, 3] and x < bounds[column, 2]):
                continue
            before = offsets[column + 1] - 1
            for here in range(offsets[column], offsets[column + 1]):
                x0, y0 = polygon_points[before]
                x1, y1 = polygon_points[here]
                if (y0 <= y) != (y1 <= y) and x < (x0 - x1) * (y - y1) / (y0 - y1) + x1:
                    inside[row, column] = not inside[row, column]
                before = here
    return inside
