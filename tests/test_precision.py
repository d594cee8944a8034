"""Precisions side by side: the same detector, the same images, what moves and what does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ocr.datasets import collate
from ocr.detection import BoxDecoder
from ocr.detectors import DetectorOutput
from ocr.evaluation import Measured, compare_precisions
from ocr.metrics import IouHmean
from ocr.training import computing_in
from tests.support.pages import MEAN, SIDE, STD, Batch, module, sample_of


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


def test_the_references_convolutions_are_float32_on_a_gpu_too(
    batches: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, tf32 = module(SIDE), []
    forward = detector.model.forward
    monkeypatch.setattr(
        detector.model, "forward", lambda x: (tf32.append(torch.backends.cudnn.allow_tf32), forward(x))[1]
    )
    assert torch.backends.cudnn.allow_tf32  # torch's own default
    compare_precisions(detector, batches[:1], ("32-true",))
    assert (set(tf32), torch.backends.cudnn.allow_tf32) == ({False}, True)


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


def test_what_overflows_in_float16_is_told_and_the_others_go_on(batches: list[Batch]) -> None:
    """Values of a million: float32 and bfloat16 hold them, float16 ends at 65,504."""
    detector = module(SIDE)
    with torch.no_grad():
        detector.model.prob_head.features[0].weight.mul_(1e7)
    measured = compare_precisions(detector, batches, ("32-true", "16-mixed", "bf16-mixed"))
    reference, half, bfloat = measured
    assert half.failed == (
        "16-mixed gives NaN or infinity in sample page-0.jpg, first in layer prob_head.features.0"
    )
    assert half.objection(reference, tolerance=1) == half.failed and np.isnan(half.moved(reference))
    assert (reference.failed, bfloat.failed) == (None, None) and bfloat.samples == reference.samples == 3
    assert half.as_json()["failed"] == half.failed


def test_the_sample_that_overflows_is_named(batches: list[Batch]) -> None:
    detector = module(SIDE)
    black = torch.zeros_like(batches[0]["images"][0])
    lit = torch.full_like(black, 255)
    batch = {**batches[0], "images": torch.stack([black, lit])}
    with torch.no_grad():  # of the images' own values: black is about -2, white about 2.6
        first = next(layer for layer in detector.model.modules() if isinstance(layer, torch.nn.Conv2d))
        first.weight.abs_().mul_(3e4 / first.weight.abs().sum(dim=(1, 2, 3)).max())
    (half,) = compare_precisions(detector, [batch], ("16-mixed",))
    assert half.failed is not None and "in sample page-1.jpg, first in layer backbone" in half.failed


def test_nan_in_the_reference_leaves_nothing_to_compare_with(batches: list[Batch]) -> None:
    detector = module(SIDE)
    torch.nn.init.constant_(detector.model.prob_head.logits.weight, float("nan"))
    reference, half = compare_precisions(detector, batches, ("32-true", "bf16-mixed"))
    assert reference.failed is not None and "layer prob_head.logits" in reference.failed
    assert half.failed is not None and half.failed.startswith("bf16-mixed gives")


def measured(
    precision: Any = "bf16-mixed", hmean: float = 0.9, boxes: int = 100, changed: int = 0
) -> Measured:
    rates = {"hmean": hmean, "precision": hmean, "recall": hmean}
    return Measured(precision, 3, rates, rates, 0.01, boxes, changed, 1.0)


@pytest.mark.parametrize(
    ("reference", "other", "words"),
    [
        (measured(), measured(changed=19), None),
        (measured(), measured(changed=67), "34% of the boxes change, more than 10%"),
        (measured(), measured(hmean=0.897), "the metric moves by 0.0030, more than 0.002"),
        (measured(hmean=0.0), measured(hmean=0.0), "the detector finds nothing (H-mean 0)"),
        (measured(hmean=0.0, boxes=0), measured(hmean=0.0, boxes=0), "the detector finds nothing (H-mean 0)"),
    ],
)
def test_what_may_stand_in_for_the_reference(reference: Measured, other: Measured, words: str | None) -> None:
    objection = other.objection(reference, tolerance=0.002)
    assert (objection is None) if words is None else words in (objection or "")


def test_float16_is_float16_in_every_layer_whatever_was_computed_around_it() -> None:
    """An autocast around it keeps weights that it has cast, and would hand them out."""
    network, seen = module(SIDE).model.eval(), set()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.BatchNorm2d):
            layer.register_forward_hook(lambda _, __, output: seen.add(output.dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        network(torch.zeros(1, 3, 64, 64))
        assert seen == {torch.bfloat16}
        seen.clear()
        with computing_in("16-mixed", "cpu"):
            network(torch.zeros(1, 3, 64, 64))
    assert seen == {torch.float16}
