"""The sheet of the frame audit: which images are on it, and that the labels lie where the frames say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ocr.annotations import AnnotatedImage, Word, box_points
from ocr.geometry import Points
from ocr.splits import FrameEvidence, FrameRow, LabelFrame, LocatedImage, draw_sheet, frame_rows

HEIGHT, WIDTH = 200, 400  # as stored; upright, by orientation 6, 400 × 200
BOX = box_points(20, 30, 180, 70)  # fits into both frames
GREEN, ORANGE = (0, 150, 60), (220, 90, 0)


def audited(folder: Path, name: str, *polygons: Points) -> tuple[LocatedImage, FrameEvidence]:
    """Make a white image; its EXIF orientation is the first character of its name."""
    exif = Image.Exif()
    exif[0x0112] = int(name[0])
    path = folder / name
    Image.new("RGB", (WIDTH, HEIGHT), (255, 255, 255)).save(path, "jpeg", exif=exif)
    labels = AnnotatedImage(name, tuple(Word(points, "", False) for points in polygons))
    return LocatedImage(name, path, b"", labels), FrameEvidence((HEIGHT, WIDTH), int(name[0]), polygons)


@pytest.mark.parametrize(
    ("declared", "doubtful"),
    [("auto", ["3", "6"]), ("upright", ["3", "6"]), ("raw", ["3", "6", "6 tall"])],
)
def test_doubtful_is_what_a_person_should_look_at(
    tmp_path: Path, declared: LabelFrame, doubtful: list[str]
) -> None:
    tall = box_points(10, 300, 50, 390)
    images = [
        audited(tmp_path, "1", BOX),
        audited(tmp_path, "3", BOX),
        audited(tmp_path, "6", BOX),
        audited(tmp_path, "6 tall", BOX, tall),
        audited(tmp_path, "8"),
    ]
    rows = frame_rows(images, declared)
    assert [row.image.sample_id for row in rows] == ["3", "6", "6 tall", "8"]
    assert [row.image.sample_id for row in rows if row.doubtful] == doubtful
    assert [(row.raw_only, row.upright_only) for row in rows] == [(0, 0), (0, 0), (0, 1), (0, 0)]


def coloured(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Give the box, left, top, right, bottom, of the pixels of a colour."""
    ys, xs = np.nonzero((np.asarray(sheet) == colour).all(axis=2))
    return int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())


def test_labels_lie_where_each_frame_puts_them(tmp_path: Path) -> None:
    """Upright, the image is 200 wide and 400 high, which is a panel's height: one pixel is one pixel."""
    sheet = draw_sheet(frame_rows([audited(tmp_path, "6", BOX)], "upright"))
    top = 12 + 34
    left, upper, right, lower = coloured(sheet, GREEN)
    assert (left - 424, upper - top, right - 424, lower - top) == pytest.approx((20, 30, 180, 70), abs=2)
    # As raw, (x, y) goes to (200 - y, x): a turn by a quarter, clockwise.
    left, upper, right, lower = coloured(sheet, ORANGE)
    assert (left - 12, upper - top, right - 12, lower - top) == pytest.approx((130, 20, 170, 180), abs=2)


def test_a_sheet_without_doubt_and_one_with_a_broken_image(tmp_path: Path) -> None:
    assert draw_sheet([]).size == (836, 458)
    image, evidence = audited(tmp_path, "6 é", BOX, np.full((3, 2), np.inf))
    image.path.write_bytes(b"broken")
    rows: list[FrameRow] = frame_rows([(image, evidence)] * 3, "auto")
    assert draw_sheet(rows, most=2).size == (836, 12 + 2 * 446)
