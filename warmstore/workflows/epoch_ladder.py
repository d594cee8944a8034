"""Whole validation epochs, rung by rung: each way of reading the data, from plain online to the store."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from ocr.datasets import (
    CacheConfig,
    DatasetConfig,
    ImageLoadingConfig,
    OcrDataModule,
    OnlineDataset,
    TensorDataset,
)
from ocr.params import Precision
from ocr.training import EpochProfile, default_precision
from pipeline.errors import ConfigError
from warmstore.configuration import RunConfig
from warmstore.workflows.inputs import ValidationInputs
from warmstore.workflows.train import VAL_FIELDS, normalised_when_read, quiet, trained_detector

GPU_GOAL = 8.0
"""How many times as fast as the baseline the store's epochs shall be on a GPU."""
CPU_GOAL = 0.03
"""The share of an epoch from the store that may be something else than the forward pass, on a CPU."""
_RATES = ("hmean", "precision", "recall", "samples")


@dataclass(frozen=True)
class Rung:
    """A way to read, from raw files where `online` is given and from the store otherwise, in a precision."""

    name: str
    precision: Precision
    online: DatasetConfig | None = None


@dataclass(frozen=True)
class Job:
    """What is the same on every rung; it travels to the process that measures."""

    config: RunConfig
    split: str
    store: Path
    checkpoint: Path | None
    samples: tuple[str, ...]
    epochs: int
    workers: int


@dataclass(frozen=True)
class EpochMeasurement:
    """One epoch of a rung: its row of the profile, its metrics, and what opening the data had cost."""

    rung: str
    precision: Precision
    epoch: int
    opened_s: float
    profile: dict[str, Any]
    metrics: dict[str, float]

    @property
    def seconds(self) -> float:
        """The epoch's wall time."""
        return float(self.profile["wall_s"])

    @property
    def beside_forward(self) -> float:
        """The share of the epoch that is not the model's forward pass."""
        return 1 - float(self.profile["forward_s"]) / self.seconds

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        row = {name: value for name, value in self.profile.items() if name != "epoch"}
        named = {"rung": self.rung, "precision": self.precision, "epoch": self.epoch}
        return {**named, "opened_s": self.opened_s, **row, "metrics": self.metrics}


def epoch_job(
    inputs: ValidationInputs,
    *,
    epochs: int = 3,
    limit: int | None = None,
    workers: int = 0,
) -> Job:
    """Gather what the rungs share. Raises ConfigError for another detector's checkpoint or an empty store."""
    trainer = inputs.config.trainer.model_copy(update={"val_precision": None})  # rungs have theirs
    config = inputs.config.model_copy(update={"trainer": trainer})
    trained_detector(config, inputs.checkpoint)
    samples = tuple(inputs.store.sample_ids[:limit])
    if not samples:
        raise ConfigError(f"{inputs.store.name} has no samples to validate on")
    return Job(config, inputs.split, Path(inputs.store.name), inputs.checkpoint, samples, epochs, workers)


def epoch_rungs(config: RunConfig, split: str) -> tuple[Rung, ...]:
    """The rungs, each the one before and one switch more; the last reads the store instead.

    Where the default precision is float32, none of them is `+ mixed precision`.
    """
    root, chosen = config.data.root, config.data.splits[split]
    plain = DatasetConfig(
        image_path=root / chosen.images,
        annotation_path=root / chosen.annotations,
        image_loading_config=ImageLoadingConfig(use_turbojpeg=False),
    )
    turbo = plain.model_copy(update={"image_loading_config": ImageLoadingConfig(use_turbojpeg=True)})
    images = turbo.model_copy(update={"preload_images": True})
    cached = images.model_copy(update={"cache_config": CacheConfig(cache_transformed_tensors=True)})
    default = default_precision("cuda" if torch.cuda.is_available() else "cpu")
    mixed = (Rung("+ mixed precision", default, images),) if default != "32-true" else ()
    return (
        Rung("plain online", "32-true", plain),
        Rung("+ TurboJPEG", "32-true", turbo),
        Rung("+ RAM images", "32-true", images),
        *mixed,
        Rung("+ tensor cache", default, cached),
        Rung("the store", default),
    )


def measure_ladder(job: Job) -> Iterator[EpochMeasurement]:
    """Validate on rung after rung, each in a process of its own, so that none finds another's caches."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # libraries are loaded once for all rungs
    for rung in epoch_rungs(job.config, job.split):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            yield from pool.submit(measure_rung, rung, job).result()


def measure_rung(rung: Rung, job: Job) -> list[EpochMeasurement]:
    """Run a rung's validation epochs in this process."""
    module = trained_detector(job.config, job.checkpoint)
    began = time.perf_counter()
    data = OcrDataModule(
        val=open_rung(rung, job),
        batch_size=job.config.model.batch_size,
        normalise=normalised_when_read(job.config),
    )
    opened, profile, found = time.perf_counter() - began, EpochProfile(), []
    with quiet():
        trainer = pl.Trainer(
            precision=rung.precision,
            devices=1,
            callbacks=[profile],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        for epoch in range(job.epochs):
            (metrics,) = trainer.validate(module, datamodule=data, verbose=False)
            values = {name.removeprefix("val/"): float(value) for name, value in metrics.items()}
            row = profile.epochs[-1]
            found.append(EpochMeasurement(rung.name, rung.precision, epoch, opened, row, values))
    return found


def open_rung(rung: Rung, job: Job) -> TensorDataset | OnlineDataset:
    """Open the data in the way of a rung."""
    if rung.online is None:
        dataset = TensorDataset(job.store, VAL_FIELDS, samples=job.samples, cache=job.config.cache)
        dataset.warm()
        return dataset
    return OnlineDataset(
        rung.online,
        job.config.stages,
        fields=VAL_FIELDS,
        samples=job.samples,
        split=job.config.source(job.split),
        workers=job.workers,
    )


def same_metrics(measured: Sequence[EpochMeasurement]) -> dict[str, bool]:
    """For each precision, whether every rung and epoch of it gave the very same rates."""
    seen: dict[str, set[tuple[float, ...]]] = {}
    for one in measured:
        rates = tuple(value for name, value in sorted(one.metrics.items()) if name.endswith(_RATES))
        seen.setdefault(one.precision, set()).add(rates)
    return {precision: len(rates) == 1 for precision, rates in seen.items()}
