"""What all benchmarks share: sides that take turns, and a table of what was found, printed and recorded.

A machine may be busy, so all sides of a question are in one process and do the same work one right after
the other; what counts is how the times of one round stand to each other.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from tempfile import mkdtemp
from typing import Any

import torch

from benchmarks.markdown import spread
from benchmarks.record import Result, Row, this_machine, typed
from pipeline.files import write_aside

COMPARED = ("samples/s", "CPU ms")
"""What sides that take turns are compared by."""

Side = Callable[[], int]
"""Does its work once and gives the number of samples."""


Table = Mapping[str, Mapping[str, Any]]
"""Figures by side and column."""


def compare(
    sides: Mapping[str, Side],
    rounds: int,
    before: Callable[[], None] = lambda: None,
    warm_up: bool = True,
) -> list[Row]:
    """Let all sides take turns, in another order each round.

    Gives samples a second by the clock, and CPU milliseconds a sample of all threads and of processes that
    a side waits for. With `warm_up` a first round does not count.
    """
    clock: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    counts = {}
    for number in range(rounds + warm_up):
        for name in random.Random(number).sample(list(sides), len(sides)):
            before()
            began, used = time.perf_counter(), cpu_seconds()
            count = counts[name] = sides[name]()
            clock[name].append(count / (time.perf_counter() - began))
            cpu[name].append(1e3 * (cpu_seconds() - used) / count)
    return [
        Row(name=name, unit=unit, values=taken[name][warm_up:], conditions={"samples": counts[name]})
        for name in sides
        for unit, taken in (("samples/s", clock), ("CPU ms", cpu))
    ]


def set_aside(folder: Path) -> None:
    """Move a folder out of a side's way, if it is there; it goes with the one that it lies in.

    Were it removed between two sides, the second would pay for it: for minutes, ext4 without a journal looks
    at every inode that was just freed before it takes one.
    """
    if folder.exists():
        folder.rename(mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))


def cpu_seconds() -> float:
    """Seconds of CPU of this process and of those that it started and waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def compare_cases(
    sides: Mapping[str, Callable[..., Any]], cases: Iterable[Sequence[Any]], rounds: int
) -> list[Row]:
    """Let all sides take every case in turn.

    Gives CPU milliseconds of this thread, of each round the mean over the cases; and of the slowest case
    the median over the rounds.
    """
    taken: dict[str, list[list[float]]] = {name: [] for name in sides}  # of each case, the rounds
    cases = list(cases)
    # Kept until the next round: memory that is freed would go back to the system, and cost again. The first
    # call of each side, which may load or compile something, does not count.
    given = {name: side(*cases[0]) for name, side in sides.items()}
    for case in cases:
        for of_cases in taken.values():
            of_cases.append([])
        for _ in range(rounds):
            for name, side in sides.items():
                began = time.thread_time()
                given[name] = side(*case)
                taken[name][-1].append(1e3 * (time.thread_time() - began))
    return [
        Row(name=name, unit=unit, values=values)
        for name, of_cases in taken.items()
        for unit, values in (
            ("CPU ms", tuple(map(mean, zip(*of_cases, strict=True)))),
            ("CPU ms, slowest", (max(map(median, of_cases)),)),
        )
    ]


def show(title: str, rows: Iterable[Row] | Table, **conditions: str | float) -> None:
    """Print rows as a table, a line a side, against the first one; and record them under these conditions.

    A mapping of figures by column and side does as well; of these, numbers are recorded.
    """
    if isinstance(rows, Mapping):
        _print(title, rows)
        sides = rows.items()
        rows = [
            Row(name=name, unit=unit, values=(value,))
            for name, columns in sides
            for unit, value in columns.items()
            if isinstance(value, int | float)
        ]
    else:
        rows = list(rows)
        _print(title, _table(rows))
    RECORD.add(row.model_copy(update={"conditions": {**row.conditions, **conditions}}) for row in rows)


def note(text: str) -> None:
    """Print a sentence that a reader of the figures has to know, and record it."""
    print(text, flush=True)
    RECORD.notes.append(text)
    RECORD.add(())


class Recording:
    """What this process found so far, and the file that it is kept in, if any."""

    def __init__(self) -> None:
        self.file: Path | None = None
        self.quick = False
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.began, self.load, self.command = time.perf_counter(), os.getloadavg()[0], typed()

    def add(self, rows: Iterable[Row]) -> None:
        """Keep rows; the file, if any, is whole after each table."""
        self.rows += rows
        if self.file is None:
            return
        result = Result(
            benchmark=self.file.stem,
            command=self.command,
            quick=self.quick,
            measured=datetime.date.today(),
            seconds=round(time.perf_counter() - self.began, 1),
            load=round(self.load, 2),
            machine=this_machine(),
            notes=tuple(self.notes),
            rows=tuple(self.rows),
        )
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_aside(self.file, result.text().encode())


RECORD = Recording()


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """Start a benchmark's command line; its docstring is the help."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line, and tell the machine before anything is measured."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep what is found in a file")
    parser.add_argument("--quick", action="store_true", help="say in that file that samples were few")
    options = parser.parse_args()
    RECORD.file, RECORD.quick = options.json, options.quick
    machine = this_machine()
    print(machine.told(), f"torch {torch.__version__} on {torch.get_num_threads()} threads\n", sep=", ")
    return options


def _table(rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """Rows as cells by side and unit; compared sides also how many times as fast as the first one."""
    firsts = {row.unit: row for row in reversed(rows)}
    table: dict[str, dict[str, str]] = {row.name: {} for row in rows}
    for row in rows:
        table[row.name][row.unit] = spread(row.values)
        first = firsts[row.unit]
        if row.unit in COMPARED:
            table[row.name][f"× as fast, {row.unit}"] = spread(row.times_as_fast_as(first))
    return table


def _print(title: str, table: Table) -> None:
    columns = list(dict.fromkeys(column for cells in table.values() for column in cells))
    lines = [
        [title, *columns],
        *([name, *(str(cells.get(c, "")) for c in columns)] for name, cells in table.items()),
    ]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for name, *cells in lines:
        print(name.ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells, widths[1:], strict=True)), sep="  ")
    print(flush=True)
