"""LabelMe and X-AnyLabeling: a folder with one JSON file an image: `{"shapes": [{"label", "points", …}], …}`.

Polygons and rectangles are words; other shapes are refused. The text is `description` where there is
one, otherwise `label`. `###` and a true `ignore` or `difficult` mark words that are not counted, in
`flags` (LabelMe) or beside `label` (X-AnyLabeling).

`imagePath` is relative to the JSON file, as LabelMe has it; where it is a bare name, the image is
looked for in the same place under the folder of images. Where no image is called so, since it was
renamed, the one that is called like the JSON file is taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ocr.annotations.documents import read_json
from ocr.annotations.folders import images_by_stem, label_files
from ocr.annotations.labels import Labels, keys
from ocr.annotations.primitives import NO_POINTS, box_points, read_flag, read_points, read_size, read_text
from ocr.annotations.problems import AnnotationError, Problems, failure, show
from ocr.annotations.words import IGNORED, AnnotatedImage, Word
from ocr.geometry import Points

FLAGS = ("ignore", "difficult")
# Keys that are read; and behind the bar, those that are known to change nothing.
DOCUMENT = keys("shapes imagePath imageHeight imageWidth flags") | keys(
    "version imageData lineColor fillColor text description checked"
)
SHAPE = keys("label description points shape_type flags").union(FLAGS) | keys(
    "group_id mask line_color fill_color direction kie_linking"
)


def read(labels: Labels) -> Iterator[AnnotatedImage]:
    """Read a folder of LabelMe files (or one file), in the order of their names.

    A file that does not name its image stands for the image that is called like it.
    """
    by_stem = images_by_stem(labels)
    for file, stem in label_files(labels, (".json",), by_stem):
        try:
            yield _image(file, stem, labels, by_stem)
        except AnnotationError as error:
            yield AnnotatedImage(by_stem.get(stem, [stem])[0], (), problems=error.problems)


def _image(file: Path, stem: str, labels: Labels, by_stem: Mapping[str, list[str]]) -> AnnotatedImage:
    document = read_json(file, labels)
    named = document.get("imagePath") if isinstance(document, dict) else None
    if not isinstance(named, str):
        raise failure(file, "$.imagePath", "the name of an image", show(named))
    problems = Problems(str(file))
    shapes = document.get("shapes")
    words: tuple[Word, ...] = ()
    if isinstance(shapes, list):
        words = tuple(_word(shape, labels, problems, index) for index, shape in enumerate(shapes))
        described = [bool(shape.get("description")) for shape in shapes if isinstance(shape, dict)]
        if any(described) and not all(described):
            what = "has shapes without a description, whose label was read as their text"
            labels.remark(what, described.count(False))
    else:
        problems.add(("shapes",), "a list of shapes", shapes)
    labels.unread("", document, DOCUMENT)
    _unread_flags(document, "", labels)
    size = read_size(document.get("imageHeight"), document.get("imageWidth"))
    name = _image_name(named, file, stem, labels.images)
    beside = by_stem.get(stem, [])
    if len(beside) == 1 and name not in by_stem.get(name.rpartition(".")[0], ()) and beside != [name]:
        labels.remarks.add(file.name, f"names {named[:60]!a}, which is not there; {beside[0]} was taken")
        name = beside[0]
    return AnnotatedImage(name, words, size, problems.found())


def _image_name(named: str, file: Path, stem: str, images: Path) -> str:
    """Give the name relative to `images`; one that leads elsewhere stays as it is, to be refused later."""
    name = named.replace("\\", "/")
    if "/" not in name:
        return (PurePosixPath(stem).parent / name).as_posix()
    if "\0" in name or PureWindowsPath(name).drive or name.startswith("/"):
        return name
    target = os.path.normpath(file.absolute().parent / name)
    root = os.path.normpath(images.absolute())
    return Path(target).relative_to(root).as_posix() if target.startswith(root + os.sep) else name


def _word(shape: Any, labels: Labels, problems: Problems, index: int) -> Word:
    if not isinstance(shape, dict):
        problems.add(("shapes", index), "a shape", shape)
        return Word(NO_POINTS, "", False)
    labels.unread("shapes[].", shape, SHAPE)
    text = read_text(shape.get("description") or shape.get("label"), problems, "shapes", index, "label")
    ignore = text == IGNORED
    for name in FLAGS:
        ignore |= read_flag(shape.get(name), problems, "shapes", index, name)
        if isinstance(shape.get("flags"), dict):
            ignore |= read_flag(shape["flags"].get(name), problems, "shapes", index, "flags", name)
    _unread_flags(shape, "shapes[].", labels)
    return Word(_points(shape, problems, index), text, ignore)


def _unread_flags(value: dict[str, Any], level: str, labels: Labels) -> None:
    """Count the true flags that mean nothing here: those that users define."""
    if isinstance(value.get("flags"), dict):
        labels.unread(f"{level}flags.", value["flags"], keys(" ".join(FLAGS)) if level else frozenset())


def _points(shape: dict[str, Any], problems: Problems, index: int) -> Points:
    kind = shape.get("shape_type") or "polygon"  # files before LabelMe 3.1 have no other
    if kind not in ("polygon", "rectangle", "rotation"):
        problems.add(("shapes", index, "shape_type"), "polygon or rectangle", kind)
        return NO_POINTS
    points = read_points(shape.get("points"), problems, "shapes", index, "points")
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        return box_points(left, top, right, bottom)
    return points
