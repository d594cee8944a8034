"""The loops behind the maps, in the subset of Python that numba compiles.

Each runs as it stands too; `ocr.map_backends` compiles them. Polygons lie end to end: the
i-th is `points[bounds[i]:bounds[i + 1]]`, float64 x and y, or int32 once they are outlines.
"""

from __future__ import annotations

from math import acos, atan2, cos, pi, sin, sqrt
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
        elif twice_area(ring[:count]) < 0.0:
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


def twice_area(ring: Any) -> float:
    """Give twice the area of a ring (shoelace), positive where it runs clockwise on the canvas."""
    total = 0.0
    for i in range(len(ring)):
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
            sizes[index, 0] = abs(twice_area(ring)) / 2
            sizes[index, 1] = perimeter
            sizes[index, 2] = min(np.ptp(ring[:, 0]), np.ptp(ring[:, 1]))
    return sizes


def trace_outlines(outlines: Any, bounds: Any, wanted: Any, distance: Any) -> Any:
    """Move the edges of the wanted outlines inwards and outwards, as the first step of Clipper's offset does.

    Clipper 6 (`ClipperOffset`) moves each edge along its normal and joins the ends: by an arc where the
    outline opens, by way of the vertex where it closes. Gives int64 points and bounds of two raw outlines
    for each outline, shrunk and grown, for `ocr.map_sweep`. Outlines that run anticlockwise on the canvas,
    and those with a distance below a pixel, get no points.
    """
    count = len(bounds) - 1
    room = 0
    for index in range(count):
        if wanted[index]:
            room += 2 * (bounds[index + 1] - bounds[index]) * most_points(distance[index])
    raw = np.empty((room, 2), np.int64)
    raw_bounds = np.zeros(2 * count + 1, np.int64)
    for index in range(count):
        ring = outlines[bounds[index] : bounds[index + 1]].astype(np.int64)
        size = drop_repeats(ring, len(ring))
        traced = wanted[index] and distance[index] >= 1.0 and size > 2 and twice_area(ring[:size]) > 0.0
        for way in range(2):
            start, delta = raw_bounds[2 * index + way], distance[index] if way else -distance[index]
            length = trace_offset(ring[:size], delta, raw[start:]) if traced else 0
            raw_bounds[2 * index + way + 1] = start + length
    return raw[: raw_bounds[-1]], raw_bounds


def most_points(distance: float) -> int:
    """Bound the points of the raw outline that a vertex becomes."""
    return int(turns_of(max(distance, 1.0)) / 2.0) + 4


def turns_of(distance: float) -> float:
    """Give the number of chords of a full circle, as Clipper reckons it for a distance of 1 or more."""
    return min(pi / acos(1.0 - ARC_TOLERANCE / distance), distance * pi)


def trace_offset(ring: Any, delta: float, raw: Any) -> int:
    """Write the raw outline of a ring that runs clockwise on the canvas; give its length."""
    count = len(ring)
    normals = np.empty((count, 2))
    for i in range(count):
        after = i + 1 if i + 1 < count else 0
        dx, dy = float(ring[after, 0] - ring[i, 0]), float(ring[after, 1] - ring[i, 1])
        scale = 1.0 / sqrt(dx * dx + dy * dy)  # Clipper multiplies by it; the rounding decides ties
        normals[i, 0], normals[i, 1] = dy * scale, -(dx * scale)
    turns = turns_of(abs(delta))
    turn_sin, turn_cos = sin(2.0 * pi / turns), cos(2.0 * pi / turns)
    if delta < 0.0:
        turn_sin = -turn_sin

    size, before = 0, count - 1
    for i in range(count):
        x, y = ring[i, 0], ring[i, 1]
        from_x, from_y, to_x, to_y = normals[before, 0], normals[before, 1], normals[i, 0], normals[i, 1]
        sine, cosine = from_x * to_y - to_x * from_y, from_x * to_x + to_y * from_y
        if abs(sine * delta) < 1.0 and cosine > 0.0:
            size = put(raw, size, x + from_x * delta, y + from_y * delta)
            continue  # taken for no turn: the next one is measured from the same edge
        sine = min(max(sine, -1.0), 1.0)
        if sine * delta < 0.0:
            size = put(raw, size, x + from_x * delta, y + from_y * delta)
            size = put(raw, size, float(x), float(y))
        else:
            for _ in range(max(to_nearest(turns / (2.0 * pi) * abs(atan2(sine, cosine))), 1)):
                size = put(raw, size, x + from_x * delta, y + from_y * delta)
                from_x, from_y = from_x * turn_cos - turn_sin * from_y, from_x * turn_sin + from_y * turn_cos
        size = put(raw, size, x + to_x * delta, y + to_y * delta)
        before = i
    return size


def put(raw: Any, size: int, x: float, y: float) -> int:
    """Append a point, rounded."""
    raw[size, 0], raw[size, 1] = to_nearest(x), to_nearest(y)
    return size + 1


def to_nearest(value: float) -> int:
    """Round as Clipper does: halves away from zero."""
    return int(value - 0.5) if value < 0.0 else int(value + 0.5)
