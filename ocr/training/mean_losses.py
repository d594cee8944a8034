"""Means of the losses over samples, added up across batches and ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric

from pipeline.errors import PipelineError

T = TypeVar("T")


class MeanLosses(Metric):
    """The mean of each loss, a batch counting by its samples, the same on every rank.

    The first batch of an epoch says which losses there are; PipelineError where another has others.
    """

    full_state_update = False

    sums: Tensor
    samples: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        self.add_state("samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, losses: Mapping[str, Tensor], samples: int) -> None:
        """Add a batch's losses, scalars on any device."""
        if tuple(losses) != self.names:
            if self.samples:
                raise PipelineError(f"the loss gave {', '.join(self.names)}, and then {', '.join(losses)}")
            self.names = tuple(losses)
            sums = torch.zeros(len(self.names), dtype=torch.float64)
            self.add_state("sums", sums, dist_reduce_fx="sum")
            self.sums = self.sums.to(self.samples.device)
        self.sums += samples * torch.stack(list(losses.values())).to(self.sums)
        self.samples += samples

    def compute(self) -> dict[str, float]:
        """Give the means by their names; none before any sample."""
        if not self.names:
            return {}
        means = self.sums / self.samples.clamp(min=1)
        return dict(zip(self.names, means.tolist(), strict=True))


def named(stage: str, losses: Mapping[str, T]) -> dict[str, T]:
    """Losses under the names that are logged."""
    return {f"{stage}/{'loss' if name == 'total' else name}": value for name, value in losses.items()}
