"""Annotation files of many formats, read into one shape: images with words.

A format is one function `(labels) -> Iterable[AnnotatedImage]` in a file of its own and one line in
`FORMATS`. What is wrong with one image's labels is attached to that image (`problems`), so
that it alone is refused; what is wrong with a whole file raises `AnnotationError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ocr.annotations import coco, icdar, labelme, mmocr, native, paddleocr
from ocr.annotations.corner_order import as_meant
from ocr.annotations.detect import detect
from ocr.annotations.dialects import DIALECTS
from ocr.annotations.documents import read_bytes
from ocr.annotations.entries import Pieces
from ocr.annotations.labels import PLAIN, LabelOptions, Labels, Remarks
from ocr.annotations.problems import Problem
from ocr.annotations.words import AnnotatedImage
from pipeline.collector import collector_paused
from pipeline.errors import ConfigError

Reader = Callable[[Labels], Iterable[AnnotatedImage]]


@dataclass(frozen=True)
class Format:
    """How to read a format, and the marks of its JSON: an outermost key and how its value begins."""

    read: Reader
    marks: tuple[str, ...] = ()


FORMATS = {
    "native": Format(native.read, ("images{",)),
    **{name: Format(icdar.read) for name in DIALECTS},
    "paddleocr": Format(paddleocr.read),
    "mmocr": Format(mmocr.read, ("data_list[",)),
    "coco": Format(coco.read, ("images[", "annotations[", "imgs{", "anns{")),
    "labelme": Format(labelme.read, ("shapes[",)),
}
_MARKS = {mark: name for name, format in FORMATS.items() for mark in format.marks}


@dataclass(frozen=True)
class Annotations:
    """What an annotation file (or folder) says: the format it was read as, and its images in order.

    `notes`: remarks for a person on what refuses no image. `pieces`: where the entry of each image stands in
    the file, if they were read one by one.
    """

    format: str
    images: tuple[AnnotatedImage, ...]
    notes: tuple[str, ...]
    pieces: Pieces | None = None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that could not be understood, in the order of the images."""
        return tuple(problem for image in self.images for problem in image.problems)


def read_annotations(
    path: Path, images: Path, format: str = "auto", options: LabelOptions = PLAIN
) -> Annotations:
    """Read the annotations at `path` of the images under the folder `images`.

    `format` is a key of `FORMATS`, or `auto`: told by content. Raises `ConfigError` for a path or a
    format that is not there or a format that cannot be told, `AnnotationError` where the file as a whole
    cannot be understood.
    """
    if not path.exists():
        raise ConfigError(f"there are no annotations at {path}: check data.splits.<split>.annotations")
    if format not in ("auto", *FORMATS):
        raise ConfigError(f"annotation format {format!r} is not known: use auto, {', '.join(FORMATS)}")
    labels = Labels(path, images, format, options)
    reader = detect(replace(labels, remarks=Remarks()), _MARKS) if format == "auto" else format
    with collector_paused():
        read = tuple(as_meant(FORMATS[reader].read(labels), labels))
    told, named = labels.remarks.told(), reader if labels.format == "auto" else labels.format
    return Annotations(named, read, told, labels.pieces)


def read_edited(
    before: Annotations, path: Path, images: Path, options: LabelOptions = PLAIN
) -> Annotations | None:
    """Read annotations whose file was edited, by reading what of it differs.

    None where that does not tell: they must be read whole. What decides them besides must be as it was.
    """
    if before.pieces is None or before.notes:
        return None
    data = read_bytes(path)
    change = before.pieces.change(data)
    labels = Labels(path, images, before.format, options)
    found = change and native.read_changed(labels, data, change)
    if not change or not found:
        return None
    new, pieces = tuple(as_meant(found[0], labels)), found[1]
    listed = (*before.images[: change.first], *new, *before.images[change.last :])
    if labels.remarks.told() or len({image.file for image in listed}) != len(listed):
        return None
    return Annotations(before.format, listed, (), before.pieces.replaced(change, pieces))
