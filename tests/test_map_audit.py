"""What the audit says of polygons whose fate is known, and what it draws."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ocr.map_audit import COLOURS, Fate, UprightSample, compare_canvases, fates, tally, write_overlay
from ocr.maps import MapParams


def box(left: float, top: float, right: float, bottom: float) -> npt.NDArray[np.float64]:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


KEPT = box(10, 10, 110, 50)
SMALL = box(10, 60, 110, 66)
VANISHED = box(10, 80.1, 210, 88.95)
OUTSIDE = box(-50, 10, -5, 50)
# D = 12: the kernels, 20 to 50 apart, span x 132 to 168 and 162 to 198, and y 72 to 88: they overlap.
LEFT, RIGHT = box(120, 110, 220, 150), box(180, 110, 280, 150)


def test_every_fate() -> None:
    polygons = [KEPT, LEFT, SMALL, VANISHED, RIGHT, OUTSIDE, box(10, 100, 60, 140)]
    assert fates(polygons, [0, 0, 0, 0, 0, 0, 1], 160, 300) == (
        Fate.KEPT,
        Fate.MERGED,
        Fate.TOO_SMALL,
        Fate.VANISHED,
        Fate.MERGED,
        Fate.INVALID,
        Fate.IGNORED,
    )


@pytest.mark.parametrize(
    ("shift", "fate"),
    [
        ((77, 0), Fate.MERGED),  # side by side
        ((78, 0), Fate.KEPT),  # a column between them
        ((77, 17), Fate.MERGED),  # corner to corner
        ((77, 18), Fate.KEPT),
        ((20, 5), Fate.MERGED),
    ],
)
def test_kernels_merge_where_they_touch(shift: tuple[int, int], fate: Fate) -> None:
    # The kernel of 100 × 40 is 77 × 17 pixels.
    one = box(20, 20, 120, 60)
    assert fates([one, one + np.array(shift)], [0, 0], 200, 300)[0] is fate


def test_a_polygon_in_two_parts_does_not_merge_with_itself() -> None:
    half = np.array([[80, 52], [80, 80], [20, 80], [20, 20], [80, 20], [80, 48]], float)
    dumbbell = np.concatenate([half, [220, 100] - half])
    assert fates([dumbbell], [0], 120, 240, MapParams(parts="all")) == (Fate.KEPT,)


def test_tally_counts_on_the_canvas() -> None:
    half = np.diag([0.5, 0.5, 1])
    samples = [([KEPT * 2, SMALL * 2], [0, 0], half), ([KEPT * 2, KEPT * 2], [0, 1], half), ([], [], half)]
    found = tally(samples, (160, 300))
    assert found.as_json() == {
        "samples": 3,
        "kept": 2,
        "merged": 0,
        "too_small": 1,
        "vanished": 0,
        "invalid": 0,
        "ignored": 1,
        "recall_limit": 2 / 3,
    }


def test_nothing_annotated_limits_nothing() -> None:
    assert tally([], (64, 64)).recall_limit == 1.0


def test_a_larger_canvas_keeps_smaller_text() -> None:
    # 12 pixels high in an image of 1280: 6 on a canvas of 640, 12 on one of 1280.
    sample = UprightSample((1280, 900), [box(100, 100, 400, 112)], [False])
    found = compare_canvases([sample], [(640, 640), (1280, 1280)])
    assert found[640, 640].counts[Fate.TOO_SMALL] == 1
    assert found[1280, 1280].counts[Fate.KEPT] == 1


def test_overlay_shows_each_fate_in_its_colour(tmp_path: Path) -> None:
    image = np.full((3, 160, 300), 255, np.uint8)
    polygons, ignore = [KEPT, SMALL, LEFT, RIGHT], [0, 0, 0, 0]
    told = write_overlay(tmp_path / "overlay.png", image, polygons, ignore)
    assert told == fates(polygons, ignore, 160, 300)
    with Image.open(tmp_path / "overlay.png") as overlay:
        picture = np.asarray(overlay)
    assert picture.shape[0] > 160 and picture.shape[1:] == (300, 3)
    assert tuple(picture[10, 60]) == COLOURS[Fate.KEPT]
    assert tuple(picture[60, 60]) == COLOURS[Fate.TOO_SMALL]
    tint = np.array(COLOURS[Fate.KEPT]) / 2 + 127.5
    assert np.abs(picture[30, 60] - tint).max() <= 1
    assert (image == 255).all()
    assert Counter(told)[Fate.MERGED] == 2
