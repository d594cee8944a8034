"""What Clipper's sweep makes of a raw offset outline, in simple cases; in the Python that numba compiles.

A raw outline (`ocr.map_loops.trace_outlines`) crosses itself about each vertex where it closes. Clipper
sweeps over its edges, from row to row of vertices, upwards on the canvas, and keeps what it winds round in
the right direction. Where it crosses itself in small loops alone, that is the outline without them: each
gives way to the pixel in which the sweep finds the crossing. What else comes near itself is left to Clipper.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Edges are compared each with each: with more than these, Clipper's sweep is faster.
MOST_POINTS = 400
# A loop ends at most so many edges after the one that it starts from.
LONGEST_LOOP = 4


def cut_outlines(raw: Any, bounds: Any) -> Any:
    """Cut the loops off pairs of raw outlines, int64 points and bounds; those left to Clipper get no points.

    Gives int32 points and int64 bounds of the first outlines of all pairs, and of the second ones. A pair is
    left to Clipper as a whole: if one comes near itself, winds the wrong way (it vanishes), or is too long.
    """
    count = len(bounds) // 2
    cut, ends = np.empty((2, len(raw), 2), np.int32), np.zeros((2, count + 1), np.int64)
    for index in range(count):
        ends[:, index + 1] = ends[:, index]
        size = 1
        for way in range(2):  # in one call, which numba compiles twice otherwise
            if size:
                outline = raw[bounds[2 * index + way] : bounds[2 * index + way + 1]]
                size = cut_outline(outline, cut[way, ends[way, index] :])
                ends[way, index + 1] += size
        if size == 0:
            ends[:, index + 1] = ends[:, index]
    return cut[0, : ends[0, count]], ends[0], cut[1, : ends[1, count]], ends[1]


def cut_outline(raw: Any, result: Any) -> int:
    """Write the raw outline without its loops, and drop its idle points; give its length, or 0."""
    if len(raw) > MOST_POINTS:
        return 0
    raw = raw[: drop_idle(raw)]
    ends = np.empty(len(raw), np.int64)
    loops = find_loops(raw, ends)
    cut = np.empty_like(raw)
    count = drop_idle(cut[: cut_loops(raw, ends, loops, cut)]) if loops >= 0 else 0
    result[:count] = cut[:count]
    return count


def drop_idle(ring: Any) -> int:
    """Put the points at which the ring turns first and give how many; 0 if it turns back on itself."""
    before, count = 0, len(ring)
    while before != count:
        before, count = count, 0
        for i in range(before):
            x, y, last, following = ring[i, 0], ring[i, 1], count - 1 if count else before - 1, i + 1
            if following == before:
                following = 0
            dx, dy = x - ring[last, 0], y - ring[last, 1]
            next_dx, next_dy = ring[following, 0] - x, ring[following, 1] - y
            if next_dx == 0 and next_dy == 0:
                continue
            if dx * next_dy == dy * next_dx and (dx != 0 or dy != 0):
                if dx * next_dx + dy * next_dy < 0:
                    return 0
                continue
            ring[count, 0], ring[count, 1] = x, y
            count += 1
    return count if count > 2 else 0


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
            for vertex, edge in ((i, k), (after, k), (k, i), (then, i)):
                if touches(raw, vertex, edge):
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
    if loops or edge != first + count or entered >= left or size < 3:
        return 0
    return size if loop_area(exact, exact[0], 1, size - 1) > largest else 0


def loop_area(ring: Any, point: Any, first: int, last: int) -> float:
    """Give twice the area of the loop from a point over vertices first to last, positive if clockwise."""
    total, i = 0.0, first
    while i != last:
        after = i + 1 if i + 1 < len(ring) else 0
        total += (ring[i, 0] - point[0]) * (ring[after, 1] - point[1])
        total -= (ring[after, 0] - point[0]) * (ring[i, 1] - point[1])
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


def crossing_pixel(raw: Any, one: int, other: int) -> Any:
    """Tell whether the sweep finds two edges to cross before either ends, and the column and row.

    It compares the edges' rounded columns at each row in which a vertex lies. A crossing is found at the
    first row where they have changed order, and put below it: of edges at a small angle it may be rows off.
    """
    x0, y0, x1, y1 = upwards(raw, one)
    x2, y2, x3, y3 = upwards(raw, other)
    if y0 == y1:
        return True, column_at(x2, y2, x3, y3, y0), y0
    if y2 == y3:
        return True, column_at(x0, y0, x1, y1, y2), y2
    if (x1 - x0) * (y3 - y2) > (x3 - x2) * (y1 - y0):
        # The first leans more to the left: before they cross it is the right one.
        x0, y0, x1, y1, x2, y2, x3, y3 = x2, y2, x3, y3, x0, y0, x1, y1

    bottom, end = min(y0, y2), max(y1, y3)
    top = next_row(raw, bottom, end)
    while column_at(x0, y0, x1, y1, top) <= column_at(x2, y2, x3, y3, top):
        if top == end:
            return False, 0, 0
        bottom, top = top, next_row(raw, top, end)

    slope, other_slope = float(x1 - x0) / float(y1 - y0), float(x3 - x2) / float(y3 - y2)
    first_is_steeper = abs(slope) < abs(other_slope)
    if slope == 0.0:
        x, y = x0, to_nearest(x0 / other_slope + (y2 - x2 / other_slope))
    elif other_slope == 0.0:
        x, y = x2, to_nearest(x2 / slope + (y0 - x0 / slope))
    else:
        base, other_base = x0 - y0 * slope, x2 - y2 * other_slope
        row = (other_base - base) / (slope - other_slope)
        x = to_nearest(slope * row + base if first_is_steeper else other_slope * row + other_base)
        y = to_nearest(row)
    # Rounded out of its band of rows, it is moved back along the steeper edge, or the left one at the top.
    if bottom >= y >= top:
        return True, x, y
    y = bottom if y > bottom else top
    if first_is_steeper or (y == bottom and slope == -other_slope) or (y == top and top > end):
        return True, column_at(x0, y0, x1, y1, y), y
    return True, column_at(x2, y2, x3, y3, y), y


def upwards(raw: Any, edge: int) -> Any:
    """Give the ends of an edge, x and y of the lower one on the canvas first."""
    after = edge + 1 if edge + 1 < len(raw) else 0
    if raw[edge, 1] >= raw[after, 1]:
        return raw[edge, 0], raw[edge, 1], raw[after, 0], raw[after, 1]
    return raw[after, 0], raw[after, 1], raw[edge, 0], raw[edge, 1]


def next_row(raw: Any, row: int, last: int) -> int:
    """Give the first row above `row` in which a vertex lies, not beyond the last one."""
    following = last
    for i in range(len(raw)):
        if following < raw[i, 1] < row:
            following = raw[i, 1]
    return following


def column_at(x0: int, y0: int, x1: int, y1: int, row: int) -> int:
    """Give the column, rounded, in which an edge meets a row."""
    if row == y1:
        return x1
    return x0 + to_nearest(float(x1 - x0) / float(y1 - y0) * (row - y0))


def to_nearest(value: float) -> int:
    """Round as Clipper does: halves away from zero."""
    return int(value - 0.5) if value < 0.0 else int(value + 0.5)
