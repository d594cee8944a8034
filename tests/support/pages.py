"""Small pages of text for tests of the detector: samples, batches, a tiny detector, a quiet trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from ocr.datasets import collate
from ocr.detectors import DetectorIdentity, DetectorOutput
from ocr.geometry import letterbox, transform_points
from ocr.maps import MapParams, build_maps
from ocr.params import DBNetParams, DetectorSettings
from ocr.training import DetectorModule

SIDE = 128
ENLARGED = 3  # how much larger the upright image is than the canvas
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WORDS = ("TOTAL", "4.20", "MILK", "BREAD", "CASH")
TINY = DBNetParams(backbone="tiny", neck_channels=64)
Batch = dict[str, Any]
LIGHTNING_WARNS = [
    # Lightning's advice: few workers, a training without validation.
    pytest.mark.filterwarnings("ignore::lightning_fabric.utilities.warnings.PossibleUserWarning"),
    # Lightning's own use of torch's pytrees.
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
]


def sample_of(seed: int, side: int = SIDE) -> Batch:
    """A page with four words on the canvas, as a store would give it."""
    rng = np.random.default_rng(seed)
    page = np.full((side, side * 3 // 4, 3), 225, np.uint8)
    quads = []
    for line in range(4):
        text, left = WORDS[rng.integers(len(WORDS))], int(rng.integers(4, side // 4))
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, side / 200, 2)
        bottom = round((line + 0.8) * side / 4)
        cv2.putText(
            page, text, (left, bottom), cv2.FONT_HERSHEY_SIMPLEX, side / 200, (40, 30, 20), 2, cv2.LINE_AA
        )
        corners = [
            (left, bottom - height),
            (left + width, bottom - height),
            (left + width, bottom),
            (left, bottom),
        ]
        quads.append(np.array(corners, np.float32) * ENLARGED)
    box = letterbox((side * ENLARGED, side * 3 // 4 * ENLARGED), (side, side))
    image = torch.zeros(3, side, side, dtype=torch.uint8)
    image[:, : box.height, : box.width] = torch.from_numpy(page).permute(2, 0, 1)
    ignore = np.zeros(len(quads), np.uint8)
    maps = build_maps([transform_points(box.matrix, quad) for quad in quads], ignore, side, side, MapParams())
    return {
        "images": image,
        "prob_maps": torch.from_numpy(maps.prob_map),
        "prob_masks": torch.from_numpy(maps.prob_mask),
        "thresh_maps": torch.from_numpy(maps.thresh_map.astype(np.float16)),
        "thresh_masks": torch.from_numpy(maps.thresh_mask),
        "inverse_matrix": torch.from_numpy(np.linalg.inv(box.matrix)),
        "size": torch.tensor((side * ENLARGED, side * 3 // 4 * ENLARGED), dtype=torch.int32),
        "polygons": quads,
        "ignore": ignore,
        "sample_id": f"page-{seed}.jpg",
    }


def loader(samples: list[Batch], batch_size: int = 2) -> DataLoader[Batch]:
    return DataLoader(samples, batch_size=batch_size, collate_fn=collate)  # type: ignore[arg-type]


def identity(side: int = 96, **other: Any) -> DetectorIdentity:
    """A tiny detector's; `other` values replace these."""
    return DetectorIdentity(**{"params": TINY, "canvas": (side, side), "mean": MEAN, "std": STD, **other})


def module(side: int = 96, belongs_to: DetectorIdentity | None = None, **settings: Any) -> DetectorModule:
    torch.manual_seed(0)
    return DetectorModule(belongs_to or identity(side), DetectorSettings(**settings))


def trainer(folder: Path, **settings: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(
        **{
            "accelerator": "cpu",
            "default_root_dir": folder,
            "enable_checkpointing": False,
            **quiet,
            **settings,
        }
    )


def seeing(samples: list[Batch], monkeypatch: pytest.MonkeyPatch, **settings: Any) -> DetectorModule:
    """A detector that sees the truth in all pages but the third, where it sees nothing."""
    detector = module(SIDE, **settings)
    truth = torch.stack([sample["prob_maps"] for sample in samples]).float()
    truth[2] = 0
    seen = 0

    def forward(images: torch.Tensor) -> DetectorOutput:
        nonlocal seen
        first, seen = seen, (seen + len(images)) % len(truth)
        logits = 20 * (truth[first : first + len(images)] - 0.5)
        return DetectorOutput(logits, -logits)

    monkeypatch.setattr(detector.model, "forward", forward)
    return detector
