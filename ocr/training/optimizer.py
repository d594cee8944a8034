"""AdamW and the course of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ocr.params import OptimizerParams
from pipeline.errors import ConfigError, Remedy


def one_cycle_adamw(weights: Iterable[nn.Parameter], params: OptimizerParams, steps: float) -> dict[str, Any]:
    """What Lightning's `configure_optimizers` gives, for a training of so many steps.

    The rate is set anew before each step: a resumed training may have another length. Raises
    ConfigError where `steps` is infinite, or there is no weight to change.
    """
    weights = [weight for weight in weights if weight.requires_grad]
    if not weights:
        raise ConfigError("this detector has no weights that training could change", Remedy("validate"))
    if math.isinf(steps):
        raise ConfigError(
            "the learning rate's schedule needs an end: set trainer.max_epochs or trainer.max_steps"
        )
    optimizer = torch.optim.AdamW(
        weights, lr=params.lr, betas=(0.9, params.beta2), weight_decay=params.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: one_cycle(step / max(steps, 1), params.warmup)
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def one_cycle(progress: float, warmup: float) -> float:
    """The learning rate as a share of its peak, when `progress` of all steps is done (0…1).

    Linear from 1/25 to 1 during `warmup`, then half a cosine to 0 (after Smith, 2018).
    """
    if progress < warmup:
        return 0.04 + 0.96 * progress / warmup
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup)))
