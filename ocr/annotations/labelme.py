"""LabelMe: a folder with one JSON file an image: `{"shapes": [{"label", "points", "shape_type"}], …}`.

Polygons and rectangles are words; other shapes are refused. The text is `description` where there is
one, otherwise `label`. `###` and a true flag `ignore` or `difficult` mark words that are not counted.

`imagePath` is relative to the JSON file, as LabelMe has it; where it is a bare name, the image is
looked for in the same place under the folder of images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ocr.annotations.documents import read_json
from ocr.annotations.fields import NO_POINTS, box_points, read_flag, read_points, read_size, read_text
from ocr.annotations.folders import images_by_stem, label_files
from ocr.annotations.problems import AnnotationError, Problems, failure, show
from ocr.annotations.words import AnnotatedImage, Word
from ocr.geometry import Points

IGNORED = "###"


def read(path: Path, images: Path) -> Iterator[AnnotatedImage]:
    """Read a folder of LabelMe files (or one file), in the order of their names.

    A file that does not name its image stands for the image that is called like it.
    """
    by_stem = images_by_stem(images)
    for file, stem in label_files(path, (".json",)):
        try:
            yield _image(file, stem, images)
        except AnnotationError as error:
            yield AnnotatedImage(by_stem.get(stem, [stem])[0], (), problems=error.problems)


def _image(file: Path, stem: str, images: Path) -> AnnotatedImage:
    document = read_json(file)
    named = document.get("imagePath") if isinstance(document, dict) else None
    if not isinstance(named, str):
        raise failure(file, "$.imagePath", "the name of an image", show(named))
    problems = Problems(str(file))
    shapes = document.get("shapes")
    words: tuple[Word, ...] = ()
    if isinstance(shapes, list):
        words = tuple(_word(shape, problems, index) for index, shape in enumerate(shapes))
    else:
        problems.add(("shapes",), "a list of shapes", shapes)
    size = read_size(document.get("imageHeight"), document.get("imageWidth"))
    return AnnotatedImage(_image_name(named, file, stem, images), words, size, problems.found())


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


def _word(shape: Any, problems: Problems, index: int) -> Word:
    if not isinstance(shape, dict):
        problems.add(("shapes", index), "a shape", shape)
        return Word(NO_POINTS, "", False)
    text = read_text(shape.get("description") or shape.get("label"), problems, "shapes", index, "label")
    flags = shape.get("flags")
    ignore = text == IGNORED
    if isinstance(flags, dict):
        for name in ("ignore", "difficult"):
            ignore |= read_flag(flags.get(name), problems, "shapes", index, "flags", name)
    return Word(_points(shape, problems, index), text, ignore)


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
