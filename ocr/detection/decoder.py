"""What a decoder is, what it is given, and what it must give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ocr.detection.box_decoder import NOT_FINITE, Detections
from pipeline.errors import PipelineError

TOLERANCE = 1e-3
"""How far beyond 0…1 a probability may lie, by rounding."""


class Decoder(Protocol):
    """Finds text regions in one image's maps. Threads share it, so a call changes nothing."""

    def decode_one(self, maps: NDArray[np.float32], inverse_matrix: ArrayLike, size: ArrayLike) -> Detections:
        """Decode maps, float32 (C, H, W) in 0…1, of which the first is the probability map.

        `inverse_matrix` (3, 3) leads from canvas pixels to the upright image, whose height and width
        `size` gives; the polygons lie there.
        """
        ...


def decode_batch(
    decoder: Decoder, maps: NDArray[np.float32], inverse_matrix: ArrayLike, size: ArrayLike
) -> list[Detections]:
    """Decode a batch's maps, float32 (B, C, H, W); `inverse_matrix` (B, 3, 3) and `size` (B, 2)."""
    places = zip(np.asarray(inverse_matrix), np.asarray(size), strict=True)
    return [decoded(decoder, one, *place) for one, place in zip(maps, places, strict=True)]


def decoded(
    decoder: Decoder, maps: NDArray[np.float32], inverse_matrix: ArrayLike, size: ArrayLike
) -> Detections:
    """Decode one image's maps, looked at before and after.

    Raises PipelineError where they hold NaN or lie outside 0…1, or the decoder gives something else
    than polygons.
    """
    least, most = maps.min(initial=0), maps.max(initial=1)  # NaN is both
    if not np.isfinite((least, most)).all():
        raise PipelineError(
            f"{NOT_FINITE}; DetectorOutput.from_probabilities makes NaN of what lies outside 0…1"
        )
    if least < -TOLERANCE or most > 1 + TOLERANCE:
        raise PipelineError(
            f"a probability map lies in {least:g}…{most:g}, outside 0…1; logits need a sigmoid first"
        )
    return as_detections(decoder.decode_one(maps, inverse_matrix, size))


def as_detections(found: Detections | Sequence[ArrayLike]) -> Detections:
    """Give one image's detections; a list of polygons has no scores, and then they are 1.

    Raises PipelineError for what is no polygon: float32 (P, 2) with P >= 3 and finite coordinates.
    """
    polygons: Any = found.polygons if isinstance(found, Detections) else found
    arrays = [np.asarray(polygon, dtype=np.float32) for polygon in polygons]
    scores = found.scores if isinstance(found, Detections) else np.ones(len(arrays), np.float32)
    for index, points in enumerate(arrays):
        if points.ndim != 2 or points.shape[1:] != (2,) or len(points) < 3:
            raise PipelineError(f"polygon {index} has the shape {points.shape}, not (P, 2) with P >= 3")
        if not np.isfinite(points).all():
            raise PipelineError(f"polygon {index} holds NaN or infinity: {points.tolist()}")
    if len(scores) != len(arrays):
        raise PipelineError(f"there are {len(scores)} scores for {len(arrays)} polygons")
    return Detections(arrays, np.asarray(scores, dtype=np.float32))
