"""Orientation and letterbox: against Pillow's transposition, and as properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from ocr.geometry import (
    ORIENTATIONS,
    letterbox,
    transform_points,
    upright_matrix,
    upright_points,
    upright_size,
)

SIDE = st.integers(1, 20_000)
CANVAS = st.integers(1, 2_000)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_pixel_goes_where_pillow_sends_it(orientation: int) -> None:
    height, width = 3, 5
    raw = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    image = Image.fromarray(raw)
    image.getexif()[0x0112] = orientation
    turned = np.asarray(ImageOps.exif_transpose(image))

    assert turned.shape == upright_size((height, width), orientation)
    for (i, j), value in np.ndenumerate(raw):
        (x, y), *_ = upright_points([(j + 0.5, i + 0.5)], (height, width), orientation)
        assert turned[int(y), int(x)] == value


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_corners_of_the_raw_image_are_those_of_the_upright_one(orientation: int) -> None:
    raw = [(0, 0), (7, 0), (7, 4), (0, 4)]
    height, width = upright_size((4, 7), orientation)
    turned = {tuple(p) for p in upright_points(raw, (4, 7), orientation)}
    assert turned == {(0, 0), (width, 0), (width, height), (0, height)}


def test_an_unknown_orientation_is_refused() -> None:
    with pytest.raises(KeyError):
        upright_matrix((4, 7), 9)


@pytest.mark.parametrize(
    ("size", "canvas", "padding", "expected"),
    [
        ((100, 200), (640, 640), "bottom_right", (320, 640, 0, 0)),
        ((100, 200), (640, 640), "center", (320, 640, 160, 0)),
        ((200, 100), (640, 640), "center", (640, 320, 0, 160)),
        ((100, 200), (160, 640), "bottom_right", (160, 320, 0, 0)),
        ((10_000, 1), (640, 640), "bottom_right", (640, 1, 0, 0)),
        ((3, 5), (640, 640), "bottom_right", (384, 640, 0, 0)),
        ((7016, 4961), (640, 640), "bottom_right", (640, 453, 0, 0)),
    ],
)
def test_letterbox_table(
    size: tuple[int, int], canvas: tuple[int, int], padding: str, expected: tuple[int, ...]
) -> None:
    box = letterbox(size, canvas, padding)  # type: ignore[arg-type]
    assert (box.height, box.width, box.top, box.left) == expected


@given(SIDE, SIDE, CANVAS, CANVAS, st.sampled_from(["bottom_right", "center"]))
def test_the_letterbox_stays_on_the_canvas_and_touches_it(
    height: int, width: int, canvas_height: int, canvas_width: int, padding: str
) -> None:
    box = letterbox((height, width), (canvas_height, canvas_width), padding)  # type: ignore[arg-type]
    corners = transform_points(box.matrix, [(0, 0), (width, height)])
    np.testing.assert_allclose(corners[0], (box.left, box.top))
    np.testing.assert_allclose(corners[1], (box.left + box.width, box.top + box.height))
    assert corners.min() >= 0
    assert box.left + box.width <= canvas_width
    assert box.top + box.height <= canvas_height
    assert box.height == canvas_height or box.width == canvas_width


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), max_size=8), SIDE, SIDE)
def test_the_inverse_matrix_brings_points_back(points: list[tuple[float, float]], h: int, w: int) -> None:
    matrix = letterbox((h, w), (640, 480), "center").matrix
    there = transform_points(matrix, points)
    back = transform_points(np.linalg.inv(matrix), there)
    np.testing.assert_allclose(back, np.array(points).reshape(-1, 2), rtol=1e-9, atol=1e-6)


def test_a_projective_matrix_is_divided_through() -> None:
    matrix = np.array([[2.0, 0, 0], [0, 2.0, 0], [0, 0, 4.0]])
    np.testing.assert_array_equal(transform_points(matrix, [(2, 4)]), [(1, 2)])


@pytest.mark.parametrize(("size", "canvas"), [((0, 3), (4, 4)), ((3, 3), (0, 4))])
def test_an_empty_image_or_canvas_is_refused(size: tuple[int, int], canvas: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        letterbox(size, canvas)
