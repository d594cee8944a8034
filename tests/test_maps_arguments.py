"""What the maps are asked for: parameters, arguments and threads."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ocr.maps import MapParams
from tests.support.drawn_maps import RECTANGLE, SLANTED, assert_same, box, draw


def test_thresholds_scale_the_field() -> None:
    maps = draw(RECTANGLE, thresh_min=0.0, thresh_max=1.0)
    assert maps.thresh_map[0, 66, 150] == pytest.approx(0.5, abs=1e-7)
    assert maps.thresh_map.min() == 0 and maps.thresh_map.max() == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_coordinate_that_is_not_finite_is_an_error_that_names_the_polygon(bad: float) -> None:
    broken = box(10, 10, 90, 50)
    broken[2, 1] = bad
    with pytest.raises(ValueError, match="polygon 1 has the point"):
        draw(RECTANGLE, broken, RECTANGLE)


def test_malformed_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="polygon 1 has shape"):
        draw(RECTANGLE, np.zeros((4, 3)))
    with pytest.raises(ValueError, match="ignore flags"):
        draw(RECTANGLE, ignore=[])
    with pytest.raises(ValueError, match="canvas"):
        draw(RECTANGLE, canvas=(0, 10))


@pytest.mark.parametrize(
    "params",
    [
        {"shrink_ratio": 0.0},
        {"shrink_ratio": 1.0},
        {"shrink_ratio": -0.4},
        {"shrink_ratio": 1.5},
        {"thresh_min": 0.7},
        {"thresh_min": 0.8, "thresh_max": 0.3},
        {"thresh_max": 1.1},
        {"min_text_size": -1},
        {"parts": "some"},
        {"distance": "manhattan"},
        {"shrink": 0.4},
    ],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MapParams(**params)


def test_arguments_are_left_alone() -> None:
    polygons = [RECTANGLE.copy() - 60.5, SLANTED.copy()[::-1]]
    before = [polygon.copy() for polygon in polygons]
    flags = np.array([0, 1], np.uint8)
    for array in (*polygons, flags):
        array.flags.writeable = False
    draw(*polygons, ignore=flags)
    assert all(np.array_equal(polygon, was) for polygon, was in zip(polygons, before, strict=True))


def test_threads_give_what_one_gives() -> None:
    random = np.random.default_rng(0)
    samples = [
        [SLANTED * random.uniform(0.4, 1) + random.uniform(-20, 60, 2) for _ in range(8)] for _ in range(24)
    ]
    alone = [draw(*sample) for sample in samples]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(lambda sample: draw(*sample), samples), strict=True):
            assert_same(one, other)


def test_importing_the_stage_does_not_import_numba() -> None:
    code = "import sys, stages.maps; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
