"""Figures in words and tables of Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.record import Row


def figure(value: float) -> str:
    """Give three digits that count, `71,300`, `7.13`, `0.0713`; all of a whole number below 10,000."""
    if value == int(value) and abs(value) < 10_000:
        return f"{value:.0f}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{round(value, digits):,.{max(0, digits)}f}"


def spread(values: Iterable[float]) -> str:
    """Median, least and most: `1.20 (1.18 – 1.24)`."""
    found = sorted(values)
    middle = figure(median(found))
    return middle if len(found) == 1 else f"{middle} ({span(found)})"


def span(values: Iterable[float]) -> str:
    """Least and most: `1.18 – 1.24`; one figure where they are the same."""
    found = sorted(values)
    return " – ".join(dict.fromkeys((figure(found[0]), figure(found[-1]))))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, ["---"] * len(header), *rows))


def times(row: Row, other: Row) -> str:
    """How many times as fast a side is as another, the median over the rounds: `22 ×`, `1.73 ×`."""
    ratio = median(row.times_as_fast_as(other))
    return f"{ratio:.0f} ×" if ratio >= 10 else f"{ratio:.2f} ×"


def against(found: dict[str, Row]) -> list[str]:
    """Medians, and how many times as fast the first side is as each other: `1.38`, `30.1 (22 ×)`."""
    first, *others = found.values()
    return [figure(first.median), *(f"{figure(row.median)} ({times(first, row)})" for row in others)]
