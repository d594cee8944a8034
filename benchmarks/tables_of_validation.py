"""The tables about training and validating: the whole job, the ladder, mixed precision, what to expect."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from benchmarks.markdown import figure, span, table, times
from benchmarks.record import Results, Row


def job(results: Results) -> str:
    """The whole job, command by command."""
    found = results["whole"].find("s", part="job")
    return table(("the whole job", "seconds"), ((name, figure(row.median)) for name, row in found.items()))


def job_seconds(results: Results) -> str:
    """The whole job in a sentence: `100 s, of which the training was 75 s`."""
    found = results["whole"].find("s", part="job")
    whole, training = (figure(found[name].median) for name in ("all", "train and validate"))
    return f"{whole} s, of which the training was {training} s"


def ladder(results: Results) -> str:
    """Whole validation epochs, rung by rung; epochs 0, 1 and 2."""
    result = results["whole"]
    seconds = _by_rung(result.rows, "s")
    first = next(iter(seconds.values()))
    count = first[0].conditions["samples"]

    def cells(rung: str) -> list[str]:
        speed_up = [median(row.times_as_fast_as(one)) for row, one in zip(seconds[rung], first, strict=True)]
        shares = [_by_rung(result.rows, unit)[rung] for unit in ("% waiting", "% forward")]
        metrics = [_by_rung(result.rows, unit)[rung][-1].median for unit in ("H-mean", "CLEval")]
        return [
            str(seconds[rung][0].conditions["precision"]),
            " / ".join(f"{row.median:.2f}" for row in seconds[rung]),
            " / ".join(f"{value:.2f}" for value in speed_up),
            *(" / ".join(f"{row.median:.1f}" for row in share) + " %" for share in shares),
            " / ".join(f"{value:.4f}" for value in metrics),
        ]

    header = (
        f"rung, {count} receipts",
        "precision",
        "seconds",
        "speed-up",
        "waiting",
        "forward",
        "H-mean / CLEval",
    )
    return table(header, ((rung, *cells(rung)) for rung in seconds))


def precision(results: Results) -> str:
    """What mixed precision changes."""
    result, units = results["whole"], ("H-mean", "CLEval", "largest difference", "boxes", "changed", "ms")
    columns = {unit: result.find(unit, part="precision") for unit in units}
    digits = {
        "H-mean": ".4f",
        "CLEval": ".4f",
        "largest difference": ".3f",
        "boxes": ".0f",
        "changed": ".0f",
        "ms": ".0f",
    }
    count = next(iter(columns["ms"].values())).conditions["samples"]
    return table(
        (f"{count} receipts", *units[:-1], "forward, ms a receipt"),
        (
            (name, *(f"{columns[unit][name].median:{digits[unit]}}" for unit in units))
            for name in columns["ms"]
        ),
    )


def expect(results: Results) -> str:
    """What the README says first."""
    whole, preprocess = results["whole"], results["preprocess"]
    detector = {row.unit: row.median for row in whole.rows if row.name == "the detector"}
    seconds = whole.find("s", part="job")
    command = preprocess.find("samples/s", part="command")["threads"]
    about = command.conditions
    one_core = preprocess.find("samples/s", part="one core")
    script = next(iter(one_core))
    rerun = next(
        row
        for row in results["engine"].rows
        if (row.name, row.unit) == ("a run with nothing to do", "s")
        and row.conditions["data"] != "a trivial stage"
    )
    rungs, waiting = _by_rung(whole.rows, "s"), _by_rung(whole.rows, "% waiting")["the store"]
    pairs = zip(rungs["the store"], rungs["plain online"], strict=True)
    faster = [median(row.times_as_fast_as(other)) for row, other in pairs]
    mixed = rungs["the store"][0].conditions["precision"] != "32-true"
    quality = f"H-mean {detector['H-mean']:.3f} on {detector['samples']:.0f} samples"
    rows = (
        (
            "drawing receipts, four stages, and training a detector on them",
            f"{figure(seconds['all'].median)} s, {quality}",
            "`make canonicalize preprocess train`",
        ),
        (
            f"{about['samples']} {about['data']}, four stages at 640 × 640",
            f"{figure(float(about['samples']) / command.median)} s",
            "`warmstore run --config receipts canvas=640 data.root=FOLDER`",
        ),
        (
            f"the same on one core, against a script ({script})",
            f"{times(one_core['warmstore'], one_core[script])} as fast",
            "`make bench ONLY=preprocess`",
        ),
        (
            f"a run with nothing to do over {rerun.conditions['samples']} samples",
            f"{figure(rerun.median)} s, and starting Python",
            "`warmstore run`",
        ),
        (
            "a validation epoch against plain online loading in float32",
            f"{span(faster)} × as fast{', of which mixed precision is a part' if mixed else ''}",
            "`warmstore bench epoch`",
        ),
        (
            "of a validation epoch, waiting for data",
            f"{max(row.median for row in waiting):.1f} % at most, from the first epoch on",
            "the same",
        ),
    )
    return table(("", "", "command"), rows)


def _by_rung(rows: tuple[Row, ...], unit: str) -> dict[str, list[Row]]:
    """Rows of the ladder by rung, epoch by epoch."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.unit == unit and row.conditions.get("part") == "ladder":
            found.setdefault(row.name, []).append(row)
    return found


VALIDATION: dict[str, Callable[[Results], str]] = {
    "job": job,
    "ladder": ladder,
    "precision": precision,
    "expect": expect,
}
