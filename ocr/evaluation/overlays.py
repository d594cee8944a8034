"""Predictions drawn over images with the ground truth, and a sheet of an epoch's worst images."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from pytorch_lightning.loggers import TensorBoardLogger

from ocr.geometry import transform_points
from ocr.metrics import IouHmean, Regions
from ocr.training import ScoredSample
from pipeline.pictures import CAPTION, GAP, as_pixels, outline, sheet

FOUND, MISSED, FALSE, IGNORED, RIGHT = (
    (0, 150, 60),
    (200, 0, 0),
    (230, 110, 0),
    (130, 130, 130),
    (0, 110, 220),
)
"""Colours: ground truth that was found, that was missed; predictions that match nothing; don't-care
regions and predictions in them; predictions that match."""


def draw_overlay(
    image: NDArray[np.uint8],
    matrix: ArrayLike,
    predictions: Regions,
    targets: Regions,
    ignore: ArrayLike | None = None,
    metric: IouHmean | None = None,
) -> Image.Image:
    """Draw ground truth (thick) and predictions (thin) over an image, uint8 RGB (3, H, W).

    Polygons lie in the upright frame, `matrix` brings them onto the canvas. What matches what is
    decided as the metric does it. Polygons that it refuses to judge are drawn as ignored.
    """
    match = (metric or IouHmean()).match(predictions, targets, ignore)
    found = {target for target, _ in match.pairs}
    right = {prediction for _, prediction in match.pairs}
    overlay = Image.fromarray(as_pixels(image))
    draw = ImageDraw.Draw(overlay)
    for index, polygon in enumerate(targets):
        colour = FOUND if index in found else MISSED
        _outline(draw, matrix, polygon, colour if match.targets_in_use[index] else IGNORED, 3)
    for index, polygon in enumerate(predictions):
        colour = RIGHT if index in right else FALSE
        _outline(draw, matrix, polygon, colour if match.predictions_in_use[index] else IGNORED, 1)
    return overlay


def draw_worst(worst: Sequence[ScoredSample], dataset: Any, columns: int = 4, side: int = 480) -> Image.Image:
    """Draw samples side by side, in the order given, each with its H-mean, onto one sheet.

    `dataset` is a `TensorDataset` or an `OnlineDataset`: `sample_ids`, `mean_std`, and `[i]`. Canvases
    are drawn `side` pixels high or wide.
    """
    rows = {sample_id: row for row, sample_id in enumerate(dataset.sample_ids)}
    panels = [_panel(sample, dataset[rows[sample.sample_id]], dataset.mean_std, side) for sample in worst]
    captions = [f"{sample.hmean:.3f}  {sample.sample_id}" for sample in worst]
    drawn = sheet([*zip(captions, panels, strict=True)], columns, side, below=CAPTION)
    draw, left = ImageDraw.Draw(drawn), GAP
    for words, colour in (
        ("found", FOUND),
        ("missed", MISSED),
        ("right", RIGHT),
        ("false", FALSE),
        ("don't care", IGNORED),
    ):
        draw.text((left, drawn.height - CAPTION), words, fill=colour)
        left += 80
    return drawn


def describe_worst(worst: Sequence[ScoredSample], dataset: Any) -> list[dict[str, Any]]:
    """Give samples as JSON values, in the order given; `dataset` as in `draw_worst`.

    Each has `sample_id`, `hmean`, `predictions` (polygons in the upright frame, to a tenth of a pixel), and
    what matches, as the metric decides it: `right` for each prediction, `found` for each polygon of the
    ground truth.
    """
    rows = {sample_id: row for row, sample_id in enumerate(dataset.sample_ids)}
    described = []
    for sample in worst:
        stored, predictions = dataset[rows[sample.sample_id]], sample.detections.polygons
        pairs = IouHmean().match(predictions, stored["polygons"], stored["ignore"]).pairs
        found, right = {target for target, _ in pairs}, {prediction for _, prediction in pairs}
        described.append(
            {
                "sample_id": sample.sample_id,
                "hmean": sample.hmean,
                "predictions": [np.round(np.asarray(p, np.float64), 1).tolist() for p in predictions],
                "right": [index in right for index in range(len(predictions))],
                "found": [index in found for index in range(len(stored["polygons"]))],
            }
        )
    return described


class WorstImages(pl.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Draws the worst images of each validation epoch into `folder`/worst.png, and to TensorBoard.

    `worst.json` beside it says the same in figures, see `describe_worst`. The samples are read again from
    the `OcrDataModule`; without one nothing is drawn. With several ranks it is the first one's share.
    """

    def __init__(self, folder: str | os.PathLike[str], most: int = 16) -> None:
        self.folder, self.most = Path(folder), most

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw, now that the metric is known."""
        dataset = getattr(trainer.datamodule, "datasets", {}).get("val")
        worst = pl_module.worst[: self.most]
        if trainer.sanity_checking or dataset is None or not worst or not trainer.is_global_zero:
            return
        drawn = draw_worst(worst, dataset)
        drawn.save(self.folder / "worst.png")
        (self.folder / "worst.json").write_text(json.dumps(describe_worst(worst, dataset)))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(
                    "val/worst", np.asarray(drawn), trainer.global_step, dataformats="HWC"
                )


def _panel(
    sample: ScoredSample,
    stored: Mapping[str, Any],
    mean_std: tuple[Sequence[float], Sequence[float]],
    side: int,
) -> Image.Image:
    """Draw one sample, scaled so that its canvas just fits into a square of `side` pixels."""
    image = stored["image"]
    picture = Image.fromarray(as_pixels(image.float() if image.is_floating_point() else image, mean_std))
    scale = side / max(picture.size)
    resized = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    matrix = np.diag((scale, scale, 1.0)) @ np.linalg.inv(np.asarray(stored["inverse_matrix"]))
    pixels = np.asarray(resized).transpose(2, 0, 1)
    return draw_overlay(pixels, matrix, sample.detections.polygons, stored["polygons"], stored["ignore"])


def _outline(
    draw: ImageDraw.ImageDraw, matrix: ArrayLike, polygon: ArrayLike, colour: tuple[int, int, int], width: int
) -> None:
    outline(draw, transform_points(np.asarray(matrix), np.asarray(polygon)), colour, width)
