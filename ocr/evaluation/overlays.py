"""Predictions drawn over images with the ground truth, and a sheet of an epoch's worst images."""

from __future__ import annotations

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

FOUND, MISSED, FALSE, IGNORED, RIGHT = (
    (0, 150, 60),
    (200, 0, 0),
    (230, 110, 0),
    (130, 130, 130),
    (0, 110, 220),
)
"""Colours: ground truth that was found, that was missed; predictions that match nothing; don't-care
regions and predictions in them; predictions that match."""

MeanStd = tuple[Sequence[float], Sequence[float]]

_PAPER, _INK = (250, 250, 250), (20, 20, 20)
_GAP, _CAPTION = 10, 18


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
    overlay = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
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
    columns = max(1, min(columns, len(panels)))
    cell = side + _GAP, side + _GAP + _CAPTION
    lines = max(1, -(-len(panels) // columns))
    sheet = Image.new("RGB", (_GAP + columns * cell[0], _GAP + lines * cell[1] + _CAPTION), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (sample, panel) in enumerate(zip(worst, panels, strict=True)):
        left, top = _GAP + index % columns * cell[0], _GAP + index // columns * cell[1]
        name = sample.sample_id.encode("ascii", "replace").decode()
        draw.text((left, top), f"{sample.hmean:.3f}  {name}", fill=_INK)
        sheet.paste(panel, (left, top + _CAPTION))
    left = _GAP
    for words, colour in (
        ("found", FOUND),
        ("missed", MISSED),
        ("right", RIGHT),
        ("false", FALSE),
        ("don't care", IGNORED),
    ):
        draw.text((left, sheet.height - _CAPTION), words, fill=colour)
        left += 80
    return sheet


class WorstImages(pl.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Draws the worst images of each validation epoch into `folder`/worst.png, and to TensorBoard.

    Its samples are read again from the `OcrDataModule`; without one nothing is drawn. With several
    ranks it is the first one's share.
    """

    def __init__(self, folder: Path, most: int = 16) -> None:
        self.folder, self.most = folder, most

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw, now that the metric is known."""
        dataset = getattr(trainer.datamodule, "datasets", {}).get("val")
        worst = pl_module.worst[: self.most]
        if trainer.sanity_checking or dataset is None or not worst or not trainer.is_global_zero:
            return
        sheet = draw_worst(worst, dataset)
        sheet.save(self.folder / "worst.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(
                    "val/worst", np.asarray(sheet), trainer.global_step, dataformats="HWC"
                )


def _panel(
    sample: ScoredSample,
    stored: Mapping[str, Any],
    mean_std: tuple[Sequence[float], Sequence[float]],
    side: int,
) -> Image.Image:
    """Draw one sample, scaled so that its canvas just fits into a square of `side` pixels."""
    picture = Image.fromarray(np.ascontiguousarray(_pixels(stored["image"], mean_std).transpose(1, 2, 0)))
    scale = side / max(picture.size)
    resized = picture.resize((round(picture.width * scale), round(picture.height * scale)))
    matrix = np.diag((scale, scale, 1.0)) @ np.linalg.inv(np.asarray(stored["inverse_matrix"]))
    image = np.asarray(resized).transpose(2, 0, 1)
    return draw_overlay(image, matrix, sample.detections.polygons, stored["polygons"], stored["ignore"])


def _pixels(image: Any, mean_std: MeanStd) -> NDArray[np.uint8]:
    """Bring an image back to uint8 where it is stored normalised."""
    if not image.is_floating_point():
        return np.asarray(image)
    mean, std = (np.asarray(values).reshape(3, 1, 1) for values in mean_std)
    values = (image.float().numpy() * std + mean) * 255
    rounded: NDArray[np.uint8] = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


def _outline(
    draw: ImageDraw.ImageDraw, matrix: ArrayLike, polygon: ArrayLike, colour: tuple[int, int, int], width: int
) -> None:
    points = transform_points(np.asarray(matrix), np.asarray(polygon))
    draw.polygon([(float(x), float(y)) for x, y in points], outline=colour, width=width)
