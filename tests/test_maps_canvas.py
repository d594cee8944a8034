"""Polygons that fill the canvas, leave it, or are many."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.drawn_maps import (
    HEIGHT,
    HIGH,
    WIDTH,
    Points,
    assert_nothing_drawn,
    assert_same,
    box,
    draw,
    pixels,
)


def test_the_full_canvas() -> None:
    # A = 7200, L = 360, D = 16.8.
    canvas = (61, 121)
    maps = draw(box(0, 0, 120, 60), canvas=canvas)
    np.testing.assert_array_equal(maps.prob_map, pixels(17, 17, 103, 43, canvas))
    assert maps.thresh_mask.all()
    field = maps.thresh_map[0]
    assert all((border == HIGH).all() for border in (field[0], field[-1], field[:, 0], field[:, -1]))


@pytest.mark.parametrize(
    ("past", "clamped"),
    [
        (box(-40, 20, 60, 60), box(0, 20, 60, 60)),
        (box(200, 20, 300, 60), box(200, 20, 239, 60)),
        (box(20, -30, 120, 30), box(20, 0, 120, 30)),
        (box(20, 120, 120, 200), box(20, 120, 120, 159)),
        (box(-1e9, -1e9, 1e9, 1e9), box(0, 0, 239, 159)),
    ],
    ids=["left", "right", "top", "bottom", "all"],
)
def test_past_a_border_is_clamped(past: Points, clamped: Points) -> None:
    maps = draw(past)
    assert_same(maps, draw(clamped))
    assert maps.prob_map.any()


def test_three_hundred_polygons() -> None:
    # Each 10 × 8: A = 80, L = 36, D = 1.87, kernel 7 × 5 pixels.
    corners = [(12 * column, 10 * row) for row in range(15) for column in range(20)]
    maps = draw(*[box(x, y, x + 10, y + 8) for x, y in corners])
    np.testing.assert_array_equal(maps.prob_map, sum(pixels(x + 2, y + 2, x + 8, y + 6) for x, y in corners))


@pytest.mark.slow
def test_five_thousand_points() -> None:
    # A circle of radius 60: D = 0.84 · 60 / 2 = 25.2.
    angle = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    maps = draw(np.stack([100 + 60 * np.cos(angle), 80 + 60 * np.sin(angle)], axis=1))
    ys, xs = np.mgrid[:HEIGHT, :WIDTH]
    radius = np.hypot(xs - 100, ys - 80)
    assert maps.prob_map[0][radius < 33.5].all() and not maps.prob_map[0][radius > 36.5].any()
    expected = 0.7 - 0.4 * np.clip(np.abs(radius - 60) / 25.2, 0, 1)
    np.testing.assert_allclose(maps.thresh_map[0], expected, atol=2e-3)


def test_a_canvas_of_one_pixel() -> None:
    assert_nothing_drawn(draw(box(-5, -5, 5, 5), canvas=(1, 1)))
