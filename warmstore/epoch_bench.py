"""Whole validation epochs against the ladder: data, forward pass, loss, boxes and metrics, rung by rung."""

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

from ocr.cache import CacheParams
from ocr.datasets import CacheConfig, DatasetConfig, OcrDataModule, OnlineDataset, TensorDataset
from ocr.datasets.config import OnlineParams
from ocr.datasets.ladder import Sources, rungs
from ocr.frames import LabelFrame
from ocr.lightning_module import DetectorModule
from ocr.precision import Precision
from ocr.profile import EpochProfile
from pipeline.errors import ConfigError
from warmstore.config import RunConfig
from warmstore.inputs import ValidationInputs
from warmstore.settings import ModelConfig
from warmstore.training import VAL_FIELDS, quiet, trained_detector

GPU_GOAL = 8.0
"""How many times as fast as the baseline the store's epochs shall be on a GPU."""
CPU_GOAL = 0.03
"""The share of an epoch from the store that may be something else than the forward pass, on a CPU."""


@dataclass(frozen=True)
class EpochRung:
    """A way to read, from raw files where `online` is given and from the store otherwise, in a precision."""

    name: str
    precision: Precision
    online: DatasetConfig | None = None


@dataclass(frozen=True)
class EpochJob:
    """What is the same on every rung; it travels to the process that measures."""

    checkpoint: Path
    sources: Sources
    model: ModelConfig
    annotation_format: str
    label_frame: LabelFrame
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
        return {**named, "opened_s": self.opened_s, **row, **self.metrics}


def epoch_job(
    config: RunConfig,
    inputs: ValidationInputs,
    split: str,
    *,
    epochs: int = 3,
    limit: int | None = None,
    workers: int = 0,
) -> EpochJob:
    """Gather what the rungs share. Raises ConfigError for another detector's checkpoint or an empty store."""
    asked, checkpoint, store = inputs.settings, inputs.checkpoint, inputs.store
    trained_detector(config, asked, checkpoint)
    samples = tuple(store.sample_ids[:limit])
    if not samples:
        raise ConfigError(f"{store.name} has no samples to validate on")
    chosen = config.data.splits[split]
    return EpochJob(
        checkpoint,
        sources_of(config, split),
        asked.model,
        chosen.format,
        chosen.label_frame,
        samples,
        epochs,
        workers,
    )


def sources_of(config: RunConfig, split: str) -> Sources:
    """Where a split's raw data and stores lie, and how its stages compute."""
    stages, chosen, workspace = config.stages, config.data.splits[split], config.workspace(split)
    return Sources(
        images=config.data.root / chosen.images,
        annotations=config.data.root / chosen.annotations,
        maps=workspace.store_path(stages.maps),
        tensors=workspace.store_path(stages.tensors),
        params=OnlineParams(stages.canonicalize, stages.decode, stages.maps, stages.tensors),
    )


def epoch_rungs(sources: Sources) -> tuple[EpochRung, ...]:
    """The rungs, each the one before and one switch more; the last reads the store instead."""
    plain = rungs(sources)[0].online
    assert plain is not None
    images = plain.model_copy(update={"preload_images": True})
    cached = images.model_copy(update={"cache_config": CacheConfig(cache_transformed_tensors=True)})
    mixed: Precision = "16-mixed" if torch.cuda.is_available() else "bf16-mixed"
    return (
        EpochRung("plain online", "32-true", plain),
        EpochRung("+ RAM images", "32-true", images),
        EpochRung("+ mixed precision", mixed, images),
        EpochRung("+ tensor cache", mixed, cached),
        EpochRung("the store", mixed),
    )


def measure_ladder(job: EpochJob) -> Iterator[EpochMeasurement]:
    """Validate on rung after rung, each in a process of its own, so that none finds another's caches."""
    for rung in epoch_rungs(job.sources):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield from pool.submit(measure_rung, rung, job).result()


def measure_rung(rung: EpochRung, job: EpochJob) -> list[EpochMeasurement]:
    """Run a rung's validation epochs in this process."""
    module = DetectorModule.from_checkpoint(
        job.checkpoint, boxes=job.model.boxes, loss=job.model.loss, overlap=job.model.overlap
    )
    began = time.perf_counter()
    data = OcrDataModule(val=_open(rung, job), batch_size=job.model.batch_size)
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
            found.append(
                EpochMeasurement(rung.name, rung.precision, epoch, opened, profile.epochs[-1], values)
            )
    return found


def same_metrics(measured: Sequence[EpochMeasurement]) -> dict[str, bool]:
    """For each precision, whether every rung and epoch of it gave the very same rates."""
    seen: dict[str, set[tuple[float, ...]]] = {}
    for one in measured:
        rates = tuple(value for name, value in sorted(one.metrics.items()) if name.endswith(_RATES))
        seen.setdefault(one.precision, set()).add(rates)
    return {precision: len(rates) == 1 for precision, rates in seen.items()}


_RATES = ("hmean", "precision", "recall", "samples")


def _open(rung: EpochRung, job: EpochJob) -> TensorDataset | OnlineDataset:
    if rung.online is None:
        dataset = TensorDataset(
            job.sources.tensors, VAL_FIELDS, samples=job.samples, cache=CacheParams(mode="mmap")
        )
        dataset.warm()
        return dataset
    return OnlineDataset(
        rung.online,
        job.sources.params,
        fields=VAL_FIELDS,
        samples=job.samples,
        annotation_format=job.annotation_format,
        label_frame=job.label_frame,
        workers=job.workers,
    )
