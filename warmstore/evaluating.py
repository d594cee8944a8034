"""Looking at what a detector can reach: precisions side by side, the canvas's ceiling, learning by heart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from ocr.augment import AugmentParams
from ocr.ceiling import Ceiling, find_ceiling, labelled_images
from ocr.datasets import OcrDataModule, TensorDataset
from ocr.geometry import Size
from ocr.loss_lines import LossLines
from ocr.overlays import WorstImages
from ocr.precision import Measured, Precision, compare_precisions
from pipeline.errors import ConfigError
from pipeline.store import Store
from warmstore.config import RunConfig
from warmstore.inputs import ValidationInputs
from warmstore.runs import run_folder
from warmstore.settings import TrainingConfig
from warmstore.training import (
    VAL_FIELDS,
    advise_threads,
    lightning_trainer,
    new_detector,
    normalised_when_read,
    quiet,
    refuse_interrupted,
    trained_detector,
)

_OVERFIT_LR = 5e-3


def measure_precisions(
    config: RunConfig, inputs: ValidationInputs, precisions: Sequence[Precision] = ()
) -> tuple[list[Measured], dict[str, str]]:
    """Evaluate a checkpoint over a split's store in each precision, the first being the reference.

    Without `precisions`: float32 and bfloat16, and float16 on a GPU. Gives the measurements, and what
    they were made of, in words.
    """
    asked, checkpoint, store = inputs.settings, inputs.checkpoint, inputs.store
    gpu = asked.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    precisions = precisions or ("32-true", "bf16-mixed", *(("16-mixed",) if gpu else ()))
    module = trained_detector(config, asked, checkpoint).to("cuda" if gpu else "cpu")
    data = TensorDataset(store.name, VAL_FIELDS, cache=asked.cache)
    data.warm()
    measured = compare_precisions(module, data.batches(asked.model.batch_size), precisions)
    device = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    return measured, {
        "checkpoint": str(checkpoint),
        "store": str(store.name),
        "digest": store.digest,
        "device": device,
    }


def find_ceilings(
    config: RunConfig, asked: TrainingConfig, store: Store, canvases: Sequence[Size]
) -> list[Ceiling]:
    """Tell what each canvas allows on a canonical store, with the run's parameters of maps and of boxes."""
    images = list(labelled_images(store))
    stages = config.stages
    return [
        find_ceiling(images, canvas, maps=stages.maps, boxes=asked.model.boxes, padding=stages.decode.padding)
        for canvas in canvases
    ]


def overfit_detector(
    config: RunConfig, asked: TrainingConfig, store: Store, samples: int, epochs: int, goal: float
) -> dict[str, Any]:
    """Learn the first samples of a store by heart, and stop at H-mean `goal`.

    What cannot do that has a fault that no data mends. Nothing is augmented; the learning rate is
    5e-3 unless the run sets `model.optimizer.lr`. The checkpoint is `checkpoints/last.ckpt` in the
    run's folder. Raises ConfigError where the canvas and the maps do not allow the goal.
    """
    allowed = find_ceiling(
        islice(labelled_images(store), samples),
        config.canvas,
        maps=config.stages.maps,
        boxes=asked.model.boxes,
        padding=config.stages.decode.padding,
    ).iou["hmean"]
    if allowed < goal:
        raise ConfigError(
            f"even perfect maps of these samples give an H-mean of {allowed:.3f}, the goal is {goal:g}: "
            "set a larger canvas or a smaller stages.maps.min_text_size (see `warmstore ceiling`)"
        )
    model = asked.model.model_copy(update={"augment": AugmentParams(enabled=False), "batch_size": samples})
    if "lr" not in (config.model.get("optimizer") or {}):
        optimizer = model.optimizer.model_copy(update={"lr": _OVERFIT_LR})
        model = model.model_copy(update={"optimizer": optimizer})
    every = max(1, epochs // 10)
    trainer_config = asked.trainer.model_copy(
        update={"max_epochs": epochs, "check_val_every_n_epoch": every, "num_sanity_val_steps": 0}
    )
    asked = asked.model_copy(update={"model": model, "trainer": trainer_config})
    with quiet(), run_folder(config, "overfit") as folder:
        pl.seed_everything(config.seed, workers=True, verbose=False)
        data = OcrDataModule(
            train=store.name,
            val=store.name,
            limit=samples,
            batch_size=samples,
            fields=VAL_FIELDS,
            cache=asked.cache,
            normalise=normalised_when_read(asked),
        )
        stop = EarlyStopping("val/hmean", mode="max", patience=10, stopping_threshold=goal)
        kept = ModelCheckpoint(folder / "checkpoints", "last", enable_version_counter=False)
        trainer = lightning_trainer(asked, folder, [LossLines(), WorstImages(folder), stop, kept])
        advise_threads(trainer)
        began = time.perf_counter()
        trainer.fit(new_detector(config, asked), datamodule=data)
        refuse_interrupted(trainer)
    return {
        "hmean": float(trainer.callback_metrics["val/hmean"]),
        "cleval": float(trainer.callback_metrics["val/cleval_hmean"]),
        "goal": goal,
        "ceiling": allowed,
        "samples": samples,
        "epochs": trainer.current_epoch,
        "seconds": time.perf_counter() - began,
        "checkpoint": kept.best_model_path,
        "folder": str(folder),
    }
