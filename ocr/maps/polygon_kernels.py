"""The loops that clean and measure polygons.

Polygons lie end to end: the i-th is `points[bounds[i]:bounds[i + 1]]`, float64 x and y.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from ocr.jit import compiled

# The sine of a turn that is rounding noise of float64, and no more.
STRAIGHT = 1e-9
# Far outside any canvas, yet small enough that products of coordinates stay finite.
FAR = 2.0**40


@compiled
def clean(points: Any, bounds: Any, height: int, width: int) -> Any:
    """Drop what changes no shape, clamp to [0, width − 1] × [0, height − 1], and empty what has no interior.

    Dropped are a vertex that repeats the next one (so also the one that closes a ring) and one in the
    middle of a straight line. What only runs to and fro on a line, as all does that lies outside the
    canvas once it is clamped, has no interior. What is left runs clockwise on the canvas. Gives new points
    and bounds.
    """
    rings = np.empty_like(points)
    kept = np.zeros_like(bounds)
    for index in range(len(bounds) - 1):
        start = kept[index]
        count = bounds[index + 1] - bounds[index]
        ring = rings[start : start + count]
        for i in range(count):
            for axis in range(2):
                ring[i, axis] = min(max(points[bounds[index] + i, axis], -FAR), FAR)
        count = drop_repeats(ring, count)
        # Before the clamp: the vertices that it moves onto the border are the polygon's own.
        count = drop_midpoints(ring, count)
        for i in range(count):
            ring[i, 0] = min(max(ring[i, 0], 0.0), width - 1.0)
            ring[i, 1] = min(max(ring[i, 1], 0.0), height - 1.0)
        count = drop_repeats(ring, count)
        if not has_interior(ring, count):
            count = 0
        elif twice_area(ring[:count]) < 0.0:
            reverse(ring, count)
        kept[index + 1] = start + count
    return rings[: kept[-1]], kept


@compiled
def reverse(ring: Any, count: int) -> None:
    """Turn round the first `count` points of the ring."""
    for i in range(count // 2):
        j = count - 1 - i
        ring[i, 0], ring[j, 0] = ring[j, 0], ring[i, 0]
        ring[i, 1], ring[j, 1] = ring[j, 1], ring[i, 1]


@compiled
def drop_repeats(ring: Any, count: int) -> int:
    """Keep the first `count` points of the ring that differ from their successor; give how many."""
    kept = 0
    for i in range(count):
        following = (i + 1) % count
        if ring[i, 0] != ring[following, 0] or ring[i, 1] != ring[following, 1]:
            ring[kept, 0], ring[kept, 1] = ring[i, 0], ring[i, 1]
            kept += 1
    return kept


@compiled
def drop_midpoints(ring: Any, count: int) -> int:
    """Keep the first `count` points of the ring at which it does not go straight on; give how many."""
    if count == 0:
        return 0
    first_x, first_y = ring[0, 0], ring[0, 1]
    x0, y0 = ring[count - 1, 0], ring[count - 1, 1]
    kept = 0
    for i in range(count):
        x1, y1 = ring[i, 0], ring[i, 1]
        x2, y2 = (ring[i + 1, 0], ring[i + 1, 1]) if i + 1 < count else (first_x, first_y)
        dx, dy, next_dx, next_dy = x1 - x0, y1 - y0, x2 - x1, y2 - y1
        if not goes_straight(dx, dy, next_dx, next_dy) or dx * next_dx + dy * next_dy < 0:
            ring[kept, 0], ring[kept, 1] = x1, y1
            kept += 1
        x0, y0 = x1, y1
    return kept


@compiled
def has_interior(ring: Any, count: int) -> bool:
    """Tell whether a ring without repeats turns anywhere."""
    for i in range(count):
        before, after = (i - 1) % count, (i + 1) % count
        x, y = ring[i, 0], ring[i, 1]
        if not goes_straight(
            x - ring[before, 0], y - ring[before, 1], ring[after, 0] - x, ring[after, 1] - y
        ):
            return True
    return False


@compiled
def goes_straight(dx: float, dy: float, next_dx: float, next_dy: float) -> bool:
    """Tell whether two edges are parallel, on or back."""
    cross = dx * next_dy - dy * next_dx
    return abs(cross) <= STRAIGHT * sqrt((dx * dx + dy * dy) * (next_dx * next_dx + next_dy * next_dy))


@compiled
def twice_area(ring: Any) -> float:
    """Give twice the area of a ring (shoelace), positive where it runs clockwise on the canvas."""
    total = 0.0
    for i in range(len(ring)):
        total += ring[i - 1, 0] * ring[i, 1] - ring[i, 0] * ring[i - 1, 1]
    return total


@compiled
def measure(points: Any, bounds: Any) -> Any:
    """Measure each polygon: area, perimeter, shorter side of its bounding box; zeros without points."""
    sizes = np.zeros((len(bounds) - 1, 3))
    for index in range(len(bounds) - 1):
        ring = points[bounds[index] : bounds[index + 1]]
        count = len(ring)
        perimeter = 0.0
        left = top = np.inf
        right = bottom = -np.inf
        for i in range(count):
            left, right = min(left, ring[i, 0]), max(right, ring[i, 0])
            top, bottom = min(top, ring[i, 1]), max(bottom, ring[i, 1])
            dx, dy = ring[i, 0] - ring[i - 1, 0], ring[i, 1] - ring[i - 1, 1]
            perimeter += sqrt(dx * dx + dy * dy)
        if count:
            sizes[index, 0] = abs(twice_area(ring)) / 2
            sizes[index, 1] = perimeter
            sizes[index, 2] = min(right - left, bottom - top)
    return sizes
