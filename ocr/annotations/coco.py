"""COCO, COCO-Text and TextOCR: images and annotations apart, joined by `image_id`.

COCO has lists `images` and `annotations`, the other two have objects `imgs` and `anns`. A place is
`segmentation` (a list of polygons, each a word of its own; run-length masks are not read), `mask`,
`polygon` or `points` (`[x1, y1, x2, y2, …]`), otherwise `bbox` (`[left, top, width, height]`). A text
is `utf8_string`, `text` or `transcription`. Not counted are `iscrowd`, `ignore`, the legibility
`illegible`, and TextOCR's `.`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ocr.annotations.documents import read_json
from ocr.annotations.fields import (
    box_points,
    by_number,
    read_box,
    read_flag,
    read_flat_points,
    read_size,
    read_text,
)
from ocr.annotations.problems import AnnotationError, Problems, failure, show
from ocr.annotations.words import AnnotatedImage, Word
from ocr.geometry import Points

Located = tuple[str, str | int, Any]  # the list (or object), the index (or key) in it, and the value there


def read(path: Path, images: Path) -> Iterator[AnnotatedImage]:
    """Read a COCO file. What names no image of the file fails it, after all was seen."""
    document = read_json(path)
    listed = _entries(document, path, "images", "imgs")
    annotations = sorted(_entries(document, path, "annotations", "anns"), key=_order)
    adrift = Problems(str(path))
    by_image: dict[str, list[Located]] = {
        identity: [] for identity in (_identity(entry, "id", adrift) for entry in listed) if identity
    }
    if len(by_image) < len(listed) and not adrift.found():
        adrift.add((listed[0][0],), "each id once", f"{len(listed) - len(by_image)} ids again")
    for annotation in annotations:
        identity = _identity(annotation, "image_id", adrift)
        if identity in by_image:
            by_image[identity].append(annotation)
        elif identity:
            adrift.add((*annotation[:2], "image_id"), "the id of an image", identity)
    for entry in listed:
        if not isinstance(entry[2], dict) or not isinstance(entry[2].get("file_name"), str):
            adrift.add(entry[:2], "an object with file_name", entry[2])
    if adrift.found():
        raise AnnotationError(adrift.found())
    for entry in listed:
        yield _image(path, entry[2], by_image[_identity(entry, "id", adrift)])


def _entries(document: Any, path: Path, *names: str) -> list[Located]:
    for name in names:
        value = document.get(name) if isinstance(document, dict) else None
        if isinstance(value, list):
            return [(name, index, entry) for index, entry in enumerate(value)]
        if isinstance(value, dict):
            return [(name, key, entry) for key, entry in value.items()]
    raise failure(path, f"$.{names[0]}", "a list (or the object of COCO-Text)", show(document))


def _order(entry: Located) -> tuple[bool, int, str]:
    """Keep the order of a list; put the entries of an object, whose order means nothing, by their keys."""
    return by_number(entry[1]) if isinstance(entry[1], str) else (False, entry[1], "")


def _identity(entry: Located, key: str, problems: Problems) -> str:
    """Give an id as text, since COCO-Text has numbers here, texts there; empty, and reported, without one."""
    value = entry[2].get(key) if isinstance(entry[2], dict) else None
    if value is None and key == "id" and isinstance(entry[1], str):
        return entry[1]
    if type(value) is int or (isinstance(value, str) and value):
        return str(value)
    problems.add((*entry[:2], key), "an id", value)
    return ""


def _image(path: Path, entry: dict[str, Any], annotations: list[Located]) -> AnnotatedImage:
    problems = Problems(str(path))
    words = [word for annotation in annotations for word in _words(annotation, problems)]
    size = read_size(entry.get("height"), entry.get("width"))
    return AnnotatedImage(entry["file_name"], tuple(words), size, problems.found())


def _words(annotation: Located, problems: Problems) -> Iterator[Word]:
    *where, value = annotation
    text = ""
    for key in ("utf8_string", "text", "transcription"):
        text = text or read_text(value.get(key), problems, *where, key)
    ignore = value.get("legibility") == "illegible" or ("points" in value and text == ".")
    for key in ("iscrowd", "ignore"):
        ignore |= read_flag(value.get(key), problems, *where, key)
    for points in _places(annotation, problems):
        yield Word(points, text, ignore)


def _places(annotation: Located, problems: Problems) -> list[Points]:
    *where, value = annotation
    segments = value.get("segmentation")
    if isinstance(segments, list) and segments:
        if not isinstance(segments[0], list):
            return [read_flat_points(segments, problems, *where, "segmentation")]
        return [
            read_flat_points(segment, problems, *where, "segmentation", index)
            for index, segment in enumerate(segments)
        ]
    for key in ("mask", "polygon", "points"):
        if value.get(key):
            return [read_flat_points(value[key], problems, *where, key)]
    if value.get("bbox") is None:
        problems.add(tuple(where), "a polygon or bbox", value)
        return []
    left, top, width, height = read_box(value["bbox"], problems, *where, "bbox")
    return [box_points(left, top, left + width, top + height)]
