"""Draws `docs/assets/receipt.webp`: a receipt with its polygons, and the maps that a detector learns from.

Run it from the project's folder: `.venv/bin/python scripts/receipt_picture.py`. The receipt is one of the
embedded, synthetic ones, so the picture shows nobody's data.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib import colormaps
from PIL import Image, ImageDraw

from ocr.datasets import DatasetConfig
from ocr.datasets.online import OnlineParams
from ocr.geometry import transform_points
from ocr.preprocess import DecodeParams
from ocr.synthetic import generate
from warmstore import MapParams, OnlineDataset

OUTPUT = Path(__file__).resolve().parents[1] / "docs/assets/receipt.webp"
SEED, CANVAS, GAP = 5, (960, 720), 24
GREEN, GREY = (0, 170, 90), (140, 140, 140)


def panels() -> list[Image.Image]:
    """Give the photograph with its polygons, the probability map and the threshold map, each RGB."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root, train=1, val=0, seed=SEED, size=(1152, 864), report=lambda split, name: None)
        config = DatasetConfig(image_path=root / "train", annotation_path=root / "train.json")
        params = OnlineParams(
            decode=DecodeParams(canvas=CANVAS), maps=MapParams(shrink_ratio=0.4, min_text_size=4)
        )
        sample = OnlineDataset(config, params, label_frame="upright")[0]
    photo = Image.fromarray(np.ascontiguousarray(sample["image"].numpy().transpose(1, 2, 0)))
    draw = ImageDraw.Draw(photo)
    matrix = np.linalg.inv(sample["inverse_matrix"])
    for polygon, ignored in zip(sample["polygons"], sample["ignore"], strict=True):
        points = [tuple(point) for point in transform_points(matrix, np.asarray(polygon))]
        draw.line([*points, points[0]], fill=GREY if ignored else GREEN, width=2)
    probability = Image.fromarray(sample["prob_map"].numpy()[0] * np.uint8(255)).convert("RGB")
    threshold = np.asarray(sample["thresh_map"].numpy()[0], dtype=np.float64)
    heat = colormaps["magma"]((threshold - 0.3) / 0.4)[..., :3]
    height, width = (round(side * float(matrix[0, 0])) for side in sample["size"].tolist())
    shown = (photo, probability, Image.fromarray((heat * 255).astype(np.uint8)))
    return [panel.crop((0, 0, width, height)) for panel in shown]


def main() -> None:
    """Put the panels side by side and write them."""
    shown = panels()
    height, width = shown[0].height, shown[0].width
    sheet = Image.new("RGBA", (len(shown) * width + (len(shown) - 1) * GAP, height), (0, 0, 0, 0))
    for place, panel in enumerate(shown):
        sheet.paste(panel, (place * (width + GAP), 0))
    sheet.save(OUTPUT, quality=80, method=6)


if __name__ == "__main__":
    main()
