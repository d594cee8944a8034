"""DBNet's ground truth: probability map, threshold map, and the masks of both, from polygons on the canvas.

Liao et al., "Real-time Scene Text Detection with Differentiable Binarization" (AAAI 2020), section
"Label generation", as the authors' code draws it, without the holes that its rounding leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from ocr.map_backends import choose_backend
from ocr.map_raster import GROUNDS
from ocr.map_shapes import Outlines, Shapes, shape_polygons
from pipeline.stage import Parameters

Polygons = Sequence[npt.ArrayLike]
Flags = Sequence[bool] | Sequence[int] | npt.NDArray[np.generic]


class MapParams(Parameters):
    """How the maps are drawn; the defaults are the authors'.

    `shrink_ratio` r in (0, 1): polygons shrink and grow by D = A (1 − r²) / L. `min_text_size`, in
    canvas pixels: a polygon whose bounding box is lower or narrower is masked. The threshold map runs
    from `thresh_min` to `thresh_max`. `parts`: which parts of a polygon that falls apart when it
    shrinks become kernels. `distance`: the authors' distance to an edge, or the true one.
    """

    shrink_ratio: float = Field(default=0.4, gt=0, lt=1)
    min_text_size: float = Field(default=8, ge=0)
    thresh_min: float = Field(default=0.3, ge=0, le=1)
    thresh_max: float = Field(default=0.7, ge=0, le=1)
    parts: Literal["first", "all"] = "first"
    distance: Literal["db", "euclidean"] = "db"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.thresh_min >= self.thresh_max:
            raise ValueError(f"thresh_min {self.thresh_min} must be below thresh_max {self.thresh_max}")
        return self


DEFAULTS = MapParams()


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
    polygons: Polygons,
    ignore: Flags,
    height: int,
    width: int,
    params: MapParams | None = None,
    *,
    compiled: bool | None = None,
) -> Maps:
    """Draw the maps of `polygons`, each (P, 2) as x, y in canvas pixels, on a canvas of height × width.

    `ignore` has a flag per polygon: its area is masked and nothing else of it is drawn. Pure and safe in
    threads; the result depends on the arguments alone, not on `compiled`, which asks for the numba loop
    (`True`) or the NumPy one (`False`) and otherwise leaves the choice open. `ValueError`: a point that
    is not finite or a malformed polygon, with its index, or a canvas without pixels.
    """
    params = params or DEFAULTS
    backend = choose_backend(compiled)
    shapes = shape_maps(polygons, ignore, height, width, params, compiled=compiled)
    prob_map = np.empty((1, height, width), np.uint8)
    prob_mask = np.empty_like(prob_map)
    thresh_map = np.empty((1, height, width), np.float32)
    thresh_mask = np.empty_like(prob_map)
    planes = prob_map[0], prob_mask[0], thresh_mask[0]
    outlines = shapes.kernels, shapes.masked, shapes.grown
    filled = backend.draw(
        planes,
        thresh_map[0],
        tuple(each.points for each in outlines),
        tuple(each.bounds for each in outlines),
        shapes.rings,
        shapes.bounds,
        shapes.distance,
        _boxes(shapes, height, width),
        params.thresh_min,
        params.thresh_max,
        params.distance == "euclidean",
    )
    for plane, each, done, ground in zip(planes, outlines, filled, GROUNDS, strict=True):
        _fill_rest(plane, each, done, 1 - ground)
    return Maps(prob_map, prob_mask, thresh_map, thresh_mask)


def shape_maps(
    polygons: Polygons,
    ignore: Flags,
    height: int,
    width: int,
    params: MapParams | None = None,
    *,
    compiled: bool | None = None,
) -> Shapes:
    """Judge and offset the polygons as `build_maps` does, without drawing them."""
    if height < 1 or width < 1:
        raise ValueError(f"the canvas must have pixels, got height {height} and width {width}")
    params = params or DEFAULTS
    return shape_polygons(
        polygons,
        ignore,
        height,
        width,
        shrink_ratio=params.shrink_ratio,
        min_text_size=params.min_text_size,
        parts=params.parts,
        backend=choose_backend(compiled),
    )


def _fill_rest(
    plane: npt.NDArray[np.uint8], outlines: Outlines, done: npt.NDArray[np.bool_], value: int
) -> None:
    if done.all():
        return
    # One by one: fillPoly of a list leaves out what an even number of them covers.
    for outline, is_done in zip(outlines, done.tolist(), strict=True):
        if not is_done:
            cv2.fillPoly(plane, [outline], value)


def _boxes(shapes: Shapes, height: int, width: int) -> npt.NDArray[np.int64]:
    """Bound the pixels that each polygon may raise by the box of its grown outline, as the original does."""
    boxes = np.zeros((len(shapes.verdicts), 4), np.int64)
    boxes[:, 2:] = -1
    grown = shapes.grown
    starts = grown.bounds[:-1]
    boxes[grown.owner, :2] = np.maximum(np.minimum.reduceat(grown.points, starts), 0)
    boxes[grown.owner, 2:] = np.minimum(np.maximum.reduceat(grown.points, starts), (width - 1, height - 1))
    return boxes
