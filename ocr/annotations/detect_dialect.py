"""Telling the dialect of text labels by all lines together, since a text may look like numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ocr.annotations.dialects import Line, ctw1500, further_points, mlt, rctw, unquoted
from ocr.annotations.words import IGNORED
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
    raise _undecided(place, shown, f"icdar_polygon: {len(shown.numbers) // 2} points")


def _tell_columns(place: str, quads: Sequence[Line]) -> str:
    """Tell what stands between the eighth number and the text, if anything."""
    scripts = [line for line in quads if mlt(line)]
    flags = [line for line in quads if rctw(line) and not _AMOUNT.fullmatch(line.after(8))]
    quoted = [line for line in flags if unquoted(line.after(9)) != line.after(9).strip()]
    if len(scripts) == len(quads):
        return "mlt"
    if len(quoted) == len(quads):
        return "rctw"
    if scripts and _COMMON * len(scripts) >= len(quads):
        raise _undecided(place, scripts[0], "mlt: a script and a text")
    if len(flags) == len(quads) or (quoted and _COMMON * len(quoted) >= len(quads)):
        raise _undecided(place, (quoted or flags)[0], "rctw: a flag and a text")
    if line := _with_further_column(quads):
        raise _undecided(place, line, f"two columns, {line.fields[8][:20]!r} first: take out what is no text")
    return "icdar"


def _with_further_column(quads: Sequence[Line]) -> Line | None:
    """Give a line whose text seems to be two columns: `…,###`, a number before each, few words before all."""
    for line in quads:
        if len(line.fields) > 9 and unquoted(line.fields[-1]) == IGNORED:
            return line
    if len(quads) < 3 or not all(len(line.fields) > 9 for line in quads):
        return None
    amounts = all(_AMOUNT.fullmatch(line.after(8)) for line in quads)
    numbers = all(len(line.numbers) > 8 for line in quads) and not amounts
    kinds = min(len({line.fields[at] for line in quads}) for at in (8, -1))
    return quads[0] if numbers or (len(quads) >= 5 and 2 * kinds <= len(quads)) else None


def _refuse_counted(place: str, lines: Sequence[Line]) -> None:
    """Refuse lines that begin with the number of their points: everything would be read one number late."""
    for line in lines:
        count = line.numbers[0]
        if count not in range(4, 17) or len(line.numbers) - 2 * count not in (1, 2):
            return
    raise _undecided(
        place, lines[0], "how many points follow, and these: take out the number, and write icdar_polygon"
    )


def _undecided(place: str, line: Line, other: str) -> ConfigError:
    return ConfigError(
        f"{place}: lines such as {line.raw[:80]!r} can be read in two ways, as icdar: the text "
        f"{line.after(8)[:40]!r}; or as {other}; say which in data.splits.<split>.format"
    )
