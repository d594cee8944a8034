"""Clipper's offsets of a convex polygon, without Clipper's sweep.

Grown outwards, a convex outline meets nothing: what Clipper traces about each vertex is its result, less the
points at which the outline does not turn. Shrunk, the same holds for a rectangle that stands upright. Every
other polygon is left to Clipper: rounding to whole pixels makes some grown outlines (a tenth) not convex.
"""

from __future__ import annotations

from math import acos, atan2, cos, pi, sin, sqrt
from typing import Any

import numpy as np

from ocr.jit import compiled

# Clipper's: how far, in pixels, an arc's chords may lie from it, and a turn that needs no arc.
ARC_TOLERANCE = 0.25
STRAIGHT = 1.0


@compiled
def grow_convex(rings: Any, bounds: Any, distance: Any) -> Any:
    """Grow polygons, int32 (M, 2) end to end, by their distances; those left to Clipper get no points.

    Gives int32 points and int64 bounds, as Clipper's JT_ROUND does for closed polygons that run clockwise.
    """
    most = np.zeros(len(bounds), np.int64)
    for i in range(len(distance)):
        most[i + 1] = most[i] + 3 * (bounds[i + 1] - bounds[i]) + int(7 * sqrt(distance[i])) + 8
    points, ends = np.empty((most[-1], 2), np.int32), np.zeros(len(bounds), np.int64)
    for i in range(len(distance)):
        count = 0
        if distance[i] > 0.0:
            raw = points[ends[i] :]
            count = trace(rings[bounds[i] : bounds[i + 1]], distance[i], raw)
            count = drop_straight(raw, count)
            if not is_convex(raw, count):
                count = 0
        ends[i + 1] = ends[i] + count
    return points[: ends[-1]], ends


@compiled
def shrink_upright(rings: Any, bounds: Any, distance: Any) -> Any:
    """Shrink the upright rectangles among polygons, int32 (M, 2) end to end, by their distances.

    Gives int32 (N, 4, 2), and bool (N,): whether the polygon is such a rectangle, and something of it stays.
    """
    shrunk, done = np.empty((len(distance), 4, 2), np.int32), np.zeros(len(distance), np.bool_)
    for i in range(len(distance)):
        ring = rings[bounds[i] : bounds[i + 1]]
        done[i] = distance[i] > 0.0 and len(ring) == 4 and (is_upright(ring, 0) or is_upright(ring, 1))
        for axis in range(2 if done[i] else 0):
            low, high = min(ring[0, axis], ring[2, axis]), max(ring[0, axis], ring[2, axis])
            first, last = nearest(low + distance[i]), nearest(high - distance[i])
            done[i] = done[i] and first < last
            for j in range(4):
                shrunk[i, j, axis] = first if ring[j, axis] == low else last
    return shrunk, done


@compiled
def is_upright(ring: Any, axis: int) -> bool:
    """Tell whether the edges of a ring of four run along `axis` and across it in turn."""
    upright = True
    for j in range(4):
        upright = upright and ring[j - 1, (axis + j) % 2] == ring[j, (axis + j) % 2]
    return upright


@compiled
def trace(ring: Any, distance: float, result: Any) -> int:
    """Write a convex ring's grown outline, in whole pixels, as Clipper traces it; give its length, or 0."""
    steps = pi / acos(1.0 - min(ARC_TOLERANCE, distance * ARC_TOLERANCE) / distance)
    steps = min(steps, distance * pi)
    sine, cosine = sin(2 * pi / steps), cos(2 * pi / steps)
    count, turned = 0, 0.0
    for j in range(len(ring)):
        x, y = normal(ring, j - 1)
        next_x, next_y = normal(ring, j)
        turn = x * next_y - next_x * y
        angle = atan2(min(turn, 1.0), x * next_x + y * next_y)
        turned += angle
        # A star turns the same way everywhere, but more than once.
        if not turn * distance >= STRAIGHT or turned > 3 * pi:
            return 0
        for _ in range(max(nearest(steps / (2 * pi) * angle), 1)):
            result[count, 0] = nearest(ring[j, 0] + x * distance)
            result[count, 1] = nearest(ring[j, 1] + y * distance)
            x, y = x * cosine - sine * y, x * sine + y * cosine
            count += 1
        result[count, 0] = nearest(ring[j, 0] + next_x * distance)
        result[count, 1] = nearest(ring[j, 1] + next_y * distance)
        count += 1
    return count


@compiled
def normal(ring: Any, index: int) -> Any:
    """Give the outward unit normal of the edge that begins at a vertex (NaN where the edge has no length)."""
    after = index + 1 if index + 1 < len(ring) else 0
    dx, dy = float(ring[after, 0] - ring[index, 0]), float(ring[after, 1] - ring[index, 1])
    length = sqrt(dx * dx + dy * dy)
    scale = 1.0 / length if length > 0.0 else np.nan
    return dy * scale, -dx * scale


@compiled
def nearest(value: float) -> int:
    """Round to the nearest integer, halves away from zero."""
    return int(value - 0.5) if value < 0.0 else int(value + 0.5)


@compiled
def drop_straight(ring: Any, count: int) -> int:
    """Keep those of the first `count` points at which the ring turns; give how many."""
    before = -1
    while before != count:
        before, count = count, 0
        for i in range(before):
            after = i + 1 if i + 1 < before else 0
            if turn_at(ring, count - 1 if count else before - 1, i, after) != 0:
                ring[count, 0], ring[count, 1] = ring[i, 0], ring[i, 1]
                count += 1
    return count


@compiled
def is_convex(ring: Any, count: int) -> bool:
    """Tell whether the first `count` points turn clockwise everywhere."""
    for i in range(count):
        if turn_at(ring, i - 2 if i > 1 else count + i - 2, i - 1 if i else count - 1, i) <= 0:
            return False
    return count > 2


@compiled
def turn_at(ring: Any, before: int, at: int, after: int) -> Any:
    """Give the cross product of the edges that meet at a vertex, positive where they turn clockwise."""
    dx, dy = np.int64(ring[at, 0] - ring[before, 0]), np.int64(ring[at, 1] - ring[before, 1])
    return dx * (ring[after, 1] - ring[at, 1]) - dy * (ring[after, 0] - ring[at, 0])
