"""Training and validating from a run's configuration: what is wired together, and what is written down."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast

import pytorch_lightning as pl
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from ocr.datasets import OcrDataModule
from ocr.datasets.batches import DEFAULT_FIELDS
from ocr.detectors import find_detector
from ocr.evaluation import WorstImages
from ocr.training import (
    DetectorModule,
    EpochProfile,
    LastCheckpoint,
    LossLines,
    RandomStates,
    check_identity,
    draw_profile,
    read_checkpoint,
)
from pipeline.errors import ConfigError
from pipeline.store import Store
from warmstore.configuration import RunConfig, TrainerConfig
from warmstore.machine import advice_on_load
from warmstore.workflows.inputs import ValidationInputs
from warmstore.workflows.runs import LAST, first_rank, run_folder

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


class TrainingInterrupted(KeyboardInterrupt):
    """A training was stopped by hand or by a signal; says where. `folder` is its run's."""

    def __init__(self, said: str, folder: Path) -> None:
        super().__init__(said)
        self.folder = folder


def train_detector(
    config: RunConfig, stores: Mapping[str, Store], resumed: Path | None = None
) -> dict[str, Any]:
    """Train on split `train`, validate the best checkpoint on `val`; gives the summary that it writes.

    Without a store of `val`, or where the trainer is not to validate, it keeps the last checkpoint. Goes
    on with `resumed`, in its folder. Raises TrainingInterrupted.
    """
    with quiet(), run_folder(config, "train", resumed) as run:
        pl.seed_everything(config.seed, workers=True, verbose=False)
        data = OcrDataModule(
            train=stores["train"].name,
            val=stores["val"].name if "val" in stores else None,
            batch_size=config.model.batch_size,
            fields=VAL_FIELDS,
            train_fields=_TRAIN_FIELDS if config.model.augment.enabled else DEFAULT_FIELDS,
            cache=config.cache,
            normalise=normalised_when_read(config),
            seed=config.seed,
        )
        profile, last = EpochProfile(), LastCheckpoint(run.folder / "checkpoints")
        watched: dict[str, Any] = {"monitor": "val/hmean", "mode": "max"}
        best = ModelCheckpoint(
            last.dirpath, "best", **watched, save_on_train_epoch_end=False, enable_version_counter=False
        )
        callbacks: list[Any] = [LossLines(), profile, WorstImages(run.folder), RandomStates(), best, last]
        if patience := config.model.early_stopping:
            callbacks.append(EarlyStopping(**watched, patience=patience, check_on_train_epoch_end=False))
        trainer = lightning_trainer(config.trainer, run.folder, callbacks)
        module = DetectorModule(config.detector_identity, config.detector_settings)
        _keep_config(run.folder, config, stores)
        advise_threads(trainer)
        began = time.perf_counter()
        with _interruptible(trainer, run.folder / LAST):
            trainer.fit(module, datamodule=data, ckpt_path=resumed and resumed / LAST, weights_only=True)
            seconds, trained = time.perf_counter() - began, list(profile.epochs)
            checkpoint, metrics = best.best_model_path or last.best_model_path or None, []
            if not best.best_model_path:
                there = "there is last.ckpt, but no best.ckpt" if checkpoint else "there is no checkpoint"
                log.warning("nothing was validated while it trained: %s", there)
            if "val" in stores and trainer.limit_val_batches:
                metrics = trainer.validate(module, data, checkpoint, verbose=False, weights_only=True)
        run.summary |= _summary(stores.get("val", stores["train"]), metrics, trained, trainer)
        kept = checkpoint and str(run.folder / "checkpoints" / Path(checkpoint).name)  # not absolute
        run.summary |= {"seconds": seconds, "checkpoint": kept, "folder": str(run.folder)}
    return run.summary


def validate_detector(inputs: ValidationInputs) -> dict[str, Any]:
    """Compute the metric of a checkpoint over a split; gives the summary that it writes."""
    config, store = inputs.config, inputs.store
    with quiet(), run_folder(config, "validate") as run:
        module = trained_detector(config, inputs.checkpoint)
        data = OcrDataModule(
            val=store.name,
            batch_size=config.model.batch_size,
            fields=VAL_FIELDS,
            cache=config.cache,
            normalise=normalised_when_read(config),
        )
        profile = EpochProfile()
        trainer = lightning_trainer(config.trainer, run.folder, [profile, WorstImages(run.folder)])
        with _interruptible(trainer):
            metrics = trainer.validate(module, datamodule=data, verbose=False)
        epoch = read_checkpoint(inputs.checkpoint).get("epoch", 0) if inputs.checkpoint else 0
        epochs = [{**row, "epoch": epoch} for row in profile.epochs]  # the trainer has trained none
        run.summary |= _summary(store, metrics, epochs, trainer)
        run.summary |= {"checkpoint": inputs.judged, "folder": str(run.folder)}
    return run.summary


def trained_detector(config: RunConfig, checkpoint: Path | None) -> DetectorModule:
    """Build the detector of a checkpoint; without one, that which the configuration names.

    Raises ConfigError where it is another model, or was trained for another canvas, mean or std, than
    the configuration has.
    """
    if checkpoint is None:
        built = DetectorModule(config.detector_identity, config.detector_settings)
        return cast(DetectorModule, built.eval())
    module = DetectorModule.from_checkpoint(checkpoint, config.detector_settings)
    canvas = list(module.identity.canvas)
    if canvas != list(config.canvas):
        raise ConfigError(
            f"{checkpoint} was trained for canvas {canvas} and the configuration has "
            f"{list(config.canvas)}; set canvas={canvas} and rerun the stages, or train anew"
        )
    check_identity(module.identity, config.detector_identity)
    return module


def normalised_when_read(config: RunConfig) -> tuple[Literal["val"], ...]:
    """Splits that are normalised in the trainer's precision.

    None where validation has a precision of its own, or the detector reads pixels.
    """
    own = config.trainer.own_val_precision() or find_detector(config.model.detector).reads == "pixels"
    return () if own else ("val",)


def lightning_trainer(asked: TrainerConfig, folder: Path, callbacks: list[Any]) -> pl.Trainer:
    """Build Lightning's trainer; its logs go into `folder`. Raises ConfigError where it refuses."""
    import sys

    written = len([*folder.glob("csv*")])  # by what is resumed: the logger would begin its file anew
    arguments = asked.model_dump(exclude={"val_precision"})
    arguments["precision"] = asked.resolved_precision()
    if arguments["enable_progress_bar"] is None:
        arguments["enable_progress_bar"] = sys.stderr.isatty()
    if arguments["enable_progress_bar"]:
        callbacks = [*callbacks, _Bar(leave=False)]
    try:
        trainer = pl.Trainer(
            **arguments,
            default_root_dir=folder,
            logger=[
                CSVLogger(folder, name="", version=f"csv-{written + 1}" if written else "csv"),
                TensorBoardLogger(folder, name="", version="tensorboard"),
            ],
            callbacks=callbacks,
            enable_model_summary=False,
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ConfigError(f"Lightning refuses the trainer's settings: {error}") from None
    if trainer.precision != arguments["precision"]:
        raise ConfigError(
            f"trainer.precision={arguments['precision']} cannot be had here, Lightning would compute in "
            f"{trainer.precision}; set that, or 32-true"
        )
    return trainer


def advise_threads(trainer: pl.Trainer) -> None:
    """Log what helps a training on a processor that has other work to do."""
    advice = advice_on_load()
    if advice and trainer.strategy.root_device.type == "cpu":
        log.info("this machine's load is %s", advice)


@contextmanager
def _interruptible(trainer: pl.Trainer, last: Path | None = None) -> Iterator[None]:
    """Raise KeyboardInterrupt where Lightning would end the process, and have Ctrl-C work afterwards.

    With a `last` checkpoint that is there, it is TrainingInterrupted.
    """
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if last is None or not last.exists():
            raise KeyboardInterrupt from None
        said = f"stopped in epoch {trainer.current_epoch}, step {trainer.global_step}"
        raise TrainingInterrupted(f"{said}; {last} has all epochs before it", last.parents[1]) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def _keep_config(folder: Path, config: RunConfig, stores: Mapping[str, Store]) -> None:
    """Write down what a training is made of; where it goes on, say what of that has changed."""
    made_of = config.model_dump(mode="json") | {
        "stores": {split: one.digest for split, one in stores.items()}
    }
    now, file = dict(_flat(made_of)), folder / "config.json"
    if file.exists():
        before = json.loads(file.read_text())
        known = [key for key in now if key in before]  # an older version wrote other keys
        changed = [f"{key} {before[key]} → {now[key]}" for key in known if before[key] != now[key]]
        if changed:
            log.warning("%s goes on with other settings: %s", folder.name, "; ".join(changed))
    elif first_rank():
        file.write_text(json.dumps(now, indent=1))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _summary(
    store: Store, metrics: Sequence[Any], epochs: list[dict[str, Any]], trainer: pl.Trainer
) -> dict[str, Any]:
    """What a run found. `val` and `cleval` are None where nothing was validated."""
    if epochs and trainer.is_global_zero:
        draw_profile(epochs, Path(trainer.default_root_dir) / "profile.png")
    val, cleval = None, None
    for found in metrics:
        counts = {"samples": int(found["val/samples"]), "quarantined": store.info.counts.quarantined}
        fit = {name for name in found if name.startswith("val/hmean@")}
        rates = {f"val/{name}" for name in _RATES} | fit
        val = {name.removeprefix("val/"): float(found[name]) for name in sorted(rates)} | counts
        cleval = {name: float(found[f"val/cleval_{name}"]) for name in _RATES}
    return {
        "val": val,
        "cleval": cleval,
        "epochs": epochs,
        "precision": str(trainer.precision),
        "val_precision": trainer.lightning_module.settings.val_precision or str(trainer.precision),
        "store": {"path": str(store.name), "generation": store.generation, "digest": store.digest},
    }


class _Bar(TQDMProgressBar):  # type: ignore[misc]  # Lightning is untyped here
    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Leave out the loggers' version, which is the name of a folder here."""
        shown = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in shown.items() if name != "v_num"}


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
