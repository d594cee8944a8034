"""What a validation epoch spends its time on, measured while it runs."""

from __future__ import annotations

import logging
import re
import resource
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from ocr.datasets import Statistics
from ocr.training.stopwatch import Stopwatch

log = logging.getLogger(__name__)

_TOLD = 3
"""Epochs whose profile is a line of the log: a training may have hundreds."""

PARTS = {
    "data_wait_s": "waiting for data",
    "transfer_s": "transfer",
    "forward_s": "forward",
    "loss_s": "loss",
    "boxes_s": "box decoding",
    "metric_s": "metric",
    "other_s": "everything else",
}
"""The parts of an epoch, by their key in a row. Their sum is the wall time."""


class EpochProfile(pl.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Collects, logs and sends to the loggers a row per validation epoch; the sanity check is left out.

    `epochs` is a list of `{"epoch", "samples", "wall_s", each of PARTS, "samples_per_s", "hits",
    "misses", "loss_work_s", "boxes_work_s", "metric_work_s", "memory_peak", "device_memory_peak"}`:
    seconds, and bytes. The wall time goes from the start of the epoch until its metrics are logged.

    - `transfer_s`: bringing batches to the device, normalising them, and bringing maps back.
    - `loss_s`, `boxes_s`, `metric_s`: the time by which they hold the epoch up; with a pool that is
      waiting for it, shared among them by their work. `loss_work_s`, `boxes_work_s` and
      `metric_work_s` are the CPU seconds of that work, wherever it ran.
    - `hits`, `misses`: samples that were in memory when they were asked for, and that were not, where
      the data comes from an `OcrDataModule`.
    - `memory_peak`: resident memory of this process, pages of mapped stores included.

    With a GPU the device is synchronised at the seams; the host waits for it there in any case.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self._samples = 0
        self._read = Statistics()

    def state_dict(self) -> dict[str, Any]:
        """Give the rows so far: a training that goes on has those of its first part."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after those rows."""
        self.epochs[:] = state_dict["epochs"]

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._samples, self._read = 0, _statistics(trainer)
        _forget_peaks()
        pl_module.stopwatch.start(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count samples."""
        self._samples += len(batch["sample_id"])
        pl_module.stopwatch.lap("other")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch's row: by now the metrics are computed and logged."""
        wall = pl_module.stopwatch.stop("other")
        if trainer.sanity_checking:
            return
        read = _statistics(trainer) - self._read
        host, device = _peaks()
        row = {
            "epoch": trainer.current_epoch,
            "samples": self._samples,
            "wall_s": wall,
            **time_parts(pl_module.stopwatch, read.wait_s if trainer.datamodule else None),
            "samples_per_s": self._samples / wall,
            "hits": read.hits,
            "misses": read.misses,
            **{f"{name}_work_s": pl_module.stopwatch.work[name] for name in ("loss", "boxes", "metric")},
            "memory_peak": host,
            "device_memory_peak": device,
        }
        self.epochs.append(row)
        if trainer.is_global_zero and len(self.epochs) <= _TOLD:
            rest = "; those of later epochs are kept, not told" if len(self.epochs) == _TOLD else ""
            within = f" in epoch {row['epoch']}" if trainer.state.fn == "fit" else ""
            log.info("validation%s: %s%s", within, describe(row), rest)
        for logger in trainer.loggers:
            values = {f"profile/{name}": value for name, value in row.items() if name != "epoch"}
            logger.log_metrics(values, step=trainer.global_step)


def describe(row: Mapping[str, Any]) -> str:
    """Write a row for people, in one line; parts below 0.5 % of the epoch are left out."""
    parts = [
        f"{words} {row[name]:.3f} s ({row[name] / row['wall_s']:.0%})"
        for name, words in PARTS.items()
        if row[name] >= 0.005 * row["wall_s"]
    ]
    device = f", {row['device_memory_peak'] / 1e9:.2f} GB on the device" if row["device_memory_peak"] else ""
    return (
        f"{row['samples']} samples in {row['wall_s']:.2f} s "
        f"({row['samples_per_s']:.1f}/s): {', '.join(parts)}; {row['hits']} hits, {row['misses']} misses; "
        f"peak memory {row['memory_peak'] / 1e9:.2f} GB{device}"
    )


def draw_profile(epochs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the parts of each epoch as a stacked bar, beside samples a second, into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    seconds = figure.subplots()
    places, below = range(len(epochs)), [0.0] * len(epochs)
    for name, words in PARTS.items():
        heights = [row[name] for row in epochs]
        seconds.bar(places, heights, bottom=below, label=words)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    shown = places[:: max(1, len(epochs) // 20)]
    seconds.set_xticks(list(shown), [str(epochs[place]["epoch"]) for place in shown])
    seconds.set(xlabel="epoch", ylabel="seconds", title="Where validation spends its time")
    rate = seconds.twinx()
    rate.plot(places, [row["samples_per_s"] for row in epochs], "k.--", label="samples a second")
    rate.set(ylabel="samples a second", ylim=(0, None))
    figure.legend(loc="outside right upper")
    figure.savefig(path, dpi=120)


def time_parts(stopwatch: Stopwatch, waited_s: float | None) -> dict[str, float]:
    """Seconds of each of PARTS; what fetching took beyond waiting is normalising and copying ahead."""
    parts, work = stopwatch.parts, stopwatch.work
    waited = parts["fetch"] if waited_s is None else min(waited_s, parts["fetch"])
    pooled = ("boxes", "metric") if parts["loss"] else ("loss", "boxes", "metric")
    total = sum(work[name] for name in pooled) or 1.0
    held = {name: parts["overlap"] * work[name] / total for name in pooled}
    return {
        "data_wait_s": waited,
        "transfer_s": parts["transfer"] + parts["fetch"] - waited,
        "forward_s": parts["forward"],
        "loss_s": held.get("loss", parts["loss"]),
        "boxes_s": held["boxes"],
        "metric_s": held["metric"] + parts["metric"],
        "other_s": parts["other"],
    }


def _statistics(trainer: pl.Trainer) -> Statistics:
    """What the validation data has counted so far; nothing where it does not count."""
    dataset = getattr(trainer.datamodule, "datasets", {}).get("val")
    return dataset.stats() if dataset is not None else Statistics()


def _forget_peaks() -> None:
    with suppress(OSError):  # where that is not allowed, the peak is that of the process's life
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peaks() -> tuple[int, int]:
    """Peak of resident memory, and of memory on the device, in bytes."""
    found = re.search(r"^VmHWM: *(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    peak = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * 1024, torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
