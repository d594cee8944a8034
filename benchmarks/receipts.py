"""Receipts to measure on: a folder with `img/NNN.jpg` and `box/NNN.csv`, or drawn ones in that layout."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ocr.synthetic import draw_receipt

RECEIPTS = "a folder with img/NNN.jpg and box/NNN.csv; drawn receipts otherwise"


def kind_of(folder: Path | None) -> str:
    """Say which receipts `receipts_in` gives, for the record."""
    return "real receipts" if folder else "drawn receipts"


def first_of(receipts: Path, count: int, folder: Path) -> Path:
    """Copy the first receipts into a folder below `folder`: in one with more, the labels of all are read."""
    few = folder.absolute() / "receipts"
    for part in ("img", "box"):
        (few / part).mkdir(parents=True)
    for image in sorted((receipts / "img").iterdir())[:count]:
        for name in (f"img/{image.name}", f"box/{image.stem}.csv"):
            shutil.copyfile(receipts / name, few / name)
    return few


@contextmanager
def receipts_in(folder: Path | None, count: int = 24) -> Iterator[Path]:
    """Give the folder, or one with `count` receipts that are drawn and go again."""
    if folder:
        yield folder
        return
    with TemporaryDirectory() as drawn:
        for part in ("img", "box"):
            Path(drawn, part).mkdir()
        for index in range(count):
            receipt = draw_receipt(np.random.default_rng(index), (1152, 864))
            Path(drawn, "img", f"{index:03}.jpg").write_bytes(receipt.jpeg)
            lines = [
                ",".join([*(f"{value:.0f}" for value in quad.ravel()), "###" if illegible else text])
                for quad, text, illegible in zip(
                    receipt.points, receipt.texts, receipt.illegible, strict=True
                )
            ]
            Path(drawn, "box", f"{index:03}.csv").write_text("\n".join(lines), encoding="utf-8")
        yield Path(drawn)
