"""MMOCR 1.x JSON: `{"data_list": [{"img_path": …, "height": …, "width": …, "instances": [{"polygon": …}]}]}`.

A polygon is `[x1, y1, x2, y2, …]`; without one, `bbox` `[left, top, right, bottom]` is the place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ocr.annotations.documents import read_json
from ocr.annotations.fields import (
    NO_POINTS,
    box_points,
    read_box,
    read_flag,
    read_flat_points,
    read_size,
    read_text,
)
from ocr.annotations.problems import AnnotationError, Problems, failure, show
from ocr.annotations.words import AnnotatedImage, Word


def read(path: Path, images: Path) -> Iterator[AnnotatedImage]:
    """Read an MMOCR file. An entry that names no image fails the whole file, after all were seen."""
    document = read_json(path)
    listed = document.get("data_list") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise failure(path, "$.data_list", "a list of images", show(listed))
    nameless = Problems(str(path))
    for index, entry in enumerate(listed):
        if isinstance(entry, dict) and isinstance(entry.get("img_path"), str):
            yield _image(path, index, entry)
        else:
            nameless.add(("data_list", index), "an object with img_path", entry)
    if nameless.found():
        raise AnnotationError(nameless.found())


def _image(path: Path, index: int, entry: dict[str, Any]) -> AnnotatedImage:
    problems = Problems(str(path), f"$.data_list[{index}]")
    words: tuple[Word, ...] = ()
    instances = entry.get("instances")
    if isinstance(instances, list):
        words = tuple(_word(word, problems, index) for index, word in enumerate(instances))
    else:
        problems.add(("instances",), "a list of instances", instances)
    size = read_size(entry.get("height"), entry.get("width"))
    return AnnotatedImage(entry["img_path"], words, size, problems.found())


def _word(value: Any, problems: Problems, index: int) -> Word:
    points = NO_POINTS
    if isinstance(value, dict) and value.get("polygon") is not None:
        points = read_flat_points(value["polygon"], problems, "instances", index, "polygon")
    elif isinstance(value, dict) and value.get("bbox") is not None:
        points = box_points(*read_box(value["bbox"], problems, "instances", index, "bbox"))
    else:
        problems.add(("instances", index), "an object with polygon or bbox", value)
        return Word(points, "", False)
    text = read_text(value.get("text"), problems, "instances", index, "text")
    return Word(points, text, read_flag(value.get("ignore"), problems, "instances", index, "ignore"))
