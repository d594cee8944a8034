"""Telling a format by content: the outermost keys of JSON, the first line of text, the files in a folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ocr.annotations import icdar
from ocr.annotations.documents import parse_json, read_lines
from ocr.annotations.folders import walk_files
from ocr.annotations.labels import Labels
from ocr.annotations.problems import AnnotationError, failure

_KEY = re.compile(r'\s*[{,]\s*("(?:[^"\\]|\\.)*")\s*:\s*')
_LOOKED_AT = 20  # files of a folder that are opened to tell the format


def detect(labels: Labels, marks: Mapping[str, str]) -> str:
    """Name the format of `labels.path`. `marks` gives the format for each mark, such as `images{`.

    Raises `AnnotationError` where no format, or none for certain, can be told.
    """
    return _folder(labels, marks) if labels.path.is_dir() else _file(labels.path, labels, marks)


def _file(path: Path, labels: Labels, marks: Mapping[str, str]) -> str:
    lines = read_lines(path, labels)
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("{"):
        return _json("\n".join(lines), path, marks)
    if first.partition("\t")[2].lstrip().startswith("["):
        return "paddleocr"
    if icdar.is_word(first):
        return "icdar"
    raise failure(path, "the file", "a known annotation format", repr(first[:60]))


def _json(text: str, path: Path, marks: Mapping[str, str]) -> str:
    seen = []
    try:
        for mark in _outline(text):
            if mark in marks:
                return marks[mark]
            seen.append(mark[:-1])
    except (ValueError, RecursionError):
        pass  # told below, with the place
    parse_json(text, path, "")
    keys = ", ".join(repr(key[:20]) for key in seen[:8])
    raise failure(path, "$", "the keys of a known annotation format", keys or "none")


def _outline(text: str) -> Iterator[str]:
    """Give each key of the outermost object with the first character of its value."""
    decoder = json.JSONDecoder()
    at = 0
    while key := _KEY.match(text, at):
        at = key.end()
        yield json.loads(key[1]) + text[at : at + 1]
        _, at = decoder.raw_decode(text, at)


def _folder(labels: Labels, marks: Mapping[str, str]) -> str:
    path = labels.path
    names = list(walk_files(path, labels.options.follow_links))
    texts = [path / name for name in names if name.lower().endswith(icdar.SUFFIXES)]
    jsons = [path / name for name in names if name.lower().endswith(".json")]
    for file in texts[:_LOOKED_AT]:
        with suppress(AnnotationError):  # one that is broken is refused alone
            if any(icdar.is_word(line) for line in read_lines(file, labels)):
                return "icdar"
    for file in jsons[:_LOOKED_AT]:
        with suppress(AnnotationError):
            if _file(file, labels, marks) == "labelme":
                return "labelme"
    if jsons:
        _file(jsons[0], labels, marks)  # which tells what is wrong with it
        raise failure(
            path, "the folder", "a LabelMe file an image, or the path of one JSON file", jsons[0].name
        )
    if texts:
        return "icdar"
    raise failure(path, "the folder", "label files: *.txt, *.csv or *.json", f"{len(names)} other files")
