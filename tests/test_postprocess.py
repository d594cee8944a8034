"""Box decoding against a public implementation, and what it makes of every odd map."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr.detection import BoxDecoder, means_inside
from ocr.geometry import clockwise, letterbox
from ocr.maps import build_maps
from ocr.params import BoxParams
from pipeline.errors import PipelineError
from tests.support.receipt_labels import labelled_receipts, soft_map
from tests.support.referees import db_post_process

SIDE = 320
IDENTITY, SIZE = np.eye(3), (SIDE, SIDE)
REFERENCE = {"unclip_ratio": 1.5, "min_size": 3.0, "pixel_centres": False}
"""The parameters of the public implementation that ours does not have as defaults."""


def receipt(rng, lines=14, side=SIDE):
    """A soft map of slanted lines away from the edge, some of them uncertain, and specks: float32 (H, W)."""
    prob_map = np.zeros((side, side), dtype=np.float32)
    for line in range(lines):
        x, y = rng.uniform(10, side / 3), 25 + line * (side - 50) / lines
        box = ((x + 50, y), (rng.uniform(20, 90), rng.uniform(3, 8)), rng.uniform(-5, 5))
        cv2.fillPoly(prob_map, [cv2.boxPoints(box).astype(np.int32)], rng.uniform(0.6, 1))
    prob_map[rng.integers(0, side, 20), rng.integers(0, side, 20)] = 1
    return np.clip(cv2.GaussianBlur(prob_map, (0, 0), 0.7), 0, 1)


def decode(prob_map, **params):
    return BoxDecoder(BoxParams(**params)).decode_one(prob_map, IDENTITY, prob_map.shape)


@pytest.fixture(scope="module")
def referee():
    post_process = db_post_process()
    if post_process is None:
        pytest.skip("openocr-python is not installed: see tests/support/referees.py")
    return post_process


def assert_equal(referee, prob_map, shape="box", score_mode="fast"):
    """Find each region of one side on the other, with the same score; gives how many there are.

    The reference's coordinates are cut to whole pixels before growing, rounded after growing and
    again when mapped: a corner may be 2.5 pixels off, and a region may miss the minimum size by that.
    """
    post_process = referee(thresh=0.3, box_thresh=0.6, unclip_ratio=1.5, score_mode=score_mode)
    find = post_process.boxes_from_bitmap if shape == "box" else post_process.polygons_from_bitmap
    theirs, their_scores = find(prob_map, prob_map > 0.3, *prob_map.shape[::-1])
    ours = decode(prob_map, shape=shape, score_mode=score_mode, **REFERENCE)
    their_shapes = np.array([shapely.Polygon(points) for points in theirs])
    our_shapes = np.array([shapely.Polygon(points) for points in ours.polygons])
    same = np.abs(np.array(their_scores)[:, None] - ours.scores) < 1e-6
    same &= shapely.hausdorff_distance(their_shapes[:, None], our_shapes) < 2.5
    for alone in [*their_shapes[~same.any(axis=1)], *our_shapes[~same.any(axis=0)]]:
        points = np.array(alone.exterior.coords, dtype=np.float32)
        assert min(cv2.minAreaRect(points)[1]) == pytest.approx(5, abs=2.5)
    return int(same.any(axis=0).sum())


@pytest.mark.parametrize("shape", ["box", "polygon"])
@pytest.mark.parametrize("score_mode", ["fast", "slow"])
def test_equals_a_public_implementation(referee, shape, score_mode):
    rng = np.random.default_rng(2)
    regions = [assert_equal(referee, receipt(rng), shape, score_mode) for _ in range(20)]
    assert sum(regions) > 150


@pytest.mark.slow
def test_equals_a_public_implementation_on_the_maps_of_receipts(referee, receipts):
    prob_maps = [soft_map(image) for image in labelled_receipts(receipts, step=17)]
    assert sum(assert_equal(referee, prob_map) for prob_map in prob_maps) > 300


OUTLINES = st.lists(st.tuples(st.integers(0, 39), st.integers(0, 29)), min_size=1, max_size=9)


@settings(deadline=None)  # the first example compiles
@given(OUTLINES)
def test_means_are_those_of_the_pixels_that_opencv_fills(points):
    values = np.random.default_rng(0).random((30, 40), dtype=np.float32)
    outline = np.array(points, dtype=np.int32)
    mask = np.zeros(values.shape, dtype=np.uint8)
    cv2.fillPoly(mask, [outline], 1)
    ours = means_inside(values, [outline[:1], outline, outline])[1:]
    assert ours == pytest.approx(cv2.mean(values, mask)[0], abs=1e-6)


def test_means_outside_the_map_are_zero():
    outside = np.array([[50, 50], [60, 50], [60, 60]], dtype=np.int32)
    beside = outside - (100, 45)  # in the map's rows
    outlines = [outline.astype(np.int32) for outline in (outside, outside - 100, beside)]
    assert means_inside(np.ones((30, 40), dtype=np.float32), outlines).tolist() == [0, 0, 0]


@given(st.lists(st.tuples(st.integers(-60, 99), st.integers(-60, 89)), min_size=1, max_size=9))
def test_means_across_the_border_are_those_of_what_lies_inside(points):
    outline = np.array(points, dtype=np.int32)
    wide = np.zeros((160, 170), dtype=np.uint8)
    cv2.fillPoly(wide, [outline + 65], 1)
    mask = np.ascontiguousarray(wide[65:95, 65:105])
    values = np.random.default_rng(0).random(mask.shape, dtype=np.float32)
    assert means_inside(values, [outline])[0] == pytest.approx(cv2.mean(values, mask)[0], abs=1e-6)


@given(st.floats(0.05, 0.95), st.floats(1, 40), st.floats(4, 900))
def test_growing_undoes_shrinking(shrink_ratio, height, width):
    """A rectangle, shrunk as the maps shrink it, gets its own offset back."""
    area, perimeter = width * height, 2 * (width + height)
    shrunk = area * (1 - shrink_ratio**2) / perimeter
    kernel_width, kernel_height = width - 2 * shrunk, height - 2 * shrunk
    decoder = BoxDecoder(BoxParams(shrink_ratio=shrink_ratio))
    growth = decoder._growth(kernel_width * kernel_height, 2 * (kernel_width + kernel_height), 1.0)
    assert growth == pytest.approx(shrunk, rel=1e-6)


@pytest.mark.parametrize("blur", [1.0, 2.0])
@pytest.mark.parametrize("threshold", [0.2, 0.3, 0.5])
def test_soft_edges_do_not_change_the_size(blur, threshold):
    line = np.array([[40, 100], [540, 100], [540, 150], [40, 150]], dtype=np.float32)
    prob_map = build_maps([line], [0], 640, 640).prob_map[0].astype(np.float32)
    soft = cv2.GaussianBlur(prob_map, (0, 0), blur)
    (polygon,) = decode(soft, threshold=threshold).polygons
    (hard,) = decode(prob_map).polygons
    assert np.abs(polygon - hard).max() < 3
    (reference,) = decode(soft, threshold=threshold, unclip_ratio=1.5).polygons
    assert np.ptp(reference[:, 1]) < 40 < 44 < np.ptp(polygon[:, 1])  # of 50


@pytest.mark.parametrize("angle", [0, 30, 80])
@pytest.mark.parametrize("sides", [(300, 40), (120, 60), (450, 30)])
@pytest.mark.parametrize("shape", ["box", "polygon"])
def test_the_regions_of_perfect_maps_come_back(sides, angle, shape):
    region = cv2.boxPoints(((320, 320), sides, angle))
    prob_map = build_maps([region], [0], 640, 640).prob_map[0].astype(np.float32)
    (polygon,) = decode(prob_map, shape=shape).polygons
    found, true = shapely.Polygon(polygon), shapely.Polygon(region)
    least = 0.85 if shape == "box" else 0.65  # staircases lengthen an outline's perimeter
    assert found.intersection(true).area / found.union(true).area > least


def test_the_reference_loses_thin_lines_that_the_defaults_keep():
    line = np.array([[40, 100], [440, 100], [440, 112], [40, 112]], dtype=np.float32)
    prob_map = build_maps([line], [0], 640, 640).prob_map[0].astype(np.float32)
    assert decode(prob_map, **REFERENCE).polygons == []
    (polygon,) = decode(prob_map).polygons
    found, true = shapely.Polygon(polygon), shapely.Polygon(line)
    assert found.intersection(true).area / found.union(true).area > 0.7


@pytest.mark.parametrize("padding", ["bottom_right", "center"])
def test_regions_are_mapped_to_the_upright_frame(padding):
    size = (1500, 900)
    fitted = letterbox(size, (640, 640), padding)
    region = np.array([[200, 300], [800, 300], [800, 420], [200, 420]], dtype=np.float64)
    on_canvas = region @ fitted.matrix[:2, :2].T + fitted.matrix[:2, 2]
    prob_maps = build_maps([on_canvas], [0], 640, 640).prob_map[None]
    inverse = np.linalg.inv(fitted.matrix)
    (detections,) = BoxDecoder().decode(torch.from_numpy(prob_maps), inverse[None], [size])
    (polygon,) = detections.polygons
    assert polygon.dtype == np.float32
    assert np.abs(polygon - region).max() < 8  # two canvas pixels, and a bit


def block(x0, y0, x1, y1, value=1.0):
    prob_map = np.zeros((SIDE, SIDE), dtype=np.float32)
    prob_map[y0:y1, x0:x1] = value
    return prob_map


def test_coordinates_are_clipped_to_the_image():
    (polygon,) = decode(block(0, 100, 60, 120)).polygons
    assert polygon.min() == 0
    detections = BoxDecoder().decode_one(block(100, 100, 160, 140), IDENTITY, (120, 130))
    assert detections.polygons[0].max(axis=0).tolist() == [130, 120]


def test_what_lies_in_the_padding_is_no_detection():
    detections = BoxDecoder().decode_one(block(200, 200, 260, 240), IDENTITY, (150, 150))
    assert detections.polygons == []
    assert detections.scores.shape == (0,)


def test_scores_decide():
    assert decode(block(50, 50, 150, 80, 0.55)).polygons == []
    assert decode(block(50, 50, 150, 80, 0.55), box_threshold=0.5).scores == pytest.approx([0.55])
    assert decode(block(50, 50, 150, 80, 0.29), box_threshold=0.0).polygons == []


def test_a_hollow_region_scores_by_its_contour_or_its_rectangle():
    ring = block(50, 50, 150, 110)
    ring[60:100, 60:140] = 0.31
    outer = [decode(ring, score_mode=mode, box_threshold=0).scores.max() for mode in ("fast", "slow")]
    assert outer == pytest.approx([ring[50:110, 50:150].mean()] * 2, abs=1e-6)


def test_small_regions_are_left_out_by_min_size():
    thin = block(50, 50, 150, 53)
    assert len(decode(thin, min_size=2).polygons) == 1
    assert decode(thin, min_size=2.5).polygons == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_is_refused(bad):
    prob_map = block(50, 50, 150, 80)
    prob_map[7, 9] = bad
    with pytest.raises(PipelineError, match="NaN or infinity"):
        decode(prob_map)


@pytest.mark.parametrize("shape", ["box", "polygon"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_map(value, shape):
    detections = decode(np.full((64, 96), value, dtype=np.float32), shape=shape)
    assert len(detections.polygons) == int(value)


@pytest.mark.parametrize("shape", ["box", "polygon"])
def test_the_number_of_contours_is_bounded(shape):
    specks = np.zeros((512, 512), dtype=np.float32)
    specks[::4, ::4] = specks[1::4, ::4] = specks[::4, 1::4] = specks[1::4, 1::4] = 1  # 16384 squares
    params = {"shape": shape, "min_size": 0.0, "unclip_ratio": 4.0}
    assert len(decode(specks, max_candidates=100, **params).polygons) == 100
    assert len(decode(specks, **params).polygons) == 1000


def test_a_batch_of_half_precision_maps():
    prob_maps = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.float16)
    prob_maps[1, 0, 50:80, 50:150] = 0.9
    empty, one = BoxDecoder().decode(prob_maps, torch.eye(3).repeat(2, 1, 1), torch.tensor([SIZE, SIZE]))
    assert (len(empty.polygons), len(one.polygons)) == (0, 1)
    assert one.scores == pytest.approx([0.9], abs=1e-3)


@pytest.mark.parametrize(
    ("maps", "matrices", "sizes", "message"),
    [((1, SIDE, SIDE), (1, 3, 3), (1, 2), "B, 1, H, W"), ((2, 1, 8, 8), (1, 3, 3), (2, 2), "inverse_matrix")],
)
def test_shapes_that_do_not_fit_are_refused(maps, matrices, sizes, message):
    with pytest.raises(ValueError, match=message):
        BoxDecoder().decode(np.zeros(maps, dtype=np.float32), np.zeros(matrices), np.ones(sizes))


@given(st.floats(-89, 89), st.floats(20, 60), st.floats(5, 19))
def test_boxes_run_clockwise_from_the_top_left(angle, width, height):
    (box,) = clockwise(cv2.boxPoints(((100, 100), (width, height), angle))[None])
    assert cv2.contourArea(box, oriented=True) == pytest.approx(width * height, rel=1e-3)
    assert set(box[:, 0].argsort(kind="stable")[:2]) == {0, 3}
    assert box[0, 1] <= box[3, 1]
