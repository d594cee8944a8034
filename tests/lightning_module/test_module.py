"""The Lightning module: it learns, normalises on the device, and sees no number that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from ocr.datasets import collate
from ocr.detectors import DetectorOutput
from ocr.params import AugmentParams, OptimizerParams
from ocr.training import one_cycle
from pipeline.errors import ConfigError, PipelineError
from tests.support.pages import LIGHTNING_WARNS, MEAN, SIDE, STD, Batch, loader, module, sample_of, trainer

pytestmark = LIGHTNING_WARNS


@pytest.fixture(scope="module")
def samples() -> list[Batch]:
    return [sample_of(1), sample_of(2)]


class Seen(pl.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Keeps the batches as the steps see them."""

    def __init__(self) -> None:
        self.train: list[Batch] = []
        self.val: list[Batch] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Batch, batch_idx: int) -> None:
        self.train.append(batch)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Batch, *rest: Any, **more: Any
    ) -> None:
        self.val.append(batch)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_two_pages_are_learnt_by_heart(tmp_path: Path, samples: list[Batch], precision: str) -> None:
    detector = module(SIDE, optimizer=OptimizerParams(lr=2e-2))
    run = trainer(
        tmp_path, max_epochs=80, precision=precision, check_val_every_n_epoch=80, num_sanity_val_steps=0
    )
    run.fit(detector, loader(samples), loader(samples))
    assert run.callback_metrics["val/samples"] == 2
    assert run.callback_metrics["val/hmean"] >= 0.95


def test_an_untrained_detector_is_validated_without_a_match(tmp_path: Path, small: list[Batch]) -> None:
    (result,) = trainer(tmp_path).validate(module(), loader(small), verbose=False)
    assert result["val/samples"] == 3 and 0 <= result["val/hmean"] < 0.3
    assert all(np.isfinite(value) for value in result.values())
    assert {"val/loss", "val/probability", "val/binary", "val/threshold"} <= result.keys()


def test_perfect_maps_give_a_perfect_score_in_the_upright_frame(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = module(SIDE)
    batch = collate(samples)
    logits = 20 * (batch["prob_maps"].float() - 0.5)
    monkeypatch.setattr(detector.model, "forward", lambda images: DetectorOutput(logits, -logits))
    (result,) = trainer(tmp_path).validate(detector, loader(samples), verbose=False)
    assert result["val/hmean"] > 0.9


def test_lightnings_predict_gives_the_regions_of_each_image(tmp_path: Path, small: list[Batch]) -> None:
    predicted = trainer(tmp_path).predict(module(), loader(small))
    found = [detections for batch in predicted for detections in batch]
    assert len(found) == len(small)
    assert all(len(one.polygons) == len(one.scores) for one in found)


def test_images_without_truth_are_predicted(tmp_path: Path, small: list[Batch]) -> None:
    truth = {"polygons", "ignore", "prob_maps", "prob_masks", "thresh_maps", "thresh_masks"}
    bare = [{name: value for name, value in sample.items() if name not in truth} for sample in small]
    batches = trainer(tmp_path).predict(module(), loader(bare))
    assert sum(map(len, batches)) == len(bare)


def test_a_test_finds_what_validation_finds(tmp_path: Path, small: list[Batch]) -> None:
    detector, run = module(), trainer(tmp_path)
    (validated,) = run.validate(detector, loader(small), verbose=False)
    (tested,) = run.test(detector, loader(small), verbose=False)
    assert tested == {name.replace("val/", "test/"): value for name, value in validated.items()}


@pytest.mark.parametrize("precision", ["bf16-true", "64-true"])
def test_a_precision_that_misplaces_boxes_is_refused(
    tmp_path: Path, small: list[Batch], precision: Any
) -> None:
    with pytest.raises(ConfigError, match=f"precision of {precision} .* use one of 32-true"):
        trainer(tmp_path, precision=precision).validate(module(), loader(small), verbose=False)


def test_pixels_are_normalised_after_the_transfer(tmp_path: Path, small: list[Batch]) -> None:
    seen = Seen()
    trainer(tmp_path, callbacks=[seen]).validate(module(), loader(small), verbose=False)
    pixels = torch.stack([sample["images"] for sample in small]).double() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    expected = ((pixels - mean) / std).float()
    images = torch.cat([batch["images"] for batch in seen.val])
    torch.testing.assert_close(images, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_pixels_stored_normalised_are_not_normalised_again(
    tmp_path: Path, small: list[Batch], dtype: torch.dtype
) -> None:
    detector = module(augment=AugmentParams(flip=0, rotation=0, scale_min=1, scale_max=1, colour=0))
    seen = Seen()
    normalised = [
        {
            **sample,
            "images": ((sample["images"][None] / 255 - detector.pixels.mean) / detector.pixels.std)[0].to(
                dtype
            ),
        }
        for sample in small
    ]
    run = trainer(tmp_path, max_epochs=1, callbacks=[seen], num_sanity_val_steps=0)
    run.fit(detector, loader(normalised), loader(normalised))
    stored = torch.stack([sample["images"] for sample in normalised])
    validated = torch.cat([batch["images"] for batch in seen.val])
    torch.testing.assert_close(validated, stored, rtol=0, atol=0)
    augmented = torch.cat([batch["images"] for batch in seen.train])
    assert augmented.dtype == torch.float32
    black = (0 - detector.pixels.mean) / detector.pixels.std
    assert (augmented >= black - 1e-5).all() and (
        augmented <= (1 - detector.pixels.mean) / detector.pixels.std + 1e-5
    ).all()


def test_only_training_is_augmented(tmp_path: Path, small: list[Batch]) -> None:
    seen = Seen()
    run = trainer(tmp_path, max_epochs=1, callbacks=[seen])
    run.fit(module(augment=AugmentParams(crop=64), seed=3), loader(small), loader(small))
    assert all(
        batch["images"].shape[-2:] == (64, 64) == batch["prob_maps"].shape[-2:] for batch in seen.train
    )
    assert all(batch["images"].shape[-2:] == (96, 96) for batch in seen.val)
    assert torch.equal(seen.val[-1]["inverse_matrix"], torch.stack([small[2]["inverse_matrix"]]))


def test_the_same_seed_trains_to_the_same_weights(tmp_path: Path, small: list[Batch]) -> None:
    weights = []
    for seed in (1, 1, 2):
        detector = module(augment=AugmentParams(), seed=seed)
        trainer(tmp_path, max_epochs=1).fit(detector, loader(small))
        weights.append(torch.cat([value.flatten() for value in detector.parameters()]))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_a_loss_that_is_no_number_stops_and_names_the_samples(tmp_path: Path, small: list[Batch]) -> None:
    detector = module()
    torch.nn.init.constant_(detector.model.prob_head.logits.weight, float("nan"))
    with pytest.raises(PipelineError, match=r"loss is nan in epoch 0, batch 0 \(page-1\.jpg, page-2\.jpg\)"):
        trainer(tmp_path, max_epochs=1).fit(detector, loader(small))


def test_the_rate_rises_to_its_peak_and_falls_to_0() -> None:
    rates = [one_cycle(step / 100, warmup=0.2) for step in range(101)]
    assert (
        rates[0] == pytest.approx(0.04)
        and rates[20] == 1
        and rates[60] == pytest.approx(0.5)
        and rates[100] == 0
    )
    assert rates[:21] == sorted(rates[:21]) and rates[20:] == sorted(rates[20:], reverse=True)
    assert one_cycle(1.5, warmup=0.2) == 0


def test_the_schedule_needs_an_end(tmp_path: Path, small: list[Batch]) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs"):
        trainer(tmp_path, max_epochs=-1).fit(module(), loader(small))
