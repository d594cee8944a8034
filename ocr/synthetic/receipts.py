"""Synthetic receipts: printed words on creased paper, photographed askew, with exact polygons.

A receipt is printed with Pillow as an ink mask, laid on a table by a random homography, lit
unevenly and saved as a JPEG. One image in four carries an EXIF orientation, and all eight occur.
Polygons are annotated in the *upright* frame: the picture as a viewer that honours EXIF shows it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from zlib import crc32

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw, ImageFont

from ocr.images import turn
from ocr.synthetic.photograph import Plane, photograph
from pipeline.errors import ConfigError

SHOPS = ("CAFÉ LUNA", "GRÜNER MARKT", "CORNER BAKERY", "BOOK HARBOUR", "FRESH & GO", "NOODLE BAR")
GOODS = (
    "COFFEE", "CROISSANT", "ESPRESSO", "OLIVE OIL", "BANANAS", "RYE BREAD", "CHEESE", "NOTEBOOK", "APPLES",
    "GREEN TEA", "SOAP", "UMBRELLA", "PAPER A4", "MILK 1L", "JAM", "SALAD BOWL", "LEMONADE", "CANDLES",
    "TOMATOES", "PASTA", "YOGHURT", "SHAMPOO", "EGGS x12", "ENVELOPES", "BATTERIES", "CHOCOLATE", "MUSHROOMS",
)  # fmt: skip
FAREWELLS = ("THANK YOU!", "PLEASE COME AGAIN", "CHANGE WITHIN 30 DAYS", "MERCI & À BIENTÔT")
FONTS = ("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf", "DejaVuSans.ttf", "DejaVuSerif-Bold.ttf")

# The orientations of phones come first, so that a small split has them; each eight images with EXIF have all.
TURNS = (6, 8, 3, 1, 5, 7, 2, 4)
EXIF_EVERY = 4


@dataclass(frozen=True)
class Receipt:
    """A photographed receipt: `jpeg` bytes, upright `size` (height, width), EXIF `orientation` (0: no tag).

    Per word: its text, its corners in the upright frame (float64 (4, 2), clockwise from the text's
    top left) and whether it is illegible.
    """

    jpeg: bytes
    size: tuple[int, int]
    orientation: int
    texts: tuple[str, ...]
    points: NDArray[np.float64]
    illegible: tuple[bool, ...]


def generate(
    root: Path,
    train: int = 48,
    val: int = 24,
    seed: int = 0,
    size: tuple[int, int] = (1152, 864),
    report: Callable[[str, int], None] | None = None,
) -> None:
    """Write `root/{train,val}/receipt-NNNNN.jpg` and `root/{train,val}.json` in the native format.

    Image i of a split depends on `seed`, the split's name, i and `size` alone: a larger set starts
    with the smaller one, and no image of `val` is in `train`. An annotation file appears, in one
    rename, after its images are complete; receipts of an earlier set are removed. `size` is the
    typical upright (height, width) in pixels; `report(split, done)` is called after each image.
    Raises `ConfigError` on a negative count.
    """
    if min(train, val) < 0:
        raise ConfigError(f"synthetic receipts: a split cannot have {min(train, val)} images; use 0 or more")
    for split, count in (("train", train), ("val", val)):
        folder, annotations = root / split, root / f"{split}.json"
        folder.mkdir(parents=True, exist_ok=True)
        annotations.unlink(missing_ok=True)
        for stale in folder.glob("receipt-*.jpg"):
            stale.unlink()
        images = {}
        for index in range(count):
            rng = np.random.default_rng([seed, crc32(split.encode()), index])
            receipt = draw_receipt(rng, size, _orientation(index))
            file = f"receipt-{index:05d}.jpg"
            (folder / file).write_bytes(receipt.jpeg)
            images[file] = {"img_h": receipt.size[0], "img_w": receipt.size[1], "words": _words(receipt)}
            if report:
                report(split, index + 1)
        aside = annotations.with_suffix(".json.partial")
        aside.write_text(json.dumps({"images": images}, ensure_ascii=False, indent=1), encoding="utf-8")
        aside.replace(annotations)


def draw_receipt(rng: np.random.Generator, size: tuple[int, int], orientation: int = 0) -> Receipt:
    """Draw one receipt from `rng`; `size` is the typical upright (height, width), varied by up to 10 %."""
    height, width = (max(64, round(side * rng.uniform(0.9, 1.1))) for side in size)
    if rng.random() < 0.5:
        # Whole JPEG blocks: half of the images can be turned without loss.
        height, width = height // 16 * 16, width // 16 * 16
    paper = _print_receipt(rng, round(height * 0.86), round(width * rng.uniform(0.66, 0.8)))
    pixels, to_photo = photograph(rng, paper.ink(), (height, width))
    quads = np.array([word.quad for word in paper.words], np.float64).reshape(-1, 4, 2)
    points = cv2.perspectiveTransform(quads.reshape(1, -1, 2), to_photo).reshape(-1, 4, 2)
    return Receipt(
        jpeg=_encode(rng, pixels, orientation),
        size=(height, width),
        orientation=orientation,
        texts=tuple(word.text for word in paper.words),
        points=points,
        illegible=tuple(word.illegible for word in paper.words),
    )


def _orientation(index: int) -> int:
    turn, first = divmod(index, EXIF_EVERY)
    return TURNS[turn % len(TURNS)] if first == 0 else 0


def _words(receipt: Receipt) -> dict[str, dict[str, object]]:
    return {
        f"{number:04d}": {"points": np.round(quad, 2).tolist(), "text": text, "ignore": illegible}
        for number, (quad, text, illegible) in enumerate(
            zip(receipt.points, receipt.texts, receipt.illegible, strict=True), start=1
        )
    }


def _encode(rng: np.random.Generator, pixels: NDArray[np.uint8], orientation: int) -> bytes:
    # A quarter turn is undone by the one the other way, all else by itself.
    image = turn(Image.fromarray(pixels), {6: 8, 8: 6}.get(orientation, orientation))
    exif = Image.Exif()
    if orientation:
        exif[ExifTags.Base.Orientation] = orientation
    jpeg = BytesIO()
    quality, subsampling = int(rng.integers(60, 96)), int(rng.choice((0, 2)))
    image.save(jpeg, "JPEG", quality=quality, subsampling=subsampling, exif=exif)
    return jpeg.getvalue()


# ---------------------------------------------------------------------------------------------- printing


@dataclass
class _Word:
    text: str
    box: tuple[float, float, float, float]
    illegible: bool = False

    @property
    def quad(self) -> list[tuple[float, float]]:
        left, top, right, bottom = self.box
        return [(left, top), (right, top), (right, bottom), (left, bottom)]


@dataclass
class _Paper:
    """An ink mask under construction: prints downwards from `y`, and keeps the words' boxes."""

    rng: np.random.Generator
    height: int
    width: int
    em: float
    font: str
    y: float
    words: list[_Word] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._image = Image.new("L", (self.width, self.height))
        self._draw = ImageDraw.Draw(self._image)
        self._margin = 0.07 * self.width

    def ink(self) -> Plane:
        """The mask so far: float32 (height, width), 0 for paper and 1 for ink."""
        return np.asarray(self._image).astype(np.float32) / np.float32(255)

    def feed(self, lines: float = 1.0) -> None:
        self.y += 1.75 * self.em * lines

    def full(self, lines: float) -> bool:
        return self.y + 1.75 * self.em * lines > self.height

    def row(self, *cells: tuple[str, float, float], scale: float = 1.0, bold: bool = False) -> None:
        """Print cells of one line: (text, column as a share of the width, anchor 0 left … 1 right)."""
        font = _font(self.font.replace("Mono.ttf", "Mono-Bold.ttf") if bold else self.font, self.em * scale)
        gap = 0.9 * self.em * scale
        for text, column, anchor in cells:
            words = text.split()
            lengths = [font.getlength(word) for word in words]
            x = self._margin + column * (self.width - 2 * self._margin)
            x -= anchor * (sum(lengths) + gap * (len(words) - 1))
            for word, length in zip(words, lengths, strict=True):
                self._word(x, word, font)
                x += length + gap
        self.feed(scale)

    def rule(self) -> None:
        dash = max(2, round(0.4 * self.em))
        for x in range(round(self._margin), round(self.width - self._margin), 2 * dash):
            self._draw.line(
                (x, self.y - 0.4 * self.em, x + dash, self.y - 0.4 * self.em), 200, max(1, dash // 5)
            )
        self.feed(0.7)

    def barcode(self) -> None:
        bar = max(1, round(0.1 * self.em))
        x, right = round(0.22 * self.width), round(0.78 * self.width)
        while x < right:
            thick = bar * int(self.rng.integers(1, 4))
            self._draw.rectangle((x, self.y - self.em, x + thick - 1, self.y + 1.2 * self.em), 230)
            x += thick + bar * int(self.rng.integers(1, 4))
        self.feed(2)

    def _word(self, x: float, text: str, font: ImageFont.FreeTypeFont) -> None:
        ink = self._draw.textbbox((x, self.y), text, font=font, anchor="ls")
        self._draw.text((x, self.y), text, fill=int(self.rng.integers(190, 256)), font=font, anchor="ls")
        pad = 0.08 * self.em
        box = (ink[0] - pad, ink[1] - pad, ink[2] + pad, ink[3] + pad)
        illegible = bool(self.rng.random() < 0.03)
        if illegible:
            for _ in range(14):
                x0, x1 = self.rng.uniform(box[0], box[2], 2)
                y0, y1 = self.rng.uniform(box[1], box[3], 2)
                self._draw.line((x0, y0, x1, y1), 200, max(1, round(0.12 * self.em)))
        self.words.append(_Word(text, box, illegible))


def _font(name: str, em: float) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    # The basic layout is part of Pillow; the other one depends on libraries of the system.
    return ImageFont.truetype(path, max(6, round(em)), layout_engine=ImageFont.Layout.BASIC)


def _print_receipt(rng: np.random.Generator, height: int, width: int) -> _Paper:
    em = width / rng.uniform(20, 24)
    paper = _Paper(rng, height, width, em, str(rng.choice(FONTS)), y=2.4 * em)
    paper.row((str(rng.choice(SHOPS)), 0.5, 0.5), scale=1.35, bold=True)
    paper.row((f"TEL {rng.integers(100, 999)} {rng.integers(10000, 99999)}", 0.5, 0.5))
    date = f"{rng.integers(1, 29):02d}/{rng.integers(1, 13):02d}/20{rng.integers(15, 26)}"
    paper.row((date, 0, 0), (f"{rng.integers(8, 22):02d}:{rng.integers(0, 60):02d}", 1, 1))
    paper.rule()
    total = 0
    items = int(rng.integers(4, 11))
    while items and not paper.full(7):
        amount, price = int(rng.integers(1, 4)), int(rng.integers(90, 3000))
        total += amount * price
        goods = str(rng.choice(GOODS))
        paper.row((f"{amount}x", 0, 0), (goods, 0.15, 0), (f"{amount * price / 100:.2f}", 1, 1))
        items -= 1
    paper.rule()
    paper.row(("TOTAL", 0, 0), (f"€{total / 100:.2f}", 1, 1), scale=1.2, bold=True)
    paper.row((str(rng.choice(("CASH", "VISA CARD", "DEBIT"))), 0, 0), (f"{total / 100:.2f}", 1, 1))
    if rng.random() < 0.6 and not paper.full(4):
        paper.feed(0.6)
        paper.barcode()
    if not paper.full(1.5):
        paper.feed(0.4)
        paper.row((str(rng.choice(FAREWELLS)), 0.5, 0.5))
    return paper
