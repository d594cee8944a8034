"""What `bench ladder` found, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ocr.datasets.ladder import Measurement
from warmstore import show

COLUMNS = (
    "rung",
    "epoch",
    "samples",
    "404 samples in",
    "speed-up",
    "CPU a sample",
    "opened in",
    "memory",
)
_BENCHMARK_SAMPLES = 404


def ladder_rows(measured: Sequence[Measurement]) -> list[tuple[str | int, ...]]:
    """Write measurements as rows of a table under COLUMNS; the speed-up is against the first rung's epoch."""
    first = {one.epoch: one.rate for one in measured if one.rung == measured[0].rung}
    return [
        (
            one.rung,
            one.epoch,
            f"{one.rate:,.0f}/s",
            show.duration(_BENCHMARK_SAMPLES / one.rate),
            _times(one.rate / first[one.epoch]),
            f"{1e3 * one.cpu_s / one.samples:.2f} ms",
            show.duration(one.opened_s),
            show.size(one.pss),
        )
        for one in measured
    ]


def draw_ladder(measured: Sequence[Measurement], title: str, path: Path) -> None:
    """Draw samples a second of every rung's epochs, beside its memory, into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(one.rung for one in measured))
    epochs = sorted({one.epoch for one in measured})
    figure = Figure(figsize=(10, 1.5 + 0.6 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    rates, memory = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    height = 0.8 / len(epochs)
    for position, epoch in enumerate(epochs):
        rows = [one for one in measured if one.epoch == epoch]
        places = [names.index(one.rung) + (position - (len(epochs) - 1) / 2) * height for one in rows]
        bars = rates.barh(places, [one.rate for one in rows], height, label=f"epoch {epoch}")
        rates.bar_label(bars, [f" {one.rate:,.0f}" for one in rows], fontsize=7)
    rates.set(xscale="log", xlabel="samples a second (logarithmic)", title=title)
    rates.set_yticks(range(len(names)), names)
    rates.margins(x=0.15)
    rates.invert_yaxis()
    rates.legend()
    peaks = [max(one.pss for one in measured if one.rung == name) / 1e9 for name in names]
    memory.barh(names, peaks, 0.6, color="tab:gray")
    memory.set(xlabel="GB of memory (PSS)", title="what it holds")
    figure.savefig(path, dpi=120)


def _times(ratio: float) -> str:
    """Write a ratio with as many digits as a measurement has."""
    return f"{ratio:.1f} ×" if ratio < 100 else f"{float(f'{ratio:.2g}'):,.0f} ×"
