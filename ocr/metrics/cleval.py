"""CLEval: character-level evaluation of text detection, from polygons and the number of characters.

Baek et al., "CLEval: Character-Level Evaluation for Text Detection and Recognition Tasks" (CVPR
workshops 2020), detection part. Each target is given one pseudo-character centre (PCC) per character;
a prediction finds the characters whose centres it holds, and pays for what it splits and merges.
Numbers equal those of the authors' package `cleval` for quadrilaterals; it knows no other shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from ocr.geometry import Points
from ocr.metrics.areas import PackedPolygons, points_inside, shared_areas
from ocr.metrics.characters import (
    aspect_ratios,
    corners_of,
    estimated_false,
    estimated_lengths,
    place_centres,
)
from ocr.metrics.image_metric import Counts, ImageMetric, Rates, Texts, as_flags, rates

Flags = NDArray[np.bool_]
DONT_CARE = "###"
"""A target with this text is don't care where `ignore` is not given."""


@dataclass(frozen=True)
class CLEvalCounts(Counts):
    """What an image adds, in characters unless said otherwise.

    `true_characters`: of the targets in use. `found_characters`: centres in a matched prediction, each
    once. `claimed_characters`: centres in matched predictions, as often as they are found, plus
    `false_characters`, estimated from the shape of predictions that match nothing. `split_penalty` and
    `merge_penalty` are the granularity penalties; `split_targets` and `merged_predictions` count regions.
    """

    true_characters: int
    found_characters: int
    claimed_characters: int
    false_characters: int
    split_penalty: float
    merge_penalty: float
    split_targets: int
    merged_predictions: int

    def rates(self) -> Rates:
        """Precision, recall and H-mean over characters, with the penalties for splits and merges."""
        return rates(
            self.found_characters - self.merge_penalty,
            self.claimed_characters,
            self.true_characters,
            found=self.found_characters - self.split_penalty,
        )

    def is_empty(self) -> tuple[bool, bool]:
        """Whether there is nothing to find, and nothing was found."""
        return self.true_characters == 0, self.claimed_characters == 0


class CLEval(ImageMetric[CLEvalCounts]):
    """Character-level precision, recall and H-mean, micro over the set and as the mean over images.

    Without `texts` a target has round(0.5 + longer side / shorter side) characters, at most 10: the
    estimate that the paper uses for don't-care targets. Corners start at the top left of the first
    character and run clockwise, so that centres follow the direction of reading. Areas are those of
    the polygons with coordinates cut to whole pixels, as in the authors' package.

    `area_precision`: the share of a prediction's area that must lie in a target to match it.
    `split_weight`, `merge_weight`: what each part beyond the first costs, in characters.
    `vertical_aspect_ratio`: a target narrower than this, width by height, is read downwards.

    >>> line = [[0, 0], [100, 0], [100, 20], [0, 20]]
    >>> left, right = [[0, 0], [50, 0], [50, 20], [0, 20]], [[50, 0], [100, 0], [100, 20], [50, 20]]
    >>> metric = CLEval()
    >>> metric.update([[left, right]], [[line]], texts=[["total"]])
    >>> metric.compute()["recall"]
    0.8
    """

    counts_type = CLEvalCounts

    def __init__(
        self,
        area_precision: float = 0.3,
        split_weight: float = 1.0,
        merge_weight: float = 1.0,
        vertical_aspect_ratio: float = 0.5,
    ) -> None:
        super().__init__()
        self.area_precision = area_precision
        self.split_weight = split_weight
        self.merge_weight = merge_weight
        self.vertical_aspect_ratio = vertical_aspect_ratio

    def _count(
        self, found: Sequence[Points], true: Sequence[Points], texts: Texts, ignore: ArrayLike | None
    ) -> CLEvalCounts:
        dont_care = _dont_care(ignore, texts, len(true))
        corners = corners_of(true)
        lengths = estimated_lengths(aspect_ratios(corners))
        if texts is not None:
            given = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
            lengths = np.where(dont_care, lengths, given)
        centres = place_centres(true, corners, lengths, self.vertical_aspect_ratio)

        targets, predictions = PackedPolygons.of(true).truncated(), PackedPolygons.of(found).truncated()
        held = points_inside(centres.points, predictions)
        precision = _area_precision(targets, predictions, dont_care)
        matched, in_use = self._match(precision, centres.counts(held), dont_care)

        held &= matched[centres.target]
        missed = in_use & ~matched.any(axis=0)
        false_characters = int(estimated_false(aspect_ratios(corners_of(found)))[missed].sum())
        parts, merged = matched.sum(axis=1), matched.sum(axis=0)
        return CLEvalCounts(
            true_characters=int(lengths[~dont_care].sum()),
            found_characters=int(held.any(axis=1).sum()),
            claimed_characters=int(held.sum()) + false_characters,
            false_characters=false_characters,
            split_penalty=self.split_weight * int(np.maximum(parts - 1, 0).sum()),
            merge_penalty=self.merge_weight * int(np.maximum(merged - 1, 0).sum()),
            split_targets=int((parts > 1).sum()),
            merged_predictions=int((merged > 1).sum()),
        )

    def _match(
        self, precision: NDArray[np.float32], held: NDArray[np.int64], dont_care: Flags
    ) -> tuple[Flags, Flags]:
        """Which prediction matches which target (N, M), and which predictions are in use (M,).

        `precision` (N, M) is the share of each prediction's area in each target, `held` (N, M) the
        number of the target's centres in it.
        """
        enough = precision >= self.area_precision
        hidden = enough[dont_care].any(axis=0)
        hidden |= np.where(held > 0, precision, 0)[dont_care].sum(axis=0) >= self.area_precision
        usable = ~dont_care[:, None] & ~hidden

        touching = enough & (held > 0)
        alone = (touching.sum(axis=1) == 1)[:, None] & (touching.sum(axis=0) == 1)
        parts = touching & usable
        split = (parts.sum(axis=1) > 1)[:, None]
        merged = (held > 0) & usable
        together = np.where(merged, precision, 0).sum(axis=0, dtype=np.float64) >= self.area_precision
        together &= merged.sum(axis=0) > 1
        return parts & (alone | split) | merged & together, ~hidden


def _dont_care(ignore: ArrayLike | None, texts: Texts, count: int) -> Flags:
    if texts is not None and len(texts) != count:
        raise ValueError(f"{len(texts)} texts for {count} targets")
    if ignore is None and texts is not None:
        return np.array([text == DONT_CARE for text in texts], dtype=np.bool_)
    return as_flags(ignore, count)


def _area_precision(true: PackedPolygons, found: PackedPolygons, dont_care: Flags) -> NDArray[np.float32]:
    """The share of each prediction's area in each target, (N, M).

    A don't-care target ends where another target begins.
    """
    shared = shared_areas(true, found)
    if dont_care.any():
        overlapping = (shared_areas(true, true) > 0) & dont_care[:, None] & ~dont_care
        for row in np.flatnonzero(overlapping.any(axis=1)):
            others = shapely.union_all(shapely.make_valid(true.shapes(np.flatnonzero(overlapping[row]))))
            rest = shapely.difference(shapely.make_valid(true.shapes(np.array([row])))[0], others)
            columns = np.flatnonzero(shared[row])
            common = shapely.intersection(rest, shapely.make_valid(found.shapes(columns)))
            shared[row, columns] = shapely.area(common)
    share = np.divide(shared, found.areas, out=np.zeros_like(shared), where=found.areas > 0)
    return share.astype(np.float32)
