"""The ceiling: perfect maps give nearly all back, and every region lost has its reason."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from ocr.evaluation import LabelledImage, MissReason, find_ceiling, labelled_images
from ocr.maps import MapParams
from ocr.params import BoxParams
from pipeline.errors import PipelineError
from tests.support.receipt_labels import labelled_receipts

CANVAS = (320, 320)


def box(x0, y0, x1, y1):
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float32)


def image(*polygons, size=CANVAS, ignore=None):
    return LabelledImage(
        "a.jpg", size, polygons, ["total"] * len(polygons), ignore or [False] * len(polygons)
    )


LINE = box(20, 40, 220, 70)

LOSSES = {
    MissReason.OUTSIDE: ([LINE + 400], {}, {}),
    MissReason.TOO_SMALL: ([box(20, 100, 220, 106)], {"min_text_size": 8}, {}),
    MissReason.VANISHED: ([box(20, 100, 220, 102)], {"min_text_size": 0}, {}),
    MissReason.BELOW_MINIMUM: ([box(20, 100, 220, 112)], {}, {"min_size": 3.0}),
    MissReason.MERGED: (
        [box(20, 100, 220, 130), box(20, 118, 220, 148)],
        {"shrink_ratio": 0.9},
        {"shrink_ratio": 0.9},
    ),
    MissReason.MISSHAPEN: ([box(20, 100, 300, 112)], {}, {"unclip_ratio": 1.5}),
}


@pytest.mark.parametrize("loss", MissReason, ids=lambda loss: loss.name)
def test_every_loss_has_its_reason(loss):
    polygons, maps, boxes = LOSSES[loss]
    found = find_ceiling(
        [image(LINE, *polygons)],
        CANVAS,
        maps=MapParams(**maps),
        boxes=BoxParams(**{"box_threshold": 0.3, **boxes}),
    )
    lost = {reason: count for reason, count in found.lost.items() if count}
    matched = found.iou["matched"]
    assert list(lost) == [loss]
    assert lost[loss] == found.regions - matched > 0


def test_nothing_is_lost_of_large_text():
    found = find_ceiling([image(LINE, box(20, 100, 120, 150)), image()], CANVAS)
    assert (found.images, found.regions, sum(found.lost.values())) == (2, 2, 0)
    assert found.iou["hmean"] == found.cleval["hmean"] == 1.0
    assert found.bytes_per_image == 8 * 320 * 320
    assert found.maps_ms > 0 < found.boxes_ms


def test_what_is_ignored_is_not_lost():
    found = find_ceiling([image(LINE, box(20, 100, 220, 102), ignore=[False, True])], CANVAS)
    assert (found.regions, sum(found.lost.values()), found.iou["hmean"]) == (1, 0, 1.0)


def test_a_larger_canvas_gives_small_text_back():
    page = image(*(box(20, y, 320, y + 24) for y in range(20, 900, 40)), size=(1000, 800))
    small, large = (find_ceiling([page], (side, side)) for side in (320, 640))
    assert small.iou["recall"] == 0.0
    assert small.lost[MissReason.TOO_SMALL] == small.regions
    assert large.iou["recall"] == 1.0


@pytest.mark.parametrize(
    "images", [[], [image()], [image(LINE, ignore=[True])]], ids=["none", "no text", "ignored"]
)
def test_without_text_there_is_no_ceiling(images):
    with pytest.raises(PipelineError, match="no text to find"):
        find_ceiling(images, CANVAS)


def test_json():
    found = json.loads(json.dumps(find_ceiling([image(LINE)], CANVAS).as_json()))
    assert found["canvas"] == [320, 320]
    assert {"precision", "recall", "hmean", "hmean@0.6", "hmean@0.9"} <= set(found["iou"])
    assert set(found["iou"].values()) == {1.0}
    assert set(found["lost"]) == {loss.value for loss in MissReason}


def test_images_come_out_of_a_store():
    fields = {
        "size": np.array([[320, 200]], dtype=np.int32),
        "points": [(LINE, LINE + 50)],
        "text": [tuple(np.frombuffer(text.encode(), dtype=np.uint8) for text in ("Zwölf", ""))],
        "ignore": [np.array([0, 1], dtype=np.uint8)],
    }
    (read,) = labelled_images(SimpleNamespace(sample_ids=("a.jpg",), small=fields.__getitem__))
    assert (read.sample_id, read.size) == ("a.jpg", (320, 200))
    assert (read.texts, read.ignore) == (["Zwölf", ""], [False, True])
    assert np.array_equal(read.polygons, [LINE, LINE + 50])


@pytest.mark.slow
def test_the_defaults_lose_less_of_real_receipts_than_the_reference(receipts):
    images = labelled_receipts(receipts, step=5)
    reference = find_ceiling(images, (640, 640), boxes=BoxParams(min_size=3.0, unclip_ratio=1.5))
    small_text = MapParams(min_text_size=3)
    ours = find_ceiling(images, (640, 640), maps=small_text)
    gentle = MapParams(min_text_size=3, shrink_ratio=0.6)
    gently = find_ceiling(images, (640, 640), maps=gentle, boxes=BoxParams(shrink_ratio=0.6))
    assert reference.iou["hmean"] < 0.8 < 0.96 < ours.iou["hmean"] < gently.iou["hmean"]
    assert reference.cleval["hmean"] < 0.8 < 0.97 < ours.cleval["hmean"] < gently.cleval["hmean"]
