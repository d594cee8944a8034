"""The maps as everyone computes them: a plain loop over polygons with OpenCV, pyclipper and NumPy.

It is the oracle of the tests and the slow side of `benchmarks/maps.py`: the semantics of the
original DBNet code written down once more, each distance by the law of cosines over the whole box of
the grown polygon. One thing is mended: where rounding pushes the squared sine below zero, the
distance is zero and not NaN (`holes=True` brings the original's holes back).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import pyclipper

from ocr.maps import MapParams, Maps

Points = npt.NDArray[np.float64]


def reference_maps(
    polygons: Sequence[npt.ArrayLike],
    ignore: Sequence[object] | npt.NDArray[np.generic],
    height: int,
    width: int,
    params: MapParams | None = None,
    *,
    holes: bool = False,
) -> Maps:
    """Draw the maps of polygons (P, 2) on a canvas of height × width, one polygon and one edge at a time."""
    params = params or MapParams()
    prob_map = np.zeros((height, width), np.uint8)
    prob_mask = np.ones((height, width), np.uint8)
    border = np.zeros((height, width), np.float32)
    thresh_mask = np.zeros((height, width), np.uint8)
    for given, ignored in zip(polygons, ignore, strict=True):
        polygon = np.clip(np.array(given, np.float64), 0, [width - 1, height - 1])
        area, perimeter = _area(polygon), _perimeter(polygon)
        shrunk: list[list[list[int]]] = []
        if not ignored and area >= 1 and np.ptp(polygon, axis=0).min() >= params.min_text_size:
            distance = area * (1 - params.shrink_ratio**2) / perimeter
            shrunk = _offset(polygon, -distance)
        if not shrunk:
            cv2.fillPoly(prob_mask, [polygon.astype(np.int32)], 0)
            continue
        for part in shrunk if params.parts == "all" else shrunk[:1]:
            cv2.fillPoly(prob_map, [np.array(part, np.int32)], 1)
        grown = np.array(_offset(polygon, distance)[0], np.int32)
        cv2.fillPoly(thresh_mask, [grown], 1)
        _draw_border(border, polygon, grown, distance, params.distance, holes)
    thresh_map = (border * (params.thresh_max - params.thresh_min) + params.thresh_min).astype(np.float32)
    return Maps(prob_map[None], prob_mask[None], thresh_map[None], thresh_mask[None])


def _area(polygon: Points) -> float:
    following = np.roll(polygon, -1, axis=0)
    return float(abs((polygon[:, 0] * following[:, 1] - following[:, 0] * polygon[:, 1]).sum()) / 2)


def _perimeter(polygon: Points) -> float:
    return float(np.linalg.norm(np.roll(polygon, -1, axis=0) - polygon, axis=1).sum())


def _offset(polygon: Points, distance: float) -> list[list[list[int]]]:
    clipper = pyclipper.PyclipperOffset()
    clipper.AddPath([tuple(point) for point in polygon], pyclipper.JT_ROUND, pyclipper.ET_CLOSEDPOLYGON)
    return clipper.Execute(distance)  # type: ignore[no-any-return]


def _draw_border(
    border: npt.NDArray[np.float32],
    polygon: Points,
    grown: npt.NDArray[np.int32],
    distance: float,
    kind: str,
    holes: bool,
) -> None:
    left, top = grown.min(axis=0)
    right, bottom = grown.max(axis=0)
    ys, xs = np.mgrid[top : bottom + 1, left : right + 1].astype(np.float64)
    between = _db_distance if kind == "db" else _euclidean_distance
    edges = zip(polygon, np.roll(polygon, -1, axis=0), strict=True)
    away = np.array([between(xs, ys, one, other, holes) for one, other in edges if (one != other).any()])
    nearness = 1 - np.clip(away / distance, 0, 1).min(axis=0)
    height, width = border.shape
    rows = slice(max(top, 0), min(bottom, height - 1) + 1)
    columns = slice(max(left, 0), min(right, width - 1) + 1)
    inside = nearness[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    border[rows, columns] = np.fmax(border[rows, columns], inside)


def _db_distance(xs: Points, ys: Points, one: Points, other: Points, holes: bool) -> Points:
    """Measure as DBNet does: to the nearer end where the pixel sees the edge at an acute angle."""
    a = (xs - one[0]) ** 2 + (ys - one[1]) ** 2
    b = (xs - other[0]) ** 2 + (ys - other[1]) ** 2
    c = float(((one - other) ** 2).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = (a + b - c) / (2 * np.sqrt(a * b))
        squared_sine = np.nan_to_num(1 - cosine**2)
        if not holes:
            squared_sine = np.maximum(squared_sine, 0)
        height = np.sqrt(a * b * squared_sine / c)
    away: Points = np.where(cosine > 0, np.sqrt(np.minimum(a, b)), height)
    return away


def _euclidean_distance(xs: Points, ys: Points, one: Points, other: Points, holes: bool) -> Points:
    """Measure to the nearest point of the segment."""
    along = other - one
    share = ((xs - one[0]) * along[0] + (ys - one[1]) * along[1]) / (along @ along)
    share = np.clip(share, 0, 1)
    away: Points = np.hypot(xs - one[0] - share * along[0], ys - one[1] - share * along[1])
    return away
