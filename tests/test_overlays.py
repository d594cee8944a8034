"""Colours say what was found, missed, false; the worst images come first, at their place."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger

from ocr.datasets import OcrDataModule, TensorDataset
from ocr.datasets.batches import DEFAULT_FIELDS
from ocr.detection import Detections
from ocr.evaluation import (
    FALSE,
    FOUND,
    IGNORED,
    MISSED,
    RIGHT,
    WorstImages,
    describe_worst,
    draw_overlay,
    draw_worst,
)
from ocr.training import ScoredSample
from tests.support.pages import LIGHTNING_WARNS, identity, module, trainer
from tests.support.stores import tensors_store

pytestmark = LIGHTNING_WARNS


def box(x: float, y: float, width: float = 20, height: float = 10) -> np.ndarray:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)


def colours(image: Image.Image) -> set[tuple[int, int, int]]:
    return {tuple(pixel) for pixel in np.asarray(image).reshape(-1, 3).tolist()}


BLANK = np.full((3, 100, 120), 255, np.uint8)
HALF = np.diag((0.5, 0.5, 1.0))


def test_each_kind_of_region_has_its_colour() -> None:
    found, missed, ignored, false = (box(20, y * 2, 60, 24) for y in (10, 30, 50, 70))
    drawn = draw_overlay(BLANK, HALF, [found + 1, false, ignored], [found, missed, ignored], [0, 0, 1])
    assert colours(drawn) == {(255, 255, 255), FOUND, MISSED, IGNORED, FALSE, RIGHT}
    assert drawn.getpixel((25, 30)) == MISSED and drawn.getpixel((25, 70)) == FALSE
    assert drawn.size == (120, 100)


def test_nothing_to_draw_leaves_the_image() -> None:
    assert colours(draw_overlay(BLANK, HALF, [], [])) == {(255, 255, 255)}


def test_what_crosses_itself_is_drawn_as_ignored() -> None:
    crossed = box(20, 20)[[0, 2, 1, 3]]
    assert colours(draw_overlay(BLANK, np.eye(3), [crossed], [])) == {(255, 255, 255), IGNORED}


def test_a_sheet_has_a_panel_for_each_sample(tmp_path: Path) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 3, (64, 32)))
    worst = [
        ScoredSample(0.25, dataset.sample_ids[row], Detections([], np.empty(0, np.float32))) for row in (2, 0)
    ]
    sheet = draw_worst(worst, dataset, columns=2, side=128)
    assert sheet.size == (10 + 2 * 138, 10 + 156 + 18)
    stored = np.asarray(dataset[0]["image"]).transpose(1, 2, 0)  # it has no polygons
    expected = np.asarray(Image.fromarray(stored).resize((64, 128)))
    panel = np.asarray(sheet)[10 + 18 : 10 + 18 + 128, 10 + 138 : 10 + 138 + 64]
    np.testing.assert_array_equal(panel, expected)
    assert draw_worst([], dataset).size[0] > 0


def test_the_worst_are_described_as_the_metric_counts_them() -> None:
    found, missed, ignored, false = (box(20, y * 2, 60, 24) for y in (10, 30, 50, 70))
    predictions = [false, found + 0.26, ignored]

    class Dataset:
        sample_ids = ("b.jpg", "a.jpg")

        def __getitem__(self, index: int) -> dict[str, object]:
            assert index == 1
            return {"polygons": [found, missed, ignored], "ignore": [0, 0, 1]}

    sample = ScoredSample(0.5, "a.jpg", Detections(predictions, np.ones(3, np.float32)))
    (described,) = json.loads(json.dumps(describe_worst([sample], Dataset())))
    assert (described["sample_id"], described["hmean"]) == ("a.jpg", 0.5)
    assert described["right"] == [False, True, False] and described["found"] == [True, False, False]
    assert described["predictions"][1][0] == [20.3, 20.3]


def test_images_stored_normalised_are_brought_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    per_channel = [np.reshape(values, (3, 1, 1)) for values in (mean, std)]
    normalised = torch.from_numpy((pixels / 255 - per_channel[0]) / per_channel[1]).float()
    stored = {"image": normalised, "inverse_matrix": np.eye(3), "polygons": [], "ignore": []}

    class Dataset:
        sample_ids = ("a.jpg",)
        mean_std = (mean, std)

        def __getitem__(self, index: int) -> dict[str, object]:
            return stored

    sample = ScoredSample(1.0, "a.jpg", Detections([], np.empty(0, np.float32)))
    sheet = draw_worst([sample], Dataset(), side=32)
    np.testing.assert_array_equal(np.asarray(sheet)[28:60, 10:42], pixels.transpose(1, 2, 0))


def test_the_worst_images_of_an_epoch_are_drawn_and_sent_to_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tensors_store(tmp_path / "store", 4)
    data = OcrDataModule(val=store, batch_size=2, fields=(*DEFAULT_FIELDS, "text"))
    logger = TensorBoardLogger(tmp_path, name="", version="logs")
    sent: list[tuple[str, tuple[int, ...]]] = []
    experiment = SimpleNamespace(
        add_image=lambda tag, image, step, dataformats: sent.append((tag, image.shape)),
        add_scalar=lambda *_: None,
        add_scalars=lambda *_: None,
        flush=lambda: None,
        close=lambda: None,
    )
    monkeypatch.setattr(TensorBoardLogger, "experiment", experiment)
    detector = module(belongs_to=identity(64, mean=(0.5, 0.25, 0.125), std=(0.5, 0.25, 0.2)))
    run = trainer(tmp_path, callbacks=[WorstImages(str(tmp_path), most=3)], logger=logger)
    run.validate(detector, datamodule=data, verbose=False)
    assert [one["hmean"] for one in json.loads((tmp_path / "worst.json").read_text())] == [
        sample.hmean for sample in detector.worst[:3]
    ]
    with Image.open(tmp_path / "worst.png") as sheet:
        assert sheet.format == "PNG" and sheet.width == 10 + 3 * 490
        assert sent == [("val/worst", (sheet.height, sheet.width, 3))]
