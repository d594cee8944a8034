"""IoU H-mean as ICDAR 2015 (incidental scene text, task 1: localisation) defines it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torchmetrics import Metric

from ocr.metrics.regions import Polygons, as_flags, as_geometries, as_points, images


@dataclass(frozen=True)
class IouCounts:
    """What one image adds: `targets` and `predictions` count those in use (valid, not don't care)."""

    matched: int
    targets: int
    predictions: int
    invalid_targets: int
    invalid_predictions: int

    def rates(self) -> tuple[float, float, float]:
        """Precision, recall and H-mean of this image by the protocol's convention for empty images.

        No target in use: recall is 1, and precision 1 when there is no prediction either, else 0.
        """
        if self.targets == 0:
            precision, recall = float(self.predictions == 0), 1.0
        else:
            precision = self.matched / self.predictions if self.predictions else 0.0
            recall = self.matched / self.targets
        return precision, recall, harmonic_mean(precision, recall)


def harmonic_mean(precision: float, recall: float) -> float:
    """2 P R / (P + R), and 0 where both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def count_matches(
    predictions: Polygons,
    targets: Polygons,
    ignore: ArrayLike | None = None,
    *,
    iou_threshold: float = 0.5,
    ignore_threshold: float = 0.5,
) -> IouCounts:
    """Match one image's polygons one to one. Pure, and safe to call from any thread.

    A prediction that lies in a don't-care target with more than `ignore_threshold` of its area is
    out of use. The rest are matched greedily in the order given, target by target, where the
    intersection over union exceeds `iou_threshold`; either side is used once. Polygons that are not
    simple (self-intersecting, zero area) are out of use on both sides, and counted.
    """
    target_points, predicted_points = _points(targets), _points(predictions)
    dont_care = as_flags(ignore, len(target_points))
    target, predicted = as_geometries(target_points), as_geometries(predicted_points)
    target_valid, predicted_valid = shapely.is_valid(target), shapely.is_valid(predicted)
    target, dont_care = target[target_valid], dont_care[target_valid]
    predicted = predicted[predicted_valid]

    rows, columns, shared = _intersections(target, predicted)
    target_area, predicted_area = shapely.area(target), shapely.area(predicted)
    hidden = dont_care[rows] & (shared > ignore_threshold * predicted_area[columns])
    predicted_ignored = np.zeros(len(predicted), dtype=np.bool_)
    predicted_ignored[columns[hidden]] = True

    union = target_area[rows] + predicted_area[columns] - shared
    candidate = ~dont_care[rows] & ~predicted_ignored[columns] & (shared > iou_threshold * union)
    return IouCounts(
        matched=_greedy_pairs(rows[candidate], columns[candidate]),
        targets=int((~dont_care).sum()),
        predictions=int((~predicted_ignored).sum()),
        invalid_targets=int((~target_valid).sum()),
        invalid_predictions=int((~predicted_valid).sum()),
    )


def _points(polygons: Polygons) -> list[NDArray[np.float64]]:
    return [as_points(polygon) for polygon in polygons]


def _intersections(
    target: NDArray[np.object_], predicted: NDArray[np.object_]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Index pairs whose bounding boxes meet, ordered by target then prediction, and their shared area."""
    columns, rows = shapely.STRtree(target).query(predicted)
    order = np.lexsort((columns, rows))
    rows, columns = rows[order], columns[order]
    return rows, columns, shapely.area(shapely.intersection(target[rows], predicted[columns]))


def _greedy_pairs(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> int:
    used_rows: set[int] = set()
    used_columns: set[int] = set()
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        if row not in used_rows and column not in used_columns:
            used_rows.add(row)
            used_columns.add(column)
    return len(used_rows)


class IouHmean(Metric):
    """Precision, recall and H-mean at an IoU of 0.5, micro over the set and as the mean over images.

    >>> square = [[0, 0], [10, 0], [10, 10], [0, 10]]
    >>> metric = IouHmean()
    >>> metric.update([[square]], [[square]])
    >>> metric.compute()["hmean"]
    1.0
    """

    full_state_update = False
    higher_is_better = True

    counts: Tensor
    image_sums: Tensor

    def __init__(self, iou_threshold: float = 0.5, ignore_threshold: float = 0.5) -> None:
        super().__init__()
        self.iou_threshold = iou_threshold
        self.ignore_threshold = ignore_threshold
        self.add_state("counts", torch.zeros(6, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("image_sums", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        predictions: Sequence[Polygons],
        targets: Sequence[Polygons],
        *,
        texts: Sequence[Sequence[str]] | None = None,
        ignore: Sequence[ArrayLike] | None = None,
    ) -> None:
        """Add a batch: a list per image of lists of (P, 2) polygons, x and y in one common frame.

        `ignore` flags don't-care targets; `texts` is not used and accepted so that both metrics
        are called alike. Raises ValueError when lengths differ or a polygon is no polygon.
        """
        for image in images(predictions, targets, texts, ignore):
            self.add(self.measure(image.predictions, image.targets, ignore=image.ignore))

    def measure(
        self,
        predictions: Polygons,
        targets: Polygons,
        *,
        texts: Sequence[str] | None = None,
        ignore: ArrayLike | None = None,
    ) -> IouCounts:
        """Count one image without touching the state: what a pool runs beside the device."""
        return count_matches(
            predictions,
            targets,
            ignore,
            iou_threshold=self.iou_threshold,
            ignore_threshold=self.ignore_threshold,
        )

    def add(self, image: IouCounts) -> None:
        """Add what `measure` counted for one image; counts as an update."""
        self._computed = None
        self._update_count += 1
        counts = (
            1,
            image.matched,
            image.targets,
            image.predictions,
            image.invalid_targets,
            image.invalid_predictions,
        )
        self.counts += torch.tensor(counts, device=self.counts.device)
        self.image_sums += torch.tensor(
            image.rates(), dtype=self.image_sums.dtype, device=self.image_sums.device
        )

    def compute(self) -> dict[str, float]:
        """Give `precision`, `recall`, `hmean` (micro; 0 where nothing was in use), and counts.

        `image_precision`, `image_recall`, `image_hmean` are means over images; `images`, `matched`,
        `targets`, `predictions`, `invalid_targets` and `invalid_predictions` are what they stand on.
        """
        count, matched, targets, predictions, invalid_targets, invalid_predictions = self.counts.tolist()
        precision = matched / predictions if predictions else 0.0
        recall = matched / targets if targets else 0.0
        image_precision, image_recall, image_hmean = (self.image_sums / max(count, 1)).tolist()
        return {
            "precision": precision,
            "recall": recall,
            "hmean": harmonic_mean(precision, recall),
            "image_precision": image_precision,
            "image_recall": image_recall,
            "image_hmean": image_hmean,
            "images": count,
            "matched": matched,
            "targets": targets,
            "predictions": predictions,
            "invalid_targets": invalid_targets,
            "invalid_predictions": invalid_predictions,
        }
