"""The tables and figures of README.md and docs/benchmarks.md, each made of results."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Iterable, Sequence
from statistics import median

from benchmarks.measure import figure
from benchmarks.record import Result, Row


class AbsentError(LookupError):
    """There is no result of a benchmark; its name is the message."""


class Results(UserDict[str, Result]):
    """Results by benchmark."""

    def __missing__(self, benchmark: str) -> Result:
        raise AbsentError(benchmark)


def maps(results: Results) -> str:
    """Milliseconds of maps by polygons and canvas, against other people's."""
    result = results["maps"]
    cases = [row.conditions for row in result.rows if row.name == "warmstore" and row.unit == "CPU ms"]
    return table(
        ("polygons", "warmstore", "plain loop", "MindOCR", "PaddleOCR"),
        [(f"{of['polygons']}, {of['canvas']}", *slower(result.find("CPU ms", **of))) for of in cases],
    )


TABLES: dict[str, Callable[[Results], str]] = {"maps": maps}
FIGURES: dict[str, Callable[[Results], str]] = {}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (header, ["---"] * len(header), *rows))


def slower(found: dict[str, Row]) -> list[str]:
    """Medians, and how many times as long as the first side the others take: `1.38`, `30.1 (22 ×)`."""
    first, *others = found.values()
    return [figure(first.median), *(f"{figure(row.median)} ({times(first, row)})" for row in others)]


def times(row: Row, other: Row) -> str:
    """How many times as fast a side is as another, the median over the rounds: `22 ×`, `1.7 ×`."""
    ratio = median(row.times_as_fast_as(other))
    return f"{ratio:.0f} ×" if ratio >= 10 else f"{ratio:.2g} ×"
