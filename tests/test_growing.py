"""Growing outlines: circles about corners, whatever the shape, the order of corners or its direction."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr.detection import grown

POINTS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=4, max_size=12, unique=True)
DISTANCE = st.floats(0.1, 20)
L_SHAPE = [(0, 0), (40, 0), (40, 10), (10, 10), (10, 40), (0, 40)]


def contour(points: list[tuple[int, int]]) -> np.ndarray:
    return np.array(points, dtype=np.int32)


def assert_grown(outline: np.ndarray, distance: float) -> None:
    """Hold a grown outline against circles of many more edges."""
    (ring,) = grown([outline], [distance])
    found, exact = shapely.Polygon(ring), shapely.buffer(shapely.Polygon(outline), distance, quad_segs=64)
    assert ring.dtype == np.float32 and found.is_valid
    assert shapely.hausdorff_distance(found, exact) < 0.02 * distance + 1e-4
    assert cv2.contourArea(ring, oriented=True) > 0


@settings(max_examples=100, deadline=None)
@given(POINTS, DISTANCE, st.integers(0, 11), st.booleans())
def test_convex_outlines_of_any_order_are_grown(
    points: list[tuple[int, int]], distance: float, first: int, backwards: bool
) -> None:
    hull = cv2.convexHull(contour(points))[:, 0]
    if cv2.contourArea(hull) < 1:
        return
    rolled = np.roll(hull, first, axis=0)
    assert_grown(rolled[::-1].copy() if backwards else rolled, distance)


@pytest.mark.parametrize("backwards", [False, True])
def test_other_outlines_are_grown(backwards: bool) -> None:
    outline = contour(L_SHAPE[::-1] if backwards else L_SHAPE)
    assert_grown(outline, 5.0)
    assert_grown(contour([(0, 0), (20, 0), (20, 0), (20, 10), (10, 10), (0, 10)]), 3.0)  # a corner twice


def test_a_flat_corner_that_is_there_twice_grows_no_spur() -> None:
    outline = contour([(0, 0), (400, 0), (400, 0), (700, 9), (500, 300)])
    (ring,) = grown([outline], [20.0])
    exact = shapely.buffer(shapely.Polygon(outline), 20.0, quad_segs=64)
    assert shapely.hausdorff_distance(shapely.Polygon(ring), exact) < 1


def test_each_outline_has_its_own_distance_and_place() -> None:
    square, ell = contour([(0, 0), (10, 0), (10, 10), (0, 10)]), contour(L_SHAPE)
    rings = grown([square, ell, square + 100, ell, square], [1.0, 2.0, 3.0, 4.0, 0.0])
    reach = [(ring.min(), ring[:, 0].max()) for ring in rings]
    np.testing.assert_allclose(reach, [(-1, 11), (-2, 42), (97, 113), (-4, 44), (0, 10)], atol=1e-4)


def test_what_closes_to_a_ring_or_has_no_area_comes_back_empty() -> None:
    horseshoe = contour(
        [(0, 0), (30, 0), (30, 30), (18, 30), (18, 10), (12, 10), (12, 26), (12, 30), (0, 30)]
    )
    narrow = contour(
        [
            (0, 0),
            (40, 0),
            (40, 40),
            (22, 40),
            (22, 38),
            (38, 38),
            (38, 2),
            (2, 2),
            (2, 38),
            (18, 38),
            (18, 40),
            (0, 40),
        ]
    )
    line = contour([(0, 0), (5, 0), (10, 0), (5, 0)])
    rings = grown([horseshoe, narrow, line], [1.0, 3.0, 0.0])
    assert len(rings[0]) and not len(rings[1]) and not len(rings[2])
    assert grown([], []) == []
