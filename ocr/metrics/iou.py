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


@dataclass(frozen=True)
class IouCounts(Counts):
    """What an image adds: `targets` and `predictions` count those in use (simple, not don't care)."""

    matched: int
    targets: int
    predictions: int
    invalid_targets: int
    invalid_predictions: int

    def rates(self) -> Rates:
        """Precision, recall and H-mean over regions."""
        return rates(self.matched, self.predictions, self.targets)

    def is_empty(self) -> tuple[bool, bool]:
        """Whether there is nothing to find, and nothing was found."""
        return self.targets == 0, self.predictions == 0


@dataclass(frozen=True)
class IouMatch:
    """Which prediction found which target: `pairs` of (target, prediction), and who took part.

    `targets_in_use` (N,) and `predictions_in_use` (M,) are neither don't care nor invalid.
    """

    pairs: list[tuple[int, int]]
    targets_in_use: NDArray[np.bool_]
    predictions_in_use: NDArray[np.bool_]
    invalid_targets: int
    invalid_predictions: int


class IouHmean(ImageMetric[IouCounts]):
    """Precision, recall and H-mean at an IoU of 0.5, micro over the set and as the mean over images.

    Which prediction finds which target is in `match`; texts are not used.

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
        )

    def match(self, predictions: Regions, targets: Regions, ignore: ArrayLike | None = None) -> IouMatch:
        """Match one image's polygons one to one.

        A prediction with more than `ignore_threshold` of its area in one don't-care target is out of
        use. The rest are matched greedily in the order given, target by target, where intersection
        over union exceeds `iou_threshold`; either side is used once. PackedPolygons that cross themselves
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
        matching = (shared > self.iou_threshold * union) & care[:, None] & ~hidden
        return IouMatch(
            pairs=_greedy_pairs(matching),
            targets_in_use=care,
            predictions_in_use=~hidden,
            invalid_targets=int((~true.simple).sum()),
            invalid_predictions=int((~found.simple).sum()),
        )


def _greedy_pairs(matching: NDArray[np.bool_]) -> list[tuple[int, int]]:
    partner: dict[int, int] = {}
    used: set[int] = set()
    for row, column in np.argwhere(matching).tolist():
        if row not in partner and column not in used:
            partner[row] = column
            used.add(column)
    return list(partner.items())
