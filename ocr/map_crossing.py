"""The pixel in which Clipper's sweep finds two edges to cross; in the Python that numba compiles.

The sweep goes from row to row in which a vertex lies, upwards on the canvas, and compares the edges' columns
there, rounded. So it finds a crossing at the first such row where the rounded columns have changed order, and
puts it into the band of rows before: a crossing of edges that meet at a small angle may be some rows off.
"""

from __future__ import annotations

from typing import Any


def crossing_pixel(raw: Any, one: int, other: int) -> Any:
    """Tell whether the sweep finds two edges to cross before either ends, and the column and row."""
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
    if y < end:
        y = end
        x = column_at(x0, y0, x1, y1, y) if first_is_steeper else column_at(x2, y2, x3, y3, y)
    if y > bottom:
        y = bottom
        x = column_at(x2, y2, x3, y3, y) if abs(slope) > abs(other_slope) else column_at(x0, y0, x1, y1, y)
    if y < top:
        x, y = column_at(x0, y0, x1, y1, top), top
    return True, x, y


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
