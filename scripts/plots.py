"""Draws the tables of the documentation that ask for it: a hook of mkdocs (`hooks` in mkdocs.yml).

`<!-- bars: seconds -->` before a table draws its column `seconds`. Several columns have commas between,
then come the axis and its scale: `<!-- bars: in order, shuffled | samples a second | log -->`.
`<!-- lines: H-mean -->` draws all columns over the first one. The numbers are the table's, the first one
of each cell, so that a picture cannot say something else than its page.
"""

from __future__ import annotations

import io
import re
from typing import Any

MARK = re.compile(r"^<!-- (?P<kind>bars|lines): (?P<asked>.+) -->\n\n(?P<table>(?:\|.*\n)+)", re.M)
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
COLOURS = ("#00897b", "#b26500", "#5c6bc0", "#8e8e8e")
INK = "#123456"
"""Stands for the colour of the page's text, which a page knows and a picture does not."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put a picture before every table that asks for one. Called by mkdocs with every page's Markdown."""
    return MARK.sub(
        lambda mark: f"{picture(mark['kind'], mark['asked'], mark['table'])}\n\n{mark['table']}", markdown
    )


def picture(kind: str, asked: str, table: str) -> str:
    """Draw a table of Markdown as SVG. Raises ValueError where it has no column that is asked for."""
    lines = (line.strip().removeprefix("|").removesuffix("|") for line in table.splitlines())
    header, _, *rows = ([cell.strip() for cell in line.split("|")] for line in lines)
    rows = [[re.sub(r"[`*]", "", cell) for cell in row] for row in rows]
    names, _, rest = (part.strip() for part in asked.partition("|"))
    if kind == "lines":
        return _lines(header, rows, axis=names)
    columns = [header.index(name.strip()) for name in names.split(",")]
    axis, _, log = rest.partition("|")
    return _bars(header, rows, columns, axis.strip() or names, log=bool(log))


def _bars(header: list[str], rows: list[list[str]], columns: list[int], axis: str, *, log: bool) -> str:
    figure, axes = _axes(height=0.7 + len(rows) * (0.12 + 0.2 * len(columns)))
    width = 0.8 / len(columns)
    for place, column in enumerate(columns):
        values = [_number(row[column]) for row in rows]
        heights = [at + (place - (len(columns) - 1) / 2) * width for at in range(len(rows))]
        bars = axes.barh(heights, values, width * 0.9, color=COLOURS[place], label=header[column])
        axes.bar_label(bars, [_first(row[column]) for row in rows], padding=3, fontsize=8, color=INK)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.set_xlabel(axis, color=INK)
    axes.margins(x=0.12)
    if log:
        axes.set_xscale("log")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if len(columns) > 1:
        figure.legend(frameon=False, labelcolor=INK, ncols=len(columns), loc="outside upper center")
    return _svg(figure, f"{axis}: " + "; ".join(f"{row[0]} {_first(row[columns[0]])}" for row in rows))


def _lines(header: list[str], rows: list[list[str]], *, axis: str) -> str:
    figure, axes = _axes(height=3)
    for column, name in enumerate(header[1:], start=1):
        points = [
            (_number(row[0]), _number(row[column])) for row in rows if len(row) > column and row[column]
        ]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=COLOURS[column - 1], label=name)
    axes.set_xlabel(header[0], color=INK)
    axes.set_title(axis, color=INK, fontsize=10, loc="left")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    return _svg(figure, f"{axis}: " + ", ".join(header[1:]))


def _axes(height: float) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "warmstore", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, height), layout="constrained")
    axes.tick_params(colors=INK)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_edgecolor(INK)
    return figure, axes


def _svg(figure: Any, told: str) -> str:
    """Give a figure as one SVG element whose ink is the page's."""
    from matplotlib import pyplot

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    pyplot.close(figure)
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :].replace(INK, "currentColor")
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.S)
    drawn = re.sub(r"<svg ", f'<svg role="img" aria-label="{told}" ', drawn, count=1)
    drawn = re.sub(r"\s*\n\s*", " ", drawn)
    return f'<div class="plot">{drawn}</div>'


def _first(cell: str) -> str:
    found = NUMBER.search(cell)
    return found.group() if found else ""


def _number(cell: str) -> float:
    return float(_first(cell).replace(",", "") or 0)
