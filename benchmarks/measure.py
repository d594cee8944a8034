"""What all benchmarks share: sides that take turns, the machine in words, and a table of what was found.

A machine may be busy, so all sides of a question are in one process and do the same work one right after
the other; what counts is how the times of one round stand to each other.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch

Side = Callable[[], int]
"""Does its work once and gives the number of samples."""

Table = Mapping[str, Mapping[str, Any]]
"""Rows of figures by their column."""


def compare(
    sides: Mapping[str, Side],
    rounds: int,
    before: Callable[[], None] = lambda: None,
    warm_up: bool = True,
) -> dict[str, dict[str, Any]]:
    """Let all sides take turns, in another order each round, and compare them with the first.

    Gives medians over the rounds, and how many times as fast as the first side each was *in the same
    round*, by the clock and by CPU time of all threads. With `warm_up` a first round does not count.
    """
    clock: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + warm_up):
        for name in random.Random(number).sample(list(sides), len(sides)):
            before()
            began, used = time.perf_counter(), time.process_time()
            count = sides[name]()
            clock[name].append((time.perf_counter() - began) / count)
            cpu[name].append((time.process_time() - used) / count)
    first = next(iter(sides))

    def times_as_fast(taken: dict[str, list[float]], name: str) -> str:
        return spread(a / b for a, b in zip(taken[first][warm_up:], taken[name][warm_up:], strict=True))

    return {
        name: {
            "samples/s": round(1 / median(clock[name][warm_up:])),
            "seconds": f"{count * median(clock[name][warm_up:]):.3g}",
            "CPU ms/sample": f"{1e3 * median(cpu[name][warm_up:]):.3g}",
            "× as fast": times_as_fast(clock, name),
            "by CPU time": times_as_fast(cpu, name),
        }
        for name in sides
    }


def compare_cases(
    sides: Mapping[str, Callable[..., Any]], cases: Iterable[Sequence[Any]], rounds: int
) -> Table:
    """Let all sides take every case in turn; of the rounds, the fastest counts for each case.

    Gives CPU milliseconds of this thread: the mean over the cases, the slowest one, and how many
    times as long as the first side each takes.
    """
    fastest: dict[str, list[float]] = {name: [] for name in sides}
    given = {}  # kept until the next round: memory that is freed would go back to the system, and cost again
    for case in cases:
        best = dict.fromkeys(sides, math.inf)
        for _ in range(rounds):
            for name, side in sides.items():
                began = time.thread_time()
                given[name] = side(*case)
                best[name] = min(best[name], 1e3 * (time.thread_time() - began))
        for name, taken in best.items():
            fastest[name].append(taken)
    first = mean(fastest[next(iter(sides))])
    return {
        name: {
            "CPU ms": f"{mean(ms):.2f}",
            "slowest": f"{max(ms):.2f}",
            "× as long": f"{mean(ms) / first:.2f}",
        }
        for name, ms in fastest.items()
    }


def spread(values: Iterable[float], form: str = ".2f") -> str:
    """Median, least and most in words: `1.20 (1.18 – 1.24)`."""
    found = sorted(values)
    return f"{median(found):{form}} ({found[0]:{form}} – {found[-1]:{form}})"


def show(title: str, table: Table) -> None:
    """Print a table: a row a side, its figures in columns."""
    columns = list(next(iter(table.values())))
    lines = [[title, *columns], *([name, *map(str, row.values())] for name, row in table.items())]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    for name, *cells in lines:
        print(name.ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells, widths[1:], strict=True)), sep="  ")
    print(flush=True)


def arguments(doc: str) -> argparse.ArgumentParser:
    """Start a benchmark's command line; its docstring is the help."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawTextHelpFormatter)


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line, and tell the machine before anything is measured."""
    options, lines = parser.parse_args(), Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    cores, memory = len(os.sched_getaffinity(0)), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    torch_is = f"torch {torch.__version__} on {torch.get_num_threads()} threads"
    print(f"{model}, {cores} cores, {memory / 1e9:.0f} GB, Linux {platform.release()}, {torch_is}\n")
    return options
