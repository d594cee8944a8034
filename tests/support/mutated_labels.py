"""Label files of every importer with a field renamed, moved, emptied or doubled, and a judge of what is read.

The judge knows no format. Every number of a polygon occurs once in a data set, so it looks for the polygons
that were drawn, in what was accepted and in the file. What is accepted must have been drawn; what still
stands in the file must have been accepted, refused or told.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocr.annotations import LabelOptions
from ocr.splits import AnnotatedSplit
from pipeline.digest import digest
from pipeline.errors import PipelineError

HEIGHT, WIDTH = 300, 400
IMAGES = ("a.png", "b.png", "c.png")
Polygon = list[list[float]]


@dataclass
class Drawn:
    """A word as it was drawn."""

    image: str
    points: Polygon
    text: str
    ignore: bool

    @property
    def flat(self) -> list[float]:
        """The coordinates in one list."""
        return [value for point in self.points for value in point]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        xs, ys = zip(*self.points, strict=True)
        return min(xs), min(ys), max(xs), max(ys)


def draw(corners: int) -> list[Drawn]:
    """Draw three words on each image, one of three not counted; no two numbers are alike."""
    words = []
    for number in range(9):
        left, top = 10 + 120 * (number % 3) + number, 20 + 90 * (number // 3) + 3 * number
        upper = [[left + 20.0 * i, top + 0.25 * i] for i in range(corners // 2)]
        lower = [[x + 0.5, y + 40.125] for x, y in reversed(upper)]
        words.append(Drawn(IMAGES[number // 3], upper + lower, f"WORD{number}", number % 3 == 1))
    return words


def native(words: list[Drawn]) -> dict[str, Any]:
    """The native JSON."""
    entries: dict[str, Any] = {name: {"img_h": HEIGHT, "img_w": WIDTH, "words": {}} for name in IMAGES}
    for number, word in enumerate(words):
        found = {"points": word.points, "text": word.text, "ignore": word.ignore}
        entries[word.image]["words"][str(number)] = found
    return {"labels.json": {"images": entries}}


def paddleocr(words: list[Drawn]) -> dict[str, Any]:
    """A line an image; the JSON behind the tab is mutated."""
    lines = {
        name: [
            {"transcription": w.text, "points": w.points, "difficult": w.ignore}
            for w in words
            if w.image == name
        ]
        for name in IMAGES
    }
    return {"Label.txt": lines}


def mmocr(words: list[Drawn]) -> dict[str, Any]:
    """MMOCR's data_list, with a polygon and its box."""
    entries = [
        {
            "img_path": name,
            "height": HEIGHT,
            "width": WIDTH,
            "instances": [
                {"polygon": w.flat, "bbox": list(w.box), "bbox_label": 0, "text": w.text, "ignore": w.ignore}
                for w in words
                if w.image == name
            ],
        }
        for name in IMAGES
    ]
    return {"labels.json": {"metainfo": {"task_name": "textdet"}, "data_list": entries}}


def coco(words: list[Drawn]) -> dict[str, Any]:
    """COCO's lists, with a segmentation and its box."""
    annotations = [
        {
            "id": number,
            "image_id": IMAGES.index(w.image),
            "category_id": 1,
            "segmentation": [w.flat],
            "bbox": _left_top_size(w),
            "ignore": int(w.ignore),
            "attributes": {"occluded": False, "text": w.text},
        }
        for number, w in enumerate(words)
    ]
    images = [{"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH} for i, name in enumerate(IMAGES)]
    categories = [{"id": 1, "name": "text"}]
    return {"labels.json": {"images": images, "annotations": annotations, "categories": categories}}


def cocotext(words: list[Drawn]) -> dict[str, Any]:
    """COCO-Text's objects."""
    anns = {
        str(number): {
            "id": number,
            "image_id": IMAGES.index(w.image),
            "mask": w.flat,
            "bbox": _left_top_size(w),
            "utf8_string": w.text,
            "legibility": "illegible" if w.ignore else "legible",
        }
        for number, w in enumerate(words)
    }
    imgs = {
        str(i): {"id": i, "file_name": name, "height": HEIGHT, "width": WIDTH, "set": "val"}
        for i, name in enumerate(IMAGES)
    }
    return {"labels.json": {"imgs": imgs, "anns": anns, "cats": {}}}


def labelme(words: list[Drawn]) -> dict[str, Any]:
    """A file an image, as X-AnyLabeling writes it."""
    return {
        f"gt/{name[0]}.json": {
            "version": "2.3.5",
            "imagePath": name,
            "imageHeight": HEIGHT,
            "imageWidth": WIDTH,
            "shapes": [
                {
                    "label": w.text,
                    "points": w.points,
                    "shape_type": "polygon",
                    "difficult": w.ignore,
                    "flags": {},
                }
                for w in words
                if w.image == name
            ],
        }
        for name in IMAGES
    }


def _left_top_size(word: Drawn) -> list[float]:
    left, top, right, bottom = word.box
    return [left, top, right - left, bottom - top]


def lines(columns: Callable[[Drawn], list[str]]) -> Callable[[list[Drawn]], dict[str, Any]]:
    """Text labels, a file an image; `columns` gives what follows the coordinates of a word."""

    def write(words: list[Drawn]) -> dict[str, Any]:
        return {
            f"gt/{name[0]}.txt": [
                [*(f"{value:g}" for value in w.flat), *columns(w)] for w in words if w.image == name
            ]
            for name in IMAGES
        }

    return write


def shown(word: Drawn) -> str:
    """The text as lines have it."""
    return "###" if word.ignore else word.text


@dataclass(frozen=True)
class Importer:
    """A format, how it is written, and the corners of its words."""

    format: str
    write: Callable[[list[Drawn]], dict[str, Any]]
    corners: int = 4


IMPORTERS = {
    "native": Importer("native", native),
    "paddleocr": Importer("paddleocr", paddleocr, 6),
    "mmocr": Importer("mmocr", mmocr, 6),
    "coco": Importer("coco", coco, 6),
    "cocotext": Importer("coco", cocotext),
    "labelme": Importer("labelme", labelme),
    "icdar": Importer("icdar", lines(lambda word: [shown(word)])),
    "icdar_polygon": Importer("icdar_polygon", lines(lambda word: [shown(word)]), 8),
    "mlt": Importer("mlt", lines(lambda word: ["Latin", shown(word)])),
    "rctw": Importer("rctw", lines(lambda word: [str(int(word.ignore)), f'"{word.text}"'])),
}


def mutate(files: dict[str, Any], dice: random.Random) -> str:
    """Rename, move, empty or double one field in place; gives what was done."""
    places = [place for content in files.values() for place in _places(content)]
    holder, key = dice.choice(places)
    value = copy.deepcopy(holder[key])
    done = dice.choice(("rename", "move", "empty", "double"))
    if isinstance(value, str) and isinstance(holder, list):  # a field of a line
        _mutate_field(holder, key, value, done)
    elif isinstance(value, list) and value and isinstance(value[0], str):  # a line
        holder[key : key + 1] = [value, value] if done in ("rename", "double") else []
    elif done == "rename" and isinstance(holder, dict):
        del holder[key]
        holder[dice.choice((f"{key}_x", f"{key}s", str(key).upper(), "other"))] = value
    elif done == "rename":
        holder[key] = {"other": value}
    elif done == "move":
        del holder[key]
        other = dice.choice([holder for holder, _ in places if _can_take(holder, str(key), value)])
        if isinstance(other, dict):
            other[str(key)] = value
        else:
            other.append(value)
    elif done == "empty":
        holder[key] = dice.choice((None, "", [], {}, [[]]))
    elif isinstance(holder, dict):
        holder[f"{key}_copy"] = value
    else:
        holder.insert(key, value)
    return f"{done} {key!r} of {type(holder).__name__}"


def _mutate_field(fields: list[str], at: int, value: str, done: str) -> None:
    """Mutate a field of a line; a coordinate moves behind the text, anything else before the coordinates."""
    if done == "move":
        del fields[at]
        fields.insert(len(fields) if value.replace(".", "").isdigit() else 0, value)
    elif done == "double":
        fields.insert(at, value)
    else:
        fields[at] = f"{value}x" if done == "rename" else ""


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every value, as its container and its key."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        yield content, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _can_take(holder: Any, key: str, value: Any) -> bool:
    """Whether a value means another thing there: no coordinate among coordinates, none in another's place."""
    if isinstance(holder, dict):
        return key not in holder
    numbers = isinstance(value, int | float), isinstance(value, list) and isinstance(value[0], int | float)
    return not any(numbers) and not any(isinstance(item, int | float | str) for item in holder)


def encode(name: str, content: Any) -> str:
    """Write a file of labels."""
    if name.endswith(".json"):
        return json.dumps(content)
    if isinstance(content, dict):
        return "".join(f"{image}\t{json.dumps(words)}\n" for image, words in content.items())
    return "".join(",".join(row) + "\n" for row in content)


@dataclass
class Outcome:
    """What became of a data set: the words that were accepted, and whether something was said."""

    words: list[tuple[Polygon, str, bool]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def look(root: Path, files: dict[str, str], format: str) -> Outcome:
    """Read a data set whose images lie in `root/img`."""
    for path in (root / "gt").glob("*"):
        path.unlink()
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    place = root / next(iter(files)).split("/")[0]
    split = AnnotatedSplit(root / "img", place, format, "upright", options=LabelOptions(split="val"))
    found = Outcome()
    try:
        samples = split.samples(lambda path: digest(path.read_bytes()))
    except PipelineError as error:
        found.said.append(str(error))
        return found
    found.said += [str(sample.verdict) for sample in samples if sample.verdict]
    found.said += [*split.notes, *(f"no labels for {name}" for name in split.unlabelled())]
    for sample in samples:
        if sample.verdict is None:
            found.words += [(w.points.tolist(), w.text, w.ignore) for w in sample.payload.words]
    return found


def judge(words: list[Drawn], files: dict[str, str], found: Outcome) -> str | None:
    """Say what is wrong with an outcome: polygons that were not drawn, or words that vanished in silence."""
    if found.said:
        return None
    whole = "".join(files.values())
    drawn = {json.dumps(word.points): word for word in words}
    for word in words:  # where no outline stands any more, the box beside it is what was drawn
        if not _stands(word, whole):
            drawn[json.dumps(_corners(*word.box))] = word
    accepted = {}
    for points, text, ignore in found.words:
        once = [point for i, point in enumerate(points) if point != points[i - 1]]
        if points and json.dumps(once) not in drawn:
            return f"{points} was not drawn"
        if points:
            accepted[drawn[json.dumps(once)].text] = (text, ignore)
    for word in words:
        if word.text not in accepted:
            if _stands(word, whole):
                return f"{word.text} stands in the file and was not accepted"
            continue
        ignore = accepted[word.text][1]
        texts = [text for text, _ in accepted.values()]
        if word.text in whole and not word.ignore and not any(word.text in text for text in texts):
            return f"{word.text} stands in the file and no word has it"
        if ignore != word.ignore and _flags(whole) >= 3:
            return f"{word.text} became {ignore=}"
    return None


def _stands(word: Drawn, whole: str) -> bool:
    """Whether all coordinates of an outline still stand in the file, in their order."""
    spelled = (json.dumps(word.points), json.dumps(word.flat), ",".join(f"{value:g}" for value in word.flat))
    return any(text in whole for text in spelled)


def _corners(left: float, top: float, right: float, bottom: float) -> Polygon:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def _flags(whole: str) -> int:
    """Count what marks words that are not counted, of which three were written."""
    marks = ("true", '"ignore": 1', "illegible", ",###\n", ',1,"')
    return max(whole.count(mark) for mark in marks)
