"""The terms of DBNet's loss on the host: their values alone, in one pass over memory.

`ocr.losses` has them in torch, for gradients and for other devices. There each step of a formula makes
a map as large as the batch, and memory has to carry it. Here a pixel is taken through all formulas at
once, after the border of the hard negatives is known, and eight pixels or more go side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log1p
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ocr.compiled import compiled, vectorised
from ocr.elementary import exp32, log1p32, sigmoid32
from ocr.model import DetectorOutput

Floats = NDArray[np.float32]
Flags = NDArray[np.uint8]
Counts = NDArray[np.int64]

FLAGS = ("prob_maps", "prob_masks", "thresh_masks")
"""Maps of a batch that hold 0 and 1."""

_RUN = 4096
"""Pixels that are summed in float32; the sums of runs are added in float64."""
_HALF_BITS, _LOWER = np.uint32(16), np.uint32(0xFFFF)
_RISING = np.arange(1 << 16)
_FALLING = np.concatenate([_RISING[:0x8000][::-1], _RISING[0x8000:]])
"""The upper halves of float32s, from the largest number to the smallest: a sign bit comes first."""

_ZERO, _ONE = np.float32(0), np.float32(1)


class ProbabilityPart(NamedTuple):
    """What the cross-entropy of one image is made of, flat (N,)."""

    logits: Floats
    target: Flags
    mask: Flags


class Terms(NamedTuple):
    """The terms before weighting, as in `ocr.losses.Losses`."""

    probability: float
    binary: float
    threshold: float


def loss_terms(
    output: DetectorOutput, batch: Mapping[str, Tensor], negative_ratio: float, steepness: float
) -> Terms:
    """Give `balanced_bce`, `dice_loss` of the step function and `masked_l1`, within float32's rounding.

    Logits (B, 1, H, W) of any floating type, the batch's maps beside them, all on the host. The flags
    `prob_maps`, `prob_masks` and `thresh_masks` are 0 or 1, of any type.
    """
    images = [
        ProbabilityPart(
            _flat(output.prob_logits[i], torch.float32),
            _flat(batch["prob_maps"][i], torch.uint8),
            _flat(batch["prob_masks"][i], torch.uint8),
        )
        for i in range(len(output.prob_logits))
    ]
    positives = sum(int(np.count_nonzero(image.target & image.mask)) for image in images)
    negatives = sum(int(np.count_nonzero(image.mask)) for image in images) - positives
    kept = kept_negatives(positives, negatives, negative_ratio)
    border, level = _border(images, kept) if kept < negatives else (np.float32(-np.inf), 0)

    sums = np.zeros(5)
    # One for all: fresh memory costs more than the copy.
    thresh_map = torch.empty(output.prob_logits.shape[1:], dtype=torch.float32).flatten()
    for i, image in enumerate(images):
        sums += _sums(
            *image,
            _flat(output.thresh_logits[i], torch.float32),
            thresh_map.copy_(batch["thresh_maps"][i].flatten()).numpy(),
            _flat(batch["thresh_masks"][i], torch.uint8),
            border,
            np.float32(steepness),
        )
    bce, inside, everywhere, difference, counted = sums.tolist()
    on_border = level * _softplus(float(border)) if level else 0.0
    return Terms(
        (bce + on_border) / max(positives + kept, 1),
        1 - 2 * inside / (everywhere + positives + 1e-6),
        difference / (counted + 1e-6),
    )


def kept_negatives(positives: int, negatives: int, ratio: float) -> int:
    """How many negatives count: `ratio` times the positives, at least one, and all without a positive."""
    return min(negatives, max(1, int(positives * ratio))) if positives else negatives


def _softplus(x: float) -> float:
    """ln(1 + e^x), the loss of a negative; NaN without a warning."""
    return max(x, 0.0) + log1p(exp(-abs(x)))


def _flat(values: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    return values.detach().to(dtype).contiguous().view(-1).numpy()


def _border(images: Sequence[ProbabilityPart], kept: int) -> tuple[np.float32, int]:
    """The logit of the `kept`-th hardest negative, and how many of those as hard as it count.

    A negative's loss grows with its logit, so logits are selected: by the upper half of their bits,
    then, among those that share it, by the lower half (radix selection).
    """
    upper_counts, lower_counts = np.zeros((2, 1 << 16), dtype=np.int64)
    for image in images:
        _count_upper(*image, upper_counts)
    upper, left = _ranked(upper_counts, _FALLING, kept)
    for image in images:
        _count_lower(*image, np.uint32(upper), lower_counts)
    # Among negative floats larger bits are smaller numbers.
    lower, left = _ranked(lower_counts, _RISING if upper >> 15 else _RISING[::-1], left)
    border = np.uint32(upper << 16 | lower).view(np.float32)
    if border == 0:  # -0 is as hard, though its bits are others
        left = kept - sum(int(np.count_nonzero((i.mask > i.target) & (i.logits > 0))) for i in images)
    return border, left


@compiled
def _ranked(counts: Counts, order: Counts, rank: int) -> tuple[int, int]:
    """The bin that holds the `rank`-th value, going through bins in an order, and its rank in there."""
    for found in order:
        if counts[found] >= rank:
            break
        rank -= counts[found]
    return found, rank


@compiled
def _count_upper(logits: Floats, target: Flags, mask: Flags, counts: Counts) -> None:
    """Count negatives by the upper half of their logits' bits."""
    bits = logits.view(np.uint32)
    for i in range(len(bits)):
        counts[bits[i] >> _HALF_BITS] += mask[i] > target[i]


@compiled
def _count_lower(logits: Floats, target: Flags, mask: Flags, upper: np.uint32, counts: Counts) -> None:
    """Count negatives by the lower half, where the upper one is this."""
    bits = logits.view(np.uint32)
    for i in range(len(bits)):
        if bits[i] >> _HALF_BITS == upper and mask[i] > target[i]:
            counts[bits[i] & _LOWER] += 1


@compiled
def _sums(
    prob_logits: Floats,
    prob_map: Flags,
    prob_mask: Flags,
    thresh_logits: Floats,
    thresh_map: Floats,
    thresh_mask: Flags,
    border: np.float32,
    steepness: np.float32,
) -> NDArray[np.float64]:
    """What one image adds to the terms' sums, see `_run`."""
    sums = np.zeros(5)
    for start in range(0, len(prob_logits), _RUN):
        end = start + _RUN
        run = _run(
            prob_logits[start:end],
            prob_map[start:end],
            prob_mask[start:end],
            thresh_logits[start:end],
            thresh_map[start:end],
            thresh_mask[start:end],
            border,
            steepness,
        )
        for term in range(5):
            sums[term] += run[term]
    return sums


@vectorised
def _run(
    prob_logits: Floats,
    prob_map: Flags,
    prob_mask: Flags,
    thresh_logits: Floats,
    thresh_map: Floats,
    thresh_mask: Flags,
    border: np.float32,
    steepness: np.float32,
) -> tuple[np.float32, ...]:
    """Sums of the cross-entropy, of the step function inside the text and inside the mask, of |T - T*|,
    and of the mask of T.

    The cross-entropy is that of positives and of negatives beyond the border.
    """
    bce = inside = everywhere = difference = counted = _ZERO
    for i in range(len(prob_logits)):
        logit, target, mask = prob_logits[i], np.float32(prob_map[i]), np.float32(prob_mask[i])
        text = target * mask
        power = exp32(-abs(logit))
        prob = (_ONE if logit >= _ZERO else power) / (_ONE + power)
        thresh = sigmoid32(thresh_logits[i])
        step = sigmoid32(steepness * (prob - thresh))
        hard = (mask - text) * np.float32(logit > border)
        bce += (max(logit, _ZERO) - logit * target + log1p32(power)) * (text + hard)
        inside += step * text
        everywhere += step * mask
        difference += abs(thresh - thresh_map[i]) * np.float32(thresh_mask[i])
        counted += np.float32(thresh_mask[i])
    return bce, inside, everywhere, difference, counted
