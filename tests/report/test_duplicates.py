"""How images that look alike are told from others."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ocr.synthetic import draw_receipt
from warmstore.report import BITS, NEAR, NearPair, Twins, near_pairs, perceptual_hash

Pixels = NDArray[np.uint8]


@cache
def receipt(seed: int) -> Pixels:
    """A drawn receipt, (H, W, 3)."""
    jpeg = draw_receipt(np.random.default_rng(seed), (320, 240)).jpeg
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))


def hashed(pixels: Pixels) -> NDArray[np.bool_]:
    return perceptual_hash(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def as_jpeg(pixels: Pixels) -> Pixels:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1))


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "saved as a poor JPEG": as_jpeg,
    "half as large": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "larger": lambda p: cv2.resize(p, None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC),
    "darker": lambda p: (p * 0.7).astype(np.uint8),
    "grey": lambda p: np.repeat(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2),
    "noisy": lambda p: np.clip(p + np.random.default_rng(0).normal(0, 8, p.shape), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES.keys())
def test_a_copy_is_near(change: Callable[[Pixels], Pixels]) -> None:
    distances = [int((hashed(receipt(s)) != hashed(change(receipt(s)))).sum()) for s in range(6)]
    assert max(distances) <= NEAR


def test_other_receipts_are_not_near() -> None:
    hashes = [hashed(receipt(seed)) for seed in range(12)]
    distances = [int((a != b).sum()) for a, b in combinations(hashes, 2)]
    assert min(distances) > NEAR


bits = st.lists(st.integers(0, 2**32), max_size=5)


@given(bits, bits, st.integers(0, BITS))
def test_pairs_are_all_those_within_the_distance(first: list[int], second: list[int], most: int) -> None:
    """Against counting bit by bit."""

    def hashes(seeds: list[int]) -> dict[str, NDArray[np.bool_]]:
        rows = (np.random.default_rng(seed % 7).random(BITS) < seed / 2**32 for seed in seeds)
        return {str(place): row for place, row in enumerate(rows)}

    splits = {"train": hashes(first), "val": hashes(second)}
    expected = {
        NearPair(("train", a), ("val", b), distance)
        for a, one in splits["train"].items()
        for b, other in splits["val"].items()
        if (distance := sum(map(bool.__xor__, one.tolist(), other.tolist()))) <= most
    }
    found = near_pairs(splits, most=most)
    assert set(found) == expected and len(found) == len(expected)
    assert [pair.distance for pair in found] == sorted(pair.distance for pair in found)


def test_what_is_known_to_be_equal_is_not_told_again() -> None:
    same = {"a": np.zeros(BITS, bool)}
    known = [Twins((("train", "a"), ("val", "a")))]
    assert near_pairs({"train": same, "val": same}, known) == []
    assert len(near_pairs({"train": same, "val": same, "test": same}, known)) == 2


def test_thousands_are_compared_in_seconds() -> None:
    rng = np.random.default_rng(0)
    splits = {
        split: {f"{split}-{place}": row for place, row in enumerate(rng.random((4000, BITS)) < 0.5)}
        for split in ("train", "val")
    }
    splits["val"]["copy"] = splits["train"]["train-3999"]
    began = time.process_time()
    assert near_pairs(splits) == [NearPair(("train", "train-3999"), ("val", "copy"), 0)]
    assert time.process_time() - began < 10
