"""Training and validating from a run's configuration: what is wired together, and what is written down."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from ocr.datasets import OcrDataModule
from ocr.datasets.batches import DEFAULT_FIELDS
from ocr.evaluation import WorstImages
from ocr.training import DetectorModule, EpochProfile, LossLines, check_identity, draw_profile
from pipeline.errors import ConfigError
from pipeline.store import Store
from warmstore.configuration import RunConfig, TrainingConfig
from warmstore.machine import busy
from warmstore.workflows.inputs import ValidationInputs
from warmstore.workflows.runs import run_folder

log = logging.getLogger(__name__)

# Training builds the maps of what it augments; the stored ones are for validation.
_TRAIN_FIELDS = ("image", "inverse_matrix", "size", "polygons", "ignore", "sample_id")
# CLEval counts the characters of what is written.
VAL_FIELDS = (*DEFAULT_FIELDS, "text")
_TALKATIVE = (
    "pytorch_lightning.utilities.rank_zero",
    "pytorch_lightning.accelerators.cuda",
    "lightning_fabric",
)
_RATES = ("hmean", "precision", "recall")


def train_detector(config: RunConfig, asked: TrainingConfig, stores: Mapping[str, Store]) -> dict[str, Any]:
    """Train on split `train`, validate the best checkpoint on `val`; gives the summary that it writes."""
    with quiet(), run_folder(config, "train") as folder:
        pl.seed_everything(config.seed, workers=True, verbose=False)
        data = OcrDataModule(
            train=stores["train"].name,
            val=stores["val"].name,
            batch_size=asked.model.batch_size,
            fields=VAL_FIELDS,
            train_fields=_TRAIN_FIELDS if asked.model.augment.enabled else DEFAULT_FIELDS,
            cache=asked.cache,
            normalise=normalised_when_read(asked),
            seed=config.seed,
        )
        profile = EpochProfile()
        best = ModelCheckpoint(
            folder / "checkpoints",
            "best",
            monitor="val/hmean",
            mode="max",
            save_last=True,
            enable_version_counter=False,
        )
        callbacks: list[Any] = [LossLines(), profile, WorstImages(folder), best]
        if asked.model.early_stopping:
            callbacks.append(EarlyStopping("val/hmean", mode="max", patience=asked.model.early_stopping))
        trainer = lightning_trainer(asked, folder, callbacks)
        module = DetectorModule(asked.detector_identity(config), asked.detector_settings(config))
        advise_threads(trainer)
        began = time.perf_counter()
        trainer.fit(module, datamodule=data)
        seconds = time.perf_counter() - began
        refuse_interrupted(trainer)
        trained = list(profile.epochs)
        metrics = trainer.validate(
            ckpt_path=best.best_model_path or None, model=module, datamodule=data, verbose=False
        )
    draw_profile(trained, folder / "profile.png")
    summary = _summary(stores["val"], metrics[0], trained, trainer)
    summary |= {"seconds": seconds, "checkpoint": best.best_model_path, "folder": str(folder)}
    return _write(folder, summary)


def validate_detector(config: RunConfig, inputs: ValidationInputs) -> dict[str, Any]:
    """Compute the metric of a checkpoint over a split; gives the summary that it writes."""
    asked, checkpoint, store = inputs.settings, inputs.checkpoint, inputs.store
    with quiet(), run_folder(config, "validate") as folder:
        module = trained_detector(config, asked, checkpoint)
        data = OcrDataModule(
            val=store.name,
            batch_size=asked.model.batch_size,
            fields=VAL_FIELDS,
            cache=asked.cache,
            normalise=normalised_when_read(asked),
        )
        profile = EpochProfile()
        trainer = lightning_trainer(asked, folder, [profile, WorstImages(folder)])
        metrics = trainer.validate(module, datamodule=data, verbose=False)
    draw_profile(profile.epochs, folder / "profile.png")
    summary = _summary(store, metrics[0], profile.epochs, trainer)
    summary |= {"checkpoint": str(checkpoint), "folder": str(folder)}
    return _write(folder, summary)


def trained_detector(config: RunConfig, asked: TrainingConfig, checkpoint: Path) -> DetectorModule:
    """Build the detector of a checkpoint.

    Raises ConfigError where it is another model, or was trained for another canvas, mean or std, than
    the configuration has.
    """
    module = DetectorModule.from_checkpoint(checkpoint, asked.detector_settings(config))
    canvas = list(module.identity.canvas)
    if canvas != list(config.canvas):
        raise ConfigError(
            f"{checkpoint} was trained for canvas {canvas} and the configuration has "
            f"{list(config.canvas)}; set canvas={canvas} and rerun the stages, or train anew"
        )
    check_identity(module.identity.as_json(), asked.detector_identity(config))
    return module


def normalised_when_read(asked: TrainingConfig) -> tuple[Literal["val"], ...]:
    """Splits that are normalised in the trainer's precision: not where validation has one of its own."""
    return () if asked.trainer.own_val_precision() else ("val",)


def lightning_trainer(asked: TrainingConfig, folder: Path, callbacks: list[Any]) -> pl.Trainer:
    """Build Lightning's trainer; its logs go into `folder`. Raises ConfigError where it refuses."""
    import sys

    arguments = asked.trainer.model_dump(exclude={"val_precision"})
    arguments["precision"] = asked.trainer.resolved_precision()
    if arguments["enable_progress_bar"] is None:
        arguments["enable_progress_bar"] = sys.stderr.isatty()
    if arguments["enable_progress_bar"]:
        callbacks = [*callbacks, TQDMProgressBar(leave=False)]
    try:
        return pl.Trainer(
            **arguments,
            default_root_dir=folder,
            logger=[
                CSVLogger(folder, name="", version="csv"),
                TensorBoardLogger(folder, name="", version="tensorboard"),
            ],
            callbacks=callbacks,
            enable_model_summary=False,
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ConfigError(f"Lightning refuses the trainer's settings: {error}") from None


def advise_threads(trainer: pl.Trainer) -> None:
    """Log what helps a training on a processor that has other work to do."""
    advice = busy()
    if advice and trainer.strategy.root_device.type == "cpu":
        log.info("this machine's load is %s", advice)


def refuse_interrupted(trainer: pl.Trainer) -> None:
    """Raise KeyboardInterrupt where Lightning has swallowed one."""
    if trainer.interrupted:
        raise KeyboardInterrupt


def _summary(store: Store, metrics: Any, epochs: list[dict[str, Any]], trainer: pl.Trainer) -> dict[str, Any]:
    return {
        "val": {
            **{name: float(metrics[f"val/{name}"]) for name in _RATES},
            "samples": int(metrics["val/samples"]),
            "quarantined": store.info.counts.quarantined,
        },
        "cleval": {name: float(metrics[f"val/cleval_{name}"]) for name in _RATES},
        "epochs": epochs,
        "precision": str(trainer.precision),
        "val_precision": trainer.lightning_module.settings.val_precision or str(trainer.precision),
        "store": {"path": str(store.name), "generation": store.generation, "digest": store.digest},
    }


def _write(folder: Path, summary: dict[str, Any]) -> dict[str, Any]:
    (folder / "summary.json").write_text(json.dumps(summary, indent=1))
    return summary


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and its advice on workers out of the way; errors pass."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="(pytorch_lightning|lightning_fabric)")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
