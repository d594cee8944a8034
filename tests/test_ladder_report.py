"""The ladder as a table and as a picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ocr.datasets.ladder import Measurement
from warmstore.ladder_report import COLUMNS, draw_ladder, ladder_rows

MEASURED = [
    Measurement(rung, epoch, 10, seconds, 0.5 * seconds, 1.0, 10**8)
    for rung, seconds in (("plain", 2.0), ("store", 0.02))
    for epoch in range(2)
]


def test_rows_compare_every_rung_with_the_first() -> None:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in ladder_rows(MEASURED)]
    assert [row["speed-up"] for row in rows] == ["1.0 ×", "1.0 ×", "100 ×", "100 ×"]
    assert rows[2] == {
        "rung": "store",
        "epoch": 0,
        "samples": "500/s",
        "404 samples in": "0.81 s",
        "speed-up": "100 ×",
        "CPU a sample": "1.00 ms",
        "opened in": "1.00 s",
        "memory": "100.00 MB",
    }


def test_the_picture_is_one(tmp_path: Path) -> None:
    draw_ladder(MEASURED, "reading", tmp_path / "ladder.png")
    with Image.open(tmp_path / "ladder.png") as image:
        assert image.format == "PNG"
