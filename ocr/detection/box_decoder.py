"""Box decoding: from probability maps to text regions in the upright frame.

The steps are those of DB (Liao et al., "Real-time Scene Text Detection with Differentiable
Binarization", AAAI 2020, section 3.5) and of its reference implementation: binarise, trace contours,
score each region, grow it by the unclip offset, map it to the image. Lengths are in canvas pixels.

A contour runs through the centres of pixels, and the centre of pixel (i, j) is the point (j + 0.5, i + 0.5)
of the canvas (`ocr.geometry`), so half a pixel is added to a contour's indices. That is how the maps are
drawn: a corner of a polygon takes the pixel that it lies in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import sqrt
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ocr.detection.region_scores import means_inside
from ocr.detection.unclip import grown
from ocr.geometry import clockwise, transform_points
from ocr.params import BoxParams
from pipeline.errors import PipelineError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Contour = NDArray[np.int32]
ProbabilityMaps = torch.Tensor | NDArray[np.floating[Any]]

NOT_FINITE = (
    "a probability map holds NaN or infinity: look at the checkpoint and at the precision that it ran in"
)
GROWN_MARGIN = 2.0
"""How much longer than `min_size` the shorter side of a grown region must be (the reference's constant)."""
OUTLINE_TOLERANCE = 0.002
"""How far an outline may lie from its contour, as a share of the perimeter (the reference's constant)."""
DECIMALS = 3
"""OpenCV gives a rectangle on whole pixels with an error of up to 2e-4 pixels; cut to whole pixels as it is,
one upright rectangle in seven would lose a row, and its score with it."""
TWO_BY_TWO = np.ones((2, 2), np.uint8)
"""RapidOCR's dilation: OpenCV takes a pixel's neighbours to the left and above, so a region gains a row below
and a column to the right."""
CORNERS = 4.0
"""A rectangle that grows by D on each side gains CORNERS · D² + perimeter · D in area."""


@dataclass  # not frozen: Lightning's `predict` rebuilds what a step gives, field by field
class Detections:
    """The regions found in one image.

    `polygons`: float32 (P, 2) each, x and y in the upright frame, clipped to the image; boxes run
    clockwise from the top left corner. `scores`: float32 (N,), in the same order.
    """

    polygons: list[Floats]
    scores: Floats


class BoxDecoder:
    """Finds text regions in probability maps. It holds parameters only, so threads may share it."""

    def __init__(self, params: BoxParams | None = None) -> None:
        self.params = params or BoxParams()

    def decode(
        self,
        prob_maps: ProbabilityMaps,
        inverse_matrix: ArrayLike | torch.Tensor,
        size: ArrayLike | torch.Tensor,
    ) -> list[Detections]:
        """Decode a batch.

        `prob_maps`: (B, 1, H, W), any floating type, on any device. `inverse_matrix`: (B, 3, 3), canvas
        pixel → upright pixel. `size`: (B, 2), upright height and width. Raises PipelineError where a
        map holds NaN or infinity, ValueError for other shapes.
        """
        maps = as_float32(prob_maps)
        matrices, sizes = np.asarray(inverse_matrix, dtype=np.float64), np.asarray(size)
        if maps.ndim != 4 or maps.shape[1] != 1:
            raise ValueError(f"probability maps must have the shape (B, 1, H, W), not {maps.shape}")
        if matrices.shape != (len(maps), 3, 3) or sizes.shape != (len(maps), 2):
            raise ValueError(
                f"{len(maps)} maps need an inverse_matrix of {(len(maps), 3, 3)} and a size of "
                f"{(len(maps), 2)}, not {matrices.shape} and {sizes.shape}"
            )
        return [self.decode_one(*one) for one in zip(maps[:, 0], matrices, sizes, strict=True)]

    def decode_one(self, prob_map: Floats, inverse_matrix: ArrayLike, size: ArrayLike) -> Detections:
        """Decode one map, float32 (H, W) or (1, H, W); otherwise as `decode`. The unit of work of a pool."""
        prob_map = prob_map[0] if prob_map.ndim == 3 else prob_map
        find = self._boxes if self.params.shape == "box" else self._outlines
        polygons, scores = find(prob_map, self._contours(prob_map))
        # Dilating by an even square has moved contours by this half pixel already.
        centre = 0.5 if self.params.pixel_centres and not self.params.dilation else 0.0
        return _to_upright(polygons, scores, centre, np.asarray(inverse_matrix), np.asarray(size))

    def _contours(self, prob_map: Floats) -> Sequence[Contour]:
        """Trace the outer and inner borders of what exceeds the threshold: int32 (P, 1, 2) each."""
        if not np.isfinite(prob_map).all():
            raise PipelineError(NOT_FINITE)
        mask = (prob_map > np.float32(self.params.threshold)).view(np.uint8)
        if self.params.dilation:
            mask = cv2.dilate(mask, TWO_BY_TWO)
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        return contours[: self.params.max_candidates]

    def _boxes(self, prob_map: Floats, contours: Sequence[Contour]) -> tuple[list[Floats], Doubles]:
        """Give the grown rectangles of least area, each (4, 2), and their scores.

        To grow a rectangle with round corners and to take the rectangle of least area around the
        result, as the reference does, is to lengthen its sides by twice the offset.
        """
        params = self.params
        rectangles = [cv2.minAreaRect(contour) for contour in contours]
        sides = np.array([sides for _, sides, _ in rectangles]).reshape(-1, 2).round(DECIMALS)
        large = np.flatnonzero(sides.min(axis=1) >= params.min_size).tolist()
        if params.score_mode == "fast":
            corners = np.array([cv2.boxPoints(rectangles[index]) for index in large])
            scored = list(corners.round(DECIMALS).astype(np.int32))
        else:
            scored = [contours[index][:, 0] for index in large]
        scores = means_inside(prob_map, scored)

        boxes, kept = [], []
        for place in np.flatnonzero(scores >= params.box_threshold).tolist():
            centre, (width, height), angle = rectangles[large[place]]
            growth = 2 * self._growth(width * height, 2 * (width + height), scores[place])
            grown_sides = width + growth, height + growth
            if min(grown_sides) >= params.min_size + GROWN_MARGIN:
                boxes.append(cv2.boxPoints((centre, grown_sides, angle)))
                kept.append(place)
        return list(clockwise(np.array(boxes, dtype=np.float32).reshape(-1, 4, 2))), scores[kept]

    def _outlines(self, prob_map: Floats, contours: Sequence[Contour]) -> tuple[list[Floats], Doubles]:
        """Give the grown outlines, each (P, 2) with P >= 4, and their scores.

        An outline that growing splits, or turns into a ring, is no region (as in the reference).
        """
        simplified = [
            cv2.approxPolyDP(contour, OUTLINE_TOLERANCE * cv2.arcLength(contour, True), True)[:, 0]
            for contour in contours
        ]
        simplified = [outline for outline in simplified if len(outline) >= 4]
        scores = means_inside(prob_map, simplified)

        kept = np.flatnonzero(scores >= self.params.box_threshold)
        chosen = [simplified[index] for index in kept]
        growth = [
            self._growth(cv2.contourArea(outline), cv2.arcLength(outline, True), score)
            for outline, score in zip(chosen, scores[kept].tolist(), strict=True)
        ]
        rings, least = grown(chosen, growth), self.params.min_size + GROWN_MARGIN
        large = [
            index for index, ring in enumerate(rings) if len(ring) and min(cv2.minAreaRect(ring)[1]) >= least
        ]
        return [rings[index] for index in large], scores[kept[large]]

    def _growth(self, area: float, perimeter: float, score: float) -> float:
        """How far each side of an outline of this area A' and perimeter L' moves outwards.

        With an `unclip_ratio` r', by the paper's D' = A' · r' / L'. Otherwise in two steps. First
        inwards: soft edges make an outline larger than its kernel, but leave the sum of probabilities
        what it was, so the kernel fills the share `score` of the outline's A' + L' / 2 + 1 pixels. Then
        by the D that shrank the region to that kernel. That was D = A · k / L with k = 1 - shrink_ratio²,
        of the region's area A = A' + L' D + c D² and perimeter L = L' + 2 c D, c being CORNERS:
        c (2 - k) D² + (1 - k) L' D - k A' = 0.
        """
        if not perimeter:
            return 0.0
        if self.params.unclip_ratio is not None:
            return self.params.unclip_ratio * area / perimeter
        around, surplus = perimeter + 4, (area + perimeter / 2 + 1) * max(0.0, 1 - score)
        soft = 2 * surplus / (around + sqrt(max(0.0, around**2 - 4 * CORNERS * surplus)))
        area = max(0.0, area - perimeter * soft + CORNERS * soft**2)
        perimeter = max(0.0, perimeter - 2 * CORNERS * soft)
        k = 1 - self.params.shrink_ratio**2
        square, linear = CORNERS * (2 - k), (1 - k) * perimeter
        return (sqrt(linear**2 + 4 * square * k * area) - linear) / (2 * square) - soft


def as_float32(prob_maps: ProbabilityMaps) -> Floats:
    """Bring maps to the host as float32; no copy where they are there already."""
    if isinstance(prob_maps, torch.Tensor):
        prob_maps = prob_maps.detach().float().cpu().numpy()
    return np.asarray(prob_maps, dtype=np.float32)


def _to_upright(
    polygons: list[Floats], scores: Doubles, centre: float, inverse_matrix: NDArray[Any], size: NDArray[Any]
) -> Detections:
    """Map all polygons of an image in one product, clip each coordinate to the image, drop the empty.

    Their coordinates are indices of pixels; `centre` is where on the canvas index 0 is. A region that lies
    in the padding has no area left.
    """
    if not polygons:
        return Detections([], np.empty(0, dtype=np.float32))
    height, width = size
    points = transform_points(inverse_matrix, np.concatenate(polygons) + centre)
    clipped: Floats = np.clip(points, 0, (width, height)).astype(np.float32)
    ends = accumulate(map(len, polygons), initial=0)
    mapped = [clipped[start:end] for start, end in pairwise(ends)]
    kept = [index for index, polygon in enumerate(mapped) if cv2.contourArea(polygon) > 0]
    return Detections([mapped[i] for i in kept], scores[kept].astype(np.float32))
