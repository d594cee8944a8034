"""The frame audit: each rule on its own, and sets of both kinds of labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr.annotations import box_points
from ocr.geometry import ORIENTATIONS, Points, Size, transform_points, upright_matrix, upright_size
from ocr.splits import FrameEvidence, LabelFrame, decide_frames, fits

RAW = (40, 60)  # height, width as stored


BOTH = box_points(1, 1, 39, 39)
WIDE = box_points(30, 5, 58, 10)  # fits into 40 × 60 only
TALL = box_points(5, 30, 10, 58)  # fits into 60 × 40 only
OUT = box_points(0, 0, 99, 99)

ALONE = [
    (1, [WIDE], None, "upright", "same_frame"),
    (1, [OUT], None, "upright", "same_frame"),
    (6, [], None, "upright", "no_polygons"),
    (3, [np.empty((0, 2))], None, "upright", "no_polygons"),
    (6, [BOTH, WIDE], None, "raw", "bounds"),
    (6, [BOTH, TALL], None, "upright", "bounds"),
    (5, [TALL], None, "upright", "bounds"),
    (7, [TALL], None, "upright", "bounds"),
    (8, [WIDE], None, "raw", "bounds"),
    (6, [WIDE, OUT], None, "raw", "bounds"),
    (6, [box_points(30, 5, 61.5, 41)], None, "raw", "bounds"),  # a little over the border
    (6, [BOTH], (40, 60), "raw", "stated_size"),
    (6, [BOTH], (60, 40), "upright", "stated_size"),
    (6, [WIDE], (60, 40), "upright", "stated_size"),
    (6, [WIDE], (30, 30), "raw", "bounds"),
    (6, [BOTH], None, "unknown", None),
    (6, [WIDE, TALL], None, "unknown", None),
    (6, [OUT], None, "unknown", None),
    (6, [np.full((4, 2), np.nan)], None, "unknown", None),
    (2, [WIDE], None, "unknown", None),  # no side is swapped: bounds cannot tell
    (3, [WIDE], (40, 60), "unknown", None),
    (4, [WIDE], None, "unknown", None),
]


@pytest.mark.parametrize(("orientation", "polygons", "stated", "frame", "rule"), ALONE)
def test_an_image_alone(
    orientation: int, polygons: list[Points], stated: Size | None, frame: str, rule: str | None
) -> None:
    evidence = FrameEvidence(RAW, orientation, polygons, stated)
    (decision,) = decide_frames([evidence])
    assert decision.frame == frame
    assert decision.rule == (rule or "no image of the split tells; set label_frame to raw or upright")
    declarations: tuple[LabelFrame, ...] = ("raw", "upright")
    for declared in declarations:
        (decision,) = decide_frames([evidence], declared)
        assert (decision.frame, decision.rule) == (declared, "declared")


def labelled(*polygons: Points) -> FrameEvidence:
    return FrameEvidence(RAW, 6, polygons)


@pytest.mark.parametrize(
    ("raw", "upright", "frame"),
    [
        (1, 0, "raw"),
        (0, 1, "upright"),
        (20, 0, "raw"),
        (18, 2, "raw"),
        (2, 18, "upright"),
        (17, 3, "unknown"),
        (3, 3, "unknown"),
    ],
)
def test_the_majority_decides_only_where_the_set_is_not_mixed(raw: int, upright: int, frame: str) -> None:
    telling = [labelled(WIDE)] * raw + [labelled(TALL)] * upright
    same = [FrameEvidence(RAW, 1, [WIDE])] * 50  # has no vote: both frames are one
    silent = [labelled(BOTH), FrameEvidence((50, 50), 8, [BOTH]), FrameEvidence(RAW, 3, [WIDE])]
    rule = "the split is mixed, and this image does not tell" if frame == "unknown" else "majority"
    decisions = decide_frames([*same, *telling, *silent])
    assert [(decision.frame, decision.rule) for decision in decisions[-3:]] == [(frame, rule)] * 3


def test_a_mixed_set_is_still_decided_where_images_tell() -> None:
    decisions = decide_frames([labelled(WIDE), labelled(BOTH), labelled(TALL)])
    assert [decision.frame for decision in decisions] == ["raw", "unknown", "upright"]


@given(
    st.sampled_from([o for o in ORIENTATIONS if o >= 5]),
    st.lists(st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)), min_size=1, max_size=6),
    st.booleans(),
)
def test_labels_are_never_put_into_the_wrong_frame(
    orientation: int, corners: list[tuple[float, float]], raw: bool
) -> None:
    """Boxes inside an image, told in either frame: what is decided is the frame that they were told in."""
    height, width = upright_size(RAW, orientation)
    boxes = [box_points(x * width, y * height, (x + 0.1) * width, (y + 0.1) * height) for x, y in corners]
    if raw:
        back = np.linalg.inv(upright_matrix(RAW, orientation))
        boxes = [transform_points(back, points) for points in boxes]
    evidence = FrameEvidence(RAW, orientation, boxes)
    (decision,) = decide_frames([evidence])
    assert decision.frame in ("raw" if raw else "upright", "unknown")
    assert (decision.frame == "unknown") == (fits(evidence) == (0, 0))
