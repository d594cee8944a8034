"""Repairing polygons: each kind of damage with its code, and what must hold for any polygon."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ocr.annotations import Word
from ocr.preprocess import PolygonParams, repair_polygons

HEIGHT, WIDTH = 40, 60
INF, NAN = float("inf"), float("nan")
Pairs = list[tuple[float, float]]

DROPPED = frozenset({"no_points", "not_finite", "absurd", "too_few_points", "zero_area"})
DROPPED |= {"too_tangled", "outside", "duplicate_polygon"}
"""The codes after which the polygon is gone; after the others it was changed and kept."""


def word(points: Pairs, text: str = "text", ignore: bool = False) -> Word:
    return Word(np.array(points, dtype=np.float64).reshape(-1, 2), text, ignore)


def repair(points: Pairs, params: PolygonParams | None = None) -> tuple[Pairs | None, list[str]]:
    kept, repairs = repair_polygons([word(points)], HEIGHT, WIDTH, params or PolygonParams())
    assert all(repair.endswith("@0") for repair in repairs)
    codes = [repair.removesuffix("@0") for repair in repairs]
    return [(float(x), float(y)) for x, y in kept[0].points] if kept else None, codes


UNTOUCHED: dict[str, Pairs] = {
    "quad": [(1, 2), (11, 2), (11, 8), (1, 8)],
    "counter-clockwise": [(1, 2), (1, 8), (11, 8), (11, 2)],
    "triangle": [(1, 2), (11, 2), (5, 9)],
    "fourteen points": [(8.0 * x, 5.0) for x in range(7)] + [(8.0 * x, 9.0) for x in range(6, -1, -1)],
    "concave": [(0, 0), (20, 0), (20, 20), (10, 5), (0, 20)],
    "collinear midpoint": [(0, 0), (5, 0), (10, 0), (10, 4), (0, 4)],
    "the whole image": [(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)],
    "fractions": [(0.25, 0.5), (3.75, 0.5), (3.75, 1.25), (0.25, 1.25)],
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_a_sound_polygon_is_left_alone(name: str) -> None:
    assert repair(UNTOUCHED[name]) == (UNTOUCHED[name], [])


DAMAGED: dict[str, tuple[Pairs, Pairs | None, list[str]]] = {
    "no place": ([], None, ["no_points"]),
    "NaN": ([(0, 0), (NAN, 0), (5, 5)], None, ["not_finite"]),
    "infinite": ([(0, 0), (INF, 0), (5, 5)], None, ["not_finite"]),
    "absurd": ([(0, 0), (1e9, 0), (5, 5)], None, ["absurd"]),
    "one point": ([(1, 1)], None, ["too_few_points"]),
    "two points": ([(1, 1), (2, 2)], None, ["too_few_points"]),
    "one point four times": ([(1, 1)] * 4, None, ["duplicate_points", "too_few_points"]),
    "closed ring": ([(1, 2), (11, 2), (11, 8), (1, 2)], [(1, 2), (11, 2), (11, 8)], ["duplicate_points"]),
    "doubled point": (
        [(1, 2), (11, 2), (11, 2), (11, 8), (1, 8)],
        [(1, 2), (11, 2), (11, 8), (1, 8)],
        ["duplicate_points"],
    ),
    "collinear": ([(0, 0), (5, 5), (10, 10)], None, ["zero_area"]),
    "collinear fractions": ([(0.1, 0.1), (0.3, 0.3), (0.7, 0.7), (0.5, 0.5)], None, ["zero_area"]),
    "there and back": ([(0, 0), (9, 0), (0, 0), (9, 0)], None, ["zero_area"]),
    "sliver": ([(0, 0), (9, 0), (9, 0.001), (0, 0.001)], None, ["zero_area"]),
    "spike": (
        [(0, 0), (10, 0), (20, 0), (10, 0), (10, 10), (0, 10)],
        [(0, 0), (10, 0), (10, 10), (0, 10)],
        ["self_crossing"],
    ),
    "ring gone round twice": (
        [(0, 0), (10, 0), (10, 10), (0, 10)] * 2,
        [(0, 0), (10, 0), (10, 10), (0, 10)],
        ["self_crossing"],
    ),
    "bow-tie": (
        [(0, 0), (10, 4), (10, 0), (0, 12)],
        [(0, 0), (7.5, 3), (0, 12)],
        ["self_crossing", "parts_dropped"],
    ),
    "over the left border": (
        [(-5, 0), (5, 0), (5, 5), (-5, 5)],
        [(0, 0), (5, 0), (5, 5), (0, 5)],
        ["clipped"],
    ),
    "over the corner": (
        [(55, 35), (65, 35), (65, 45), (55, 45)],
        [(55, 35), (60, 35), (60, 40), (55, 40)],
        ["clipped"],
    ),
    "round the image": (
        [(-9, -9), (70, -9), (70, 50), (-9, 50)],
        [(0, 0), (60, 0), (60, 40), (0, 40)],
        ["clipped"],
    ),
    "in two parts": (
        [(-4, 0), (8, 0), (8, 4), (-2, 4), (-2, 8), (9, 8), (9, 12), (-4, 12)],
        [(0, 8), (9, 8), (9, 12), (0, 12)],
        ["clipped", "parts_dropped"],
    ),
    "a twentieth inside": ([(-19, 0), (1, 0), (1, 5), (-19, 5)], None, ["outside"]),
    "beside the image": ([(70, 0), (80, 0), (80, 5), (70, 5)], None, ["outside"]),
    "touching the image": ([(60, 0), (80, 0), (80, 5), (60, 5)], None, ["outside"]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_has_a_code(name: str) -> None:
    points, expected, codes = DAMAGED[name]
    found, found_codes = repair(points)
    assert found_codes == codes
    assert (found is None) == (not DROPPED.isdisjoint(codes))
    if expected is not None:
        assert found is not None
        assert rolled(found) == rolled(expected)
        assert direction(found) == direction(expected)


def rolled(points: Pairs) -> Pairs:
    start = points.index(min(points))
    return points[start:] + points[:start]


def direction(points: Pairs) -> bool:
    return bool(shapely.LinearRing(points).is_ccw)


def test_a_clipped_box_still_starts_at_its_first_corner() -> None:
    assert repair([(5, 5), (-5, 5), (-5, 0), (5, 0)])[0] == [(5, 5), (0, 5), (0, 0), (5, 0)]


def test_parameters() -> None:
    most_outside: Pairs = [(-9, 0), (1, 0), (1, 5), (-9, 5)]
    assert repair(most_outside)[1] == ["clipped"]
    assert repair(most_outside, PolygonParams(min_inside=0.5))[1] == ["outside"]
    assert repair(UNTOUCHED["fractions"], PolygonParams(min_area=3.0))[1] == ["zero_area"]
    assert repair(UNTOUCHED["quad"], PolygonParams(max_coordinate=10.0))[1] == ["absurd"]


def test_a_tangle_costs_no_time_and_a_long_outline_is_kept() -> None:
    angles = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    outline = np.stack([30 + 15 * np.cos(angles), 20 + 15 * np.sin(angles)], axis=1)
    points = [(float(x), float(y)) for x, y in outline]
    kept, codes = repair(points)
    assert kept is not None and len(kept) == 5000 and codes == []
    assert repair(points[::2] + points[::3])[1] == ["too_tangled"]


def test_indices_are_those_of_the_annotation() -> None:
    quad = UNTOUCHED["quad"]
    words = [
        word([]),
        word(quad, "a"),
        word([*quad, quad[0]], "b", ignore=True),
        word(quad, "a"),
        word(quad, "a", ignore=True),
        word([(70, 0), (80, 0), (80, 5)]),
    ]
    kept, repairs = repair_polygons(words, HEIGHT, WIDTH, PolygonParams())
    assert [(polygon.text, polygon.ignore) for polygon in kept] == [("a", False), ("b", True), ("a", True)]
    assert repairs == ["no_points@0", "duplicate_points@2", "duplicate_polygon@3", "outside@5"]
    assert all(polygon.points.dtype == np.float32 for polygon in kept)


def test_what_is_given_is_not_changed() -> None:
    points = np.array([(-5.0, 0), (5, 0), (5, 0), (5, 5), (-5, 5)])
    before = points.copy()
    repair_polygons([Word(points, "", False)], HEIGHT, WIDTH, PolygonParams())
    np.testing.assert_array_equal(points, before)


COORDINATE = st.one_of(
    st.integers(-20, 80).map(float),
    st.floats(-20, 80, allow_nan=False),
    st.sampled_from([NAN, INF, -INF, 1e300, -1e300, 5e-324, 0.0, 40.0, 60.0]),
)
POLYGONS = st.lists(st.tuples(COORDINATE, COORDINATE), max_size=12)


def area(points: NDArray[np.float32]) -> float:
    return float(shapely.Polygon(points).area)


@given(st.lists(POLYGONS, max_size=4))
def test_whatever_comes_what_is_kept_is_sound(polygons: list[Pairs]) -> None:
    """Simple (to float32's precision), inside the image, of at least the least area; the rest has a code."""
    words = [word(points, str(index)) for index, points in enumerate(polygons)]
    kept, repairs = repair_polygons(words, HEIGHT, WIDTH, PolygonParams())
    dropped = {int(r.partition("@")[2]) for r in repairs if r.partition("@")[0] in DROPPED}
    assert {int(polygon.text) for polygon in kept} == set(range(len(words))) - dropped
    for polygon in kept:
        assert len(polygon.points) >= 3
        assert polygon.points.min() >= 0 and (polygon.points.max(axis=0) <= (WIDTH, HEIGHT)).all()
        simple = float(shapely.Polygon(polygon.points).buffer(0).area)
        assert area(polygon.points) == pytest.approx(simple, abs=1e-3)
        _, codes = repair_polygons([word(polygon.points.tolist())], HEIGHT, WIDTH, PolygonParams())
        assert {code.partition("@")[0] for code in codes} <= {"self_crossing", "parts_dropped", "zero_area"}


@st.composite
def doubtful_quads(draw: st.DrawFn) -> Pairs:
    """Four points on a line, or on a small lattice, each moved by a few steps of float32 at most."""
    if draw(st.booleans()):
        begin, step = (np.array(draw(st.tuples(st.floats(1, 20), st.floats(1, 12)))) for _ in range(2))
        places = draw(st.permutations(range(4)))
        points = np.array([begin + place * step for place in places], np.float32)
    else:
        corner = st.tuples(st.integers(0, 2), st.integers(0, 2))
        points = np.array(draw(st.lists(corner, min_size=4, max_size=4)), np.float32) * np.float32(0.1)
    moves = draw(st.lists(st.integers(-2, 2), min_size=8, max_size=8))
    moved = points + np.spacing(points) * np.array(moves, np.float32).reshape(4, 2)
    return [(float(x), float(y)) for x, y in moved]


DRAWN = st.lists(st.tuples(st.floats(-5, 65), st.integers(-5, 45)), max_size=6)


@given(st.lists(DRAWN | doubtful_quads(), max_size=6))
def test_polygons_are_judged_together_as_each_by_itself(polygons: list[Pairs]) -> None:
    """An absurd polygon among them has each judged by itself."""
    words = [word(points) for points in polygons]
    kept, repairs = repair_polygons(words, HEIGHT, WIDTH, PolygonParams())
    absurd = word([(1e9, 0), (0, 0), (5, 5)])
    alone, codes = repair_polygons([*words, absurd], HEIGHT, WIDTH, PolygonParams())
    assert [polygon.points.tolist() for polygon in kept] == [polygon.points.tolist() for polygon in alone]
    assert [*repairs, f"absurd@{len(words)}"] == codes


@given(POLYGONS, st.integers(0, 11))
def test_where_a_polygon_starts_and_its_direction_do_not_matter(points: Pairs, start: int) -> None:
    turned = points[start:] + points[:start]
    repaired = [
        repair_polygons([word(order)], HEIGHT, WIDTH, PolygonParams())
        for order in (points, turned, points[::-1])
    ]
    # What GEOS makes of a ring that runs along itself, and which of two equal parts is kept, may differ.
    assume(
        all(not {"self_crossing@0", "parts_dropped@0", "zero_area@0"} & set(codes) for _, codes in repaired)
    )
    areas = [sum(area(polygon.points) for polygon in kept) for kept, _ in repaired]
    assert areas[1:] == pytest.approx([areas[0]] * 2, rel=1e-3, abs=0.05)
