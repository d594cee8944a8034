"""Box decoding: from probability maps to text regions in the upright frame.

The steps are those of DB (Liao et al., "Real-time Scene Text Detection with Differentiable
Binarization", AAAI 2020, section 3.5) and of its reference implementation: binarise, trace contours,
score each region, grow it by the unclip offset, map it to the image. Lengths are in canvas pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import cv2
import numpy as np
import pyclipper
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from ocr.geometry import transform_points
from pipeline.errors import PipelineError
from pipeline.stage import Parameters

F = TypeVar("F", bound=np.floating[Any])
Floats = NDArray[np.float32]
Contour = NDArray[np.int32]
ProbabilityMaps = torch.Tensor | NDArray[np.floating[Any]]

GROWN_MARGIN = 2.0
"""How much longer than `min_size` the shorter side of a grown region must be (the reference's constant)."""
OUTLINE_TOLERANCE = 0.002
"""How far an outline may lie from its contour, as a share of the perimeter (the reference's constant)."""
SUBPIXELS = 256
"""Steps per pixel in pyclipper's integer coordinates; with the reference's 1 corners move up to a pixel."""


class BoxParams(Parameters):
    """How regions are found in a probability map; lengths are in canvas pixels."""

    threshold: float = Field(0.3, ge=0, le=1)
    """A pixel belongs to a region when its probability exceeds this."""
    box_threshold: float = Field(0.6, ge=0, le=1)
    """A region is kept when its score, the mean probability inside it, is at least this."""
    unclip_ratio: float = Field(1.5, ge=0)
    """A region grows on each side by unclip_ratio · area / perimeter."""
    min_size: float = Field(3.0, ge=0)
    """The shorter side that a region must have before it grows; grown, it must have 2 more."""
    max_candidates: int = Field(1000, ge=1)
    """At most this many contours of one map are looked at, in the order in which OpenCV finds them."""
    score_mode: Literal["fast", "slow"] = "fast"
    """Score a box inside its rectangle (fast) or inside its contour (slow). Polygons: their outline."""
    shape: Literal["box", "polygon"] = "box"
    """Give the rectangle of least area (4 points), or the outline (4 points or more)."""


@dataclass(frozen=True)
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
        """Decode one map, float32 (H, W); otherwise as `decode`. The unit of work of a pool."""
        if not np.isfinite(prob_map.sum()):
            raise PipelineError(
                "A probability map holds NaN or infinity: look at the checkpoint and at the precision "
                "that it ran in."
            )
        find = self._boxes if self.params.shape == "box" else self._outlines
        polygons, scores = find(prob_map, self._contours(prob_map))
        return _to_upright(polygons, scores, np.asarray(inverse_matrix), np.asarray(size))

    def _contours(self, prob_map: Floats) -> Sequence[Contour]:
        """Trace the outer and inner borders of what exceeds the threshold: int32 (P, 1, 2) each."""
        above = (prob_map > self.params.threshold).view(np.uint8)
        contours, _ = cv2.findContours(above, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        return contours[: self.params.max_candidates]

    def _boxes(self, prob_map: Floats, contours: Sequence[Contour]) -> tuple[list[Floats], list[float]]:
        """Give the grown rectangles of least area, each (4, 2), and their scores.

        Growing a rectangle with round corners and taking the rectangle of least area around the
        result, as the reference does, is to lengthen its sides by twice the offset.
        """
        params, boxes, scores = self.params, [], []
        scorer = _Scorer(prob_map)
        for contour in contours:
            centre, (width, height), angle = rectangle = cv2.minAreaRect(contour)
            if min(width, height) < params.min_size:
                continue
            fast = params.score_mode == "fast"
            score = scorer(cv2.boxPoints(rectangle).astype(np.int32) if fast else contour)
            if score < params.box_threshold:
                continue
            growth = 2 * _offset(width * height, 2 * (width + height), params.unclip_ratio)
            sides = width + growth, height + growth
            if min(sides) >= params.min_size + GROWN_MARGIN:
                boxes.append(cv2.boxPoints((centre, sides, angle)))
                scores.append(score)
        return list(clockwise(np.array(boxes, dtype=np.float32).reshape(-1, 4, 2))), scores

    def _outlines(self, prob_map: Floats, contours: Sequence[Contour]) -> tuple[list[Floats], list[float]]:
        """Give the grown outlines, each (P, 2) with P >= 4, and their scores.

        An outline that growing splits, or turns into a ring, is no region (as in the reference).
        """
        params, outlines, scores = self.params, [], []
        scorer = _Scorer(prob_map)
        for contour in contours:
            outline = cv2.approxPolyDP(contour, OUTLINE_TOLERANCE * cv2.arcLength(contour, True), True)
            if len(outline) < 4:
                continue
            score = scorer(outline)
            if score < params.box_threshold:
                continue
            parts = _grow(outline[:, 0], params.unclip_ratio)
            if len(parts) != 1:
                continue
            sides = cv2.minAreaRect(parts[0])[1]
            if min(sides) >= params.min_size + GROWN_MARGIN:
                outlines.append(parts[0])
                scores.append(score)
        return outlines, scores


def as_float32(prob_maps: ProbabilityMaps) -> Floats:
    """Bring maps to the host as float32; no copy where they are there already."""
    if isinstance(prob_maps, torch.Tensor):
        prob_maps = prob_maps.detach().float().cpu().numpy()
    return np.asarray(prob_maps, dtype=np.float32)


class _Scorer:
    """The mean probability inside an outline, its border included.

    One canvas of zeros serves all outlines of a map: each is filled, used and wiped in its own window.
    """

    def __init__(self, prob_map: Floats) -> None:
        self._map = prob_map
        self._inside = np.zeros(prob_map.shape, dtype=np.uint8)

    def __call__(self, outline: Contour) -> float:
        left, top, width, height = cv2.boundingRect(outline)
        window = slice(max(top, 0), top + height), slice(max(left, 0), left + width)
        inside = self._inside[window]
        cv2.fillPoly(self._inside, [outline], 1)
        mean: float = cv2.mean(self._map[window], inside)[0]
        inside[:] = 0
        return mean


def _offset(area: float, perimeter: float, ratio: float) -> float:
    """The paper's equation 10: D' = A' · r' / L'."""
    return ratio * area / perimeter if perimeter else 0.0


def _grow(outline: NDArray[Any], ratio: float) -> list[Floats]:
    """Offset an outline (P, 2) outwards with round corners; gives the paths that result."""
    distance = _offset(cv2.contourArea(outline), cv2.arcLength(outline, True), ratio)
    offset = pyclipper.PyclipperOffset(arc_tolerance=0.25 * SUBPIXELS)
    offset.AddPath(outline * SUBPIXELS, pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    paths = offset.Execute(distance * SUBPIXELS)
    return [(np.array(path) / SUBPIXELS).astype(np.float32) for path in paths]


def clockwise(corners: NDArray[F]) -> NDArray[F]:
    """Order the corners of boxes (N, 4, 2): top left, top right, bottom right, bottom left.

    The two with the least x are the left ones, as in the reference.
    """
    by_x = np.take_along_axis(corners, np.argsort(corners[..., :1], axis=1, kind="stable"), axis=1)
    sides = by_x.reshape(-1, 2, 2, 2)
    by_y = np.take_along_axis(sides, np.argsort(sides[..., 1:], axis=2, kind="stable"), axis=2)
    return np.stack([by_y[:, 0, 0], by_y[:, 1, 0], by_y[:, 1, 1], by_y[:, 0, 1]], axis=1)


def _to_upright(
    polygons: list[Floats], scores: list[float], inverse_matrix: NDArray[Any], size: NDArray[Any]
) -> Detections:
    """Map all polygons of an image in one product, clip each coordinate to the image, drop the empty.

    A region that lies in the padding has no area left.
    """
    if not polygons:
        return Detections([], np.empty(0, dtype=np.float32))
    height, width = size
    points = transform_points(inverse_matrix, np.concatenate(polygons))
    clipped: Floats = np.clip(points, 0, (width, height)).astype(np.float32)
    mapped = np.split(clipped, np.cumsum([len(polygon) for polygon in polygons])[:-1])
    kept = [index for index, polygon in enumerate(mapped) if cv2.contourArea(polygon) > 0]
    return Detections([mapped[i] for i in kept], np.array(scores, dtype=np.float32)[kept])
