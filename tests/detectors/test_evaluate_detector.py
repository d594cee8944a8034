"""Anything that finds text is judged by the numbers of our validation, and what is no result is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ocr.datasets import TensorDataset
from ocr.detection import BoxDecoder, Detections
from ocr.detectors import DetectorOutput
from ocr.evaluation import draw_worst, evaluate_detector
from ocr.params import OverlapParams
from pipeline.errors import ConfigError, PipelineError
from tests.support.pages import LIGHTNING_WARNS, Batch, loader, module, seeing, trainer

pytestmark = LIGHTNING_WARNS
RATES = ("precision", "recall", "hmean")


def truth(batch: Batch) -> Any:
    """See the ground truth, but nothing in the third page."""
    seen = torch.tensor([name != "page-2.jpg" for name in batch["sample_id"]]).view(-1, 1, 1, 1)
    return torch.sigmoid(20 * (batch["prob_maps"].float() * seen - 0.5))


def boxes(batch: Batch) -> Any:
    return BoxDecoder().decode(truth(batch), batch["inverse_matrix"], batch["size"])


PREDICTS = {
    "torch": truth,
    "half precision": lambda batch: truth(batch).half(),
    "numpy": lambda batch: truth(batch).numpy(),
    "an output": lambda batch: DetectorOutput.from_probabilities(truth(batch)),
    "detections": boxes,
    "polygons": lambda batch: [found.polygons for found in boxes(batch)],
    "lists": lambda batch: [[polygon.tolist() for polygon in found.polygons] for found in boxes(batch)],
}


@pytest.mark.parametrize("predict", PREDICTS.values(), ids=PREDICTS)
@pytest.mark.parametrize("workers", [0, 2])
def test_the_numbers_are_those_of_our_validation(
    tmp_path: Path,
    pages: list[Batch],
    dataset: TensorDataset,
    monkeypatch: pytest.MonkeyPatch,
    predict: Any,
    workers: int,
) -> None:
    texts = ["TOTAL", "4.20", "MILK", "BREAD"]
    samples = [{**page, "text": texts} for page in pages]
    (expected,) = trainer(tmp_path).validate(seeing(samples, monkeypatch), loader(samples), verbose=False)
    score = evaluate_detector(dataset, predict, overlap=OverlapParams(workers=workers), batch_size=2)
    for name in RATES:
        assert score.iou[name] == pytest.approx(expected[f"val/{name}"], abs=1e-6)
        assert score.cleval[name] == pytest.approx(expected[f"val/cleval_{name}"], abs=1e-6)
    assert 0.5 < score.iou["hmean"] < 1 and score.iou["images"] == 5
    assert [one.sample_id for one in score.images] == dataset.sample_ids
    assert [one.iou["hmean"] > 0.9 for one in score.images] == [True, True, False, True, True]
    assert score.worst[0].sample_id == "page-2.jpg" and not score.worst[0].detections.polygons
    assert draw_worst(score.worst, dataset).width > 0


def test_a_store_is_judged_and_the_profile_says_where_the_time_went(store: Path) -> None:
    def nothing(batch: Batch) -> Any:
        assert batch["images"].dtype == torch.uint8
        return np.zeros((len(batch["sample_id"]), 1, *batch["images"].shape[2:]), np.float32)

    score = evaluate_detector(store, nothing, batch_size=3)
    assert score.iou["hmean"] == score.iou["predictions"] == 0 and score.iou["targets"] == 20
    parts = ("data_wait_s", "transfer_s", "forward_s", "boxes_s", "metric_s", "other_s")
    assert sum(score.profile[name] for name in parts) == pytest.approx(score.profile["wall_s"], rel=0.05)
    assert score.profile["samples"] == 5
    assert score.as_json()["images"][0]["iou"]["hmean"] == 0


def test_a_trained_module_is_one_of_those_that_are_judged(
    tmp_path: Path, pages: list[Batch], dataset: TensorDataset
) -> None:
    detector = module(128).eval()
    (expected,) = trainer(tmp_path).validate(detector, loader(pages), verbose=False)
    score = evaluate_detector(dataset, lambda batch: detector(detector.prepared(batch["images"])))
    assert score.iou["hmean"] == pytest.approx(expected["val/hmean"], abs=1e-6)


class Corners:
    """A decoder of one's own: the box around all that exceeds one half, of the last map."""

    def decode_one(self, maps: Any, inverse_matrix: Any, size: Any) -> Detections:
        assert maps.ndim == 3 and maps.dtype == np.float32
        rows, columns = np.nonzero(maps[-1] > 0.5)
        if not len(rows):
            return Detections([], np.empty(0, np.float32))
        left, top, right, bottom = columns.min(), rows.min(), columns.max(), rows.max()
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        upright = corners * np.asarray(inverse_matrix)[0, 0]
        return Detections([upright.astype(np.float32)], np.ones(1, np.float32))


def test_a_decoder_of_ones_own_reads_all_maps(dataset: TensorDataset) -> None:
    score = evaluate_detector(
        dataset, lambda batch: torch.cat((truth(batch) * 0, truth(batch)), 1), decoder=Corners()
    )
    assert [len(one.detections.polygons) for one in score.images] == [1, 1, 0, 1, 1]


def with_nan(batch: Batch) -> Any:
    maps = truth(batch)
    for index, name in enumerate(batch["sample_id"]):
        maps[index, 0, 3, 3] = float("nan") if name == "page-3.jpg" else 0
    return maps


def raises(batch: Batch) -> Any:
    if "page-3.jpg" in batch["sample_id"]:
        raise ValueError("no memory")
    return truth(batch)


def polygons_of(polygon: Any) -> Any:
    return lambda batch: [[polygon] if name == "page-1.jpg" else [] for name in batch["sample_id"]]


WRONG: dict[str, tuple[Any, str]] = {
    "quarter": (
        lambda batch: truth(batch)[:, :, ::4, ::4],
        r"<lambda> gave maps of shape \(2, 1, 32, 32\) for page-0.jpg, page-1.jpg, not \(2, 1, 128, 128\)",
    ),
    "no channel": (lambda batch: truth(batch)[:, 0], r"maps of shape \(2, 128, 128\)"),
    "logits": (lambda batch: 20 * truth(batch), r"sample page-0\.jpg: .* lies in 0…19.9991, outside 0…1"),
    "levels": (lambda batch: batch["prob_maps"] * 255, r"sample page-0\.jpg: .* outside 0…1"),
    "NaN": (with_nan, r"with_nan failed on sample page-3\.jpg: a probability map holds NaN"),
    "raises": (raises, r"detector raises failed on sample page-3\.jpg: ValueError: no memory"),
    "nothing": (lambda batch: None, r"gave a NoneType for the 2 images page-0\.jpg, page-1\.jpg"),
    "too few": (lambda batch: [[]], r"gave 1 entries for the 2 images page-0\.jpg"),
    "empty": (polygons_of(np.empty((0, 2))), r"page-1\.jpg: polygon 0 has the shape \(0, 2\), not"),
    "two points": (polygons_of([[0, 0], [9, 9]]), r"page-1\.jpg: polygon 0 has the shape \(2, 2\)"),
    "nowhere": (polygons_of([[0, 0], [9, np.inf], [9, 0]]), r"page-1\.jpg: polygon 0 holds NaN or inf"),
    "scores": (
        lambda batch: [Detections([], np.ones(1, np.float32)) for _ in batch["sample_id"]],
        r"page-0\.jpg: there are 1 scores for 0 polygons",
    ),
}


@pytest.mark.parametrize(("predict", "words"), WRONG.values(), ids=WRONG)
def test_what_is_no_result_is_told_with_detector_and_sample(
    dataset: TensorDataset, predict: Any, words: str
) -> None:
    with pytest.raises(PipelineError, match=words):
        evaluate_detector(dataset, predict, batch_size=2)


def test_regions_that_cross_themselves_are_told_and_count_for_nothing(
    dataset: TensorDataset, caplog: pytest.LogCaptureFixture
) -> None:
    bow_tie = [[0, 0], [90, 90], [90, 0], [0, 90]]
    score = evaluate_detector(dataset, polygons_of(bow_tie))
    assert "sample page-1.jpg: 1 of its 1 regions cross themselves or have no area" in caplog.text
    assert score.iou["invalid_predictions"] == 1 and score.iou["predictions"] == 0


def test_a_data_set_without_truth_is_refused(store: Path) -> None:
    bare = TensorDataset(store, ("image", "inverse_matrix", "size"))
    with pytest.raises(ConfigError, match="hands out no polygons, ignore: open it with fields="):
        evaluate_detector(bare, truth)
