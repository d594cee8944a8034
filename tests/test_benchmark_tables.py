"""Tables of benchmarks whose results are made up here: what a row says stands in the right cell."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.page import load
from benchmarks.record import RESULTS, Result, Results, Row
from benchmarks.tables import FIGURES, TABLES
from benchmarks.whole import together

RUNGS = {"plain online": "32-true", "+ mixed precision": "bf16-mixed", "the store": "bf16-mixed"}


def of(benchmark: str, rows: Iterator[Row]) -> Result:
    """A result with these rows, on the machine of a committed one."""
    some = next(iter(load(RESULTS).values()))
    return some.model_copy(update={"benchmark": benchmark, "rows": tuple(rows)})


def row(name: str, unit: str, *values: float, **conditions: str | int) -> Row:
    return Row(name=name, unit=unit, values=values, conditions=conditions)


def whole() -> Iterator[Row]:
    for name, seconds in {
        "draw the receipts": 2,
        "four stages": 5,
        "train and validate": 75,
        "all": 82,
    }.items():
        yield row(name, "s", seconds, part="job")
    for unit, value in {"H-mean": 0.9991, "CLEval": 1, "samples": 24}.items():
        yield row("the detector", unit, value, part="job")
    for place, (rung, precision) in enumerate(RUNGS.items()):
        for epoch in (0, 1):
            about = {"part": "ladder", "epoch": epoch, "precision": precision, "samples": 24}
            yield row(rung, "s", 8 / 2**place, 8.4 / 2**place, **about)
            for unit, value in {"% waiting": 0.14, "% forward": 95, "H-mean": 0.99, "CLEval": 0.98}.items():
                yield row(rung, unit, value, value, **about)
    for unit, value in {
        "H-mean": 1,
        "CLEval": 1,
        "largest difference": 0,
        "boxes": 790,
        "changed": 0,
        "ms": 84,
    }.items():
        yield row("32-true", unit, value, part="precision", samples=24)


def preprocess() -> Iterator[Row]:
    about: dict[str, str | int] = {"data": "real receipts", "canvas": 640}
    for name, rate in {"a script": 5, "warmstore": 40, "decode and resize alone": 60}.items():
        yield row(name, "samples/s", rate, part="one core", samples=48, **about)
        yield row(name, "CPU ms", 1e3 / rate, part="one core", samples=48, **about)
    for name, rate in {"serial": 20, "threads": 26.125}.items():
        yield row(name, "samples/s", rate, rate, part="command", samples=209, **about)
    for name, size in {"decode": 33, "tensors": 686}.items():
        yield row(name, "ms", 29, part="stages", samples=209, **about)
        yield row(name, "MB", size, part="stages", samples=209, **about)


def test_cells_are_what_rows_say() -> None:
    results = Results(
        {**load(RESULTS), "whole": of("whole", whole()), "preprocess": of("preprocess", preprocess())}
    )
    found = {name: make(results) for name, make in TABLES.items()}
    assert "| all | 82 |" in found["job"]
    assert (
        "| the store | bf16-mixed | 2.05 / 2.05 | 4.00 / 4.00 | 0.1 / 0.1 % | 95.0 / 95.0 % |"
        in found["ladder"]
    )
    assert "| 32-true | 1.0000 | 1.0000 | 0.000 | 790 | 0 | 84 |" in found["precision"]
    assert "| warmstore | 25 | 25 | 8.00 × |" in found["compared"]
    assert "| threads | 8 | 8 |\n| serial | 10.4 |" in found["executors"]
    assert "| tensors | 29 | 686 |" in found["stages"]
    assert "82 s, H-mean 0.999 on 24 samples" in found["expect"] and "| 4 × as fast" in found["expect"]
    assert FIGURES["job"](results) == "82 s, of which the training was 75 s"


def test_rounds_of_a_side_become_one_row() -> None:
    first, second = (row("the store", "s", seconds, epoch=1) for seconds in (2.5, 2.4))
    other = row("the store", "s", 9, epoch=0)
    assert list(together([first, other, second])) == [row("the store", "s", 2.5, 2.4, epoch=1), other]
