"""Dice losses of both maps; whole regions are drawn from the batch's polygons, which every batch has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from ocr.training import balanced_bce, dice_loss
from warmstore import DetectorOutput


def pse_loss(output: DetectorOutput, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Give 0.7 · text + 0.3 · kernel, as PSENet weighs them, each Dice and balanced cross-entropy."""
    assert output.extra_logits is not None
    mask = batch["prob_masks"].float()
    text = drawn_regions(batch, tuple(mask.shape[-2:])).to(mask.device)
    whole = _both(output.extra_logits.float(), text, mask)
    kernel = _both(output.prob_logits.float(), batch["prob_maps"].float(), mask)
    return {"total": 0.7 * whole + 0.3 * kernel, "text": whole, "kernel": kernel}


def drawn_regions(batch: Mapping[str, Any], canvas: tuple[int, int]) -> Tensor:
    """Draw each sample's polygons, which lie in the upright frame, onto the canvas: float32 (B, 1, H, W)."""
    maps = np.zeros((len(batch["sample_id"]), 1, *canvas), np.uint8)
    matrices = np.linalg.inv(np.asarray(batch["inverse_matrix"]))
    for plane, matrix, polygons in zip(maps[:, 0], matrices, batch["polygons"], strict=True):
        for polygon in polygons:
            points = cv2.perspectiveTransform(np.asarray(polygon, np.float64)[None], matrix)[0]
            cv2.fillPoly(plane, [np.rint(points).astype(np.int32)], 1)
    return torch.from_numpy(maps).float()


def _both(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    with torch.autocast(logits.device.type, enabled=False):
        return dice_loss(logits.sigmoid(), target, mask) + balanced_bce(logits, target, mask)
