"""Maps of polygons, the polygons that several tests draw, and what is said of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ocr.maps import MapParams, Maps, build_maps

HEIGHT, WIDTH = 160, 240
LOW, HIGH = np.float32(0.3), np.float32(0.7)
Points = npt.NDArray[np.float64]


def draw(
    *polygons: Any, ignore: Any = None, canvas: tuple[int, int] = (HEIGHT, WIDTH), **params: Any
) -> Maps:
    """Draw polygons, none ignored unless told, on a canvas of 160 × 240 unless told."""
    flags = [False] * len(polygons) if ignore is None else ignore
    return build_maps(list(polygons), flags, *canvas, MapParams(**params))


def box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def pixels(left: int, top: int, right: int, bottom: int, canvas: tuple[int, int] = (HEIGHT, WIDTH)) -> Any:
    """A map that is 1 from column left to right and row top to bottom, both included."""
    plane = np.zeros((1, *canvas), np.uint8)
    plane[0, top : bottom + 1, left : right + 1] = 1
    return plane


def assert_same(one: Maps, other: Maps) -> None:
    for name in ("prob_map", "prob_mask", "thresh_map", "thresh_mask"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def assert_nothing_drawn(maps: Maps) -> None:
    assert not maps.prob_map.any()
    assert maps.prob_mask.all()
    assert (maps.thresh_map == LOW).all()
    assert not maps.thresh_mask.any()


def assert_only_masked(maps: Maps, region: Any) -> None:
    np.testing.assert_array_equal(maps.prob_mask, 1 - region)
    assert not maps.prob_map.any()
    assert (maps.thresh_map == LOW).all()
    assert not maps.thresh_mask.any()


RECTANGLE = box(100, 60, 200, 100)
SLANTED = np.array([[40, 40], [140, 60], [140, 100], [40, 80]], float)
