"""DBNet's loss, in float32 under any autocast and finite for any finite logits.

L = w_p · BCE(P) + w_b · Dice(B) + w_t · L1(T), Liao et al. (2020), equation 6; B is the approximate
binary map of equation 2. The default weights are those of the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ocr.detectors import DetectorOutput, Loss
from ocr.params import LossParams

_MAPS = ("prob_maps", "prob_masks", "thresh_maps", "thresh_masks")


class Losses(NamedTuple):
    """Scalars, float32: the weighted `total`, and its terms before weighting.

    Without a threshold map there are no `binary` and no `threshold`.
    """

    total: Tensor
    probability: Tensor
    binary: Tensor | None = None
    threshold: Tensor | None = None


def dbnet_loss(params: LossParams) -> Loss:
    """Give DBNet's loss as a detector has it: the terms that there are, by their names."""
    return partial(_named_losses, params=params)


def _named_losses(output: DetectorOutput, batch: Mapping[str, Any], params: LossParams) -> dict[str, Tensor]:
    losses = detector_loss(output, batch, params)._asdict()
    return {name: value for name, value in losses.items() if value is not None}


def detector_loss(output: DetectorOutput, batch: Mapping[str, Tensor], params: LossParams) -> Losses:
    """Compare logits (B, 1, H, W) with a batch's `prob_maps`, `prob_masks`, `thresh_maps`, `thresh_masks`.

    Logits and maps may have any dtype; they are read as float32.
    """
    prob_map, prob_mask, thresh_map, thresh_mask = (batch[name].float() for name in _MAPS)
    with torch.autocast(output.prob_logits.device.type, enabled=False):
        prob_logits = output.prob_logits.float()
        probability = balanced_bce(prob_logits, prob_map, prob_mask, params.negative_ratio)
        if output.thresh_logits is None:
            return Losses(params.probability_weight * probability, probability)
        thresholds = output.thresh_logits.float().sigmoid()
        step = approximate_binary_map(prob_logits.sigmoid(), thresholds, params.steepness)
        binary = dice_loss(step, prob_map, prob_mask)
        threshold = masked_l1(thresholds, thresh_map, thresh_mask)
        total = (
            params.probability_weight * probability
            + params.binary_weight * binary
            + params.threshold_weight * threshold
        )
    return Losses(total, probability, binary, threshold)


def approximate_binary_map(prob: Tensor, thresh: Tensor, steepness: float = 50.0) -> Tensor:
    """Differentiable binarization of maps in 0…1: sigmoid(k · (P − T)), float32 in 0…1 (equation 2).

    As a sigmoid it cannot overflow, where 1 / (1 + exp(−k (P − T))) does in float16 from k (T − P) = 11.1.
    """
    return torch.sigmoid(steepness * (prob.float() - thresh.float()))


def balanced_bce(logits: Tensor, target: Tensor, mask: Tensor, negative_ratio: float = 3.0) -> Tensor:
    """Binary cross-entropy over positives and the hardest negatives, `negative_ratio` times as many.

    All float32 of one shape, target and mask 0 or 1. Counted over the whole batch. Without a positive
    every negative counts, so that a batch without text still teaches; an empty mask gives 0.
    """
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    positive = target * mask
    negative = mask - positive
    positives, negatives = (int(count) for count in torch.stack((positive.sum(), negative.sum())).tolist())
    kept = kept_negatives(positives, negatives, negative_ratio)
    if kept < negatives:
        negative = hardest(loss.detach() * negative, negative, kept)
    return _sum(loss, positive + negative) / max(positives + kept, 1)


def kept_negatives(positives: int, negatives: int, ratio: float) -> int:
    """How many negatives count: `ratio` times the positives, at least one, and all without a positive."""
    return min(negatives, max(1, int(positives * ratio))) if positives else negatives


def hardest(losses: Tensor, candidates: Tensor, count: int) -> Tensor:
    """Weights of the `count` largest losses among `candidates` (0 or 1), all float32 of one shape.

    1 above the border, 0 below; those that lie on it share what is left, so the weights' sum is
    `count` and no pixel is preferred for its place. 0 < `count` < the number of candidates.
    """
    flat = losses.flatten()
    on_host = flat.device.type == "cpu"
    border = _kth_largest(flat, count) if on_host else flat.topk(count, sorted=False).values.min()
    above = (losses > border).float()
    level = (losses == border).float().mul_(candidates)
    return above.add_(level.mul_((count - above.sum()) / level.sum()))


def _kth_largest(values: Tensor, count: int) -> Tensor:
    """Select by the upper half of the bits, then by all of them: numbers from 0 up are in their bits' order.

    On the host it takes a third of the time of torch's topk, and equal values do not slow it down.
    """
    bits = values.numpy().view(np.uint32)
    upper = bits >> 16
    largest_first = np.bincount(upper)[::-1].cumsum()
    found = np.searchsorted(largest_first, count)
    beyond = largest_first[found - 1] if found else 0
    same = np.sort(bits[upper == len(largest_first) - 1 - found])
    return values.new_tensor(same[beyond - count].view(np.float32))


def dice_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """1 − 2 |X ∩ Y| / (|X| + |Y|) inside the mask (Milletari et al., 2016); all float32 of one shape."""
    inside = target * mask
    return 1 - 2 * _sum(prediction, inside) / (_sum(prediction, mask) + inside.sum() + 1e-6)


def masked_l1(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference inside the mask; 0 where the mask is empty; all float32 of one shape."""
    return _sum((prediction - target).abs(), mask) / (mask.sum() + 1e-6)


def _sum(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum. `torch.dot` adds up in a row: of a batch of equal values it is off by 0.4 %."""
    return (values * weights).sum()
