"""How results look on a terminal: tables, sizes, times, progress bars; quiet where nobody looks."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.execution import Choice

_WIDE = 160  # cells of a line where nobody looks
_READABLE = 24  # what a text that is wrapped has at least
_GAP = 2
_COLOURS = {"fresh": "green", "stale": "yellow", "damaged": "red", "broken": "red", "quarantined": "yellow"}


def print_json(value: Any) -> None:
    """Print one JSON object."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], least: Sequence[str] | None = None
) -> None:
    """Print a table; numbers stand right, the rest left, and the column `state` is coloured.

    Where it is too wide, the columns `least` are left out, the first of them first (without it all but
    the first two, from the right), and then texts are wrapped. No word is ever broken.
    """
    from rich.table import Table
    from rich.text import Text

    lines = [[str(cell) for cell in row] for row in rows]
    cells = {name: [line[position] for line in lines] for position, name in enumerate(columns)}
    room = shutil.get_terminal_size((_WIDE, 24)).columns
    widths, left_out = _fitting(cells, room, list(reversed(columns[2:])) if least is None else least)
    drawn = Table(header_style="bold", box=None, pad_edge=False)
    for name, width in widths.items():
        numbers = all(cell[:1].isdigit() or cell in ("", "-", "…") for cell in cells[name])
        drawn.add_column(name, justify="right" if numbers else "left", width=width)
    for row in zip(*(cells[name] for name in widths), strict=True):
        drawn.add_row(
            *(_coloured(c) if name == "state" else Text(c) for name, c in zip(widths, row, strict=True))
        )
    console = _console(max(room, sum(widths.values()) + _GAP * len(widths)))
    console.print(title, style="italic", soft_wrap=True)
    console.print(drawn)
    if left_out:
        console.print(f"without {', '.join(left_out)}: a wider terminal has room for that")


def executors(choices: Mapping[str, Mapping[str, Choice | None]]) -> None:
    """Print what computes the stages of each split, and why; all at once where it is the same."""
    stages: dict[str, list[str]] = {}
    for split, chosen in choices.items():
        for name, choice in chosen.items():
            if choice is not None:
                stages.setdefault(str(choice), []).append(f"{split} {name}")
    for what, names in stages.items():
        click.echo(f"executor: {what}" + (f": {', '.join(names)}" if len(stages) > 1 else ""))


def state(where: str, found: str) -> None:
    """Print what state something is in, coloured."""
    console = _console(_WIDE)
    console.print(f"{where}: ", end="")
    console.print(_coloured(found), soft_wrap=True)


def _fitting(
    cells: Mapping[str, Sequence[str]], room: int, least: Sequence[str]
) -> tuple[dict[str, int], list[str]]:
    """Choose the widths of columns, and those of `least` that there is no room for.

    A column is as wide as its longest cell (of which a Chinese character takes two), or is wrapped: then
    as its longest word, and wide enough to read on.
    """
    from rich.cells import cell_len

    widths = {name: max(map(cell_len, (name, *column))) for name, column in cells.items()}
    words = {name: " ".join((name, *column)).split() for name, column in cells.items()}
    least_widths = {n: max(min(widths[n], _READABLE), *map(cell_len, words[n])) for n in cells}
    left_out = []
    for name in least:
        if sum(least_widths[n] + _GAP for n in widths) > room + _GAP:
            left_out.append(name)
            del widths[name]
    for name in sorted(widths, key=lambda name: -widths[name]):
        excess = sum(width + _GAP for width in widths.values()) - _GAP - room
        widths[name] = max(least_widths[name], widths[name] - max(excess, 0))
    return widths, left_out


def _console(width: int) -> Any:
    """Give a terminal that prints what it is given; plain where NO_COLOR is set (https://no-color.org)."""
    from rich.console import Console

    return Console(
        width=width,
        highlight=False,
        markup=False,
        emoji=False,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
    )


def _coloured(found: str) -> Any:
    """Colour a text by the state that it begins with."""
    from rich.text import Text

    return Text(found, style=_COLOURS.get(found.partition(":")[0], ""))


def size(count: float) -> str:
    """Write a number of bytes for people: `1.33 GB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}"
    return f"{count:.0f} B"


def duration(seconds: float | None) -> str:
    """Write seconds for people: `0.41 s`, `3 min 20 s`, `2 h 5 min`, `4 days`."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.2f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if seconds < 2 * 86400:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{int(seconds // 86400)} days"


def counted(count: int, what: str) -> str:
    """Write a number of things: `1 image`, `12,345 images`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


class Progress:
    """A progress bar per stage on standard error, with rate and remaining time; silent off a terminal."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def begin(self, split: str, stage: str, samples: int) -> Callable[[int], None]:
        """Start a bar; see `pipeline.runner.Reporter`."""
        if self._bar is None:
            return lambda count: None
        task = self._bar.add_task(f"{split} {stage}", total=samples)
        return lambda count: self._bar.update(task, advance=count)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress while the block runs."""
    if not sys.stderr.isatty():
        yield Progress(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), Rate())
    with RichProgress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        yield Progress(bar)


def verdict(found: Mapping[str, str]) -> str:
    """Write a verdict: the sample, who gave it (and where, if that may be the cause), code and reason."""
    where = f" on {found['host']}" if "host" in found else ""
    return f"{found['sample_id']} by {found['stage']}{where}: {found['code']}: {found['reason']}"


def words(counts: Mapping[str, int]) -> str:
    """Write counts of words: `turbojpeg 204, pillow 5`."""
    return ", ".join(f"{word} {count}" for word, count in counts.items())
