"""IoU H-mean as ICDAR 2015 (incidental scene text, task 1: localisation) defines it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ocr.metrics.areas import Polygons, shared_areas
from ocr.metrics.image_metric import Counts, ImageMetric, Rates, Regions, as_flags, as_points, rates


@dataclass(frozen=True)
class IouCounts(Counts):
    """What an image adds: `targets` and `predictions` count those in use (simple, not don't care)."""

    matched: int
    targets: int
    predictions: int
    invalid_targets: int
    invalid_predictions: int

    def rates(self) -> Rates:
        return rates(self.matched, self.predictions, self.targets)

    def is_empty(self) -> tuple[bool, bool]:
        return self.targets == 0, self.predictions == 0


class IouHmean(ImageMetric[IouCounts]):
    """Precision, recall and H-mean at an IoU of 0.5, micro over the set and as the mean over images.

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

    def measure(
        self,
        predictions: Regions,
        targets: Regions,
        *,
        texts: Sequence[str] | None = None,
        ignore: ArrayLike | None = None,
    ) -> IouCounts:
        """Match one image's polygons one to one; `texts` is not used.

        A prediction with more than `ignore_threshold` of its area in one don't-care target is out of
        use. The rest are matched greedily in the order given, target by target, where intersection
        over union exceeds `iou_threshold`; either side is used once. Polygons that cross themselves
        or have no area are out of use on both sides, as in the protocol, and counted.
        """
        true, found = Polygons.of(as_points(targets)), Polygons.of(as_points(predictions))
        shared = shared_areas(true, found)
        dont_care = as_flags(ignore, len(true)) & true.simple
        hidden = ~found.simple | (shared > self.ignore_threshold * found.areas)[dont_care].any(axis=0)
        care = true.simple & ~dont_care
        union = true.areas[:, None] + found.areas - shared
        matching = (shared > self.iou_threshold * union) & care[:, None] & ~hidden
        return IouCounts(
            matched=_greedy_pairs(matching),
            targets=int(care.sum()),
            predictions=int((~hidden).sum()),
            invalid_targets=int((~true.simple).sum()),
            invalid_predictions=int((~found.simple).sum()),
        )


def _greedy_pairs(matching: NDArray[np.bool_]) -> int:
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for row, column in np.argwhere(matching).tolist():
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
    return len(used_rows)
