"""Means of the losses over samples, added up across batches and ranks."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from ocr.training.losses import Losses


class MeanLosses(Metric):
    """The mean of each loss, a batch counting by its samples, the same on every rank."""

    full_state_update = False

    sums: Tensor
    samples: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(len(Losses._fields), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, losses: Losses, samples: int) -> None:
        """Add a batch's losses, scalars on any device."""
        self.sums += samples * torch.stack(losses).to(self.sums)
        self.samples += samples

    def compute(self) -> dict[str, float]:
        """Give the means by the names of `Losses`; 0 before any sample."""
        means = self.sums / self.samples.clamp(min=1)
        return dict(zip(Losses._fields, means.tolist(), strict=True))
