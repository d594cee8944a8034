"""The dialects of text labels, a word a line, and how all lines of a folder tell which one it is.

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

from ocr.annotations.fields import box_points
from ocr.annotations.labels import keys
from ocr.annotations.words import Word
from pipeline.errors import ConfigError

IGNORED = "###"
SCRIPTS = keys("arabic latin chinese japanese korean bangla hindi symbols mixed none")

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:nan|inf(?:inity)?)", re.ASCII)
_AMOUNT = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_COMMON = 50  # what fewer than one line in so many shows is taken for chance


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


def tell(place: str, lines: Sequence[Line]) -> str:
    """Name the dialect of lines. Raises ConfigError, with both readings, where they do not tell."""
    quads = [line for line in lines if len(line.numbers) >= 8]
    if not quads:
        return "icdar"
    _refuse_counted(place, quads)
    if all(len(line.fields) == 32 and ctw1500(line) for line in quads):
        return "ctw1500"
    if _are_polygons(place, quads):
        return "icdar_polygon"
    return _tell_columns(place, quads)


def has_number_twice(line: Line, dialect: str) -> bool:
    """Whether a coordinate seems to stand twice, which shifts all that follow: one too many, two alike.

    A quadrilateral that is convex all the same is believed: its text begins with a number.
    """
    leading = [field.strip() for field in line.fields[: len(line.numbers)]]
    if len(leading) < 9 or len(leading) % 2 == 0 or len(leading) == len(line.fields):
        return False
    alike = any(one == other for one, other in pairwise(leading))
    if dialect == "icdar_polygon" or not alike:
        return alike
    edges = np.diff(np.array(line.numbers[:8]).reshape(4, 2), axis=0, append=[line.numbers[:2]])
    after = np.roll(edges, -1, axis=0)
    turns = np.sign(edges[:, 0] * after[:, 1] - edges[:, 1] * after[:, 0])
    return dialect in ("icdar", "receipts") and abs(turns.sum()) != 4


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
    return _word(line.numbers[:8], _unquoted(line.after(9)), line.numbers[8] == 1)


def icdar_polygon(line: Line) -> Word | None:
    """Read points for as long as they are near each other, and a text; `#` is Total-Text's `###`."""
    count = 6 if len(line.numbers) in (6, 7) else 8 + 2 * _further_points(line)
    rest = line.numbers[count:]
    cut_short = len(rest) == 1 and line.after(count + 1)[:1].isdigit()  # `12#$#text`: half a point is there
    if len(line.numbers) < 6 or cut_short or (len(rest) > 1 and _is_coordinates(line, count)):
        return None
    text = line.after(count).removeprefix("####")
    return _word(line.numbers[:count], text, text == "#")


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


def _unquoted(text: str) -> str:
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
        if _unquoted(text) != text:
            return _word(numbers, _unquoted(text))
        if separator and not _numbers(text.split(",", 1)[:1]):
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


def _further_points(line: Line) -> int:
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


def _are_polygons(place: str, lines: Sequence[Line]) -> bool:
    """Whether lines have more points than four: those with more numbers than eight decide."""
    longer = [line for line in lines if len(line.numbers) >= 10]
    further = [_further_points(line) for line in longer]
    sure = [
        line
        for line, count in zip(longer, further, strict=True)
        if count > 1
        or (count == 1 and len(line.numbers) in (10, 11) and len(line.fields) > len(line.numbers))
    ]
    against = further.count(0)
    perhaps = len(longer) - len(sure) - against
    if not sure and (against >= perhaps or perhaps * _COMMON < len(lines)):
        return False
    if sure and against * 10 <= len(sure) and len(sure) * _COMMON >= len(lines):
        return True
    if against > 10 * len(sure):
        return False
    shown = sure[0] if sure else longer[further.index(1)]
    raise _undecided(
        place,
        shown,
        f"icdar: four points and the text {shown.after(8)[:40]!r}",
        f"icdar_polygon: {len(shown.numbers) // 2} points",
    )


def _tell_columns(place: str, quads: Sequence[Line]) -> str:
    """Tell what stands between the eighth number and the text, if anything."""
    rests = [line.after(8) for line in quads]
    parts = [(line.fields[8].strip() if len(line.fields) > 8 else "", line.after(9)) for line in quads]
    columns = [len(line.fields) > 9 for line in quads]
    scripts = [more and first.lower() in SCRIPTS for (first, _), more in zip(parts, columns, strict=True)]
    flags = [first in ("0", "1") for first, _ in parts]
    quoted = [flag and _unquoted(text) != text.strip() for flag, (_, text) in zip(flags, parts, strict=True)]
    if all(scripts):
        return "mlt"
    if all(quoted):
        return "rctw"
    if 2 * sum(scripts) >= len(quads):
        odd = quads[scripts.index(False)]
        raise _undecided(place, odd, f"icdar: the text {odd.after(8)[:40]!r}", "mlt: a script and a text")
    flagged = [flag and not _AMOUNT.fullmatch(rest) for flag, rest in zip(flags, rests, strict=True)]
    if all(flagged) or 2 * sum(quoted) >= len(quads):
        odd = quads[flagged.index(True)]
        raise _undecided(place, odd, f"icdar: the text {odd.after(8)[:40]!r}", "rctw: a flag and a text")
    if column := _further_column(quads, parts, columns):
        raise _undecided(
            place,
            column,
            f"icdar: the text {column.after(8)[:40]!r}",
            f"a column {parts[0][0][:20]!r} of a format that is not known: take it out of the lines",
        )
    return "icdar"


def _further_column(
    quads: Sequence[Line], parts: Sequence[tuple[str, str]], columns: Sequence[bool]
) -> Line | None:
    """Give a line whose text seems to be two columns: `…,###`, a number before each, few words before all."""
    for line in quads:
        if len(line.fields) > 9 and _unquoted(line.fields[-1]) == IGNORED:
            return line
    if len(quads) < 3 or not all(columns):
        return None
    amounts = all(_AMOUNT.fullmatch(line.after(8)) for line in quads)
    few = len(quads) // 2 if len(quads) >= 5 else 0
    numbers = all(_NUMBER.fullmatch(first) for first, _ in parts) and not amounts
    repeated = min(len({first for first, _ in parts}), len({line.fields[-1] for line in quads})) <= few
    return quads[0] if numbers or repeated else None


def _refuse_counted(place: str, lines: Sequence[Line]) -> None:
    """Refuse lines that begin with the number of their points: everything would be read one number late."""
    counts = [line.numbers[0] for line in lines]
    if all(count in (4, 5, 6, 7, 8, 10, 12, 14, 16) for count in counts) and all(
        len(line.numbers) in (2 * count + 1, 2 * count + 2) for line, count in zip(lines, counts, strict=True)
    ):
        raise _undecided(
            place,
            lines[0],
            "icdar: the first number is a coordinate",
            "the first number is how many points follow: take it out, and write icdar_polygon",
        )


def _undecided(place: str, line: Line, one: str, other: str) -> ConfigError:
    return ConfigError(
        f"{place}: lines such as {line.raw[:80]!r} can be read in two ways, as {one}; or as {other}; "
        "say which in data.splits.<split>.format"
    )
