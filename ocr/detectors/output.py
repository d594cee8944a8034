"""What a detector's network gives, and what reads it while training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ocr.detection import TOLERANCE

SMALLEST = 1e-6
"""How near to 0 and 1 probabilities come that are made logits: those of 0 and 1 are infinite.

float16 keeps 6e-5, its smallest normal number: the slope of a logit, 1/p, would else exceed its largest.
"""


class DetectorOutput(NamedTuple):
    """Logits, as large as the image; a sigmoid makes them maps in 0…1.

    - `prob_logits`: (B, 1, H, W), of the probability map P.
    - `thresh_logits`: (B, 1, H, W), of DBNet's threshold map T; None where a network has none.
    - `extra_logits`: (B, K, H, W), what the detector's own decoder and loss read beside P.
    """

    prob_logits: Tensor
    thresh_logits: Tensor | None = None
    extra_logits: Tensor | None = None

    @classmethod
    def from_probabilities(
        cls, prob: Tensor, thresh: Tensor | None = None, extra: Tensor | None = None
    ) -> DetectorOutput:
        """Take maps in 0…1 of a network that ends in a sigmoid; held 1e-6 off 0 and 1 (float16: 6e-5).

        What lies outside 0…1 becomes NaN, which loss and decoder tell: no step waits for a look at values.
        """
        return cls(*(None if maps is None else _logits(maps) for maps in (prob, thresh, extra)))  # type: ignore[arg-type]

    def maps(self) -> Tensor:
        """Give what decoders read: float32 (B, 1 + K, H, W) in 0…1, the probability map first."""
        logits = self.prob_logits.float()
        if self.extra_logits is not None:
            logits = torch.cat((logits, self.extra_logits.float()), dim=1)
        return logits.sigmoid()


Loss = Callable[[DetectorOutput, Mapping[str, Any]], Mapping[str, Tensor]]
"""From an output and its batch to float32 scalars: `total`, which is minimised, and terms to be logged."""


def _logits(maps: Tensor) -> Tensor:
    eps = torch.finfo(maps.dtype).tiny if maps.dtype == torch.float16 else SMALLEST
    maps = maps.float()
    outside = (maps < -TOLERANCE) | (maps > 1 + TOLERANCE)
    return torch.logit(maps, eps=eps).masked_fill(outside, torch.nan)
