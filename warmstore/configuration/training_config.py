"""The parts of a run's configuration that training and validation read."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from ocr.detectors import DetectorChoice
from ocr.params import (
    AugmentParams,
    BoxParams,
    LossParams,
    OptimizerParams,
    OverlapParams,
    Precision,
)
from pipeline.stage import Parameters


class ModelConfig(DetectorChoice):
    """The detector, how it learns, and how maps become boxes."""

    batch_size: int = Field(default=16, ge=1)
    """Samples a batch, in training and in validation."""
    early_stopping: int | None = Field(default=None, ge=1)
    """End a training after so many validations without a better H-mean; never by default."""
    loss: LossParams = LossParams()
    """The three terms of the loss."""
    optimizer: OptimizerParams = OptimizerParams()
    """The optimizer and its learning rate."""
    augment: AugmentParams = AugmentParams()
    """What training changes at random."""
    boxes: BoxParams = BoxParams()
    """How regions are found in a probability map."""
    overlap: OverlapParams = OverlapParams()
    """Threads that score samples while the device computes."""


class TrainerConfig(Parameters):
    """Arguments of Lightning's Trainer, by Lightning's names; what is None is left to Lightning."""

    accelerator: str = "auto"
    devices: int | str | list[int] = "auto"
    strategy: str = "auto"
    num_nodes: int = Field(default=1, ge=1)
    precision: Precision | None = None
    """By default `16-mixed` on a GPU, and on a CPU `bf16-mixed` where it computes bf16, else `32-true`.

    Weights are float32 in all of them: Lightning's `…-true` would bring a batch's matrices to half
    precision as well.
    """
    val_precision: Precision | None = None
    """The precision of validation, which Lightning does not have; that of training by default."""
    max_epochs: int | None = None
    min_epochs: int | None = None
    max_steps: int = -1
    max_time: str | None = None
    limit_train_batches: int | float | None = None
    limit_val_batches: int | float | None = None
    overfit_batches: int | float = 0.0
    val_check_interval: int | float | None = None
    check_val_every_n_epoch: int | None = 1
    num_sanity_val_steps: int | None = None
    log_every_n_steps: int | None = None
    accumulate_grad_batches: int = 1
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str | None = None
    deterministic: bool | None = None
    benchmark: bool | None = None
    fast_dev_run: bool | int = False
    detect_anomaly: bool = False
    enable_progress_bar: bool | None = None
    profiler: str | None = None

    @field_validator("precision", mode="before")
    @classmethod
    def _by_lightnings_names(cls, precision: Any) -> Any:
        short = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}
        return short.get(str(precision), precision)

    def resolved_precision(self) -> Precision:
        """Give the precision that is used."""
        if self.precision is not None:
            return self.precision
        import torch

        from ocr.training import default_precision

        gpu = self.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
        return default_precision("cuda" if gpu else "cpu")

    def own_val_precision(self) -> Precision | None:
        """Give validation's precision where it is not the trainer's."""
        return None if self.val_precision == self.resolved_precision() else self.val_precision
