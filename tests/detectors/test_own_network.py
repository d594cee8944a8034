"""A network, a decoder, a loss and a metric of one's own count everywhere, and are held against contracts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ocr.datasets import collate
from ocr.detection import BoxDecoder, Detections
from ocr.detectors import DetectorOutput
from ocr.metrics import CLEval, IouHmean
from ocr.params import DetectorSettings, LossParams, OverlapParams
from ocr.training import DetectorModule, detector_loss
from pipeline.errors import ConfigError, PipelineError
from tests.support.pages import LIGHTNING_WARNS, MEAN, SIDE, STD, Batch, loader, seeing, trainer

pytestmark = LIGHTNING_WARNS


class Small(nn.Module):
    """Two convolutions, whose logits are given in one of several ways."""

    def __init__(self, give: Any = DetectorOutput) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
        self.give = give

    def forward(self, images: Tensor) -> Any:
        return self.give(self.body(images))


def own(give: Any = DetectorOutput, **parts: Any) -> DetectorModule:
    torch.manual_seed(0)
    return DetectorModule(Small(give), canvas=(SIDE, SIDE), mean=MEAN, std=STD, **parts)


GIVES = {
    "logits alone": DetectorOutput,
    "both": lambda logits: DetectorOutput(logits, -logits),
    "probabilities": lambda logits: DetectorOutput.from_probabilities(logits.sigmoid()),
    "saturated": lambda logits: DetectorOutput.from_probabilities((logits * 1e4).sigmoid()),
}


@pytest.mark.parametrize("give", GIVES.values(), ids=GIVES)
def test_any_network_is_trained_and_validated(tmp_path: Path, pages: list[Batch], give: Any) -> None:
    detector, run = own(give), trainer(tmp_path, max_epochs=1)
    before = [weight.clone() for weight in detector.parameters()]
    run.fit(detector, loader(pages), loader(pages))
    logged = run.callback_metrics
    assert all(np.isfinite(float(value)) for value in logged.values())
    assert ("val/threshold" in logged) == ("train/binary" in logged) == (give is GIVES["both"])
    assert {"val/loss", "val/probability", "val/hmean", "val/cleval_hmean"} <= logged.keys()
    changed = [not torch.equal(a, b) for a, b in zip(before, detector.parameters(), strict=True)]
    assert any(changed) and all(weight.isfinite().all() for weight in detector.parameters())


def test_without_thresholds_the_probability_is_all_of_the_loss(pages: list[Batch]) -> None:
    batch, logits = collate(pages[:2]), torch.randn(2, 1, SIDE, SIDE)
    losses = detector_loss(DetectorOutput(logits), batch, LossParams(probability_weight=5))
    whole = detector_loss(DetectorOutput(logits, logits), batch, LossParams())
    assert losses.probability == whole.probability and losses.total == 5 * whole.probability
    assert losses.binary is None and losses.threshold is None


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20).map(lambda values: [0.0, 1.0, *values]),
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
)
@example([0.0, 1.0, 1e-6], torch.float16)
@settings(max_examples=50, deadline=None)
def test_probabilities_come_back_from_their_logits(values: list[float], dtype: torch.dtype) -> None:
    maps = torch.tensor(values).to(dtype).view(1, 1, 1, -1)
    output = DetectorOutput.from_probabilities(maps.requires_grad_(), extra=maps.detach())
    assert output.prob_logits.isfinite().all() and output.prob_logits.dtype == torch.float32
    held_off = 6.2e-5 if dtype == torch.float16 else 2e-6
    torch.testing.assert_close(output.maps()[:, :1], maps.detach().float(), atol=held_off, rtol=1e-5)
    assert output.maps().shape == (1, 2, 1, len(values))
    output.prob_logits.sum().backward()
    assert maps.grad is not None and maps.grad.isfinite().all()


class Nothing:
    """A decoder that finds nothing."""

    def decode_one(self, maps: Any, inverse_matrix: Any, size: Any) -> Detections:
        return Detections([], np.empty(0, np.float32))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_replaced_decoder_counts_in_validation_and_in_prediction(
    tmp_path: Path, pages: list[Batch], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    detector = seeing(pages, monkeypatch, overlap=OverlapParams(workers=workers))
    run = trainer(tmp_path)
    (before,) = run.validate(detector, loader(pages), verbose=False)
    assert before["val/hmean"] > 0.5
    detector.decoder = Nothing()
    (after,) = run.validate(detector, loader(pages), verbose=False)
    assert after["val/hmean"] == after["val/cleval_hmean"] == 0
    found = [one for batch in run.predict(detector, loader(pages)) for one in batch]
    assert len(found) == 5 and not any(one.polygons for one in found)


def test_a_replaced_metric_counts(
    tmp_path: Path, pages: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, run = seeing(pages, monkeypatch), trainer(tmp_path)
    (usual,) = run.validate(detector, loader(pages), verbose=False)
    detector.metric = IouHmean(iou_threshold=0.05)
    (lenient,) = run.validate(detector, loader(pages), verbose=False)
    assert usual["val/hmean"] <= lenient["val/hmean"] and lenient["val/recall"] == pytest.approx(0.8)
    detector.metric = CLEval()  # type: ignore[assignment]
    (characters,) = run.validate(detector, loader(pages), verbose=False)
    assert characters["val/hmean"] == characters["val/cleval_hmean"]


def constant_loss(output: DetectorOutput, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    return {"total": output.prob_logits.mean() * 0 + 3, "own": torch.tensor(2.0)}


def test_a_loss_of_ones_own_is_logged_by_its_names(tmp_path: Path, pages: list[Batch]) -> None:
    run = trainer(tmp_path, max_epochs=1)
    run.fit(own(loss=constant_loss), loader(pages), loader(pages))
    logged = run.callback_metrics
    assert logged["train/loss"] == logged["val/loss"] == 3 and logged["train/own"] == logged["val/own"] == 2
    assert "val/probability" not in logged


def test_a_checkpoint_of_ones_own_network_says_whose_it_is(tmp_path: Path, pages: list[Batch]) -> None:
    detector, run = own(), trainer(tmp_path, max_epochs=1)
    run.fit(detector, loader(pages))
    run.save_checkpoint(tmp_path / "own.ckpt")
    with pytest.raises(ConfigError, match=r"own\.ckpt holds a network of its author's own, .*:Small, which"):
        DetectorModule.from_checkpoint(tmp_path / "own.ckpt")
    loaded = DetectorModule.from_checkpoint(tmp_path / "own.ckpt", network=Small())
    assert loaded.identity == detector.identity and loaded.identity.canvas == (SIDE, SIDE)
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(loaded(images).prob_logits, detector.eval()(images).prob_logits)


WRONG: dict[str, tuple[Any, str]] = {
    "a tensor": (
        lambda logits: logits,
        r"detector .*:Small \(page-0.jpg, page-1.jpg, …\) .* it is a Tensor \(2, 1",
    ),
    "a pair": (lambda logits: (logits, logits), "it is a tuple, not a DetectorOutput"),
    "half as large": (
        lambda logits: DetectorOutput(logits[..., ::2, ::2]),
        r"prob_logits has the shape \(2, 1, 64, 64\), not \(2, 1, 128, 128\)",
    ),
    "two channels": (
        lambda logits: DetectorOutput(logits, torch.cat((logits, logits), 1)),
        r"thresh_logits has the shape \(2, 2, 128, 128\)",
    ),
    "whole numbers": (lambda logits: DetectorOutput(logits.int()), "prob_logits is torch.int32"),
    "beyond 1": (
        lambda logits: DetectorOutput.from_probabilities(2 + logits.sigmoid()),
        r"detector .*:Small failed on sample page-0\.jpg: a probability map holds NaN .* outside 0…1",
    ),
    "NaN": (
        lambda logits: DetectorOutput(logits * torch.nan),
        r"sample page-0\.jpg: a probability map holds NaN",
    ),
}


@pytest.mark.parametrize(("give", "words"), WRONG.values(), ids=WRONG)
def test_an_output_that_is_none_is_told(tmp_path: Path, pages: list[Batch], give: Any, words: str) -> None:
    with pytest.raises(PipelineError, match=words):
        trainer(tmp_path).validate(own(give), loader(pages), verbose=False)


def test_the_sample_that_a_network_raises_on_is_named(tmp_path: Path, pages: list[Batch]) -> None:
    marked = [
        {**page, "images": page["images"] if i != 3 else page["images"] * 0} for i, page in enumerate(pages)
    ]

    class Raises(Small):
        def forward(self, images: Tensor) -> DetectorOutput:
            if (images.flatten(1).std(dim=1) < 0.5).any():  # the black one
                raise RuntimeError("no such size")
            return DetectorOutput(self.body(images))

    for run, fit in ((trainer(tmp_path), False), (trainer(tmp_path, max_epochs=1), True)):
        detector = DetectorModule(Raises(), canvas=(SIDE, SIDE))
        with pytest.raises(
            PipelineError, match=r":.*Raises failed on sample page-3\.jpg: RuntimeError: no such"
        ):
            if fit:
                run.fit(detector, loader(marked))
            else:
                run.validate(detector, loader(marked), verbose=False)


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("metric", nn.Identity(), "metric is Identity, which cannot count image by image"),
        ("decoder", print, r"decoder is .*, which has no decode_one\(maps, inverse_matrix, size\)"),
    ],
)
def test_a_part_that_is_none_is_refused(
    tmp_path: Path, pages: list[Batch], part: str, value: Any, words: str
) -> None:
    detector = own()
    setattr(detector, part, value)
    with pytest.raises(ConfigError, match=words):
        trainer(tmp_path).validate(detector, loader(pages), verbose=False)


def test_settings_reach_the_parts_of_a_network_of_ones_own() -> None:
    settings_of_mine = DetectorSettings(loss=LossParams(probability_weight=2))
    detector = own(settings=settings_of_mine)
    assert isinstance(detector.decoder, BoxDecoder) and detector.settings is settings_of_mine
