"""A split in the making, and what became of its samples."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from PIL import Image

from ocr.splits import AnnotatedSplit, LabelFrame
from pipeline.planning import SourceSample

SIZE = (40, 60)  # height, width as stored
WIDE = [[30, 5], [58, 5], [58, 10], [30, 10]]
TALL = [[5, 30], [10, 30], [10, 58], [5, 58]]
BOTH = [[1, 1], [39, 1], [39, 39], [1, 39]]


def jpeg(orientation: int = 1, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", exif=exif)
    return file.getvalue()


def hash_file(path: Path) -> bytes:
    return xxhash.xxh3_128_digest(path.read_bytes())


class Data:
    """A data set in the making: image files, and words by image."""

    def __init__(self, root: Path) -> None:
        self.images = root / "img"
        self.annotations = root / "labels.json"
        self.images.mkdir(parents=True)
        self.entries: dict[str, Any] = {}

    def add(self, name: str, data: bytes | None, *polygons: Any) -> None:
        if data is not None:
            (self.images / name).parent.mkdir(parents=True, exist_ok=True)
            (self.images / name).write_bytes(data)
        self.entries[name] = {"words": [{"points": points, "text": "t"} for points in polygons]}

    def split(self, label_frame: LabelFrame = "upright", cache: Path | None = None) -> AnnotatedSplit:
        self.annotations.write_text(json.dumps({"images": self.entries}))
        return AnnotatedSplit(self.images, self.annotations, "auto", label_frame, cache)

    def samples(self, label_frame: LabelFrame = "upright") -> dict[str, SourceSample]:
        return {sample.sample_id: sample for sample in self.split(label_frame).samples(hash_file)}


def codes(samples: dict[str, SourceSample]) -> dict[str, str | None]:
    return {name: sample.verdict.code if sample.verdict else None for name, sample in samples.items()}
