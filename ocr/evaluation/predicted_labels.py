"""What was found, written as labels: to look at, to correct in a labelling tool, to score."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ocr.evaluation.prediction import Prediction


def native(found: Sequence[Prediction], **facts: Any) -> str:
    """Write the native format, a line an image, with each region's confidence; and `facts` behind them."""
    lines = []
    for one in found:
        words = [
            {"points": points, "text": "", "confidence": round(score, 4)}
            for points, score in zip(_points(one), one.detections.scores.tolist(), strict=True)
        ]
        lines.append(
            f"{_json(one.name)}: {_json({'img_h': one.size[0], 'img_w': one.size[1], 'words': words})}"
        )
    rest = "".join(f",\n{_json(key)}: {_json(value)}" for key, value in facts.items())
    return '{"images": {\n' + ",\n".join(lines) + "\n}" + rest + "}\n"


def paddleocr(found: Sequence[Prediction]) -> str:
    """Write PaddleOCR's label file, a line an image, whose texts are empty."""
    lines = (
        [{"transcription": "", "points": points, "difficult": False} for points in _points(one)]
        for one in found
    )
    named = zip(found, lines, strict=True)
    return "".join(f"{one.name}\t{_json(words)}\n" for one, words in named)


def labelme(found: Sequence[Prediction], images: Path, folder: Path) -> Mapping[Path, str]:
    """Write LabelMe's files, one for each image, to lie in `folder`; `images` is where the names start."""
    files: dict[Path, str] = {}
    for one in found:
        file = (folder / one.name).with_suffix(".json")
        if file in files:  # of `a.jpg`, and here is `a.png`
            file = folder / f"{one.name}.json"
        document: dict[str, Any] = {
            "version": "5.0.0",
            "flags": {},
            "shapes": [
                {"label": "text", "points": points, "group_id": None, "shape_type": "polygon", "flags": {}}
                for points in _points(one)
            ],
            "imagePath": os.path.relpath(images / one.name, file.parent),
            "imageData": None,
            "imageHeight": one.size[0],
            "imageWidth": one.size[1],
        }
        files[file] = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
    return files


def _points(found: Prediction) -> list[list[list[float]]]:
    """Give the polygons to a hundredth of a pixel."""
    return [polygon.astype(float).round(2).tolist() for polygon in found.detections.polygons]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
