"""Offset outlines as Clipper does, wherever its sweep only cuts off loops; in the Python that numba compiles.

Clipper 6 (`ClipperOffset`) moves each edge along its normal and joins the ends: by an arc where the outline
opens, by way of the vertex where it closes. This raw outline crosses itself about each vertex where it
closes, and a sweep over its edges, bottom to top, keeps what it winds round in the right direction. Where it
crosses itself in such small loops alone, what is kept is the raw outline without them: each gives way to the
pixel in which the sweep finds the crossing. Whatever else comes near itself is left to Clipper.
"""

from __future__ import annotations

from math import acos, atan2, cos, pi, sin, sqrt
from typing import Any

import numpy as np

from ocr.map_crossing import crossing_pixel, to_nearest
from ocr.map_loops import drop_midpoints, drop_repeats, goes_straight, twice_area

# Clipper's default: how far, in pixels, the chords of a round join may stray from the arc.
ARC_TOLERANCE = 0.25
# Edges are compared each with each: with more than these, Clipper's sweep is faster.
MOST_POINTS = 400
# A loop ends at most so many edges after the one that it starts from.
LONGEST_LOOP = 4


def offset_outlines(outlines: Any, bounds: Any, wanted: Any, distance: Any) -> Any:
    """Shrink and grow the wanted outlines by their distance; those left to Clipper get no points.

    Gives int32 points and int64 bounds of the shrunk outlines, and of the grown ones. Left to Clipper are,
    besides outlines that come near themselves, those that vanish and distances below a pixel.
    """
    count = len(bounds) - 1
    room = 0
    for index in range(count):
        if wanted[index]:
            room += (bounds[index + 1] - bounds[index]) * most_points(distance[index])
    shrunk, grown = np.empty((room, 2), np.int32), np.empty((room, 2), np.int32)
    shrunk_bounds, grown_bounds = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
    for index in range(count):
        outline = outlines[bounds[index] : bounds[index + 1]]
        inner = outer = 0
        if wanted[index] and distance[index] >= 1.0:
            inner = offset_outline(outline, -distance[index], shrunk[shrunk_bounds[index] :])
            if inner:
                outer = offset_outline(outline, distance[index], grown[grown_bounds[index] :])
        shrunk_bounds[index + 1] = shrunk_bounds[index] + (inner if outer else 0)
        grown_bounds[index + 1] = grown_bounds[index] + outer
    return shrunk[: shrunk_bounds[count]], shrunk_bounds, grown[: grown_bounds[count]], grown_bounds


def offset_outline(outline: Any, delta: float, result: Any) -> int:
    """Write the outline moved outwards by `delta`, or inwards; give its length, 0 if left to Clipper."""
    ring = np.empty((len(outline), 2), np.int64)
    ring[:] = outline
    count = drop_repeats(ring, len(ring))
    if count < 3 or 3 * count > MOST_POINTS or twice_area(ring[:count]) <= 0.0:
        return 0
    raw = np.empty((count * most_points(abs(delta)), 2), np.int64)
    count = drop_idle(raw, trace_offset(ring[:count], delta, raw))
    if count < 3 or count > MOST_POINTS:
        return 0
    raw, ends = raw[:count], np.empty(count, np.int64)
    loops = find_loops(raw, ends)
    cut = np.empty_like(raw)
    count = drop_idle(cut, cut_loops(raw, ends, loops, cut)) if loops >= 0 else 0
    result[:count] = cut[:count]
    return count


def most_points(distance: float) -> int:
    """Bound the points of the raw outline that a vertex becomes."""
    return int(turns_of(max(distance, 1.0)) / 2.0) + 4


def turns_of(distance: float) -> float:
    """Give the number of chords of a full circle, as Clipper reckons it for a distance of 1 or more."""
    return min(pi / acos(1.0 - ARC_TOLERANCE / distance), distance * pi)


def drop_idle(ring: Any, count: int) -> int:
    """Keep the first `count` points at which the ring turns; give how many, or 0 if it turns back."""
    count = drop_midpoints(ring, drop_repeats(ring, count))
    for i in range(count):
        x, y, after = ring[i, 0], ring[i, 1], i + 1 if i + 1 < count else 0
        before = i - 1 if i else count - 1
        if goes_straight(x - ring[before, 0], y - ring[before, 1], ring[after, 0] - x, ring[after, 1] - y):
            return 0
    return count


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


def find_loops(raw: Any, ends: Any) -> int:
    """Find where edges cross and give how often: edge `ends[i]` crosses edge i, a few before it; −1 if none.

    Gives −1 if the outline touches itself, crosses itself otherwise, or comes so near that the sweep, which
    compares rounded columns, may take it for touching.
    """
    count, loops = len(raw), 0
    ends[:] = -1
    for i in range(count):
        after = i + 1 if i + 1 < count else 0
        left, right = min(raw[i, 0], raw[after, 0]) - 1, max(raw[i, 0], raw[after, 0]) + 1
        top, bottom = min(raw[i, 1], raw[after, 1]), max(raw[i, 1], raw[after, 1])
        for k in range(i + 2, count - 1 if i == 0 else count):
            then = k + 1 if k + 1 < count else 0
            if (
                max(raw[k, 0], raw[then, 0]) < left
                or min(raw[k, 0], raw[then, 0]) > right
                or max(raw[k, 1], raw[then, 1]) < top
                or min(raw[k, 1], raw[then, 1]) > bottom
            ):
                continue
            if touches(raw, i, k) or touches(raw, after, k) or touches(raw, k, i) or touches(raw, then, i):
                return -1
            if are_apart(raw, i, k, then) and are_apart(raw, k, i, after):
                start, end = (i, k) if k - i <= LONGEST_LOOP else (k, i)
                if (end - start) % count > LONGEST_LOOP or ends[start] >= 0:
                    return -1
                ends[start] = end
                loops += 1
    return loops


def touches(raw: Any, vertex: int, edge: int) -> Any:
    """Tell whether the sweep may take a vertex to lie on an edge.

    Rounded columns matter at a vertex from which both edges go up (where they are put in order with others),
    at the end of a level edge, and where an edge goes up to the same end.
    """
    count = len(raw)
    x, y = raw[vertex, 0], raw[vertex, 1]
    after = edge + 1 if edge + 1 < count else 0
    x0, y0, x1, y1 = raw[edge, 0], raw[edge, 1], raw[after, 0], raw[after, 1]
    if not min(y0, y1) <= y <= max(y0, y1):
        return False
    if y0 == y1:
        return min(x0, x1) <= x <= max(x0, x1)
    off = abs((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0))
    if off == 0 or 2 * off > abs(y1 - y0):
        return off == 0
    before, behind = vertex - 1, vertex + 1 if vertex + 1 < count else 0
    if (raw[before, 1] <= y and raw[behind, 1] <= y) or raw[before, 1] == y or raw[behind, 1] == y:
        return True
    upper, top = before if raw[before, 1] < raw[behind, 1] else behind, edge if y0 < y1 else after
    if raw[upper, 1] > y:
        return False
    return (raw[upper, 0] - x) * (raw[top, 1] - y) == (raw[upper, 1] - y) * (raw[top, 0] - x)


def are_apart(raw: Any, edge: int, one: int, other: int) -> Any:
    """Tell whether two vertices lie on either side of the line through an edge."""
    after = edge + 1 if edge + 1 < len(raw) else 0
    x, y = raw[edge, 0], raw[edge, 1]
    dx, dy = raw[after, 0] - x, raw[after, 1] - y
    first = (raw[one, 0] - x) * dy - (raw[one, 1] - y) * dx
    return (first > 0) != ((raw[other, 0] - x) * dy - (raw[other, 1] - y) * dx > 0)


def cut_loops(raw: Any, ends: Any, loops: int, result: Any) -> int:
    """Write the raw outline with a pixel for each loop; give its length, or 0 if more than loops is lost.

    A loop that winds the other way than the rest lies outside it, one that winds the same way inside, or
    around: hence the areas are compared.
    """
    count, size, largest = len(raw), 0, 0.0
    exact = np.empty((count, 2))
    first = 0
    while loops and ends[first] < 0:
        first += 1
    edge, share, entered, left = first, 0.0, 0.0, 1.0
    while edge < first + count:
        at = edge if edge < count else edge - count
        after, end = at + 1 if at + 1 < count else 0, ends[at]
        if end < 0:
            exact[size, 0], exact[size, 1] = raw[after, 0], raw[after, 1]
            result[size, 0], result[size, 1] = raw[after, 0], raw[after, 1]
            edge, entered = edge + 1, 0.0
        else:
            share, end_share = where_they_cross(raw, at, end)
            found, column, row = crossing_pixel(raw, at, end)
            if not found or share <= entered:
                return 0
            if edge == first:
                left = share
            exact[size, 0] = raw[at, 0] + share * (raw[after, 0] - raw[at, 0])
            exact[size, 1] = raw[at, 1] + share * (raw[after, 1] - raw[at, 1])
            result[size, 0], result[size, 1] = column, row
            largest = max(largest, loop_area(raw, exact[size], after, end))
            edge, entered, loops = edge + end - at + (count if end < at else 0), end_share, loops - 1
        size += 1
    # The way round must end where it began, on the edge of the first loop and before it.
    if loops or edge != first + count or entered >= left or twice_area(exact[:size]) <= largest:
        return 0
    return size


def loop_area(raw: Any, crossing: Any, first: int, last: int) -> float:
    """Do what `twice_area` does, for the loop from a crossing over the vertices first to last."""
    total, i = 0.0, first
    while i != last:
        after = i + 1 if i + 1 < len(raw) else 0
        total += (raw[i, 0] - crossing[0]) * (raw[after, 1] - crossing[1])
        total -= (raw[after, 0] - crossing[0]) * (raw[i, 1] - crossing[1])
        i = after
    return total


def where_they_cross(raw: Any, one: int, other: int) -> Any:
    """Tell how far along each of two edges they cross, as a share of its length."""
    after = one + 1 if one + 1 < len(raw) else 0
    then = other + 1 if other + 1 < len(raw) else 0
    dx, dy = raw[after, 0] - raw[one, 0], raw[after, 1] - raw[one, 1]
    ex, ey = raw[then, 0] - raw[other, 0], raw[then, 1] - raw[other, 1]
    x, y = raw[other, 0] - raw[one, 0], raw[other, 1] - raw[one, 1]
    across = dx * ey - dy * ex
    return (x * ey - y * ex) / across, (x * dy - y * dx) / across
