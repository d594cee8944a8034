"""Augmentation: pixels, polygons and maps move together, and the same seed moves them the same way."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ocr.geometry import letterbox, transform_points
from ocr.maps import MapParams, build_maps
from ocr.params import AugmentParams
from ocr.training import augment, draw, recolour, warp

CANVAS = (128, 128)
SIZE = (256, 192)
STILL = AugmentParams(flip=0, rotation=0, scale_min=1, scale_max=1, colour=0)


def batch_of(sample_ids: list[str], size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """Grey canvases with one white word each, at a place that the sample's name decides."""
    box = letterbox(size, CANVAS)
    images, polygons = [], []
    for name in sample_ids:
        left, top = np.random.default_rng(len(name)).uniform(0.4, 0.5, 2) * (size[1], size[0])
        word = np.array([(0, 0), (50, 0), (50, 28), (0, 28)], np.float32) + np.array([left, top], np.float32)
        pixels = np.zeros((*CANVAS, 3), np.uint8)
        pixels[: box.height, : box.width] = 60
        cv2.fillPoly(pixels, [np.round(transform_points(box.matrix, word)).astype(np.int32)], (255, 255, 255))
        images.append(torch.from_numpy(pixels).permute(2, 0, 1) / 255)
        polygons.append([word])
    return {
        "images": torch.stack(images),
        "inverse_matrix": torch.from_numpy(np.stack([np.linalg.inv(box.matrix)] * len(sample_ids))),
        "size": torch.tensor([size] * len(sample_ids), dtype=torch.int32),
        "polygons": polygons,
        "ignore": [np.zeros(1, np.uint8)] * len(sample_ids),
        "sample_id": sample_ids,
    }


def changed(batch: dict[str, Any], params: AugmentParams, seed: int = 0, epoch: int = 0) -> dict[str, Any]:
    return augment(batch, params, MapParams(), seed=seed, epoch=epoch)


def centre(plane: torch.Tensor) -> NDArray[np.float64]:
    """The centroid (x, y) of a plane's values, whole numbers being pixel corners."""
    weights = plane.double().numpy()
    y, x = (np.arange(side) + 0.5 for side in weights.shape)
    return np.asarray([weights.sum(0) @ x, weights.sum(1) @ y] / weights.sum())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([None, 96]))
def test_pixels_maps_and_matrix_agree_on_where_the_word_is(seed: int, crop: int | None) -> None:
    batch = batch_of(["a"])
    params = AugmentParams(crop=crop, rotation=20, scale_min=0.8, scale_max=1.0, colour=0)
    result = changed(batch, params, seed)
    forward = np.linalg.inv(result["inverse_matrix"][0].numpy())
    corners = transform_points(forward, batch["polygons"][0][0])
    if corners.min() < 4 or corners.max() > result["images"].shape[-1] - 4:
        return  # partly outside the window: its centroid is elsewhere
    bright = (result["images"][0, 0] - 0.5).clamp(min=0)
    assert np.abs(centre(bright) - corners.mean(0)).max() < 1
    assert np.abs(centre(result["prob_maps"][0, 0]) - corners.mean(0)).max() < 1


def test_polygons_still_lead_to_the_upright_frame() -> None:
    batch = batch_of(["a", "bb"])
    result = changed(batch, AugmentParams(), seed=4)
    assert result["polygons"] is batch["polygons"] and result["size"] is batch["size"]
    assert result["inverse_matrix"].dtype == torch.float64
    assert not torch.equal(result["inverse_matrix"], batch["inverse_matrix"])


def test_no_change_gives_the_stored_pixels_and_maps() -> None:
    batch = batch_of(["a"], size=(256, 256))  # fills the canvas, so there is nowhere to move it
    result = changed(batch, STILL)
    torch.testing.assert_close(result["images"], batch["images"], rtol=0, atol=1e-6)
    torch.testing.assert_close(result["inverse_matrix"], batch["inverse_matrix"])
    word = transform_points(np.linalg.inv(batch["inverse_matrix"][0].numpy()), batch["polygons"][0][0])
    expected = build_maps([word], [False], *CANVAS, MapParams())
    for name in ("prob_map", "prob_mask", "thresh_map", "thresh_mask"):
        stored, built = getattr(expected, name), result[f"{name}s"]
        assert built.shape == (1, 1, *CANVAS) and built[0].numpy().dtype == stored.dtype
        np.testing.assert_array_equal(built[0].numpy(), stored)


def test_a_flip_is_an_exact_mirror() -> None:
    batch = batch_of(["a"], size=(256, 256))
    result = changed(batch, STILL.model_copy(update={"flip": 1.0}))
    torch.testing.assert_close(result["images"], batch["images"].flip(-1), rtol=0, atol=1e-5)


def test_a_sample_is_changed_alike_in_any_batch_and_anew_in_each_epoch() -> None:
    params = AugmentParams(crop=64)
    alone, beside = changed(batch_of(["bb"]), params), changed(batch_of(["a", "bb"]), params)
    for name in ("images", "inverse_matrix", "prob_maps", "prob_masks", "thresh_maps", "thresh_masks"):
        assert torch.equal(alone[name][0], beside[name][1]), name
    for other in (
        changed(batch_of(["bb"]), params, epoch=1),
        changed(batch_of(["bb"]), params, seed=1),
        changed(batch_of(["cc"]), params),
    ):
        assert not torch.equal(alone["inverse_matrix"], other["inverse_matrix"])


def test_the_batch_given_is_left_alone() -> None:
    batch = batch_of(["a", "bb"])
    before = {name: batch[name].clone() for name in ("images", "inverse_matrix", "size")}
    words = [polygon.copy() for sample in batch["polygons"] for polygon in sample]
    changed(batch, AugmentParams(rotation=30))
    assert all(torch.equal(batch[name], value) for name, value in before.items())
    assert all(np.array_equal(a, b[0]) for a, b in zip(words, batch["polygons"], strict=True))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.floats(40, 300), st.floats(40, 300))
def test_the_window_lies_in_a_larger_image_and_holds_a_smaller_one(seed: int, x: float, y: float) -> None:
    params = AugmentParams(rotation=0)
    change = draw(params, np.random.default_rng(seed), extent=(x, y), target=(96, 96))
    corners = transform_points(change.matrix, [(0, 0), (x, y)])
    low, high = np.sort(corners, axis=0)
    for axis in range(2):
        covers = low[axis] <= 1e-6 and high[axis] >= 96 - 1e-6
        within = low[axis] >= -1e-6 and high[axis] <= 96 + 1e-6
        assert covers or within


def test_warp_agrees_with_opencv() -> None:
    rng = np.random.default_rng(0)
    source = cv2.GaussianBlur(rng.random((80, 100), np.float32), (0, 0), 3)
    change = draw(AugmentParams(), rng, extent=(100, 80), target=(64, 96))
    to_centres = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    matrix = to_centres @ change.matrix @ np.linalg.inv(to_centres)
    expected = cv2.warpAffine(source, matrix[:2], (96, 64), flags=cv2.INTER_LINEAR)
    actual = warp(torch.from_numpy(source)[None, None], change.matrix[None], (64, 96))[0, 0].numpy()
    assert actual.shape == expected.shape and expected.max() > 0.4
    inside = cv2.erode((expected > 0.2).astype(np.uint8), np.ones((5, 5)))  # borders are blended differently
    assert inside.sum() > 2000
    assert np.abs(actual - expected)[inside > 0].max() < 0.01  # OpenCV places samples at 1/32 of a pixel


def test_colour_keeps_the_padding_black_and_values_in_range() -> None:
    pixels = torch.rand(1, 3, 8, 8)
    pixels[..., 4:, :] = 0
    draws = [
        draw(AugmentParams(colour=0.9), np.random.default_rng(s), extent=(8, 8), target=(8, 8))
        for s in (1, 2)
    ]
    result = recolour(pixels.expand(2, -1, -1, -1), draws)
    assert not result[..., 4:, :].any() and result.min() >= 0 and result.max() <= 1
    assert not torch.equal(result[0], result[1])


def test_words_that_are_not_to_count_are_masked() -> None:
    batch = batch_of(["a"])
    counted = changed(batch, STILL)
    hidden = changed({**batch, "ignore": [np.ones(1, np.uint8)]}, STILL)
    assert counted["prob_masks"].all() and counted["prob_maps"].any()
    assert not hidden["prob_masks"].all() and not hidden["prob_maps"].any()


def test_bounds_of_the_scale_must_be_in_order() -> None:
    with pytest.raises(ValueError, match=r"scale_min 2.0 is above scale_max 1.5"):
        AugmentParams(scale_min=2.0, scale_max=1.5)
