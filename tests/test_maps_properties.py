"""What holds for any polygons: the plain loop draws the same, symmetries, ranges, inclusions."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr.maps import MapParams, Maps, PolygonFate, build_maps, shape_polygons
from tests.support.map_reference import reference_maps

Points = npt.NDArray[np.float64]
PLANES = ("prob_map", "prob_mask", "thresh_map", "thresh_mask")
HEIGHT, WIDTH = 180, 200
ANY = settings(max_examples=60, deadline=None)


@st.composite
def stars(draw: st.DrawFn, smallest: int = 3, largest: int = 10) -> Points:
    """A polygon that does not cross itself: points around a centre, in order."""
    count = draw(st.integers(smallest, largest))
    centre = draw(st.tuples(st.integers(100, 400), st.integers(80, 300)))
    angles = sorted(draw(st.lists(st.integers(0, 359), min_size=count, max_size=count, unique=True)))
    radii = draw(st.lists(st.integers(20, 240), min_size=count, max_size=count))
    turns = np.radians(angles)
    corners = np.stack([np.cos(turns), np.sin(turns)], axis=1) * np.array(radii)[:, None] + centre
    return np.asarray(np.round(corners) / 4)


def convex(polygon: Points) -> Points:
    return np.asarray(cv2.convexHull(polygon.astype(np.float32))[:, 0].astype(np.float64))


@st.composite
def rectangles(draw: st.DrawFn) -> Points:
    """A rectangle, turned by an angle whose sine and cosine are fractions."""
    width, height = draw(st.integers(6, 20)) * 5, draw(st.integers(2, 8)) * 5
    cosine, sine = draw(st.sampled_from([(1, 0), (0.6, 0.8), (0.8, 0.6), (0.8, -0.6), (0, 1)]))
    turn = np.array([[cosine, sine], [-sine, cosine]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]]) @ turn
    room = draw(st.tuples(st.integers(20, 40), st.integers(20, 40)))  # to grow without leaving the canvas
    return np.asarray(np.round((corners - corners.min(axis=0)) * 4) / 4 + room)


def build(polygons: Any, ignore: Any = None, **params: Any) -> Maps:
    flags = [False] * len(polygons) if ignore is None else ignore
    return build_maps(polygons, flags, HEIGHT, WIDTH, MapParams(**params))


def assert_same(one: Maps, other: Maps) -> None:
    for plane in PLANES:
        np.testing.assert_array_equal(getattr(one, plane), getattr(other, plane), err_msg=plane)


def widen(plane: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Widen what is 1 by a pixel all around."""
    return np.asarray(cv2.dilate(plane[0], np.ones((3, 3), np.uint8)))[None]


def turns_everywhere(polygon: Points) -> bool:
    before, after = polygon - np.roll(polygon, 1, axis=0), np.roll(polygon, -1, axis=0) - polygon
    return bool((before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]).all())


@ANY
@given(
    st.lists(st.tuples(stars().filter(turns_everywhere), st.booleans()), max_size=4),
    st.sampled_from([0.1, 0.4, 0.9]),
    st.booleans(),
)
def test_the_plain_loop_draws_the_same(sample: list[tuple[Points, bool]], ratio: float, db: bool) -> None:
    params = MapParams(shrink_ratio=ratio, distance="db" if db else "euclidean", min_text_size=2)
    polygons, ignore = [polygon for polygon, _ in sample], [flag for _, flag in sample]
    maps = build_maps(polygons, ignore, HEIGHT, WIDTH, params)
    reference = reference_maps(polygons, ignore, HEIGHT, WIDTH, params)
    for plane in PLANES:
        np.testing.assert_allclose(getattr(maps, plane), getattr(reference, plane), rtol=0, atol=1e-6)


@ANY
@given(stars())
def test_direction_does_not_matter(polygon: Points) -> None:
    assert_same(build([polygon[::-1]]), build([polygon]))


@ANY
@given(rectangles(), st.integers(1, 3))
def test_the_vertex_to_start_from_does_not_matter_for_rectangles(polygon: Points, turn: int) -> None:
    # Of other shapes Clipper may round a vertex otherwise: see docs/explanation/maps.md.
    one, other = build([polygon]), build([np.roll(polygon, turn, axis=0)])
    for plane in ("prob_map", "prob_mask", "thresh_mask"):
        np.testing.assert_array_equal(getattr(one, plane), getattr(other, plane), err_msg=plane)
    np.testing.assert_allclose(one.thresh_map, other.thresh_map, atol=1e-6)  # sums in another order


@ANY
@given(st.lists(stars(), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_polygons_does_not_matter(polygons: list[Points], random: Any) -> None:
    shuffled = random.sample(polygons, len(polygons))
    assert_same(build(shuffled), build(polygons))


@ANY
@given(rectangles(), st.integers(-9, 9), st.integers(-9, 9))
def test_whole_pixels_translate_the_maps(polygon: Points, right: int, down: int) -> None:
    one, other = build([polygon]), build([polygon + np.array([right, down])])
    for plane in PLANES:
        moved = np.roll(getattr(one, plane), (down, right), axis=(1, 2))
        np.testing.assert_array_equal(getattr(other, plane), moved, err_msg=plane)


@ANY
@given(st.lists(stars(), max_size=4), st.booleans())
def test_thresholds_stay_in_their_range(polygons: list[Points], db: bool) -> None:
    field = build(polygons, distance="db" if db else "euclidean").thresh_map
    assert field.min() >= np.float32(0.3) and field.max() <= np.float32(0.7)


@ANY
@given(stars().map(convex))
def test_kernel_within_polygon_within_threshold_mask_to_one_pixel(polygon: Points) -> None:
    maps, shapes = build([polygon], parts="all"), shape_polygons([polygon], [False], HEIGHT, WIDTH)
    inside = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(inside, [np.clip(polygon, 0, (WIDTH - 1, HEIGHT - 1)).astype(np.int32)], 1)
    assert (maps.prob_map <= widen(inside[None])).all()
    if shapes.fates == (PolygonFate.KEPT,):
        assert shapes.distance[0] < 2 or (inside <= widen(maps.thresh_mask)).all()
    else:
        assert not maps.thresh_mask.any()


@ANY
@given(st.lists(st.tuples(stars(), st.booleans()), max_size=4))
def test_ignoring_only_removes(sample: list[tuple[Points, bool]]) -> None:
    polygons, ignore = [polygon for polygon, _ in sample], [flag for _, flag in sample]
    all_kept, some = build(polygons), build(polygons, ignore)
    for plane in PLANES:
        assert (getattr(some, plane) <= getattr(all_kept, plane)).all(), plane
