"""Words that are drawn, in the label files of every importer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
