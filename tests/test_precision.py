"""Precisions side by side: the same detector, the same images, what moves and what does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ocr.detection import BoxDecoder
from ocr.evaluation import compare_precisions
from ocr.metrics import IouHmean
from ocr.model import DetectorOutput
from ocr.training import computing_in
from pipeline.errors import PipelineError
from tests.support.pages import MEAN, SIDE, STD, Batch, collate, module, sample_of


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    samples = [{**sample_of(seed), "text": ["word"] * 4} for seed in range(3)]
    return [collate(samples[:2]), collate(samples[2:])]


@pytest.mark.parametrize("outer", [None, torch.bfloat16])
@pytest.mark.parametrize(
    ("precision", "expected"),
    [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16), (None, None)],
)
def test_a_precision_holds_whatever_is_around_it(outer: Any, precision: Any, expected: Any) -> None:
    ones = torch.ones(4, 4)
    with torch.autocast("cpu", dtype=outer or torch.bfloat16, enabled=outer is not None):
        with computing_in(precision, "cpu"):
            assert (ones @ ones).dtype == (expected or outer or torch.float32)
        assert (ones @ ones).dtype == (outer or torch.float32)


def test_a_precision_beside_itself_changes_nothing(batches: list[Batch]) -> None:
    first, second = compare_precisions(module(SIDE), batches, ("32-true", "32-true"))
    assert (second.largest_difference, second.boxes_changed, second.moved(first)) == (0, 0, 0)
    assert first.samples == 3 and first.boxes == second.boxes and first.seconds > 0


def test_what_a_precision_changes_is_told(batches: list[Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 the detector sees one region less and another one somewhere else."""
    detector = module(SIDE)
    truth = {len(batch["images"]): batch["prob_maps"].float() for batch in batches}

    def forward(images: torch.Tensor) -> DetectorOutput:
        maps = truth[len(images)].clone()
        if torch.is_autocast_enabled("cpu") and len(images) == 1:
            half = maps.shape[2] // 4
            maps[:, :, :half] = 0  # the first of four lines is lost
            maps[:, :, -14:-6, -30:-4] = 1  # where no text is
        logits = 8 * (maps - 0.5)
        return DetectorOutput(logits, logits)

    monkeypatch.setattr(detector.model, "forward", forward)
    reference, changed = compare_precisions(detector, batches, ("32-true", "bf16-mixed"))

    batch = batches[0]
    pixels = torch.sigmoid(8 * (truth[2] - 0.5))
    expected = BoxDecoder().decode(pixels, batch["inverse_matrix"], batch["size"])
    metric = IouHmean()
    metric.update([found.polygons for found in expected], batch["polygons"])
    assert reference.iou["matched"] >= metric.compute()["matched"] > 0

    assert changed.boxes == reference.boxes
    assert changed.boxes_changed == 2
    assert changed.largest_difference == pytest.approx(np.tanh(2), abs=1e-5)  # sigmoid(4) - sigmoid(-4)
    assert changed.iou["matched"] == reference.iou["matched"] - 1
    moved = max(
        reference.iou["hmean"] - changed.iou["hmean"], reference.cleval["hmean"] - changed.cleval["hmean"]
    )
    assert changed.moved(reference) == pytest.approx(moved) and moved > 0.05
    assert set(changed.as_json()) >= {"hmean", "cleval", "largest_difference", "boxes_changed", "seconds"}


def test_stored_normalised_images_are_taken_as_they_are(batches: list[Batch]) -> None:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    floating = [{**b, "images": ((b["images"].float() / 255) - mean) / std} for b in batches]
    (stored,) = compare_precisions(module(SIDE), floating, ("32-true",))
    (normalised,) = compare_precisions(module(SIDE), batches, ("32-true",))
    assert stored.iou == normalised.iou and stored.boxes == normalised.boxes


def test_nan_is_an_error(batches: list[Batch]) -> None:
    detector = module(SIDE)
    torch.nn.init.constant_(detector.model.prob_head.logits.weight, float("nan"))
    with pytest.raises(PipelineError, match="NaN or infinity"):
        compare_precisions(detector, batches, ("32-true",))
