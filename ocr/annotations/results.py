"""What detectors write: PaddleOCR's lines, ICDAR's result files, COCO results; also any format of labels.

| what | an image's regions |
| --- | --- |
| PaddleOCR | a line `image<TAB>[[[x, y], …], …]`, or `image<TAB>[{"points": [[x, y], …], …}, …]` |
| ICDAR | `res_NNN.txt` in a folder: lines `x1,y1,…,xn,yn` or `left,top,right,bottom`; no more of it is read |
| COCO results | one JSON list: `image_id`, and `segmentation`, another outline, or `bbox` |

Texts and scores are not read: localisation is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path, PurePosixPath

import numpy as np

from ocr.annotations import coco
from ocr.annotations.documents import parse_json, read_json, read_lines
from ocr.annotations.folders import label_files
from ocr.annotations.formats import read_annotations
from ocr.annotations.labels import Labels
from ocr.annotations.primitives import NO_POINTS, box_points, read_points
from ocr.annotations.problems import AnnotationError, Problem, Problems, failure
from ocr.geometry import Points
from pipeline.errors import ConfigError

Regions = dict[str, list[Points]]
"""Polygons (P, 2) by the image's name as it is written."""
_TEXT = (".txt", ".csv")
_PREFIXES = ("res_", "gt_")


def read_results(
    path: Path, images: Path, format: str = "auto", ids: Mapping[str, str] | None = None
) -> Regions:
    """Read the regions that a detector found in the images under the folder `images`.

    `format` is `auto`, told by content, or a format of labels. `ids` gives an image's name for the `image_id`
    of COCO results, which are names themselves where it has none. Raises ConfigError for a path that is
    not there, AnnotationError that lists everything that cannot be understood.
    """
    if not path.exists():
        raise ConfigError(f"there are no detections at {path}; give the file or folder that a detector wrote")
    labels = Labels(path, images)
    if format == "auto" and path.is_dir() and any(path.rglob("*.txt")):
        return _collected(_icdar(labels))
    if format == "auto" and path.is_file():
        first = next((line for line in read_lines(path, labels) if line.strip()), "").lstrip()
        if first.startswith("["):
            return _collected(_coco(labels, ids or {}))
        if first.partition("\t")[2].lstrip().startswith("["):
            return _collected(_paddleocr(labels))
    read = read_annotations(path, images, format)
    if read.problems:
        raise AnnotationError(read.problems)
    return {image.file: [word.points for word in image.words] for image in read.images}


def image_ids(annotations: Path, images: Path) -> dict[str, str]:
    """Give the names of images by their ids in a COCO file; none where the annotations are something else."""
    with suppress(AnnotationError):
        return coco.image_names(Labels(annotations, images)) if annotations.is_file() else {}
    return {}


def match_names(names: Iterable[str], sample_ids: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Give the sample that each name means, and the names that mean none.

    A name is a sample's path, or the end of it where one sample alone has that; with or without a suffix,
    and with ICDAR's `res_` or `gt_` before it.
    """
    meanings: dict[str, set[str]] = {}
    for sample_id in sample_ids:
        path = PurePosixPath(sample_id)
        for name in {sample_id, path.name, str(path.with_suffix("")), path.stem}:
            meanings.setdefault(name, set()).add(sample_id)
    found: dict[str, str] = {}
    unknown = []
    for name in names:
        means = next((means for key in _keys(name) if (means := meanings.get(key))), set())
        if len(means) == 1:
            found[name] = next(iter(means))
        else:
            unknown.append(name)
    return found, unknown


def _keys(name: str) -> Iterator[str]:
    """Give what a name may be called by, the most exact first."""
    path = PurePosixPath(name.replace("\\", "/"))
    bare = path.name
    for prefix in _PREFIXES:
        bare = bare.removeprefix(prefix)
    yield from (name, str(path), bare, str(path.parent / path.stem), PurePosixPath(bare).stem)


def _collected(read: Iterable[tuple[str, list[Points], Problems]]) -> Regions:
    regions: Regions = {}
    problems: list[Problem] = []
    for name, polygons, found in read:
        regions.setdefault(name, []).extend(polygons)
        problems += found.found()
    if problems:
        raise AnnotationError(problems)
    return regions


def _paddleocr(labels: Labels) -> Iterator[tuple[str, list[Points], Problems]]:
    for number, line in enumerate(read_lines(labels.path, labels), start=1):
        if not line.strip():
            continue
        name, tab, text = line.partition("\t")
        start = f"line {number}: "
        problems = Problems(str(labels.path), f"{start}$")
        listed = parse_json(text, labels.path, start) if tab else None
        if not isinstance(listed, list):
            problems.note(f"line {number}", "an image, a tab and a JSON list", repr(line[:60]))
            listed = []
        outlines = [word.get("points") if isinstance(word, dict) else word for word in listed]
        polygons = [read_points(outline, problems, index) for index, outline in enumerate(outlines)]
        yield name, polygons, problems


def _icdar(labels: Labels) -> Iterator[tuple[str, list[Points], Problems]]:
    for file, stem in label_files(labels, _TEXT, {}):
        problems, polygons = Problems(str(file)), []
        for number, line in enumerate(read_lines(file, labels), start=1):
            if not line.strip():
                continue
            numbers = _leading_numbers(line.split(",") if "," in line else line.split())
            if len(numbers) < 4:
                expected = "coordinates x1,y1,… or left,top,right,bottom"
                problems.note(f"line {number}", expected, repr(line[:60]))
            elif len(numbers) < 6:
                polygons.append(box_points(*numbers[:4]))
            else:
                polygons.append(np.array(numbers[: len(numbers) // 2 * 2]).reshape(-1, 2))
        yield stem, polygons, problems


def _leading_numbers(fields: Sequence[str]) -> list[float]:
    """Give the numbers that a line begins with: coordinates, and a score where there is an odd one."""
    return [float(field) for field in takewhile(_is_number, fields)]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _coco(labels: Labels, ids: Mapping[str, str]) -> Iterator[tuple[str, list[Points], Problems]]:
    listed = read_json(labels.path, labels)
    if not isinstance(listed, list):
        raise failure(labels.path, "$", "a list of results", type(listed).__name__)
    for index, entry in enumerate(listed):
        problems = Problems(str(labels.path), "$")
        identity = entry.get("image_id") if isinstance(entry, dict) else None
        if type(identity) not in (int, str):
            problems.add((index, "image_id"), "an id or a name", identity)
            yield "", [], problems
            continue
        places = coco.places((index, entry), labels, problems)
        yield ids.get(str(identity), str(identity)), [p for p in places if p is not NO_POINTS], problems
