"""From kernels to regions by expansion (after Wang et al., "Shape Robust Text Detection", CVPR 2019)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from warmstore import Detections


class PseDecoder:
    """Each kernel grows over the text around it that is nearer to it than to any other kernel.

    PSENet grows by steps, from scale to scale; with two scales the nearest kernel is the same but where
    kernels meet. No offset is guessed: a region is as large as the map of whole regions says.
    """

    def __init__(self, text_threshold: float, kernel_threshold: float, least_score: float) -> None:
        self.text_threshold, self.kernel_threshold = text_threshold, kernel_threshold
        self.least_score = least_score

    def decode_one(self, maps: NDArray[np.float32], inverse_matrix: Any, size: Any) -> Detections:
        """Decode kernels and whole regions, float32 (2, H, W), into rectangles in the upright frame."""
        kernels = maps[0] > self.kernel_threshold
        if not kernels.any():
            return Detections([], np.empty(0, np.float32))
        nearest: NDArray[np.int32] = cv2.distanceTransformWithLabels(
            (~kernels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_CCOMP
        )[1]
        text = kernels | (maps[1] > self.text_threshold)
        height, width = (int(side) for side in size)
        polygons, scores = [], []
        for label in range(1, int(nearest.max()) + 1):
            score = float(maps[0][kernels & (nearest == label)].mean())
            if score < self.least_score:
                continue
            rows, columns = np.nonzero(text & (nearest == label))
            corners = cv2.boxPoints(cv2.minAreaRect(np.stack((columns, rows), 1).astype(np.float32)))
            upright = cv2.perspectiveTransform(corners[None], np.asarray(inverse_matrix))[0]
            upright = np.clip(upright, 0, (width, height)).astype(np.float32)
            if cv2.contourArea(upright) > 0:
                polygons.append(upright)
                scores.append(score)
        return Detections(polygons, np.array(scores, np.float32))
