"""Everything that a batch may be wrong in is told, with what it is and what it must be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ocr.datasets import collate
from ocr.training import check_batch
from pipeline.errors import PipelineError
from tests.support.pages import Batch, identity, sample_of

SIDE = 64
WITHOUT = object()


@pytest.fixture(scope="module")
def batch() -> Batch:
    samples = [{**sample_of(seed, SIDE), "text": ["a"] * 4} for seed in (1, 2)]
    return collate(samples)


def check(batch: Batch, **settings: Any) -> None:
    check_batch(batch, identity(SIDE), **settings)


def nan(batch: Batch, name: str) -> torch.Tensor:
    values = batch[name].clone()
    values.view(-1)[7] = float("nan")
    return values


def test_a_good_batch_passes(batch: Batch) -> None:
    check(batch)
    check({**batch, "images": torch.zeros(2, 3, SIDE, SIDE, dtype=torch.bfloat16)})
    check({name: value for name, value in batch.items() if name != "text"})


def test_training_that_draws_its_maps_needs_none(batch: Batch) -> None:
    bare = {name: value for name, value in batch.items() if "maps" not in name and "masks" not in name}
    check(bare, maps=False)
    with pytest.raises(PipelineError, match="prob_maps, prob_masks, thresh_maps, thresh_masks are missing"):
        check(bare)


WRONG: list[tuple[str, Any, str]] = [
    ("images", WITHOUT, "images is missing"),
    ("polygons", WITHOUT, "polygons is missing"),
    ("images", lambda b: b["images"].numpy(), "images must be torch tensors"),
    ("images", lambda b: b["images"][:, :1], r"images has the shape \(2, 1, 64, 64\), not \(2, 3, 64, 64\)"),
    ("images", lambda b: b["images"].int(), "images is int32, not uint8 or float16"),
    ("images", lambda b: nan({"images": b["images"].float()}, "images"), "images .* holds NaN"),
    ("prob_maps", lambda b: b["prob_maps"][:, 0], r"prob_maps has the shape \(2, 64, 64\)"),
    ("prob_masks", lambda b: b["prob_masks"] * 255, "prob_masks lies in .*255, outside 0…1"),
    ("thresh_maps", lambda b: b["thresh_maps"] * 2, "thresh_maps lies in .*outside 0…1"),
    ("thresh_maps", lambda b: nan(b, "thresh_maps"), "thresh_maps holds NaN"),
    ("inverse_matrix", lambda b: b["inverse_matrix"].float(), "inverse_matrix is float32, not float64"),
    ("inverse_matrix", lambda b: nan(b, "inverse_matrix"), "inverse_matrix holds NaN"),
    ("inverse_matrix", lambda b: b["inverse_matrix"] * 0, "not affine and invertible"),
    ("size", lambda b: b["size"] * 0, "size lies in 0…0"),
    ("size", lambda b: b["size"].long(), "size is int64, not int32"),
    ("polygons", lambda b: b["polygons"][:1], "2 samples, but 1 of polygons"),
    ("polygons", lambda b: [[p.T for p in ps] for ps in b["polygons"]], r"page-1.jpg is float32 \(2, 4\)"),
    (
        "polygons",
        lambda b: [[np.float64(p) for p in ps] for ps in b["polygons"]],
        "a polygon of page-1.jpg is float64",
    ),
    ("polygons", lambda b: [[p * np.nan for p in ps] for ps in b["polygons"]], "polygon .* holds NaN"),
    ("ignore", lambda b: [flags[:3] for flags in b["ignore"]], "page-1.jpg has 4 polygons, 3 ignore, 4 text"),
    ("text", lambda b: [["a"], ["a"]], "4 polygons, 4 ignore, 1 text"),
    ("sample_id", lambda b: [1, 2], "sample_id 1 is no string"),
]


@pytest.mark.parametrize(("name", "change", "words"), WRONG)
def test_what_is_wrong_is_told(batch: Batch, name: str, change: Any, words: str) -> None:
    wrong = {key: value for key, value in batch.items() if key != name}
    if change is not WITHOUT:
        wrong[name] = change(batch)
    with pytest.raises(PipelineError, match=words):
        check(wrong)


def test_all_faults_are_told_at_once(batch: Batch) -> None:
    with pytest.raises(PipelineError, match=r"size is int64.*; 2 samples, but 1 of ignore"):
        check({**batch, "size": batch["size"].long(), "ignore": batch["ignore"][:1]})
