"""`warmstore data`: whose folder it draws into, and what becomes of an interrupted drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocr.synthetic import receipts
from tests.support.shell import Shell


def test_a_folder_of_somebody_else_is_not_drawn_into(tmp_path: Path) -> None:
    mine = tmp_path / "data/tiny/train.json"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    refused = Shell(tmp_path)("data")
    assert refused.returncode == 2 and "not drawn by" in refused.stderr
    assert mine.read_text() == "mine" and not list(tmp_path.rglob("*.jpg"))
    mine.unlink()
    assert Shell(tmp_path)("data").returncode == 0


@pytest.mark.parametrize("changed", ["val.json", "train/receipt-00002.jpg", "val/receipt-77777.jpg"])
def test_drawing_other_numbers_replaces_no_change_of_the_users(tmp_path: Path, changed: str) -> None:
    shell, mine = Shell(tmp_path), tmp_path / "data/tiny" / changed
    assert shell("data", "--train", "3", "--val", "1").returncode == 0
    with mine.open("ab") as file:
        file.write(b" ")
    before = mine.read_bytes()
    assert shell("data", "--train", "3", "--val", "1").returncode == 0  # nothing to draw
    refused = shell("data", "--train", "2", "--val", "1")
    assert (refused.returncode, mine.read_bytes()) == (2, before)
    assert f"{changed} in data/tiny changed since" in refused.stderr
    mine.rename(tmp_path / "kept")
    assert shell("data", "--train", "2", "--val", "1").returncode == 0
    assert len(list((tmp_path / "data/tiny/train").iterdir())) == 2


@pytest.mark.parametrize("again", ["data --train 3", "run canonicalize"])
def test_an_interrupted_drawing_is_drawn_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: str
) -> None:
    draw = receipts.draw_receipt

    def interrupt_the_third(rng: Any, size: Any, orientation: int) -> Any:
        if len(list(tmp_path.rglob("*.jpg"))) == 2:
            raise KeyboardInterrupt
        return draw(rng, size, orientation)

    shell = Shell(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(receipts, "draw_receipt", interrupt_the_third)
        assert shell("data", "--train", "3").returncode == 130
    half = tmp_path / "data/tiny/train/receipt-00001.jpg"
    whole = half.read_bytes()
    half.write_bytes(whole[:100])
    assert shell(*again.split()).returncode == 0
    assert half.read_bytes() == whole
    assert {path.name: len(list(path.glob("*.jpg"))) for path in half.parents[1].glob("*/")} == {
        "train": 3,
        "val": 6,
    }
