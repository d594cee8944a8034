"""How results look on a terminal: tables, sizes, times, progress bars; quiet where nobody looks."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click


def as_json(value: Any) -> None:
    """Print one JSON object."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; numbers stand right, the rest left."""
    from rich.console import Console
    from rich.table import Table

    body = [[str(cell) for cell in row] for row in rows]
    drawn = Table(header_style="bold", box=None, pad_edge=False)
    for position, name in enumerate(columns):
        numbers = all(row[position][:1].isdigit() or row[position] in ("", "-") for row in body)
        drawn.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in body:
        drawn.add_row(*row)
    width = None if sys.stdout.isatty() else 160
    console = Console(width=width, highlight=False, markup=False)
    console.print(title, style="italic")
    console.print(drawn)


def warnings() -> None:
    """Show what our own packages warn of on standard error; other libraries' chatter stays out."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("pipeline", "ocr"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(handler)


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


def shortened(names: Sequence[str], most: int = 5) -> str:
    """List some names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


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
    """Write a verdict: the sample, the stage that gave it, the code and the reason."""
    return f"{found['sample_id']} by {found['stage']}: {found['code']}: {found['reason']}"


def words(counts: Mapping[str, int]) -> str:
    """Write counts of words: `turbojpeg 204, pillow 5`."""
    return ", ".join(f"{word} {count}" for word, count in counts.items())
