"""Where a validation epoch spends its time: the forward pass alone is its floor, and the gap is told by part.

    python -m benchmarks.epoch                                       # what `make train` has trained
    python -m benchmarks.epoch --config receipts data.root=FOLDER    # as `warmstore validate` has it
    python -m benchmarks.epoch --flame build/epoch.svg               # and a flame graph (pip install py-spy)

The floor is the network on normalised tensors in memory, in the same batches, precision and threads, with
nothing beside it. Floor and epoch take turns.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks.flame import draw_flames
from benchmarks.measure import arguments, note, parse, show
from benchmarks.record import Row
from ocr.datasets import OcrDataModule
from ocr.training import PARTS, DetectorModule, EpochProfile, computing_in
from warmstore.configuration import load_config
from warmstore.workflows import (
    VAL_FIELDS,
    normalised_when_read,
    quiet,
    trained_detector,
    validation_inputs,
)

WORK = ("loss", "boxes", "metric")


class CpuTime(pl.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """CPU seconds of all threads, of each epoch."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self._began = 0.0

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._began = time.process_time()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.epochs.append(time.process_time() - self._began)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--config", default="synthetic")
    parser.add_argument("--checkpoint", type=Path, help="the newest training's best otherwise")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--flame", type=Path, help="an SVG of where the epochs' threads were")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parse(parser)
    config, _ = load_config(options.config, options.overrides)
    inputs = validation_inputs(config, "val", options.checkpoint)
    module = trained_detector(config, inputs.checkpoint)
    profile, cpu = EpochProfile(), CpuTime()
    with quiet():
        trainer = pl.Trainer(
            precision=config.trainer.resolved_precision(),
            devices=1,
            callbacks=[cpu, profile],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        data = OcrDataModule(
            val=inputs.store.name,
            batch_size=config.model.batch_size,
            fields=VAL_FIELDS,
            cache=config.cache,
            normalise=normalised_when_read(config),
        )

        def epoch() -> None:
            trainer.validate(module, datamodule=data, verbose=False)

        epoch()
        images = in_memory(module, data)
        floor: list[tuple[float, float]] = []
        for number in range(options.rounds + 1):
            sides = [epoch, lambda: floor.append(forward(module, images, trainer.precision))]
            for side in random.Random(number).sample(sides, 2):
                side()
        with sampled(options.flame) if options.flame else nullcontext():
            for _ in range(options.rounds if options.flame else 0):
                epoch()
    tell(options.config, len(inputs.store), profile.epochs[2 : options.rounds + 2], cpu.epochs[2:], floor[1:])


def in_memory(module: DetectorModule, data: OcrDataModule) -> list[Tensor]:
    """Every batch's images, as the network reads them."""
    return [module.prepared(batch["images"].to(module.device)).clone() for batch in data.val_dataloader()]


def forward(module: DetectorModule, batches: list[Tensor], precision: Any) -> tuple[float, float]:
    """Run the network alone; seconds by the clock, and of CPU."""
    module.eval()
    synchronise()
    began, used = time.perf_counter(), time.process_time()
    with torch.inference_mode(), computing_in(precision, module.device.type):
        for images in batches:
            module(images)
    synchronise()
    return time.perf_counter() - began, time.process_time() - used


def synchronise() -> None:
    """Wait for the device, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def tell(
    run: str, samples: int, epochs: list[dict[str, Any]], cpu: list[float], floor: list[tuple[float, float]]
) -> None:
    """Floor and epoch in milliseconds a sample, round by round, and the epoch by part."""
    each = 1e3 / samples

    def row(name: str, unit: str, seconds: Iterator[float]) -> Row:
        return Row(name=name, unit=unit, values=tuple(each * one for one in seconds))

    rows = [
        row("forward pass alone", "ms", (clock for clock, _ in floor)),
        row("whole epoch", "ms", (one["wall_s"] for one in epochs)),
        row("forward pass alone", "CPU ms", (used for _, used in floor)),
        row("whole epoch", "CPU ms", iter(cpu[: len(epochs)])),
    ]
    show(f"{run}, {samples} samples", rows, run=run)
    parts = [row(words, "ms in an epoch", (one[key] for one in epochs)) for key, words in PARTS.items()]
    parts += [row(f"{key}, beside it", "ms of CPU", (one[f"{key}_work_s"] for one in epochs)) for key in WORK]
    show("of which", parts, run=run)


@contextmanager
def sampled(picture: Path) -> Iterator[None]:
    """Look at all threads of this process 200 times a second, and draw where they were."""
    raw = picture.with_suffix(".txt")
    picture.parent.mkdir(parents=True, exist_ok=True)
    command = [
        str(Path(sys.executable).with_name("py-spy")),
        "record",
        "--pid",
        str(os.getpid()),
        "--format",
        "raw",
        "--rate",
        "200",
    ]
    command += ["--threads", "--nonblocking", "--output", str(raw), "--duration", "unlimited"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(1)  # until it has found its way into the process
    try:
        yield
    finally:
        watching.send_signal(signal.SIGINT)
        told, _ = watching.communicate(timeout=60)
    if not raw.exists():
        note(f"py-spy wrote nothing: {told.strip().splitlines()[-1] if told.strip() else 'no word'}")
        return
    picture.write_text(draw_flames(raw.read_text()))
    note(f"flame graph: {picture}, {picture.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
