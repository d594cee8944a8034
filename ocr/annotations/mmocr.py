"""MMOCR 1.x JSON: `{"data_list": [{"img_path": …, "height": …, "width": …, "instances": [{"polygon": …}]}]}`.

A polygon is `[x1, y1, x2, y2, …]`; without one, `bbox` `[left, top, right, bottom]` is the place.
`ignore` marks words that are not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ocr.annotations.documents import read_json
from ocr.annotations.labels import Labels, keys
from ocr.annotations.primitives import (
    NO_POINTS,
    box_points,
    is_outline,
    read_box,
    read_flag,
    read_flat_points,
    read_size,
    read_text,
)
from ocr.annotations.problems import AnnotationError, Problems, failure, show
from ocr.annotations.words import AnnotatedImage, Word

# Keys that are read; and behind the bar, those that are known to change nothing.
DOCUMENT = keys("data_list") | keys("metainfo")
METAINFO = keys("dataset_type task_name category")
ENTRY = keys("img_path height width instances") | keys("seg_map")
INSTANCE = keys("polygon bbox text ignore") | keys("bbox_label")


def read(labels: Labels) -> Iterator[AnnotatedImage]:
    """Read an MMOCR file. An entry that names no image fails the whole file, after all were seen."""
    path, document = labels.path, read_json(labels.path, labels)
    listed = document.get("data_list") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise failure(path, "$.data_list", "a list of images", show(listed))
    labels.unread("", document, DOCUMENT)
    if isinstance(document.get("metainfo"), dict):
        labels.unread("metainfo.", document["metainfo"], METAINFO)
    nameless = Problems(str(path))
    for index, entry in enumerate(listed):
        if isinstance(entry, dict) and isinstance(entry.get("img_path"), str):
            yield _image(labels, index, entry)
        else:
            nameless.add(("data_list", index), "an object with img_path", entry)
    if nameless.found():
        raise AnnotationError(nameless.found())


def _image(labels: Labels, index: int, entry: dict[str, Any]) -> AnnotatedImage:
    problems = Problems(str(labels.path), f"$.data_list[{index}]")
    labels.unread("data_list[].", entry, ENTRY)
    words: tuple[Word, ...] = ()
    instances = entry.get("instances")
    if isinstance(instances, list):
        words = tuple(_word(word, labels, problems, index) for index, word in enumerate(instances))
    else:
        problems.add(("instances",), "a list of instances", instances)
    size = read_size(entry.get("height"), entry.get("width"))
    return AnnotatedImage(entry["img_path"], words, size, problems.found())


def _word(value: Any, labels: Labels, problems: Problems, index: int) -> Word:
    if not isinstance(value, dict):
        problems.add(("instances", index), "an object with polygon or bbox", value)
        return Word(NO_POINTS, "", False)
    labels.unread("instances[].", value, INSTANCE)
    if value.get("bbox_label"):
        labels.remark(f"has instances of the bbox_label {show(value['bbox_label'])}, which are words too")
    polygon, box = value.get("polygon"), value.get("bbox")
    no_outline = isinstance(polygon, list) and not is_outline(polygon)
    points = NO_POINTS
    if box is not None and (polygon is None or no_outline):
        if polygon:
            labels.remark("has polygon that is no outline; the bbox was taken")
        points = box_points(*read_box(box, problems, "instances", index, "bbox"))
    elif polygon:
        points = read_flat_points(polygon, problems, "instances", index, "polygon")
    else:
        problems.add(("instances", index), "an object with polygon or bbox", value)
    text = read_text(value.get("text"), problems, "instances", index, "text")
    return Word(points, text, read_flag(value.get("ignore"), problems, "instances", index, "ignore"))
