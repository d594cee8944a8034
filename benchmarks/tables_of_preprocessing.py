"""Tables of what preprocessing costs: by workers, in its parts, on more cores, beside other writers."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.markdown import figure, table, times
from benchmarks.record import Result, Results

ALL = "all, with planning"
_SIMULATED = ("images/s", "% of its workers", "parent's CPU ms")
_STAGES = ("canonicalize", "decode", "maps", "tensors")


def workers(results: Results) -> str:
    """Seconds by executor and workers, and how many times the floor of as many workers that is."""
    result, rows = results["throughput"], []
    floors = {unit: result.find(unit, stage="floor") for unit in ("s", "s of CPU")}
    seconds = [result.find("s", stage=stage) for stage in (*_STAGES, ALL)]
    cpu = result.find("s of CPU", stage=ALL)
    for name, floor in floors["s"].items():
        rows.append([name, *[""] * len(_STAGES), figure(floor.median), "1 ×", "1 ×"])
    for name, whole in seconds[-1].items():
        alike = floors["s"].get(_floor_of(name))  # there is none of more workers than cores
        least = floors["s of CPU"].get(_floor_of(name)) or [*floors["s of CPU"].values()][-1]
        by_clock = times(alike, whole) if alike else ""
        cells = (figure(column[name].median) for column in seconds)
        rows.append([name, *cells, by_clock, times(least, cpu[name])])
    return table(("seconds", *_STAGES, ALL, "of the floor", "by CPU"), rows)


def costs(results: Results) -> str:
    """What each stage takes beside its function, by executor and workers that have a core each."""
    result, rows = results["throughput"], []
    floors = result.find("s", stage="floor")
    units = ("s", "s inside", "s of CPU", "s in the kernel", "page faults", "s to flush")
    for stage in _STAGES:
        seconds, alone = result.find("s", stage=stage), result.find("s alone", stage=stage)
        for name in seconds:
            if _floor_of(name) not in floors:
                continue
            cells = [figure(result.find(unit, stage=stage)[name].median) for unit in units]
            share = 100 * alone[name].median / seconds[name].median
            rows.append([f"{stage}: {name}", *cells, f"{share:.0f} %"])
    return table(("stage: executor, workers", *units, "the parent alone"), rows)


def split(results: Results) -> str:
    """Where a sample's time goes, CPU and waiting, on one thread and on two."""
    result = results["throughput"]
    found = {n: _by_side(result, lambda of, n=n: of.get("workers") == n) for n in _counts(result)}
    parts = next(iter(found.values()))

    def cell(part: str, stage: str) -> str:
        figures = (columns[part] for columns in found.values())
        return " / ".join(f"{one[f'{stage}, CPU']:.2f} + {one[f'{stage}, waiting']:.2f}" for one in figures)

    title = f"ms a sample, CPU + waiting, {' / '.join(map(str, found))} threads"
    return table((title, *_STAGES), ((part, *(cell(part, stage) for stage in _STAGES)) for part in parts))


def syscalls(results: Results) -> str:
    """System calls a sample."""
    found = _by_side(results["throughput"], lambda of: not of, _STAGES)
    names = sorted(found, key=lambda name: (name == "all others", -sum(found[name].values())))
    return table(
        ("calls a sample", *_STAGES),
        ((name, *(f"{found[name].get(stage, 0):.1f}" for stage in _STAGES)) for name in names),
    )


def start(results: Results) -> str:
    """How long workers take to start."""
    found = _by_side(results["scaling"], lambda of: of.get("part") == "start")
    return table(
        ("start", "s", "CPU s"),
        ((name, figure(row["s"]), figure(row["CPU s"])) for name, row in found.items()),
    )


def cores(results: Results) -> str:
    """CPU of a receipt by stage, of all processes and of their parent."""
    result = results["scaling"]
    found = {
        stage: (row, result.find("parent's CPU ms")[stage]) for stage, row in result.find("CPU ms").items()
    }
    rows = [(stage, *(figure(row.median) for row in both)) for stage, both in found.items()]
    whole = (figure(sum(row.median for row in column)) for column in zip(*found.values(), strict=True))
    return table(("CPU ms a receipt", "all processes", "of that their parent"), [*rows, ("all", *whole)])


def expected(results: Results) -> str:
    """Images a second that this allows."""
    found = {row.conditions["cores"]: row for row in results["scaling"].rows if "cores" in row.conditions}
    return table(("cores", *map(str, found)), [("images/s", *(figure(row.median) for row in found.values()))])


def simulation(results: Results) -> str:
    """What handing out work costs, by executor and workers."""
    rows = [row for row in results["scaling"].rows if "workers" in row.conditions]
    found = {(row.conditions["kind"], row.conditions["workers"], row.unit): row.median for row in rows}
    kinds = dict.fromkeys(row.conditions["kind"] for row in rows)

    def cell(kind: str | float, count: str | float) -> str:
        if (kind, count, "images/s") not in found:
            return ""
        rate, share, parent = (found[kind, count, unit] for unit in _SIMULATED)
        return f"{figure(rate)} ({share:.0f} %), {parent:.2f}"

    heads = (f"{kind}: images/s (of its workers), parent's CPU ms" for kind in kinds)
    counts = dict.fromkeys(row.conditions["workers"] for row in rows)
    return table(
        ("workers", *heads), ((str(count), *(cell(kind, count) for kind in kinds)) for count in counts)
    )


def writers(results: Results) -> str:
    """warmstore beside other people's writers."""
    cpu, clock = results["writers"].find("CPU ms"), results["writers"].find("samples/s")
    ours, *others = cpu
    rows = [(ours, figure(cpu[ours].median), "", "")]
    for name in others:
        by = (f"{times(column[ours], column[name])} as fast" for column in (cpu, clock))
        rows.append((name, figure(cpu[name].median), *by))
    return table(("", "CPU ms a receipt", "warmstore is, by CPU time", "by the clock"), rows)


def _floor_of(name: str) -> str:
    """Give the name of the floor with as many workers as a side."""
    return f"floor, {name.rpartition(', ')[2]}"


def _counts(result: Result) -> list[int]:
    return list(
        dict.fromkeys(int(row.conditions["workers"]) for row in result.rows if "workers" in row.conditions)
    )


def _by_side(
    result: Result, asked: Callable[..., bool], units: tuple[str, ...] = ()
) -> dict[str, dict[str, float]]:
    """Medians by side and unit, of rows whose conditions are asked for."""
    found: dict[str, dict[str, float]] = {}
    for row in result.rows:
        if asked(row.conditions) and (not units or row.unit in units):
            found.setdefault(row.name, {})[row.unit] = row.median
    return found


PREPROCESSING: dict[str, Callable[[Results], str]] = {
    "workers": workers,
    "costs": costs,
    "split": split,
    "syscalls": syscalls,
    "start": start,
    "cores": cores,
    "expected": expected,
    "simulation": simulation,
    "writers": writers,
}
