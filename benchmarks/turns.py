"""Measure sides against one another on a machine that may be busy: in turns, by ratios, with CPU time."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

Epoch = Callable[[], int]
"""Reads everything once and gives the number of samples."""


def compare(
    sides: dict[str, Epoch],
    rounds: int,
    before: Callable[[], None] = lambda: None,
    warm_up: bool = True,
) -> dict[str, dict[str, Any]]:
    """Let all sides take turns, in another order each round, and compare them with the first.

    Gives medians over the rounds: samples a second, CPU milliseconds a sample (all threads), seconds of
    an epoch, and how many times as fast as the first side each was *in the same round*, by the clock
    and by CPU time. `before` is called ahead of every epoch. The first round is not counted, with
    `warm_up`.
    """
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + warm_up):
        order = list(sides.items())
        random.Random(number).shuffle(order)
        for name, epoch in order:
            before()
            began, used = time.perf_counter(), time.process_time()
            count = epoch()
            wall[name].append((time.perf_counter() - began) / count)
            cpu[name].append((time.process_time() - used) / count)
    first = next(iter(sides))
    return {
        name: {
            "samples_s": round(1 / median(wall[name][warm_up:])),
            "seconds": round(count * median(wall[name][warm_up:]), 4),
            "cpu_ms": round(1e3 * median(cpu[name][warm_up:]), 4),
            "times_as_fast": _ratio(wall[first][warm_up:], wall[name][warm_up:]),
            "times_as_fast_by_cpu": _ratio(cpu[first][warm_up:], cpu[name][warm_up:]),
        }
        for name in sides
    }


def fastest(sides: Mapping[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Let all sides take turns: the CPU milliseconds of each one's fastest round, and what it gave."""
    times, given = dict.fromkeys(sides, math.inf), {}
    for _ in range(rounds):
        for name, call in sides.items():
            began = time.thread_time()
            given[name] = call()
            times[name] = min(times[name], 1e3 * (time.thread_time() - began))
    return times, given


def _ratio(first: list[float], other: list[float]) -> float:
    """Median over rounds of how many times as long the first took."""
    return round(median(a / b for a, b in zip(first, other, strict=True)), 3)
