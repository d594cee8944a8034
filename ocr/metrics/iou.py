"""IoU H-mean as ICDAR 2015 (incidental scene text, task 1: localisation) defines it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ocr.geometry import Points
from ocr.metrics.areas import PackedPolygons, shared_areas
from ocr.metrics.image_metric import (
    Counts,
    ImageMetric,
    Rates,
    Regions,
    Texts,
    as_flags,
    as_points,
    rates,
)

STRICTER = (0.6, 0.7, 0.8, 0.9)
"""Thresholds above the official 0.5 that an image is counted at as well: how well boxes fit."""
_STRICTER_FIELDS = ("matched_60", "matched_70", "matched_80", "matched_90")


@dataclass(frozen=True)
class IouCounts(Counts):
    """What an image adds: `targets` and `predictions` count those in use (simple, not don't care).

    `matched_60` to `matched_90` are the pairs at STRICTER thresholds.
    """

    matched: int
    targets: int
    predictions: int
    invalid_targets: int
    invalid_predictions: int
    matched_60: int
    matched_70: int
    matched_80: int
    matched_90: int

    def rates(self) -> Rates:
        """Precision, recall and H-mean over regions."""
        return rates(self.matched, self.predictions, self.targets)

    def is_empty(self) -> tuple[bool, bool]:
        """Whether there is nothing to find, and nothing was found."""
        return self.targets == 0, self.predictions == 0


@dataclass(frozen=True)
class IouMatch:
    """Which prediction found which target: `pairs` of (target, prediction), and who took part.

    `targets_in_use` (N,) and `predictions_in_use` (M,) are neither don't care nor invalid. `stricter` counts
    the pairs at each of STRICTER.
    """

    pairs: list[tuple[int, int]]
    stricter: tuple[int, ...]
    targets_in_use: NDArray[np.bool_]
    predictions_in_use: NDArray[np.bool_]
    invalid_targets: int
    invalid_predictions: int


class IouHmean(ImageMetric[IouCounts]):
    """Precision, recall and H-mean at an IoU of 0.5, micro over the set and as the mean over images.

    `compute` gives H-mean at STRICTER thresholds as well: `hmean@0.6` to `hmean@0.9`. Which prediction finds
    which target is in `match`; texts are not used.

    >>> square = [[0, 0], [10, 0], [10, 10], [0, 10]]
    >>> metric = IouHmean()
    >>> metric.update([[square]], [[square]])
    >>> metric.compute()["hmean"]
    1.0
    """

    counts_type = IouCounts

    def __init__(self, iou_threshold: float = 0.5, ignore_threshold: float = 0.5) -> None:
        super().__init__()
        self.iou_threshold = iou_threshold
        self.ignore_threshold = ignore_threshold

    def _count(
        self, found: Sequence[Points], true: Sequence[Points], texts: Texts, ignore: ArrayLike | None
    ) -> IouCounts:
        match = self._match(found, true, ignore)
        return IouCounts(
            matched=len(match.pairs),
            targets=int(match.targets_in_use.sum()),
            predictions=int(match.predictions_in_use.sum()),
            invalid_targets=match.invalid_targets,
            invalid_predictions=match.invalid_predictions,
            **dict(zip(_STRICTER_FIELDS, match.stricter, strict=True)),
        )

    def compute(self) -> dict[str, float]:
        """Give what every metric gives, and `hmean@0.6` to `hmean@0.9`, micro over the set."""
        found = super().compute()
        for threshold, field in zip(STRICTER, _STRICTER_FIELDS, strict=True):
            found[f"hmean@{threshold}"] = rates(found[field], found["predictions"], found["targets"]).hmean
        return found

    def match(self, predictions: Regions, targets: Regions, ignore: ArrayLike | None = None) -> IouMatch:
        """Match one image's polygons one to one.

        A prediction with more than `ignore_threshold` of its area in one don't-care target is out of
        use. The rest are matched greedily in the order given, target by target, where intersection
        over union exceeds `iou_threshold`; either side is used once. Polygons that cross themselves
        or have no area are out of use on both sides, as in the protocol, and counted.
        """
        return self._match(as_points(predictions), as_points(targets), ignore)

    def _match(
        self, found_points: Sequence[Points], true_points: Sequence[Points], ignore: ArrayLike | None
    ) -> IouMatch:
        true, found = PackedPolygons.of(true_points), PackedPolygons.of(found_points)
        shared = shared_areas(true, found)
        dont_care = as_flags(ignore, len(true)) & true.simple
        hidden = ~found.simple | (shared > self.ignore_threshold * found.areas)[dont_care].any(axis=0)
        care = true.simple & ~dont_care
        union = true.areas[:, None] + found.areas - shared
        close = shared > min(self.iou_threshold, *STRICTER) * union
        candidates = np.argwhere(close & care[:, None] & ~hidden)
        common, whole = shared[tuple(candidates.T)], union[tuple(candidates.T)]
        pairs, *stricter = (
            _greedy_pairs(candidates[common > threshold * whole])
            for threshold in (self.iou_threshold, *STRICTER)
        )
        return IouMatch(
            pairs=pairs,
            stricter=tuple(map(len, stricter)),
            targets_in_use=care,
            predictions_in_use=~hidden,
            invalid_targets=int((~true.simple).sum()),
            invalid_predictions=int((~found.simple).sum()),
        )


def _greedy_pairs(candidates: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Take candidates (K, 2), rows and columns in rising order, one by one while both are free."""
    partner: dict[int, int] = {}
    used: set[int] = set()
    for row, column in candidates.tolist():
        if row not in partner and column not in used:
            partner[row] = column
            used.add(column)
    return list(partner.items())
