"""The maps, against values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from ocr.maps import PolygonFate, shape_polygons
from tests.support.drawn_maps import (
    HEIGHT,
    HIGH,
    LOW,
    RECTANGLE,
    SLANTED,
    WIDTH,
    Points,
    assert_nothing_drawn,
    assert_only_masked,
    assert_same,
    box,
    draw,
    pixels,
)


def test_no_polygons() -> None:
    maps = draw()
    assert_nothing_drawn(maps)
    shapes = {plane.shape for plane in (maps.prob_map, maps.prob_mask, maps.thresh_map, maps.thresh_mask)}
    assert shapes == {(1, HEIGHT, WIDTH)}
    assert [maps.prob_map.dtype, maps.prob_mask.dtype, maps.thresh_mask.dtype] == [np.uint8] * 3
    assert maps.thresh_map.dtype == np.float32


def test_rectangle_of_100_by_40() -> None:
    # A = 4000, L = 280, D = 4000 · 0.84 / 280 = 12.
    maps = draw(box(100, 60, 200, 100))
    np.testing.assert_array_equal(maps.prob_map, pixels(112, 72, 188, 88))
    assert maps.prob_map.sum() == 77 * 17
    assert maps.prob_mask.all()
    field = maps.thresh_map[0]
    for x, y in ((150, 60), (100, 60), (200, 100), (100, 80), (163, 100)):
        assert field[y, x] == HIGH
    for x, y in ((150, 66), (150, 54), (94, 80), (106, 80), (150, 94)):  # D/2 inside and out
        assert field[y, x] == pytest.approx(0.5, abs=1e-7)
    for x, y in ((150, 48), (150, 72), (88, 80), (10, 10), (150, 80)):  # D and beyond
        assert field[y, x] == LOW
    assert field[60 - 3, 100 - 4] == pytest.approx(0.7 - 0.4 * 5 / 12, abs=1e-7)  # 3, 4, 5 from a corner
    mask = maps.thresh_mask[0]
    assert mask[48:113, 100:201].all() and mask[60:101, 88:213].all()
    assert mask.sum() < 65 * 125 and not mask[48, 88]  # its corners are round
    assert not mask[:48].any() and not mask[113:].any() and not mask[:, :88].any() and not mask[:, 213:].any()


@pytest.mark.parametrize(
    "polygon", [RECTANGLE, SLANTED, SLANTED + 0.3], ids=["upright", "slanted", "between pixels"]
)
@pytest.mark.parametrize(
    "redraw",
    [
        pytest.param(lambda p: p[::-1], id="reversed"),
        pytest.param(lambda p: np.roll(p, 1, axis=0), id="rolled"),
        pytest.param(lambda p: np.roll(p[::-1], 2, axis=0), id="reversed and rolled"),
        pytest.param(lambda p: np.concatenate([p, p[:1]]), id="closed"),
        pytest.param(lambda p: np.repeat(p, [1, 3, 1, 2], axis=0), id="repeated vertices"),
        pytest.param(lambda p: np.insert(p, 1, (p[0] + p[1]) / 2, axis=0), id="midpoint"),
        pytest.param(lambda p: np.insert(p, 4, (p[0] + p[3]) / 2, axis=0), id="midpoint of a short side"),
        pytest.param(
            lambda p: np.insert(p, 1, [p[0] * 0.75 + p[1] * 0.25, (p[0] + p[1]) / 2], axis=0), id="two"
        ),
        pytest.param(lambda p: p.tolist(), id="list"),
        pytest.param(lambda p: np.asfortranarray(p), id="column by column"),
    ],
)
def test_drawn_otherwise_the_same_polygon_gives_the_same_maps(
    polygon: Points, redraw: Callable[[Points], Any]
) -> None:
    assert_same(draw(redraw(polygon)), draw(polygon))


@pytest.mark.parametrize("redraw", [lambda p: p, lambda p: p[::-1]], ids=["as is", "reversed"])
def test_shapes_run_clockwise_even_of_closed_rings_far_out(redraw: Callable[[Points], Points]) -> None:
    small = np.roll(SLANTED, 2, axis=0) / 2 + (80, 60)
    closed = np.concatenate([small, small[:1]])
    rings = shape_polygons([redraw(closed)], [False], HEIGHT, WIDTH).rings
    assert len(rings) == 4
    assert cv2.contourArea(rings.astype(np.float32), oriented=True) == 1000


def test_edges_through_pixels_have_no_holes() -> None:
    # Every pixel of the level and plumb edges, and those of an edge of slope 3/4, which meets one pixel in 4.
    field = draw(RECTANGLE).thresh_map[0]
    assert (field[60, 100:201] == HIGH).all() and (field[100, 100:201] == HIGH).all()
    assert (field[60:101, 100] == HIGH).all() and (field[60:101, 200] == HIGH).all()
    triangle = draw(np.array([[20, 20], [140, 20], [20, 110]], float)).thresh_map[0]
    assert (triangle[np.arange(20, 111, 3), np.arange(140, 19, -4)] == HIGH).all()


def test_lower_than_eight_pixels_is_masked() -> None:
    assert_only_masked(draw(box(20, 20, 120, 27.9)), pixels(20, 20, 120, 27))
    assert_only_masked(draw(box(20, 20, 27.9, 120)), pixels(20, 20, 27, 120))


def test_eight_pixels_are_kept() -> None:
    # D = 800 · 0.84 / 216 = 3.11.
    np.testing.assert_array_equal(draw(box(20, 20, 120, 28)).prob_map, pixels(23, 23, 117, 25))


def test_vanishing_when_shrunk_is_masked() -> None:
    # D = 1770 · 0.84 / 417.7 = 3.56; rows 10 to 18 shrink to 13.56 and 14.44: both round to 14.
    polygon = box(20, 10.1, 220, 18.95)
    assert_only_masked(draw(polygon), pixels(20, 10, 220, 18))
    assert shape_polygons([polygon], [0], HEIGHT, WIDTH).fates == (PolygonFate.VANISHED,)


@pytest.mark.parametrize(
    "polygon",
    [
        pytest.param([], id="no points"),
        pytest.param([[50, 50]], id="a point"),
        pytest.param([[50, 50]] * 5, id="a point five times"),
        pytest.param([[50, 50], [90, 70]], id="two points"),
        pytest.param([[10, 10], [50, 30], [90, 50]], id="on a line"),
        pytest.param([[10, 10], [90, 50], [30, 20], [70, 40]], id="to and fro on a line"),
        pytest.param(box(30, 40, 80, 40), id="without height"),
        pytest.param(box(-90, 20, -5, 60), id="left of the canvas"),
        pytest.param(box(240, 20, 300, 60), id="right of the canvas"),
        pytest.param(box(239.2, 20, 300, 60), id="right of the last pixel"),
        pytest.param(box(20, -60, 120, -1), id="above the canvas"),
        pytest.param(box(20, 160, 120, 200), id="below the canvas"),
        pytest.param(box(-90, -80, -5, -5), id="beyond the corner"),
        pytest.param([[-1e300, 1e300], [-1e300, 2e300], [-2e300, 2e300]], id="absurdly far"),
    ],
)
@pytest.mark.parametrize("ignored", [False, True])
def test_without_an_interior_on_the_canvas_nothing_is_drawn(polygon: Any, ignored: bool) -> None:
    assert_nothing_drawn(draw(polygon, ignore=[ignored]))


def test_area_below_one_is_masked() -> None:
    maps = draw(np.array([[50, 50], [51.5, 50], [50, 51.2]]))
    assert maps.prob_mask.sum() == HEIGHT * WIDTH - 3  # pixels (50, 50), (51, 50), (50, 51)
    assert not maps.thresh_mask.any()


def test_three_tenths_of_a_pixel_wide_is_masked() -> None:
    assert_only_masked(draw(box(50.1, 20, 50.4, 100)), pixels(50, 20, 50, 100))


def test_triangle() -> None:
    # Sides 120, 90, 150: A = 5400, L = 360, D = 12.6. Its inscribed circle has radius 30, the kernel's 17.4:
    # the kernel is 0.58 times as large, with corners (32.6, 32.6), (102.2, 32.6), (32.6, 84.8), the sharp
    # ones less by a pixel or two as the offset edges are rounded before they are cut.
    maps = draw(np.array([[20, 20], [140, 20], [20, 110]], float))
    kernel = maps.prob_map[0]
    assert kernel[33, 33] and kernel[33, 100] and kernel[83, 33] and kernel[50, 50]
    assert not (
        kernel[32].any() or kernel[:, 32].any() or kernel[33, 104] or kernel[87, 33] or kernel[62, 70]
    )
    # 5 pixels off the middle of the long side, inwards and outwards.
    assert maps.thresh_map[0, 65 + 4, 80 + 3] == pytest.approx(0.7 - 0.4 * 5 / 12.6, abs=1e-7)
    assert maps.thresh_map[0, 65 - 4, 80 - 3] == pytest.approx(0.7 - 0.4 * 5 / 12.6, abs=1e-7)


def test_l_shape() -> None:
    # A = 6400, L = 400, D = 13.44: arms of 13.12 pixels, rounded about the inner corner (60, 60).
    polygon = np.array([[20, 20], [120, 20], [120, 60], [60, 60], [60, 120], [20, 120]], float)
    kernel = draw(polygon).prob_map[0]
    assert kernel[33:48, 33:108].sum() == 15 * 75 and kernel[33:108, 33:48].sum() == 75 * 15
    assert kernel[50, 50] and not kernel[51, 51]  # 14.1 and 12.7 from the inner corner
    assert not kernel[32].any() and not kernel[108].any() and not kernel[60:, 48:].any()


def test_spike() -> None:
    # A spike without width adds 2 · 90 to the perimeter: A = 4000, L = 460, D = 7.30.
    polygon = np.array([[20, 20], [120, 20], [120, 60], [80, 60], [80, 150], [80, 60], [20, 60]], float)
    maps = draw(polygon)
    np.testing.assert_array_equal(maps.prob_map, pixels(27, 27, 113, 53))
    assert (maps.thresh_map[0, 60:151, 80] == HIGH).all()
    assert maps.thresh_mask[0, 150, 80] and maps.thresh_mask[0, 120, 86] and not maps.thresh_mask[0, 120, 90]


LEFT_HALF = np.array([[80, 52], [80, 80], [20, 80], [20, 20], [80, 20], [80, 48]], float)
DUMBBELL = np.concatenate([LEFT_HALF, [220, 100] - LEFT_HALF])


def test_dumbbell_falls_into_two_parts() -> None:
    # A = 7440, L = 592, D = 10.56: each square shrinks to 38.9 pixels, the bar of 4 pixels vanishes.
    left, right = pixels(31, 31, 69, 69), pixels(151, 31, 189, 69)
    every = draw(DUMBBELL, parts="all")
    first = draw(DUMBBELL)
    assert (every.prob_map >= np.maximum(left, right)).all() and every.prob_map.sum() <= 2 * 39 * 43
    assert cv2.connectedComponents(every.prob_map[0])[0] == 3
    assert cv2.connectedComponents(first.prob_map[0])[0] == 2
    assert (first.prob_map <= every.prob_map).all()
    np.testing.assert_array_equal(first.thresh_map, every.thresh_map)


def test_symmetric_bow_tie_has_no_area_and_is_masked() -> None:
    maps = draw(np.array([[20, 20], [120, 80], [120, 20], [20, 80]], float))
    assert not maps.prob_map.any() and not maps.thresh_mask.any()
    assert not maps.prob_mask[0, 50, 30] and not maps.prob_mask[0, 50, 110]  # in its wings
    assert maps.prob_mask[0, 30, 70] and maps.prob_mask[0, 70, 70]  # above and below its knot


def test_uneven_bow_tie_keeps_the_larger_wing() -> None:
    # Wings of 1875 and 675 pixels, wound in opposite ways: A = 1200, L = 360, D = 2.8.
    maps = draw(np.array([[20, 20], [120, 20], [40, 80], [100, 80]], float))
    assert maps.prob_map[0, 35, 70] and not maps.prob_map[0, 75, 70]
    # Grown, it falls into parts: a sliver at each end of the smaller wing, and the larger wing. The original
    # draws the first of them, and the field within its box.
    assert maps.thresh_mask[0, 80, 40] and not maps.thresh_mask[0, 20, 70]
    assert maps.thresh_map[0, 80, 40] == HIGH and maps.thresh_map[0, 20, 70] == LOW


def test_overlapping_rectangles_unite() -> None:
    maps = draw(box(20, 20, 120, 60), box(70, 30, 170, 70))
    np.testing.assert_array_equal(maps.prob_map, np.maximum(pixels(32, 32, 108, 48), pixels(82, 42, 158, 58)))


def test_neighbouring_borders_combine_by_maximum() -> None:
    upper, lower = box(20, 20, 120, 60), box(25, 65, 150, 100)
    both, one, other = draw(upper, lower), draw(upper), draw(lower)
    np.testing.assert_array_equal(both.thresh_map, np.maximum(one.thresh_map, other.thresh_map))
    np.testing.assert_array_equal(both.thresh_mask, np.maximum(one.thresh_mask, other.thresh_mask))
    assert (both.thresh_map != one.thresh_map).any() and (both.thresh_map != other.thresh_map).any()


def test_ignored_over_kept() -> None:
    kept, ignored = box(20, 20, 120, 60), box(60, 10, 90, 70)
    maps = draw(kept, ignored, ignore=[0, 1])
    np.testing.assert_array_equal(maps.prob_map, pixels(32, 32, 108, 48))
    np.testing.assert_array_equal(maps.prob_mask, 1 - pixels(60, 10, 90, 70))
    np.testing.assert_array_equal(maps.thresh_map, draw(kept).thresh_map)


def test_euclidean_distance_differs_where_the_angle_is_acute() -> None:
    # D = 12. Where the angle is obtuse, inside and out, and beyond a corner, both agree.
    db, true = draw(box(20, 20, 120, 60)), draw(box(20, 20, 120, 60), distance="euclidean")
    for x, y, distance in ((23, 36, 3), (31, 24, 4), (60, 14, 6), (20, 10, 10), (17, 16, 5)):
        for maps in (db, true):
            assert maps.thresh_map[0, y, x] == pytest.approx(0.7 - 0.4 * distance / 12, abs=1e-7)
    # (21, 10) is 10 above the top edge and 1 along its 100: 1 · 99 < 10², an acute angle. DBNet measures to
    # the corner, √101 away.
    assert true.thresh_map[0, 10, 21] == pytest.approx(0.7 - 0.4 * 10 / 12, abs=1e-7)
    assert db.thresh_map[0, 10, 21] == pytest.approx(0.7 - 0.4 * np.sqrt(101) / 12, abs=1e-7)
    assert (true.thresh_map >= db.thresh_map).all()
