"""Lines of text labels: what each says, its number where it says nothing, and the image it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocr.annotations import read_annotations
from tests.support.labels import lay_out

LINES = {
    # ICDAR 2015, the receipts of ICDAR 2019, and MLT, whose script stays in the text.
    "377,117,463,117,465,130,378,130,Genaxis Theatre": (8, "Genaxis Theatre", False),
    "374,155,409,155,409,170,374,170,###": (8, "###", True),
    "110,144,383,144,383,163,110,163,NO.53 55,57 & 59, JALAN": (8, "NO.53 55,57 & 59, JALAN", False),
    '1,2,3,4,5,6,7,8,"quoted", and more': (8, '"quoted", and more', False),
    "1,2,3,4,5,6,7,8,1,000.00": (8, "1,000.00", False),
    "1,2,3,4,5,6,7,8,": (8, "", False),
    "1,2,3,4,5,6,7,8": (8, "", False),
    " 1.5, -2 ,3e1,4,5,6,7,8, spaced ": (8, " spaced ", False),
    "1,2,3,4,5,6,7,nan,x": (8, "x", False),
    # ICDAR 2013: the training set has spaces, the test set commas.
    '158 128 411 181 "Footpath"': (4, "Footpath", False),
    '38, 43, 920, 215, "Tiredness, said 1"': (4, "Tiredness, said 1", False),
    '38, 43, 920, 215, "12"': (4, "12", False),
    "38,43,920,215,plain": (4, "plain", False),
}


@pytest.mark.parametrize("line", LINES)
def test_lines_of_icdar(line: str, tmp_path: Path) -> None:
    numbers, text, ignore = LINES[line]
    lay_out(tmp_path, {"labels/gt_a.txt": line.encode(), "img/a.png": b""})
    (image,) = read_annotations(tmp_path / "labels", tmp_path / "img").images
    (word,) = image.words
    assert (image.file, word.text, word.ignore) == ("a.png", text, ignore)
    if numbers == 4:
        (left, top), (right, _), (_, bottom), _ = word.points.tolist()
        assert line.replace(",", " ").split()[:4] == [str(int(v)) for v in (left, top, right, bottom)]
    assert word.points.shape == (4, 2)


@pytest.mark.parametrize(
    "line",
    [
        "1,2,3,4,5,6,7,TEXT",
        "1,2,3",
        ",,,,,,,,",
        "a,b",
        "1;2;3;4;5;6;7;8;x",
        "1_0,2,3,4,5,6,7,8,x",
        "١,2,3,4,x",
    ],
)
def test_a_line_that_is_no_word_is_a_problem_with_its_number(line: str, tmp_path: Path) -> None:
    lay_out(tmp_path, {"labels/a.csv": f"1,2,3,4,5,6,7,8,fine\n\n{line}\n".encode(), "img/a.png": b""})
    (image,) = read_annotations(tmp_path / "labels", tmp_path / "img", "icdar").images
    assert [problem.where for problem in image.problems] == ["line 3"]


def test_encodings_and_line_ends_of_text(tmp_path: Path) -> None:
    word = "0,0,4,0,4,2,0,2,"
    files = {
        "bom.txt": f"\ufeff{word}café\r\n{word}b\r\n".encode(),
        "latin.txt": f"{word}café\n{word}b".encode("latin-1"),
        "old.txt": f"{word}café\r{word}b".encode(),
        "separators.txt": f"{word}café\n{word}b\u2028c\x85d".encode(),
        "empty.txt": b"",
    }
    read = read_annotations(lay_out(tmp_path, files), tmp_path)
    texts = {image.file: [word.text for word in image.words] for image in read.images}
    assert texts == {
        "bom": ["café", "b"],
        "latin": ["café", "b"],
        "old": ["café", "b"],
        "separators": ["café", "b\u2028c\x85d"],
        "empty": [],
    }
    assert read.notes == ("latin.txt is not UTF-8 and was read as Latin-1",)


def test_labels_find_their_images_in_folders_and_by_either_name(tmp_path: Path) -> None:
    images = {f"img/{name}": b"" for name in ("1.jpg", "sub/2.PNG", "gt_3.jpg", "4.jpg", "4.png")}
    labels = {f"labels/{name}": b"" for name in ("gt_1.txt", "sub/2.csv", "gt_3.txt", "4.txt", "gt_5.txt")}
    lay_out(tmp_path, images | labels)
    read = read_annotations(tmp_path / "labels", tmp_path / "img")
    assert {image.file for image in read.images} == {"1.jpg", "sub/2.PNG", "gt_3.jpg", "4.jpg", "5"}
    (problem,) = read.problems
    assert "4.jpg" in problem.found and "4.png" in problem.found


def test_the_receipts(receipts: Path) -> None:
    read = read_annotations(receipts / "box", receipts / "img")
    assert (read.format, len(read.images), read.problems, read.notes) == ("icdar", 209, (), ())
    assert sum(len(image.words) for image in read.images) == 11380  # the lines of all files, by wc -l
    assert read.images[0].file == "000.jpg"
    assert read.images[0].words[3].text == "NO.53 55,57 & 59, JALAN SAGU 18,"
