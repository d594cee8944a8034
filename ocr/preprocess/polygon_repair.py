"""Repairing polygons: what real annotation files hold becomes simple polygons inside the image.

Nothing is changed or dropped in silence: every repair is a word `code@index`, the index being the
polygon's place in the annotation.

| code | what was found | what is done |
| --- | --- | --- |
| `no_points` | a word without a place | dropped |
| `not_finite` | NaN or an infinite coordinate | dropped |
| `absurd` | a coordinate beyond `max_coordinate` | dropped |
| `duplicate_points` | a point that repeats the one before it (the closing point too) | merged |
| `too_few_points` | fewer than three points left | dropped |
| `zero_area` | an area below `min_area` | dropped |
| `self_crossing` | edges that cross or touch | made valid |
| `too_tangled` | the same, of more than `max_crossing_points` points | dropped |
| `clipped` | points outside the image | cut at the image's border |
| `outside` | less than `min_inside` of the area lies in the image | dropped |
| `parts_dropped` | several parts after a repair | the largest is kept |
| `duplicate_polygon` | the same points, text and flag as an earlier word | dropped |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field

from ocr.annotations import Word, Words
from ocr.geometry import F, Points
from pipeline.stage import Parameters


class PolygonParams(Parameters):
    """What is repaired and what is dropped; lengths in pixels of the upright image."""

    min_inside: float = Field(0.1, ge=0, le=1)
    """The share of a polygon's area that must lie in the image."""
    min_area: float = Field(0.01, gt=0)
    """The least area of a polygon, in square pixels."""
    max_crossing_points: int = Field(300, ge=3)
    """The most points of a polygon that crosses itself: repairing 300 takes 0.1 s, 3,000 take 40 s."""
    max_coordinate: float = Field(1e6, gt=0, le=2**24)
    """The largest coordinate; beyond 2²⁴ float32 does not hold whole pixels."""


class Polygon(NamedTuple):
    """A repaired polygon: `points` float32 (P, 2) with P ≥ 3 in the upright frame, simple, in the image."""

    points: NDArray[np.float32]
    ignore: bool
    text: str


_NEXT = np.array([1, 2, 3, 0])  # of the corners of a quadrilateral


class _Drop(Exception):  # noqa: N818 - a verdict on one polygon
    """The polygon cannot be used; the argument is the code."""


def repair_polygons(
    words: Sequence[Word], height: int, width: int, params: PolygonParams
) -> tuple[list[Polygon], list[str]]:
    """Repair the polygons of an upright image of `height` × `width` pixels.

    Returns the polygons that remain, in order, and the repairs as words `code@index`. Coordinates run
    over [0, width] and [0, height]: the image's border belongs to it. Points keep their direction,
    clockwise or not, and start where they started, as near as a repair allows.
    """
    words = Words.of(words)
    kept: list[Polygon] = []
    repairs: list[str] = []
    seen: set[tuple[bytes, bool, str]] = set()
    sound = _sound(words, height, width, params)
    for index, ((drawn, text, ignore), points) in enumerate(zip(words.parts(), sound, strict=True)):
        codes: list[str] = []
        try:
            if points is None:
                points = _repair(drawn, height, width, params, codes).astype(np.float32)
            identity = (points.tobytes(), ignore, text)
            if identity in seen:
                raise _Drop("duplicate_polygon")
            seen.add(identity)
            kept.append(Polygon(points, ignore, text))
        except _Drop as drop:
            codes.append(str(drop))
        if codes:
            repairs += [f"{code}@{index}" for code in codes]
    return kept, repairs


def _sound(words: Words, height: int, width: int, params: PolygonParams) -> list[NDArray[np.float32] | None]:
    """Give the polygons that `_repair` would leave as they are, and None for the others.

    Those are nearly all, so they are judged together.
    """
    if not (np.abs(words.points) <= params.max_coordinate).all():  # nor would it with NaN
        return [None] * len(words)
    rounded = words.points.astype(np.float32)
    points, counts = rounded.astype(np.float64), words.extents[:, 0]
    ends = counts.cumsum()
    starts = ends - counts
    sound = counts == 4
    sound[sound] = _convex(points[starts[sound, None] + np.arange(4)], height, width, params)
    if (others := np.flatnonzero(~sound & (counts >= 3))).size:
        rings = [points[starts[index] : ends[index]] for index in others]
        sound[others] = _simple(rings, height, width, params)
    places = zip(sound.tolist(), starts.tolist(), ends.tolist(), strict=True)
    return [rounded[start:end] if whole else None for whole, start, end in places]


def _convex(quads: NDArray[np.float64], height: int, width: int, params: PolygonParams) -> NDArray[np.bool_]:
    """Tell which quadrilaterals (N, 4, 2) are convex, large enough and in the image, beyond doubt.

    One that turns the same way at its four corners is simple, and GEOS, which judges the others, would find
    so: all that it can ask of four points is how three of them turn. No turn or area is taken that rounding
    could decide (Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric
    Predicates", 1997, section 4.3, has the bound of a turn).
    """
    x, y = np.moveaxis(quads.take(_NEXT, axis=1) - quads, 2, 0)
    left, right = x * y.take(_NEXT, axis=1), y * x.take(_NEXT, axis=1)
    turns = left - right
    turns *= np.sign(turns[:, :1])
    convex = (turns > 1e-15 * (np.abs(left) + np.abs(right))).all(axis=1)
    large = (turns[:, 0] + turns[:, 2]) / 2 > params.min_area + 1e-14 * height * width
    inside = ((quads >= 0) & (quads <= (width, height))).all(axis=(1, 2))
    told: NDArray[np.bool_] = convex & large & inside
    return told


def _simple(
    rings: Sequence[NDArray[np.float64]], height: int, width: int, params: PolygonParams
) -> NDArray[np.bool_]:
    """Tell which rings (P, 2) repeat no point, lie in the image, are simple and large enough."""
    counts = np.array(list(map(len, rings)))
    points = np.concatenate(rings)
    ends = counts.cumsum()
    starts = ends - counts
    following = _from(1, points)
    following[ends - 1] = points[starts]
    distinct = ~np.logical_or.reduceat((points == following).all(axis=1), starts)
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    whole = distinct & (low >= 0).all(axis=1) & (high <= (width, height)).all(axis=1)
    if whole.any():
        owner = np.repeat(np.arange(np.count_nonzero(whole)), counts[whole])
        polygons = shapely.polygons(shapely.linearrings(points[np.repeat(whole, counts)], indices=owner))
        whole[whole] = shapely.is_valid(polygons) & (shapely.area(polygons) >= params.min_area)
    return whole


def _repair(points: Points, height: int, width: int, params: PolygonParams, codes: list[str]) -> Points:
    points = _distinct(points, params, codes)
    polygon = shapely.Polygon(points)
    if not polygon.is_valid:
        if len(points) > params.max_crossing_points:
            raise _Drop("too_tangled")
        # "structure" gives the union of all that the ring encloses; "linework" leaves holes in overlaps.
        made = shapely.make_valid(polygon, method="structure", keep_collapsed=False)
        polygon = _largest_part(made, "self_crossing", codes)
        points = _ring(polygon, points)
    if polygon.area < params.min_area:
        raise _Drop("zero_area")
    low, high = points.min(axis=0), points.max(axis=0)
    if low.min() >= 0 and high[0] <= width and high[1] <= height:
        return points
    inside = shapely.intersection(polygon, shapely.box(0, 0, width, height))
    if inside.area < max(params.min_inside * polygon.area, params.min_area):
        raise _Drop("outside")
    return _ring(_largest_part(inside, "clipped", codes), points)


def _distinct(points: Points, params: PolygonParams, codes: list[str]) -> Points:
    """Check the coordinates, and merge points that follow their equal."""
    if len(points) == 0:
        raise _Drop("no_points")
    if not np.isfinite(points).all():
        raise _Drop("not_finite")
    if np.abs(points).max() > params.max_coordinate:
        raise _Drop("absurd")
    if len(points) < 3:
        raise _Drop("too_few_points")
    # Rounded before it is judged: what is sound here is still sound when it is stored.
    rounded = points.astype(np.float32).astype(np.float64)
    distinct = _merged(rounded)
    if len(distinct) < len(points):
        codes.append("duplicate_points")
    if len(distinct) < 3:
        raise _Drop("too_few_points")
    return distinct


def _merged(points: Points) -> Points:
    """Leave out every point that equals the one before it, and the last where it equals the first."""
    repeats = (points[1:] == points[:-1]).all(axis=1)
    merged = points[np.concatenate([[True], ~repeats])] if repeats.any() else points
    closed = len(merged) > 1 and (merged[0] == merged[-1]).all()
    return merged[:-1] if closed else merged


def _largest_part(repaired: shapely.Geometry, code: str, codes: list[str]) -> shapely.Polygon:
    """Note the repair, and choose among the parts that it left."""
    parts = [part for part in shapely.get_parts(repaired) if part.area > 0]
    if not parts:
        raise _Drop("zero_area")
    codes.append(code)
    if len(parts) == 1:
        return parts[0]
    codes.append("parts_dropped")
    return max(parts, key=_size_and_place)


def _size_and_place(part: shapely.Polygon) -> tuple[float, float, float]:
    """Order parts by area, equal ones by place (the leftmost, then the topmost wins)."""
    left, top, _, _ = part.bounds
    return round(part.area, 3), -left, -top


def _ring(polygon: shapely.Polygon, drawn: Points) -> Points:
    """Give the outer ring in the direction of the points as drawn, starting nearest to where they start."""
    ring: Points = shapely.get_coordinates(polygon.exterior)[:-1]
    if _signed_area(ring) * _signed_area(drawn) < 0:
        ring = ring[::-1]
    start = int(np.square(ring - drawn[0]).sum(axis=1).argmin())
    rounded = _from(start, ring).astype(np.float32).astype(np.float64)
    merged = _merged(rounded)
    if len(merged) < 3:
        raise _Drop("zero_area")
    return merged


def _signed_area(points: Points) -> float:
    """Area by the shoelace formula, its sign being that of the direction."""
    x, y = (points - points[0]).T
    return float(x @ _from(1, y) - y @ _from(1, x)) / 2


def _from(start: int, ring: NDArray[F]) -> NDArray[F]:
    """Begin a ring at another of its items (`np.roll` takes five times as long)."""
    return np.concatenate((ring[start:], ring[:start]))
