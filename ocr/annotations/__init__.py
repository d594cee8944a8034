"""Annotation files of many formats, read into one shape: images with words.

A format is one function `(path, images) -> Iterable[AnnotatedImage]` in a file of its own and one
line in `FORMATS`. What is wrong with one image's labels is attached to that image (`problems`), so
that it alone is refused; what is wrong with a whole file raises `AnnotationError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ocr.annotations import coco, icdar, labelme, mmocr, native, paddleocr
from ocr.annotations.detect import detect
from ocr.annotations.documents import collector_paused
from ocr.annotations.problems import AnnotationError, Problem
from ocr.annotations.words import AnnotatedImage, Word, words_digest
from pipeline.errors import ConfigError

__all__ = [
    "FORMATS",
    "AnnotatedImage",
    "AnnotationError",
    "Problem",
    "Word",
    "read_annotations",
    "words_digest",
]

Reader = Callable[[Path, Path], Iterable[AnnotatedImage]]


@dataclass(frozen=True)
class Format:
    """How to read a format, and the marks of its JSON: an outermost key and how its value begins."""

    read: Reader
    marks: tuple[str, ...] = ()


FORMATS = {
    "native": Format(native.read, ("images{",)),
    "icdar": Format(icdar.read),
    "receipts": Format(icdar.read),
    "paddleocr": Format(paddleocr.read),
    "mmocr": Format(mmocr.read, ("data_list[",)),
    "coco": Format(coco.read, ("images[", "annotations[", "imgs{", "anns{")),
    "labelme": Format(labelme.read, ("shapes[",)),
}
_MARKS = {mark: name for name, format in FORMATS.items() for mark in format.marks}


@dataclass(frozen=True)
class Annotations:
    """What an annotation file (or folder) says: the format it was read as, and its images in order."""

    format: str
    images: tuple[AnnotatedImage, ...]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that could not be understood, in the order of the images."""
        return tuple(problem for image in self.images for problem in image.problems)

    @property
    def notes(self) -> tuple[str, ...]:
        """All remarks for a person, each once."""
        return tuple(dict.fromkeys(note for image in self.images for note in image.notes))


def read_annotations(path: Path, images: Path, format: str = "auto") -> Annotations:
    """Read the annotations at `path` of the images under the folder `images`.

    `format` is a key of `FORMATS`, or `auto`: told by content. Raises `ConfigError` for a path or a
    format that is not there, `AnnotationError` where the file as a whole cannot be understood.
    """
    if not path.exists():
        raise ConfigError(f"there are no annotations at {path}: check data.splits.<split>.annotations")
    if format not in ("auto", *FORMATS):
        raise ConfigError(f"annotation format {format!r} is not known: use auto, {', '.join(FORMATS)}")
    name = detect(path, _MARKS) if format == "auto" else format
    with collector_paused():
        return Annotations(name, tuple(FORMATS[name].read(path, images)))
