"""What a detector's network gives, and what reads it while training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor


class DetectorOutput(NamedTuple):
    """Logits, float32 (B, 1, H, W): a sigmoid makes them the probability map P and the threshold map T."""

    prob_logits: Tensor
    thresh_logits: Tensor


Loss = Callable[[DetectorOutput, Mapping[str, Any]], Mapping[str, Tensor]]
"""From the output and the batch to scalars: `total`, which is minimised, and any terms to be logged."""
