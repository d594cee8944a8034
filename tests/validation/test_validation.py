"""A validation epoch: its pool changes nothing, and its precision is its own."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ocr.datasets import collate
from ocr.detection import BoxDecoder
from ocr.detectors import DetectorOutput
from ocr.metrics import CLEval, IouHmean
from ocr.params import LossParams, OverlapParams
from ocr.training import dbnet_loss, detector_loss, scoring
from pipeline.errors import PipelineError
from tests.support.pages import LIGHTNING_WARNS, MEAN, SIDE, STD, Batch, loader, module, seeing, trainer

pytestmark = LIGHTNING_WARNS
POOLS = [
    OverlapParams(workers=0),
    OverlapParams(workers=3),
    OverlapParams(workers=2, most_pending=1),
]


@pytest.mark.parametrize("overlap", POOLS, ids=lambda pool: f"{pool.workers}, {pool.most_pending}")
def test_a_pool_gives_what_the_parts_give_by_hand(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch, overlap: OverlapParams
) -> None:
    detector = seeing(samples, monkeypatch, overlap=overlap)
    run = trainer(tmp_path)
    (first,) = run.validate(detector, loader(samples), verbose=False)
    (result,) = run.validate(detector, loader(samples), verbose=False)
    assert result == first

    iou, cleval = IouHmean(), CLEval()
    for index, sample in enumerate(samples):
        probabilities = torch.sigmoid(20 * (sample["prob_maps"].float() * (index != 2) - 0.5))[None]
        batch = collate([sample])
        (found,) = BoxDecoder().decode(probabilities, batch["inverse_matrix"], batch["size"])
        iou.update([found.polygons], batch["polygons"], ignore=batch["ignore"])
        cleval.update([found.polygons], batch["polygons"], texts=batch["text"], ignore=batch["ignore"])
    assert result["val/samples"] == len(samples)
    for prefix, metric in (("", iou), ("cleval_", cleval)):
        expected = metric.compute()
        assert 0.5 < expected["hmean"] < 1
        for name in ("precision", "recall", "hmean"):
            assert result[f"val/{prefix}{name}"] == pytest.approx(expected[name], rel=1e-6)


@pytest.mark.parametrize("at_once", [1, 2, 256])
def test_sums_do_not_depend_on_when_results_come(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    def late(output: DetectorOutput, batch: Batch) -> Any:
        time.sleep(0.03)
        return dbnet_loss(LossParams())(output, batch)

    monkeypatch.setattr(scoring, "_ADDED_AT_ONCE", at_once)
    sums = []
    for workers in (0, 3):
        detector = seeing(samples, monkeypatch, overlap=OverlapParams(workers=workers))
        detector.loss = late
        trainer(tmp_path).validate(detector, loader(samples), verbose=False)
        sums.append([one.compute() for one in (detector.metric, detector.cleval, detector.losses)])
        assert detector.losses.samples == detector.metric.images == len(samples)
    assert sums[0] == sums[1] and sums[0][0]["image_hmean"] > 0


def test_maps_of_a_device_are_scored_like_those_of_the_host(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for device in ("cpu", "cuda"):  # only its name: there losses and sigmoids are for the device
        detector = seeing(samples, monkeypatch, overlap=OverlapParams(workers=2))
        begin = partial(detector.scoring.begin, torch.device(device), detector.judges)
        monkeypatch.setattr(detector, "on_validation_epoch_start", begin)
        results += trainer(tmp_path).validate(detector, loader(samples), verbose=False)
    assert results[0] == results[1] and results[0]["val/hmean"] > 0.5


def test_a_batch_is_scored_beside_the_next_forward_pass_and_not_while_it_is_fetched(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = seeing(samples, monkeypatch)
    done: list[str] = []
    forward, decode = detector.model.forward, BoxDecoder.decode_one

    def noted(name: str, function: Any) -> Any:
        return lambda *given: (done.append(name), function(*given))[1]  # type: ignore[func-returns-value]

    monkeypatch.setattr(detector.model, "forward", noted("forward", forward))
    monkeypatch.setattr(BoxDecoder, "decode_one", noted("boxes", decode))
    trainer(tmp_path).validate(detector, Noted(loader(samples, 1), done), verbose=False)
    done = done[done.index("fetch") :]  # what setup compiles with is no sample
    assert done == ["fetch", "forward", *["fetch", "boxes", "forward"] * 4, "boxes"]


def test_the_worst_samples_are_told(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = seeing(samples, monkeypatch, overlap=OverlapParams(workers=2))
    trainer(tmp_path).validate(detector, loader(samples), verbose=False)
    worst = detector.worst
    assert (worst[0].sample_id, worst[0].hmean, worst[0].detections.polygons) == ("page-2.jpg", 0.0, [])
    assert len(worst) == 5 and [sample.hmean for sample in worst] == sorted(s.hmean for s in worst)


@pytest.mark.parametrize("workers", [0, 2])
def test_nan_in_a_map_fails_the_epoch_with_the_samples_name(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    detector = module(SIDE, overlap=OverlapParams(workers=workers))

    def forward(images: torch.Tensor) -> DetectorOutput:
        logits = torch.zeros(len(images), 1, SIDE, SIDE)
        logits[1:2, 0, 5, 5] = float("nan")  # the last batch may hold one sample, and may still be reached
        return DetectorOutput(logits, logits)

    monkeypatch.setattr(detector.model, "forward", forward)
    with pytest.raises(PipelineError, match=r"sample page-1\.jpg: a probability map holds NaN"):
        trainer(tmp_path).validate(detector, loader(samples), verbose=False)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loss_that_fails_fails_the_epoch_with_the_names_of_its_batch(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def fail_on_the_last(output: DetectorOutput, batch: Batch) -> Any:
        if len(output.prob_logits) == 1:  # page 4 is alone in its batch
            raise ValueError("nothing works")
        return dbnet_loss(LossParams())(output, batch)

    detector = seeing(samples, monkeypatch, overlap=OverlapParams(workers=workers))
    detector.loss = fail_on_the_last
    with pytest.raises(PipelineError, match=r"failed on sample page-4\.jpg: nothing works"):
        trainer(tmp_path).validate(detector, loader(samples), verbose=False)


def test_an_epoch_that_fails_leaves_no_pool_and_the_next_is_whole(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, run = module(SIDE, overlap=OverlapParams(workers=2)), trainer(tmp_path)
    (whole,) = run.validate(detector, loader(samples), verbose=False)
    forward, passed, before = detector.model.forward, 0, set(threading.enumerate())

    def fail_on_the_second(images: torch.Tensor) -> DetectorOutput:
        nonlocal passed
        passed += 1
        if passed == 2:
            raise ValueError("nothing works")
        return forward(images)

    with monkeypatch.context() as patch, pytest.raises(PipelineError, match="nothing works"):
        patch.setattr(detector.model, "forward", fail_on_the_second)
        run.validate(detector, loader(samples), verbose=False)
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name.startswith("overlap")]
    assert run.validate(detector, loader(samples), verbose=False) == [whole]


def test_losses_are_means_over_samples(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = seeing(samples, monkeypatch, overlap=OverlapParams(workers=2))
    (result,) = trainer(tmp_path).validate(detector, loader(samples), verbose=False)
    expected = 0.0
    for batch in loader(samples):
        losses = detector_loss(detector(batch["images"].float()), batch, detector.settings.loss)
        expected += len(batch["sample_id"]) * losses.total.item() / len(samples)
    assert result["val/loss"] == pytest.approx(expected, rel=1e-6)


def test_all_regions_ignored_has_a_defined_result(
    tmp_path: Path,
    samples: list[Batch],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ignored = [{**sample, "ignore": np.ones(4, np.uint8)} for sample in samples]
    detector = seeing(samples, monkeypatch)
    (result,) = trainer(tmp_path).validate(detector, loader(ignored), verbose=False)
    assert result["val/hmean"] == result["val/recall"] == 0 and result["val/samples"] == 5
    assert "there is no text to find in these 5 samples" in caplog.text


def test_images_without_text_are_validated(tmp_path: Path, samples: list[Batch]) -> None:
    nothing: Batch = {"polygons": [], "ignore": np.zeros(0, np.uint8), "text": []}
    blank = {
        name: torch.zeros_like(samples[0][name]) for name in ("prob_maps", "thresh_maps", "thresh_masks")
    }
    empty = [{**sample, **nothing, **blank} for sample in samples[:2]]
    (result,) = trainer(tmp_path).validate(module(SIDE), loader(empty), verbose=False)
    assert result["val/hmean"] == 0 and result["val/samples"] == 2
    assert all(np.isfinite(value) for value in result.values())


class Noted:
    """Notes when a batch is fetched."""

    def __init__(self, batches: Any, done: list[str]) -> None:
        self.batches, self.done = batches, done

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        for batch in self.batches:
            self.done.append("fetch")
            yield batch


@pytest.mark.parametrize("training", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("precision", [None, "32-true", "bf16-mixed"])
def test_validation_has_a_precision_of_its_own(
    tmp_path: Path,
    samples: list[Batch],
    monkeypatch: pytest.MonkeyPatch,
    training: str,
    precision: Any,
) -> None:
    detector = module(SIDE, val_precision=precision)
    seen = set()
    detector.model.backbone.register_forward_hook(lambda _, __, out: seen.add(out[0].dtype))
    trainer(tmp_path, precision=training).validate(detector, loader(samples[:2]), verbose=False)
    used = precision or training
    assert seen == {torch.bfloat16 if used == "bf16-mixed" else torch.float32}


def test_the_first_batch_is_checked_and_no_other(tmp_path: Path, samples: list[Batch]) -> None:
    bad = {**samples[0], "prob_maps": samples[0]["prob_maps"] + 1}
    with pytest.raises(PipelineError, match=r"first batch \(page-0\.jpg.*prob_maps lies in 1…2, outside 0…1"):
        trainer(tmp_path).validate(module(SIDE), loader([bad]), verbose=False)
    trainer(tmp_path).validate(module(SIDE), loader([samples[1], bad], batch_size=1), verbose=False)


def test_a_checkpoints_canvas_is_the_datas(tmp_path: Path, samples: list[Batch]) -> None:
    with pytest.raises(PipelineError, match=r"images has the shape \(2, 3, 128, 128\), not \(2, 3, 96, 96\)"):
        trainer(tmp_path).validate(module(96), loader(samples), verbose=False)


def test_normalised_images_are_told_from_others(tmp_path: Path, samples: list[Batch]) -> None:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    pixels = samples[0]["images"].float()
    fine = {**samples[0], "images": ((pixels / 255 - mean) / std).bfloat16()}
    trainer(tmp_path).validate(module(SIDE), loader([fine]), verbose=False)
    with pytest.raises(PipelineError, match=r"images \(normalised\) lies in 0…225"):
        trainer(tmp_path).validate(module(SIDE), loader([{**fine, "images": pixels}]), verbose=False)
