"""The tables about reading: batches, opening, warming, memory, other libraries, cold disks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median

from benchmarks.markdown import figure, spread, table, times
from benchmarks.record import Results, Row

MODES = ("ram", "mmap")


def reading(results: Results) -> str:
    """Samples a second by order, fields and batch, beside the machine's own limit."""
    result = results["read"]
    cases = [
        row
        for row in result.rows
        if row.unit == "samples/s" and row.name in (".npy memmap", "index_select(out=)")
    ]
    rows = []
    for limit in cases:
        about = {key: limit.conditions[key] for key in ("order", "fields", "batch")}
        clock, cpu = result.find("samples/s", **about), result.find("CPU ms", **about)
        told = []
        for mode in MODES:
            by_clock, by_cpu = times(clock[mode], limit), times(cpu[mode], cpu[limit.name])
            told.append(f"{figure(clock[mode].median)} ({by_clock}, by CPU {by_cpu})")
        what = "{order}, {fields}, batches of {batch}".format(**about)
        rows.append((what, f"{limit.name}: {figure(limit.median)}", *told))
    return table(("samples/s, warm", "limit", *MODES), rows)


def opening(results: Results) -> str:
    """Milliseconds of opening a store."""
    found = results["read"].find("ms", part="opening")
    rows = ((f"{row.conditions['samples']:,} samples", spread(row.values)) for row in found.values())
    return table(("opening", "ms"), rows)


def warming(results: Results) -> str:
    """Seconds of opening and warming a store, by where its files are."""
    result = results["read"]
    by_place = {where: result.find("samples/s", part="warming", files=where) for where in ("memory", "disk")}
    count = float(by_place["disk"]["ram"].conditions["samples"])
    return table(
        (
            f"opening and warming, {count:.0f} samples, seconds",
            "files in the page cache",
            "files on the disk alone",
        ),
        (
            (mode, *(spread(count / value for value in found[mode].values) for found in by_place.values()))
            for mode in MODES
        ),
    )


def memory(results: Results) -> str:
    """Memory above the interpreter's, relative to the store."""
    found = results["read"].find("× the store")
    return table(
        ("processes that read", "memory, × the store"),
        ((name, f"{row.median:.3f}") for name, row in found.items()),
    )


def libraries(results: Results) -> str:
    """Samples a second of other libraries, in order and shuffled, and how they stand to the copy in RAM."""
    result, ours = results["libraries"], "warmstore, ram"
    orders = ("sequential", "shuffled")
    clock = [result.find("samples/s", order=order) for order in orders]
    cpu = [result.find("CPU ms", order=order) for order in orders]
    names = sorted(clock[0], key=lambda name: -clock[0][name].median)
    header = ("", "in order", "`ram` is, by CPU", "shuffled", "`ram` is, by CPU")

    def cells(name: str) -> Iterator[str]:
        for by_clock, by_cpu in zip(clock, cpu, strict=True):
            yield figure(by_clock[name].median)
            yield times(by_cpu[ours], by_cpu[name])

    return table(header, ((name, *cells(name)) for name in names))


def cold(results: Results) -> str:
    """Seconds of a first epoch from the disk, by codec."""
    found = results["cold"].find("samples/s", order="cold")
    first = next(iter(found.values()))

    def seconds(row: Row) -> float:
        return median(float(row.conditions["samples"]) / value for value in row.values)

    return table(
        (
            f"first epoch of {first.conditions['samples']} samples, cold",
            "seconds",
            "as fast as reading the raw files",
        ),
        ((name, figure(seconds(row)), times(row, first)) for name, row in found.items()),
    )


READING: dict[str, Callable[[Results], str]] = {
    "reading": reading,
    "opening": opening,
    "warming": warming,
    "memory": memory,
    "libraries": libraries,
    "cold": cold,
}
