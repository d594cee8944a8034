"""What becomes of each polygon on the canvas: judged, shrunk and grown by the offset D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
import pyclipper

from ocr.maps.offset_kernels import grow_convex, shrink_upright
from ocr.maps.polygon_kernels import clean, measure
from ocr.params import MapParams

CanvasPolygons = Sequence[npt.ArrayLike]
Flags = Sequence[bool] | Sequence[int] | npt.NDArray[np.generic]

Outline = npt.NDArray[np.int32]
"""A closed polygon (P, 2) in whole pixels, x and y."""


class PolygonFate(Enum):
    """What the maps make of one polygon: the first of these that applies."""

    IGNORED = "ignored"
    INVALID = "invalid"
    TOO_SMALL = "too_small"
    VANISHED = "vanished"
    KEPT = "kept"


@dataclass(frozen=True)
class Shapes:
    """The N polygons of one sample as the maps draw them.

    `fates` has an entry per polygon. `rings` float64 (M, 2) are the polygons cleaned and clamped, end to
    end: the i-th is `rings[bounds[i]:bounds[i + 1]]`, empty where it has no interior. `distance` float64 (N,)
    is D in pixels. `masked` are the outlines that the probability mask loses. `kernels` are the shrunk parts
    of the polygons that are kept, and `grown` their grown outlines, by the polygon's index.
    """

    fates: tuple[PolygonFate, ...]
    rings: npt.NDArray[np.float64]
    bounds: npt.NDArray[np.int64]
    distance: npt.NDArray[np.float64]
    masked: Sequence[Outline]
    kernels: Sequence[Outline]
    grown: Mapping[int, Outline]


def shape_polygons(
    polygons: CanvasPolygons, ignore: Flags, height: int, width: int, params: MapParams | None = None
) -> Shapes:
    """Judge the polygons, each (P, 2) as x, y in canvas pixels, and offset those that are kept.

    The offset distance is D = A (1 − r²) / L (Liao et al., "Real-time Scene Text Detection with
    Differentiable Binarization", 2020, equation 10), area A and perimeter L of the clamped float64
    polygon. Raises what `ocr.maps.build.build_maps` raises.
    """
    params = params or MapParams()
    if height < 1 or width < 1:
        raise ValueError(f"the canvas must have pixels, got height {height} and width {width}")
    ignored = np.asarray(ignore, dtype=bool)
    if ignored.shape != (len(polygons),):
        raise ValueError(
            f"{len(polygons)} polygons have ignore flags of shape {ignored.shape}; each needs one"
        )
    rings, bounds = clean(*_gather(polygons), height, width)
    area, perimeter, side = measure(rings, bounds).T
    drawn = ~ignored & (area >= 1) & (side >= params.min_text_size)
    distance = np.zeros(len(polygons))
    np.divide(area * (1 - params.shrink_ratio**2), perimeter, out=distance, where=drawn)
    whole = rings.astype(np.int32)  # the original truncates as well, for Clipper and for what is masked
    shrunk, is_shrunk = shrink_upright(whole, bounds, distance)
    grown_points, grown_bounds = grow_convex(whole, bounds, distance)
    fates: list[PolygonFate] = []
    masked: list[Outline] = []
    kernels: list[Outline] = []
    grown: dict[int, Outline] = {}
    for index, (start, stop) in enumerate(pairwise(bounds.tolist())):
        outline = whole[start:stop]
        parts: list[Outline] = []
        if ignored[index]:
            fate = PolygonFate.IGNORED
        elif area[index] < 1:
            fate = PolygonFate.INVALID
        elif not drawn[index]:
            fate = PolygonFate.TOO_SMALL
        else:
            parts = [shrunk[index]] if is_shrunk[index] else _offset(outline, -distance[index])
            fate = PolygonFate.KEPT if parts else PolygonFate.VANISHED
        fates.append(fate)
        if fate is PolygonFate.KEPT:
            kernels += parts[:1] if params.parts == "first" else parts
            around = grown_points[grown_bounds[index] : grown_bounds[index + 1]]
            grown[index] = around if len(around) else next(iter(_offset(outline, distance[index])), outline)
        elif len(outline):
            masked.append(outline)
    return Shapes(tuple(fates), rings, bounds, distance, masked, kernels, grown)


def _gather(polygons: Sequence[npt.ArrayLike]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Copy polygons into points (M, 2), end to end, and bounds (N + 1,)."""
    parts = [np.asarray(polygon, dtype=np.float64) for polygon in polygons]
    for index, part in enumerate(parts):
        if part.ndim != 2 or part.shape[1] != 2:
            if part.size:
                raise ValueError(f"polygon {index} has shape {part.shape}; points are (P, 2), x and y")
            parts[index] = np.empty((0, 2))
    bounds = np.array([0, *accumulate(map(len, parts))], np.int64)
    points = np.concatenate([np.empty((0, 2)), *parts])
    if not np.isfinite(points).all():
        worst = np.flatnonzero(~np.isfinite(points).all(axis=1))[0]
        index = np.searchsorted(bounds, worst, side="right") - 1
        raise ValueError(
            f"polygon {index} has the point {points[worst].tolist()}; coordinates must be finite"
        )
    return points, bounds


def _offset(outline: Outline, distance: float) -> list[Outline]:
    """Give the parts that Clipper moves an outline's edges out to, or in by a negative distance."""
    clipper = pyclipper.PyclipperOffset()
    clipper.AddPath(outline.tolist(), pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return [np.array(part, np.int32) for part in clipper.Execute(distance)]
