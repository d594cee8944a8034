"""The values that annotation formats are made of: points, boxes, texts, flags, each checked and reported.

Every function takes the JSON value, the `Problems` to report to and the path of the value. A value
that cannot be used is reported and an empty one is returned, so that reading goes on to the next.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np

from ocr.annotations.problems import Problems, show
from ocr.geometry import Points

Where = str | int

_NUMBERS = {int, float}  # a bool is an int to isinstance, and no coordinate
_LIST, _TWO = {list}, {2}
NO_POINTS: Points = np.empty((0, 2))
NO_POINTS.flags.writeable = False


def read_points(value: Any, problems: Problems, *where: Where) -> Points:
    """Read `[[x, y], …]`; `null` and `[]` are a polygon without points."""
    if value is None:
        return NO_POINTS
    if not isinstance(value, list):
        problems.add(where, "a list of [x, y]", value)
        return NO_POINTS
    if set(map(type, value)) <= _LIST and set(map(len, value)) <= _TWO:
        numbers = list(chain.from_iterable(value))  # a call for all of them: there may be a million polygons
        if set(map(type, numbers)) <= _NUMBERS:
            return _array(numbers, value, problems, where)
    for index, pair in enumerate(value):
        if not (isinstance(pair, list) and len(pair) == 2 and set(map(type, pair)) <= _NUMBERS):
            problems.add((*where, index), "two numbers [x, y]", pair)
            break
    return NO_POINTS


def read_all_points(values: Sequence[Any]) -> tuple[Points, list[int]] | None:
    """Read what `read_points` does for many words, end to end, and how many points each has.

    None where there is anything to report.
    """
    if not set(map(type, values)) <= {list, type(None)}:
        return None
    listed = [value or () for value in values]
    pairs = list(chain.from_iterable(listed))
    if not (set(map(type, pairs)) <= _LIST and set(map(len, pairs)) <= _TWO):
        return None
    numbers = list(chain.from_iterable(pairs))
    if not set(map(type, numbers)) <= _NUMBERS:
        return None
    with suppress(OverflowError):
        return np.array(numbers, dtype=np.float64).reshape(-1, 2), list(map(len, listed))
    return None


def read_all_texts(values: Sequence[Any]) -> list[bytes] | None:
    """Read what `read_text` does for many words, as UTF-8; None where there is anything to report."""
    if not set(map(type, values)) <= {str, type(None)}:
        return None
    with suppress(UnicodeEncodeError):
        return [(value or "").encode() for value in values]
    return None


def read_flat_points(value: Any, problems: Problems, *where: Where) -> Points:
    """Read `[x1, y1, x2, y2, …]`."""
    if not isinstance(value, list) or len(value) % 2:
        problems.add(where, "an even number of coordinates [x1, y1, x2, y2, …]", value)
        return NO_POINTS
    for index, number in enumerate(value):
        if type(number) not in _NUMBERS:
            problems.add((*where, index), "a number", number)
            return NO_POINTS
    return _array(value, value, problems, where)


def is_outline(value: Any) -> bool:
    """Whether a list `[x1, y1, …]` can be a polygon at all: a point, or a line along an axis, cannot."""
    if not isinstance(value, list) or len(value) < 6:
        return False
    try:
        xs, ys = value[::2], value[1::2]
        return len(set(xs)) > 1 < len(set(ys)) and len(set(zip(xs, ys, strict=False))) > 2
    except TypeError:  # no numbers, which is told by whoever reads them
        return True


def read_box(value: Any, problems: Problems, *where: Where) -> tuple[float, float, float, float]:
    """Read four numbers; what they mean is the format's business. NaN where they cannot be read."""
    if isinstance(value, list) and len(value) == 4 and all(type(number) in _NUMBERS for number in value):
        (a, b), (c, d) = _array(value, value, problems, where).tolist() or [(np.nan, np.nan)] * 2
        return a, b, c, d
    problems.add(where, "four numbers", value)
    return np.nan, np.nan, np.nan, np.nan


def box_points(left: float, top: float, right: float, bottom: float) -> Points:
    """Give the four corners of an upright box, clockwise from the top left."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def read_text(value: Any, problems: Problems, *where: Where) -> str:
    """Read a transcript; `null` is the empty one."""
    if value is None:
        return ""
    if type(value) in _NUMBERS:
        problems.add(where, f'a text in quotes ("{show(value)}")', value)
        return ""
    if not isinstance(value, str):
        problems.add(where, "a text", value)
        return ""
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        problems.add(where, "Unicode text", value)  # half a surrogate pair has no UTF-8
        return ""
    return value


def read_flag(value: Any, problems: Problems, *where: Where) -> bool:
    """Read true or false; 0, 1 and `null` (false) are understood."""
    if value is None:
        return False
    if value in (0, 1):  # also False and True, 0.0 and 1.0
        return bool(value)
    problems.add(where, "true or false", value)
    return False


def read_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Take the size that an annotation states if it is one; it is evidence only, so nothing is reported.

    Some tools write `640.0` or `"640"`.
    """
    with suppress(TypeError, ValueError, OverflowError):
        sides = [round(float(side)) for side in (height, width) if type(side) is not bool]
        return (sides[0], sides[1]) if len(sides) == 2 and min(sides) > 0 else None
    return None


def by_number(key: str) -> tuple[bool, int, str]:
    """Sort keys such as ids: numbers by value and before all others, which go by their letters."""
    number = key.isascii() and key.isdecimal()
    return not number, len(key) if number else 0, key


def in_order(keys: Collection[str]) -> list[str]:
    """Sort keys by `by_number`, in two calls where all are numbers: there may be millions."""
    joined = "".join(keys)
    if joined.isascii() and joined.isdecimal() and "" not in keys:
        return sorted(sorted(keys), key=len)
    return sorted(keys, key=by_number)


def _array(numbers: list[Any], value: Any, problems: Problems, where: tuple[Where, ...]) -> Points:
    try:
        points = np.array(numbers, dtype=np.float64).reshape(-1, 2)
    except OverflowError:
        problems.add(where, "numbers that a float64 can hold", value)
        return NO_POINTS
    points.flags.writeable = False
    return points
