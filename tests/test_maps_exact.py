"""The maps against the plain loop and against public implementations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest

from ocr.maps import MapParams, Maps, PolygonFate, build_maps, shape_polygons
from pipeline.stage import Inputs
from stages import Maps as MapsStage
from tests.support.map_referees import mindocr_maps, paddleocr_maps
from tests.support.map_reference import reference_maps
from tests.support.receipt_labels import curve, receipt_polygons

Points = npt.NDArray[np.float64]


def upright(random: np.random.Generator) -> Points:
    width, height = random.uniform(10, 150), random.uniform(6, 40)
    return np.array([[0, 0], [width, 0], [width, height], [0, height]])


def turned(random: np.random.Generator) -> Points:
    angle = random.uniform(0, np.pi)
    turn: Points = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(upright(random) @ turn)


def perspective(random: np.random.Generator) -> Points:
    return turned(random) + random.uniform(-5, 5, (4, 2))


def curved(random: np.random.Generator) -> Points:
    bent: Points = curve(upright(random) + random.uniform(0, 20, 2)) + random.uniform(-0.5, 0.5, (14, 2))
    return bent


KINDS = {"upright": upright, "turned": turned, "perspective": perspective, "curved": curved}
CANVASES = ((640, 640), (1024, 1024), (480, 640))


def assert_exact(maps: Maps, reference: Maps, tolerance: float = 1e-6) -> None:
    np.testing.assert_array_equal(maps.prob_map, reference.prob_map)
    np.testing.assert_array_equal(maps.prob_mask, reference.prob_mask)
    np.testing.assert_array_equal(maps.thresh_mask, reference.thresh_mask)
    np.testing.assert_allclose(maps.thresh_map, reference.thresh_map, rtol=0, atol=tolerance)


@pytest.mark.parametrize("distance", ["db", "euclidean"])
@pytest.mark.parametrize(
    ("kind", "grid"),
    [*((kind, None) for kind in KINDS), ("upright", 0.5), ("turned", 0.5), ("perspective", 0.5)],
)
def test_equals_the_plain_loop(kind: str, grid: float | None, distance: Literal["db", "euclidean"]) -> None:
    random = np.random.default_rng(len(kind))
    for height, width in ((120, 200), (200, 120), (160, 160)):
        for ratio in (0.4, 0.25):
            polygons = [KINDS[kind](random) + random.uniform(-10, 110, 2) for _ in range(6)]
            # Of what lies outside, the loop masks the line that the clamp leaves of it.
            polygons = [polygon for polygon in polygons if polygon.max(axis=0).min() > 0]
            if grid:
                polygons = [np.round(polygon / grid) * grid for polygon in polygons]
            ignore = random.random(len(polygons)) < 0.2
            params = MapParams(shrink_ratio=ratio, distance=distance, parts="all" if ratio < 0.4 else "first")
            maps = build_maps(polygons, ignore, height, width, params)
            assert_exact(maps, reference_maps(polygons, ignore, height, width, params))


@pytest.mark.slow
@pytest.mark.parametrize("canvas", CANVASES, ids=str)
def test_equals_the_plain_loop_on_receipts(receipts: Path, canvas: tuple[int, int]) -> None:
    samples = list(receipt_polygons(receipts, canvas).values())[::20]
    assert samples
    for polygons in samples:
        ignore = np.arange(len(polygons)) % 7 == 3
        assert_exact(build_maps(polygons, ignore, *canvas), reference_maps(polygons, ignore, *canvas))


def test_holes_of_the_original_are_few_and_filled(receipts: Path) -> None:
    polygons = next(iter(receipt_polygons(receipts, (640, 640)).values()))
    ignore = [False] * len(polygons)
    maps, holed = (
        build_maps(polygons, ignore, 640, 640),
        reference_maps(polygons, ignore, 640, 640, holes=True),
    )
    assert_exact_but_for_holes(maps, holed)


def assert_exact_but_for_holes(maps: Maps, referee: Maps) -> None:
    holes = np.abs(maps.thresh_map - referee.thresh_map) > 1e-6
    assert holes.mean() < 1e-3
    assert (maps.thresh_map[holes] > 0.699).all()
    referee.thresh_map[holes] = maps.thresh_map[holes]
    assert_exact(maps, referee)


@pytest.mark.parametrize("referee", [mindocr_maps, paddleocr_maps])
@pytest.mark.parametrize("side", [640, 1024])
def test_equals_public_implementations_on_receipts(
    receipts: Path, referee: Callable[[Any, int, int], Maps], side: int
) -> None:
    for polygons in list(receipt_polygons(receipts, (side, side)).values())[::50]:
        ignore = [False] * len(polygons)
        fates = shape_polygons(polygons, ignore, side, side).fates
        # PaddleOCR shrinks what vanished once more, by less.
        polygons = [
            polygon for polygon, fate in zip(polygons, fates, strict=True) if fate != PolygonFate.VANISHED
        ]
        maps = build_maps(polygons, ignore[: len(polygons)], side, side)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = referee(polygons, side, side)
        assert_exact_but_for_holes(maps, theirs)


@pytest.mark.parametrize("kind", ["turned", "perspective", "curved"])
def test_equals_mindocr_on_other_shapes(kind: str) -> None:
    random = np.random.default_rng(1)
    polygons = []
    for left, top in np.ndindex(3, 3):
        polygon = KINDS[kind](random)
        polygons.append(polygon - polygon.min(axis=0) + np.array([20.3 + 240 * left, 20.6 + 220 * top]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = mindocr_maps(polygons, 700, 800)
    assert_exact_but_for_holes(build_maps(polygons, [False] * 9, 700, 800), theirs)


def test_the_stage_draws_upright_polygons_on_the_canvas() -> None:
    stage = MapsStage(canvas=(96, 128), min_text_size=4)
    matrix = np.array([[0.5, 0, 3], [0, 0.5, 1], [0, 0, 1]])
    points = tuple((upright(np.random.default_rng(seed)) + 20).astype(np.float32) for seed in range(3))
    ignore = np.array([0, 1, 0], np.uint8)
    inputs = Inputs(
        "a.jpg", None, {"canonicalize": {"points": points, "ignore": ignore}, "decode": {"matrix": matrix}}
    )
    outputs = stage.compute(inputs)
    polygons = [polygon.astype(np.float64) * 0.5 + (3, 1) for polygon in points]
    expected = build_maps(polygons, ignore, 96, 128, MapParams(min_text_size=4))
    assert outputs["thresh_map"].dtype == np.float16
    assert np.abs(outputs["thresh_map"] - expected.thresh_map).max() <= 2.5e-4
    for name in ("prob_map", "prob_mask", "thresh_mask"):
        np.testing.assert_array_equal(outputs[name], getattr(expected, name))
    declared: dict[str, Any] = {field.name: field for field in stage.fields()}
    for name, value in outputs.items():
        assert (value.dtype.name, value.shape) == (declared[name].dtype, declared[name].shape)
    assert set(outputs) == set(declared)
    assert set(stage.libraries()) == {"opencv", "pyclipper"}
