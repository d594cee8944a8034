"""What the steps of `benchmarks.gpu` have found, as rows, and the page that tells it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

import torch

from benchmarks.markdown import spread, table
from benchmarks.record import Result, Row

GOAL = 8
"""How many times as fast as the online baseline in float32 an epoch from the store shall be, each of them."""
TOLERANCE = 0.002
"""How far its H-mean may lie from the baseline's."""
BASELINE, STORE = "plain online", "the store"


def device() -> str:
    """The CUDA device in words."""
    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name}, {properties.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}"


def of_nothing(text: str) -> Iterator[Row]:
    """A step without figures."""
    yield from ()


def of_benchmark(text: str) -> tuple[Row, ...]:
    """Rows of a benchmark's own record."""
    return Result.model_validate_json(text).rows


def of_tests(text: str) -> Iterator[Row]:
    """Counts of pytest's last line."""
    for count, word in re.findall(r"(\d+) (passed|failed|skipped|error)", text.strip().splitlines()[-1]):
        yield Row(name="tests", unit=word, values=(int(count),))


def of_stages(text: str) -> Iterator[Row]:
    """Seconds of every stage, from `warmstore run --json`."""
    for split, stages in json.loads(text).items():
        for stage, found in stages.items():
            yield Row(
                name=f"{split} {stage}",
                unit="s",
                values=(found["seconds"],),
                conditions={"samples": found["samples"]},
            )


def of_training(text: str) -> Iterator[Row]:
    """What a training took and reached, and its last validation epoch, from `warmstore train --json`."""
    summary = json.loads(text)
    last = summary["epochs"][-1]
    yield from _rows(
        f"{last['epoch']} epochs in {summary['precision']}",
        {
            "s": summary["seconds"],
            "H-mean": summary["val"]["hmean"],
            "CLEval": summary["cleval"]["hmean"],
            "s, last validation": last["wall_s"],
            "% forward, last validation": 100 * last["forward_s"] / last["wall_s"],
            "GB of the device": last["device_memory_peak"] / 1e9,
        },
    )


def of_rungs(text: str) -> Iterator[Row]:
    """Epochs 0, 1, 2 of every rung, from `warmstore bench epoch --json`."""
    for (rung, precision), epochs in groupby(
        json.loads(text)["epochs"], lambda one: (one["rung"], one["precision"])
    ):
        of_all = list(epochs)
        for unit, values in (
            ("s", (one["wall_s"] for one in of_all)),
            ("% waiting", (100 * one["data_wait_s"] / one["wall_s"] for one in of_all)),
            ("% forward", (100 * one["forward_s"] / one["wall_s"] for one in of_all)),
            ("H-mean", (one["metrics"]["hmean"] for one in of_all)),
        ):
            yield Row(name=rung, unit=unit, values=tuple(values), conditions={"precision": precision})


def of_precisions(text: str) -> Iterator[Row]:
    """Precisions beside float32, from `warmstore precision --json`."""
    for name, found in json.loads(text)["precisions"].items():
        figures = {
            "H-mean": found["hmean"],
            "CLEval": found["cleval"]["hmean"],
            "moved": found["moved"],
            "largest difference": found["largest_difference"],
            "boxes": found["boxes"],
            "boxes changed": found["boxes_changed"],
            "ms/sample": 1e3 * found["seconds"] / max(1, found["samples"]),
        }
        yield from _rows(name, {unit: value for unit, value in figures.items() if value is not None})


def page(result: Result) -> str:
    """Tell a result in Markdown: the machine, what was aimed at, how each step ended, and its figures."""
    lines = [f"# On a GPU\n\n`{result.command}`, {result.measured}: {result.machine.told()}; "]
    lines.append(
        ", ".join(f"{name} {version}" for name, version in result.machine.libraries.items()) + ".\n\n"
    )
    lines += [f"- {told}\n" for told in (*result.notes, *goals(result.rows))]
    for step, rows in groupby(result.rows, lambda row: row.conditions.get("step")):
        lines.append(f"\n## {step}\n\n")
        lines.append(table_of(rows))
    return "".join(lines)


def table_of(rows: Iterable[Row]) -> str:
    """A line a row, in Markdown; nothing where there is none."""
    cells = [*map(_cells, rows)]
    return table(("", "unit", "median (least – most)", "values", "under"), cells) if cells else ""


def goals(rows: Iterable[Row]) -> Iterator[str]:
    """Say how the store's epochs stand beside the baseline's."""
    of_epochs = {(row.name, row.unit): row for row in rows if row.conditions.get("step") == "epochs"}
    try:
        store, baseline = (of_epochs[name, "s"] for name in (STORE, BASELINE))
        found, wanted = (of_epochs[name, "H-mean"] for name in (STORE, BASELINE))
    except KeyError:
        return
    times = store.times_as_fast_as(baseline)
    reached = "reached" if min(times) >= GOAL else "missed"
    told = ", ".join(f"{value:.1f}" for value in times)
    yield f"goal of {GOAL} times {reached}: epochs from the store are {told} times as fast as online ones"
    moved = max(abs(one - other) for one, other in zip(found.values, wanted.values, strict=True))
    reached = "reached" if moved <= TOLERANCE else "missed"
    yield f"goal of the same metric {reached}: H-mean moves by {moved:.4f}, of {TOLERANCE}"


def _rows(name: str, figures: Mapping[str, float]) -> Iterator[Row]:
    for unit, value in figures.items():
        yield Row(name=name, unit=unit, values=(value,))


def _cells(row: Row) -> tuple[str, ...]:
    under = ", ".join(f"{name} {value}" for name, value in row.conditions.items() if name != "step")
    values = ", ".join(map(str, row.values)) if len(row.values) > 1 else ""
    return row.name, row.unit, spread(row.values), values, under
