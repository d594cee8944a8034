"""The dialects of text labels, a word a line; `detect_dialect` tells them apart.

| name | a line | documented by |
| --- | --- | --- |
| `icdar` | `x1,y1,…,x4,y4,text`, or `left, top, right, bottom, "text"` | ICDAR 2015, SROIE; ICDAR 2013 |
| `mlt` | `x1,y1,…,x4,y4,script,text` | ICDAR MLT 2017 and 2019 |
| `rctw` | `x1,y1,…,x4,y4,difficult,"text"` | RCTW-17 |
| `icdar_polygon` | `x1,y1,…,xn,yn,text`, or `…,####text` | Total-Text as DB has it; CTW1500's test set |
| `ctw1500` | `xmin,ymin,xmax,ymax` and 14 offsets from there | SCUT-CTW1500, curved labels |

Everything after the columns is the text, commas and quotes included (`rctw`'s has quotes round it).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ocr.annotations.labels import keys
from ocr.annotations.primitives import box_points
from ocr.annotations.words import IGNORED, Word
from ocr.geometry import Points

SCRIPTS = keys("arabic latin chinese japanese korean bangla hindi symbols mixed none")

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:nan|inf(?:inity)?)", re.ASCII)


@dataclass(frozen=True)
class Line:
    """A line cut at its commas; `numbers` are those that it begins with."""

    raw: str
    fields: tuple[str, ...]
    numbers: tuple[float, ...]

    def after(self, count: int) -> str:
        """Give what follows the first `count` fields, as it is written."""
        return ",".join(self.fields[count:])


def cut(raw: str) -> Line:
    """Cut a line into fields."""
    fields = tuple(raw.split(","))
    return Line(raw, fields, _numbers(fields))


def seems_damaged(line: Line, dialect: str, word: Word, with_text: bool) -> bool:
    """Whether a line reads, but rather has a field too many or too few: coordinates stand in its text.

    `a,###` is no text. A number that begins a text is a coordinate where the line makes a quadrilateral
    without one of two neighbours that are alike, or where it lies within a polygon. Where other lines are
    `with_text`, numbers up to the end of a polygon's line may be points or a text (`1,234`).
    """
    if word.text != IGNORED and unquoted(word.text.rpartition(",")[2]) == IGNORED:
        return True
    leading, rest = list(line.numbers), line.fields[2 * len(word.points) :]
    if dialect == "icdar_polygon" and with_text and not rest and len(word.points) > 4:
        return True
    if dialect == "icdar_polygon" and len(rest) > 1:
        low, high = word.points.min(axis=0), word.points.max(axis=0)
        numbers = [number for field in rest for number in _numbers([field])]
        inside = sum(bool(((low <= number) & (number <= high)).any()) for number in numbers)
        if inside > (len(word.points) == 4):
            return True
    if dialect in ("mlt", "rctw", "ctw1500") or len(leading) != 9 or len(rest) < 2:
        return False
    return any(
        one == other and _is_convex(np.array(leading[:at] + leading[at + 1 :]).reshape(4, 2))
        for at, (one, other) in enumerate(pairwise(leading))
    )


def icdar(line: Line) -> Word | None:
    """Read a quadrilateral and a text, or a box and a text."""
    if len(line.numbers) >= 8:
        return _word(line.numbers[:8], line.after(8))
    return _box(line)


def mlt(line: Line) -> Word | None:
    """Read a quadrilateral, one of MLT's scripts, and a text."""
    if len(line.numbers) < 8 or len(line.fields) < 10 or line.fields[8].strip().lower() not in SCRIPTS:
        return None
    return _word(line.numbers[:8], line.after(9))


def rctw(line: Line) -> Word | None:
    """Read a quadrilateral, the flag of a difficult word, and a text in quotes."""
    if len(line.numbers) < 9 or line.fields[8].strip() not in ("0", "1"):
        return None
    return _word(line.numbers[:8], unquoted(line.after(9)), line.numbers[8] == 1)


def icdar_polygon(line: Line) -> Word | None:
    """Read points for as long as they are near each other, and a text; `#` is Total-Text's `###`."""
    if len(line.numbers) < 6:
        return None
    count = 6 if len(line.numbers) < 8 else 8 + 2 * further_points(line)
    rest = line.numbers[count:]
    cut_short = len(rest) == 1 and line.after(count + 1)[:1].isdigit()  # `12#$#text`: half a point is there
    too_far = len(rest) > 1 and _is_coordinates(line, count)
    if cut_short or too_far:
        return None
    text = line.after(count).removeprefix("####")
    return _word(line.numbers[:count], text, text == "#")


@np.errstate(all="ignore")
def ctw1500(line: Line) -> Word | None:
    """Read a box and the offsets of 14 points from its top left corner, which reach its other sides."""
    if len(line.numbers) < 32:
        return None
    left, top, right, bottom, *offsets = line.numbers[:32]
    points = np.array(offsets).reshape(14, 2)
    reach = np.abs(points.max(axis=0) - (right - left, bottom - top)).max()
    if points.min() < 0 or not reach <= 2:
        return None
    return _word((points + np.array([left, top])).ravel().tolist(), line.after(32))


DIALECTS: dict[str, tuple[Callable[[Line], Word | None], str]] = {
    "icdar": (icdar, "8 coordinates (or 4) and a text, separated by commas"),
    "receipts": (icdar, "8 coordinates (or 4) and a text, separated by commas"),
    "mlt": (mlt, "8 coordinates, a script such as Latin, and a text, separated by commas"),
    "rctw": (rctw, '8 coordinates, 0 or 1, and a text in quotes ("…"), separated by commas'),
    "icdar_polygon": (icdar_polygon, "an even number of coordinates and a text, separated by commas"),
    "ctw1500": (ctw1500, "a box and 28 offsets that reach its sides, separated by commas"),
}


def _word(numbers: Sequence[float], text: str, ignore: bool = False) -> Word:
    points = box_points(*numbers) if len(numbers) == 4 else np.array(numbers, dtype=np.float64).reshape(-1, 2)
    points.flags.writeable = False
    return Word(points, text, ignore or text == IGNORED)


def unquoted(text: str) -> str:
    """Give a text without the quotes round it, if it has any."""
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text


def _box(line: Line) -> Word | None:
    """Read four numbers and a text. A fifth number is refused, unless quoted: half a quad looks like that."""
    for separator in (",", None):
        fields = line.raw.split(separator, 4)
        numbers = _numbers(fields[:4])
        if len(numbers) < 4 or len(fields) < 5:
            continue
        text = fields[4].strip()
        if unquoted(text) != text:
            return _word(numbers, unquoted(text))
        if separator and not _numbers(text.split(",", 1)[:1]) and not _has_gap(line.fields[4:8]):
            return _word(numbers, text)
    return None


def _numbers(fields: Sequence[str]) -> tuple[float, ...]:
    """Convert fields up to the first that is not a number."""
    numbers: list[float] = []
    for field in fields:
        number = field.strip(" \t")  # a plain strip() takes separators that float() refuses
        if not _NUMBER.fullmatch(number):
            break
        numbers.append(float(number))
    return tuple(numbers)


@np.errstate(all="ignore")
def _is_convex(points: Points) -> bool:
    edges = np.roll(points, -1, axis=0) - points
    after = np.roll(edges, -1, axis=0)
    turns = np.sign(edges[:, 0] * after[:, 1] - edges[:, 1] * after[:, 0])
    return bool(abs(turns.sum()) == len(points))


def _has_gap(fields: Sequence[str]) -> bool:
    """Whether numbers go on behind a field that is none: a coordinate is missing."""
    return sum(bool(_numbers([field])) for field in fields) > 1


@np.errstate(all="ignore")  # coordinates may be absurd, or none
def further_points(line: Line) -> int:
    """Count the pairs after the first eight numbers that can be further points of the same polygon."""
    points = np.array(line.numbers[:8]).reshape(4, 2)
    low, high = points.min(axis=0), points.max(axis=0)
    for at in range(8, len(line.numbers) - 1, 2):
        point = np.array(line.numbers[at : at + 2])
        reach = 2 * max(20.0, *(high - low))
        if (
            not _is_coordinates(line, at)
            or not (low - reach <= point).all()
            or not (point <= high + reach).all()
        ):
            return (at - 8) // 2
        low, high = np.minimum(low, point), np.maximum(high, point)
    return (len(line.numbers) - 8) // 2


def _is_coordinates(line: Line, at: int) -> bool:
    """Whether the pair of numbers at `at` is written as coordinates are: no `000`, decimals as before."""
    decimals = any("." in field for field in line.fields[:8])
    pair = [field.strip() for field in line.fields[at : at + 2]]
    return all(re.match(r"[+-]?0\d", field) is None and (decimals or "." not in field) for field in pair)
