"""Telling the dialect of text labels by all lines together, since a text may look like numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ocr.annotations.dialects import IGNORED, NUMBER, SCRIPTS, Line, ctw1500, further_points, unquoted
from pipeline.errors import ConfigError

_AMOUNT = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_COMMON = 50  # what fewer than one line in so many shows is taken for chance


def detect_dialect(place: str, lines: Sequence[Line]) -> str:
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


def _are_polygons(place: str, lines: Sequence[Line]) -> bool:
    """Whether lines have more points than four: those with more numbers than eight decide."""
    longer = [line for line in lines if len(line.numbers) >= 10]
    further = [further_points(line) for line in longer]
    counted = list(zip(longer, further, strict=True))
    one_more = [line for line, count in counted if count == 1 and len(line.fields) - len(line.numbers) > 0]
    sure = [line for line, count in counted if count > 1]
    if 2 * len(one_more) >= len(lines):
        sure += one_more
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
    quoted = [flag and unquoted(text) != text.strip() for flag, (_, text) in zip(flags, parts, strict=True)]
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
        if len(line.fields) > 9 and unquoted(line.fields[-1]) == IGNORED:
            return line
    if len(quads) < 3 or not all(columns):
        return None
    amounts = all(_AMOUNT.fullmatch(line.after(8)) for line in quads)
    few = len(quads) // 2 if len(quads) >= 5 else 0
    numbers = all(NUMBER.fullmatch(first) for first, _ in parts) and not amounts
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
