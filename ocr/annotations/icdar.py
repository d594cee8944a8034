"""ICDAR text: a folder with one text file an image, one word a line, in one of `dialects.DIALECTS`.

`###` marks a word that is not counted. With `auto` all lines together tell the dialect. UTF-8, with or
without BOM, or Latin-1, or the split's encoding.

The labels of `a/001.jpg` are in `a/001.txt`, `a/001.csv`, `a/001.jpg.txt`, `a/gt_001.txt` or `a/gt_001.csv`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ocr.annotations.detect_dialect import detect_dialect
from ocr.annotations.dialects import DIALECTS, Line, cut, icdar, seems_damaged
from ocr.annotations.documents import read_lines
from ocr.annotations.folders import images_by_stem, label_files
from ocr.annotations.labels import Labels
from ocr.annotations.primitives import NO_POINTS
from ocr.annotations.problems import AnnotationError, Problem, Problems
from ocr.annotations.words import AnnotatedImage, Word
from pipeline.errors import ConfigError

SUFFIXES = (".txt", ".csv")

Numbered = list[tuple[int, Line]]


def read(labels: Labels) -> Iterator[AnnotatedImage]:
    """Read a folder of text files (or one file), in the order of their names."""
    by_stem = images_by_stem(labels)
    files = [
        (file, _image_names(stem, by_stem), _lines(file, labels))
        for file, stem in label_files(labels, SUFFIXES, by_stem)
    ]
    lines = [line for *_, found in files if isinstance(found, list) for _, line in found]
    if labels.format == "auto":
        labels.format = detect_dialect(str(labels.path), lines)
    elif labels.format in ("icdar", "receipts"):
        _tell_other_dialect(labels, lines)
    with_text = any(len(line.fields) > len(line.numbers) // 2 * 2 for line in lines)
    for file, names, found in files:
        if isinstance(found, list):
            yield _image(file, names, found, labels.format, with_text)
        else:
            yield AnnotatedImage(names[0], (), problems=found)


def is_word(line: str) -> bool:
    """Say whether a line is a word of these dialects; all others are wider than `icdar`."""
    return icdar(cut(line)) is not None


def _tell_other_dialect(labels: Labels, lines: Sequence[Line]) -> None:
    """Say where all lines look like a wider dialect than the one that was named."""
    with suppress(ConfigError):  # named, since they do not tell
        if (found := detect_dialect(str(labels.path), lines)) != "icdar":
            labels.remark(f"looks like {found} and was read as {labels.format}, as its format says")


def _lines(file: Path, labels: Labels) -> Numbered | tuple[Problem, ...]:
    try:
        lines = read_lines(file, labels)
    except AnnotationError as error:
        return error.problems
    return [(number, cut(line)) for number, line in enumerate(lines, start=1) if line.strip()]


def _image_names(stem: str, by_stem: Mapping[str, list[str]]) -> list[str]:
    """Give the images that may be meant by a label file: one, unless they differ in the suffix only."""
    folder, slash, name = stem.rpartition("/")
    plain = folder + slash + name.removeprefix("gt_")
    for called in (stem, plain):
        if called in by_stem:
            return by_stem[called]
        if called in by_stem.get(called.rpartition(".")[0], ()):  # a.jpg.txt
            return [called]
    return [plain]


def _image(file: Path, names: list[str], lines: Numbered, format: str, with_text: bool) -> AnnotatedImage:
    problems = Problems(str(file), "")
    if len(names) > 1:
        problems.note("the file", f"one image of this name in {names[0]!r} and its like", str(names))
    words = tuple(_word(line, format, with_text, problems, number) for number, line in lines)
    return AnnotatedImage(names[0], words, None, problems.found())


def _word(line: Line, format: str, with_text: bool, problems: Problems, number: int) -> Word:
    read_line, expected = DIALECTS[format]
    word = read_line(line)
    if word is None or seems_damaged(line, format, word, with_text):
        problems.note(f"line {number}", expected, repr(line.raw[:80]))
        return Word(NO_POINTS, "", False)
    return word
