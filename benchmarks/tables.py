"""The tables and figures of README.md and docs/benchmarks.md, each made of results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

from benchmarks.markdown import against, figure, span, table, times
from benchmarks.record import Result, Results, Row
from benchmarks.tables_of_preprocessing import PREPROCESSING
from benchmarks.tables_of_reading import READING
from benchmarks.tables_of_validation import VALIDATION, job_seconds


def runs(results: Results) -> str:
    """Every result: its command, when and how long it ran, and how busy the machine was."""
    return table(
        ("result", "command", "measured", "seconds", "load before"),
        (
            (name, f"`{one.command}`", f"{one.measured}", f"{one.seconds:.0f}", f"{one.load:.1f}")
            for name, one in results.items()
        ),
    )


def machines(results: Results) -> str:
    """The machines, and the libraries that were installed in any environment there."""
    libraries: dict[str, dict[str, str]] = {}
    for one in results.values():
        told = f"{one.machine.told()}, Python {one.machine.python}"
        libraries.setdefault(told, {}).update(one.machine.libraries)
    rows = (
        (told, ", ".join(f"{n} {v}" for n, v in sorted(found.items()))) for told, found in libraries.items()
    )
    return table(("machine", "libraries"), rows)


def compared(results: Results) -> str:
    """A whole run beside what people write today and the floor, on one core."""
    rates = results["preprocess"].find("samples/s", part="one core")
    cpu = results["preprocess"].find("CPU ms", part="one core")
    first = next(iter(rates.values()))
    return table(
        ("one core", "ms a receipt", "of CPU", "as fast as the script"),
        (
            (name, figure(1e3 / row.median), figure(cpu[name].median), times(row, first))
            for name, row in rates.items()
        ),
    )


def executors(results: Results) -> str:
    """Seconds of the whole command by executor."""
    found = results["preprocess"].find("samples/s", part="command")
    count = float(_about(found)["samples"])
    fastest = sorted(found.items(), key=lambda item: -item[1].median)
    return table(
        ("executor", "seconds", "least – most"),
        (
            (name, figure(count / row.median), span(count / value for value in row.values))
            for name, row in fastest
        ),
    )


def stages(results: Results) -> str:
    """Milliseconds of each stage, and what it stores."""
    result = results["preprocess"]
    ms, size = result.find("ms", part="stages"), result.find("MB", part="stages")
    about = _about(ms)
    return table(
        ("stage", "ms a receipt, threads", f"MB, {about['samples']} {about['data']}"),
        ((name, figure(row.median), figure(size[name].median)) for name, row in ms.items()),
    )


def engine(results: Results) -> str:
    """What a run adds to the stages' functions, and what a rerun costs."""
    return _steps(results["engine"], lambda row: row.conditions["data"] != "a trivial stage")


def engine_many(results: Results) -> str:
    """The same of a stage that does next to nothing."""
    return _steps(results["engine"], lambda row: row.conditions["data"] == "a trivial stage")


def _steps(result: Result, asked: Callable[[Row], bool]) -> str:
    rows = [row for row in result.rows if asked(row)]
    names = dict.fromkeys(row.name for row in rows)
    units = dict.fromkeys(row.unit for row in rows)
    found = {(row.name, row.unit): figure(row.median) for row in rows}
    about = f"{rows[0].conditions['samples']:,} samples, {rows[0].conditions['data']}"
    return table(
        (about, *units), ((name, *(found.get((name, unit), "") for unit in units)) for name in names)
    )


def decode(results: Results) -> str:
    """Decoding and resizing, beside a bare loop."""
    found = results["decode"].find("CPU ms")
    about = _about(found)
    first = found["bare loop"]
    return table(
        (
            f"{about['images']} {about['data']} of {about['megapixels']} megapixels",
            "CPU ms an image",
            "as fast as the bare loop",
        ),
        ((name, figure(row.median), times(row, first)) for name, row in found.items()),
    )


def maps(results: Results) -> str:
    """Milliseconds of maps by polygons and canvas, against other people's."""
    result = results["maps"]
    cases = [row.conditions for row in result.rows if row.name == "warmstore" and row.unit == "CPU ms"]
    return table(
        ("polygons", "warmstore", "plain loop", "MindOCR", "PaddleOCR"),
        ((f"{of['polygons']}, {of['canvas']}", *against(result.find("CPU ms", **of))) for of in cases),
    )


def boxes(results: Results) -> str:
    """Milliseconds of box decoding, against the common loop."""
    result = results["postprocess"]
    cases = [row.conditions for row in result.rows if row.name == "warmstore" and row.unit == "CPU ms"]
    slowest = [next(iter(result.find("CPU ms, slowest", **of).values())) for of in cases]
    return table(
        ("box decoding", "warmstore", "slowest map", "the common loop"),
        (
            (f"{of['shape']}, {of['score']} score", ours, figure(worst.median), loop)
            for of, worst in zip(cases, slowest, strict=True)
            for ours, loop in [against(result.find("CPU ms", **of))]
        ),
    )


def metrics(results: Results) -> str:
    """Milliseconds of the metrics, against public implementations."""
    result = results["metrics"]
    cases = [row.conditions for row in result.rows if row.name == "warmstore" and row.unit == "CPU ms"]
    return table(
        ("metric", "warmstore", "public implementation"),
        ((str(of["metric"]), *against(result.find("CPU ms", **of))) for of in cases),
    )


def metric_ratios(results: Results) -> str:
    """How many times as fast the metrics are, from the least to the most: `16 to 97`."""
    result = results["metrics"]
    ours = [row for row in result.rows if row.name == "warmstore" and row.unit == "CPU ms"]
    found = sorted(
        median(row.times_as_fast_as(other))
        for row in ours
        for other in result.find("CPU ms", **row.conditions).values()
        if other.name != "warmstore"
    )
    return f"{found[0]:.0f} to {found[-1]:.0f}"


def _about(found: dict[str, Row]) -> Mapping[str, str | int | float]:
    return next(iter(found.values())).conditions


TABLES: dict[str, Callable[[Results], str]] = {
    "runs": runs,
    "machines": machines,
    "compared": compared,
    "executors": executors,
    "stages": stages,
    "engine": engine,
    "engine-many": engine_many,
    "decode": decode,
    "maps": maps,
    "boxes": boxes,
    "metrics": metrics,
    **PREPROCESSING,
    **READING,
    **VALIDATION,
}
FIGURES: dict[str, Callable[[Results], str]] = {"metric-ratios": metric_ratios, "job": job_seconds}
