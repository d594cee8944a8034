"""The loops behind the maps, in the subset of Python that numba compiles.

Each runs as it stands too; `ocr.map_backends` compiles them. Polygons lie end to end: the
i-th is `points[bounds[i]:bounds[i + 1]]`, float64 x and y, or int32 once they are outlines.
"""

from __future__ import annotations

from math import acos, cos, pi, sin, sqrt
from typing import Any

import numpy as np

# The sine of a turn that is rounding noise of float64, and no more.
STRAIGHT = 1e-9
# Far outside any canvas, yet small enough that products of coordinates stay finite.
FAR = 2.0**40
# Clipper's default: how far, in pixels, the chords of a round join may stray from the arc.
ARC_TOLERANCE = 0.25


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
        elif twice_area(ring, count) < 0.0:
            reverse(ring, count)
        kept[index + 1] = start + count
    return rings[: kept[-1]], kept


def reverse(ring: Any, count: int) -> None:
    """Turn round the first `count` points of the ring."""
    for i in range(count // 2):
        j = count - 1 - i
        ring[i, 0], ring[j, 0] = ring[j, 0], ring[i, 0]
        ring[i, 1], ring[j, 1] = ring[j, 1], ring[i, 1]


def drop_repeats(ring: Any, count: int) -> int:
    """Keep the first `count` points of the ring that differ from their successor; give how many."""
    kept = 0
    for i in range(count):
        following = (i + 1) % count
        if ring[i, 0] != ring[following, 0] or ring[i, 1] != ring[following, 1]:
            ring[kept, 0], ring[kept, 1] = ring[i, 0], ring[i, 1]
            kept += 1
    return kept


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


def goes_straight(dx: float, dy: float, next_dx: float, next_dy: float) -> bool:
    """Tell whether two edges are parallel, on or back."""
    cross = dx * next_dy - dy * next_dx
    return abs(cross) <= STRAIGHT * sqrt((dx * dx + dy * dy) * (next_dx * next_dx + next_dy * next_dy))


def twice_area(ring: Any, count: int) -> float:
    """Give twice the area of a ring (shoelace), positive where it runs clockwise on the canvas."""
    total = 0.0
    for i in range(count):
        total += ring[i - 1, 0] * ring[i, 1] - ring[i, 0] * ring[i - 1, 1]
    return total


def measure(points: Any, bounds: Any) -> Any:
    """Measure each polygon: area, perimeter, shorter side of its bounding box; zeros without points."""
    sizes = np.zeros((len(bounds) - 1, 3))
    for index in range(len(bounds) - 1):
        ring = points[bounds[index] : bounds[index + 1]]
        count = len(ring)
        perimeter = 0.0
        for i in range(count):
            dx, dy = ring[i, 0] - ring[i - 1, 0], ring[i, 1] - ring[i - 1, 1]
            perimeter += sqrt(dx * dx + dy * dy)
        if count:
            sizes[index, 0] = abs(twice_area(ring, count)) / 2
            sizes[index, 1] = perimeter
            sizes[index, 2] = min(np.ptp(ring[:, 0]), np.ptp(ring[:, 1]))
    return sizes


def offset_rectangles(outlines: Any, bounds: Any, wanted: Any, distance: Any) -> Any:
    """Do what Clipper does to those wanted outlines that are upright rectangles, and leave it the rest.

    Gives the shrunk rectangles, int32 (N, 4, 2), and the grown outlines, int32 points and bounds; an
    outline left to Clipper has no points there. Left to it are, besides all other shapes, rectangles
    that vanish and distances below a pixel.
    """
    count = len(bounds) - 1
    shrunk = np.zeros((count, 4, 2), np.int32)
    steps = np.zeros(count, np.int64)
    for index in range(count):
        outline = outlines[bounds[index] : bounds[index + 1]]
        if wanted[index] and distance[index] >= 1.0 and is_upright_rectangle(outline):
            left, top, right, bottom, across, down = rectangle(outline)
            left, right = (
                to_nearest(left + across * distance[index]),
                to_nearest(right - across * distance[index]),
            )
            top, bottom = (
                to_nearest(top + down * distance[index]),
                to_nearest(bottom - down * distance[index]),
            )
            if left < right and top < bottom:
                shrunk[index, 0, 0] = shrunk[index, 3, 0] = left
                shrunk[index, 1, 0] = shrunk[index, 2, 0] = right
                shrunk[index, 0, 1] = shrunk[index, 1, 1] = top
                shrunk[index, 2, 1] = shrunk[index, 3, 1] = bottom
                steps[index] = to_nearest(turns_of(distance[index]) / 4.0)
    grown_bounds = np.zeros(count + 1, np.int64)
    for index in range(count):
        grown_bounds[index + 1] = grown_bounds[index] + (4 * (steps[index] + 1) if steps[index] else 0)
    grown = np.empty((grown_bounds[count], 2), np.int32)
    for index in range(count):
        if steps[index]:
            outline = outlines[bounds[index] : bounds[index + 1]]
            grow(outline, distance[index], steps[index], grown[grown_bounds[index] : grown_bounds[index + 1]])
    return shrunk, grown, grown_bounds


def is_upright_rectangle(outline: Any) -> bool:
    """Tell whether four points are the corners, in order, of a rectangle with level and plumb sides."""
    if len(outline) != 4 or outline[0, 0] == outline[2, 0] or outline[0, 1] == outline[2, 1]:
        return False
    for first in range(2):  # the axis along which the first side is constant
        other = 1 - first
        if (
            outline[0, first] == outline[1, first]
            and outline[1, other] == outline[2, other]
            and outline[2, first] == outline[3, first]
            and outline[3, other] == outline[0, other]
        ):
            return True
    return False


def rectangle(outline: Any) -> Any:
    """Give left, top, right and bottom of a rectangle, and the lengths of its unit normals across and down.

    Clipper multiplies a side by its reciprocal, so they may be one rounding short of 1; that decides ties.
    """
    left, right = float(min(outline[0, 0], outline[2, 0])), float(max(outline[0, 0], outline[2, 0]))
    top, bottom = float(min(outline[0, 1], outline[2, 1])), float(max(outline[0, 1], outline[2, 1]))
    return (
        left,
        top,
        right,
        bottom,
        (bottom - top) * (1.0 / (bottom - top)),
        (right - left) * (1.0 / (right - left)),
    )


def turns_of(distance: float) -> float:
    """Give the number of chords of a full circle, as Clipper reckons it for a distance of 1 or more."""
    return min(pi / acos(1.0 - ARC_TOLERANCE / distance), distance * pi)


def grow(outline: Any, distance: float, steps: int, grown: Any) -> None:
    """Write the outline of a rectangle grown with round joins of `steps` chords, clockwise on the canvas."""
    left, top, right, bottom, across, down = rectangle(outline)
    angle = 2.0 * pi / turns_of(distance)
    turn_cos, turn_sin = cos(angle), sin(angle)
    # Each corner, and the normals of the sides before and after it.
    corners = (
        (left, top, -across, 0.0, 0.0, -down),
        (right, top, 0.0, -down, across, 0.0),
        (right, bottom, across, 0.0, 0.0, down),
        (left, bottom, 0.0, down, -across, 0.0),
    )
    at = 0
    for x, y, normal_x, normal_y, last_x, last_y in corners:
        for _ in range(steps):
            grown[at, 0] = to_nearest(x + normal_x * distance)
            grown[at, 1] = to_nearest(y + normal_y * distance)
            normal_x, normal_y = (
                normal_x * turn_cos - turn_sin * normal_y,
                normal_x * turn_sin + normal_y * turn_cos,
            )
            at += 1
        grown[at, 0] = to_nearest(x + last_x * distance)
        grown[at, 1] = to_nearest(y + last_y * distance)
        at += 1


def to_nearest(value: float) -> int:
    """Round as Clipper does: halves away from zero."""
    return int(value - 0.5) if value < 0.0 else int(value + 0.5)
