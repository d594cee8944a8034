"""DBNet's ground truth: probability map, threshold map, and the masks of both, from polygons on the canvas.

Liao et al., "Real-time Scene Text Detection with Differentiable Binarization" (AAAI 2020), section
"Label generation", as the authors' code draws it, without the holes that its rounding leaves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ocr.maps.outlines import CanvasPolygons, Flags, Outline, shape_polygons
from ocr.maps.raster_kernels import raise_edges
from ocr.params import MapParams as MapParams


@dataclass(frozen=True)
class Maps:
    """The four maps of one sample, each (1, H, W).

    `prob_map` uint8: 1 in the shrunk polygons. `prob_mask` uint8: 0 where the probability loss does not
    count. `thresh_map` float32, `thresh_min` to `thresh_max`. `thresh_mask` uint8: 1 where the threshold
    loss counts.
    """

    prob_map: npt.NDArray[np.uint8]
    prob_mask: npt.NDArray[np.uint8]
    thresh_map: npt.NDArray[np.float32]
    thresh_mask: npt.NDArray[np.uint8]


def build_maps(
    polygons: CanvasPolygons, ignore: Flags, height: int, width: int, params: MapParams | None = None
) -> Maps:
    """Draw the maps of `polygons`, each (P, 2) as x, y in canvas pixels, on a canvas of height × width.

    `ignore` has a flag per polygon: its area is masked and nothing else of it is drawn. Pure and safe in
    threads; the result depends on the arguments alone. `ValueError`: a point that is not finite or a
    malformed polygon, with its index, or a canvas without pixels.
    """
    params = params or MapParams()
    shapes = shape_polygons(polygons, ignore, height, width, params)
    prob_map, thresh_mask = (np.zeros((1, height, width), np.uint8) for _ in range(2))
    prob_mask = np.ones((1, height, width), np.uint8)
    thresh_map = np.full((1, height, width), params.thresh_min, np.float32)
    _fill(prob_map[0], shapes.kernels, 1)
    _fill(prob_mask[0], shapes.masked, 0)
    _fill(thresh_mask[0], shapes.grown.values(), 1)
    # As in the original, a polygon raises what lies within the box of its grown outline.
    boxes = np.zeros((len(polygons), 4), np.int64)
    for index, outline in shapes.grown.items():
        boxes[index] = cv2.boundingRect(outline)
    raise_edges(
        thresh_map[0],
        shapes.rings,
        shapes.bounds,
        shapes.distance,
        boxes,
        params.thresh_min,
        params.thresh_max,
        params.distance == "euclidean",
    )
    return Maps(prob_map, prob_mask, thresh_map, thresh_mask)


def _fill(plane: npt.NDArray[np.uint8], outlines: Iterable[Outline], value: int) -> None:
    # One by one: fillPoly of a list leaves out what an even number of them covers.
    for outline in outlines:
        cv2.fillPoly(plane, [outline], value)
