"""Tables of benchmarks whose results are made up here: what a row says stands in the right cell."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.page import load
from benchmarks.record import RESULTS, Result, Results, Row
from benchmarks.tables import FIGURES, TABLES
from benchmarks.tables_of_preprocessing import ALL
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


def throughput() -> Iterator[Row]:
    for workers, seconds in ((1, 5), (2, 3)):
        for unit, factor in (("s", 1), ("s of CPU", 2)):
            yield row(f"floor, {workers}", unit, factor * seconds, stage="floor")
            for kind in ("threads", "processes"):
                values = (factor * seconds * 1.25, factor * seconds * 1.5)
                yield row(f"{kind}, {workers}", unit, values[kind == "threads"], stage=ALL)
    yield row("threads, 16", "s", 4, stage=ALL)
    yield row("threads, 16", "s of CPU", 9, stage=ALL)
    for stage in ("canonicalize", "decode", "maps", "tensors"):
        for side in ("threads, 1", "threads, 2", "threads, 16", "processes, 1", "processes, 2"):
            for unit in ("s inside", "s of CPU", "s in the kernel", "page faults", "s to flush"):
                yield row(side, unit, 7, stage=stage)
            yield row(side, "s", 2, stage=stage)
            yield row(side, "s alone", 0.1, stage=stage)
        for workers in (1, 2):
            yield row("encoding", f"{stage}, CPU", workers, workers=workers)
            yield row("encoding", f"{stage}, waiting", 0.25, workers=workers)
    for stage, name, calls in (
        ("decode", "read", 4),
        ("tensors", "read", 5),
        ("maps", "write", 9.25),
        ("maps", "all others", 99),
    ):
        yield row(name, stage, calls)


def scaling() -> Iterator[Row]:
    yield row("16 workers more", "s", 0.3, part="start")
    yield row("16 workers more", "CPU s", 0.4, part="start")
    for stage, everything, parent in (("decode", 27, 1), ("maps", 5, 0.5)):
        yield row(stage, "parent's CPU ms", parent, data="real receipts", samples=104)
        yield row(stage, "CPU ms", everything, data="real receipts", samples=104)
    for cores, rate in ((1, 30), (2, 60)):
        yield row("all stages", "images/s", rate, cores=cores)
    for kind, workers in (("threads", 1), ("threads", 32), ("dask", 1)):
        for unit, value in (("images/s", 30), ("% of its workers", 90), ("parent's CPU ms", 0.125)):
            yield row(f"{workers} workers", unit, value, workers=workers, kind=kind, ms=30)


def writers() -> Iterator[Row]:
    for name, ms, rate in (("warmstore", 50, 40), ("a script", 150, 16)):
        yield row(name, "CPU ms", ms, workers=2)
        yield row(name, "samples/s", rate, workers=2)


def test_cells_are_what_rows_say() -> None:
    made_up = (whole, preprocess, throughput, scaling, writers)
    results = Results({**load(RESULTS), **{made.__name__: of(made.__name__, made()) for made in made_up}})
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
    assert "| floor, 2 |  |  |  |  | 3 | 1 × | 1 × |" in found["workers"]
    assert "| threads, 2 | 2 | 2 | 2 | 2 | 4.50 | 1.50 × | 1.50 × |" in found["workers"]
    assert "| threads, 16 | 2 | 2 | 2 | 2 | 4 |  | 1.50 × |" in found["workers"]
    assert "| maps: processes, 2 | 2 | 7 | 7 | 7 | 7 | 7 | 5 % |" in found["costs"]
    assert "threads, 16" not in found["costs"]
    assert "| encoding | 1.00 + 0.25 / 2.00 + 0.25 |" in found["split"]
    assert found["syscalls"].endswith(
        "| write | 0.0 | 0.0 | 9.2 | 0.0 |\n| read | 0.0 | 4.0 | 0.0 | 5.0 |\n"
        "| all others | 0.0 | 0.0 | 99.0 | 0.0 |\n"
    )
    assert found["start"].endswith("| 16 workers more | 0.300 | 0.400 |\n")
    assert found["cores"].endswith("| maps | 5 | 0.500 |\n| all | 32 | 1.50 |\n")
    assert found["expected"] == "| cores | 1 | 2 |\n| --- | --- | --- |\n| images/s | 30 | 60 |\n"
    assert found["simulation"].endswith(
        "| 1 | 30 (90 %), 0.12 | 30 (90 %), 0.12 |\n| 32 | 30 (90 %), 0.12 |  |\n"
    )
    assert "| a script | 150 | 3.00 × as fast | 2.50 × as fast |" in found["writers"]
    assert FIGURES["job"](results) == "82 s, of which the training was 75 s"


def test_rounds_of_a_side_become_one_row() -> None:
    first, second = (row("the store", "s", seconds, epoch=1) for seconds in (2.5, 2.4))
    other = row("the store", "s", 9, epoch=0)
    assert list(together([first, other, second])) == [row("the store", "s", 2.5, 2.4, epoch=1), other]
