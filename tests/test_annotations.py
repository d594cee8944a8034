"""Annotation formats: what each says, told by content, against samples that their projects document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocr.annotations import AnnotationError, Word, dump, read_annotations, words_digest
from tests.support.labels import lay_out, read_one

Plain = tuple[list[list[float]], str, bool]
QUAD = [[310.0, 104.0], [416.0, 141.0], [418.0, 216.0], [312.0, 179.0]]
SQUARE = [[0.0, 0.0], [4.0, 0.0], [4.0, 2.0], [0.0, 2.0]]


def plain(word: Word) -> Plain:
    return word.points.tolist(), word.text, word.ignore


DOCUMENTED = {
    "native": (
        {"images": {"a.jpg": {"words": {"2": {"points": QUAD, "text": "MASA", "ignore": True}}}}},
        [(QUAD, "MASA", True)],
    ),
    # The label file of PaddleOCR's documentation.
    "paddleocr": (
        b'a.jpg\t[{"transcription": "MASA", "points": [[310, 104], [416, 141], [418, 216], [312, 179]]}, '
        b'{"transcription": "###", "points": [[0, 0], [4, 0], [4, 2], [0, 2]], "difficult": false}, '
        b'{"transcription": "x", "points": [[0, 0], [4, 0], [4, 2], [0, 2]], "difficult": true}]\r\n',
        [(QUAD, "MASA", False), (SQUARE, "###", True), (SQUARE, "x", True)],
    ),
    # As in MMOCR's toy data set for detection; the second instance has a box only.
    "mmocr": (
        {
            "metainfo": {"dataset_type": "TextDetDataset", "task_name": "textdet"},
            "data_list": [
                {
                    "instances": [
                        {
                            "polygon": [310, 104, 416, 141, 418, 216, 312, 179],
                            "bbox": [310.0, 104.0, 418.0, 216.0],
                            "bbox_label": 0,
                            "ignore": True,
                        },
                        {"bbox": [0, 0, 4, 2], "bbox_label": 0, "text": "t"},
                    ],
                    "img_path": "a.jpg",
                    "height": 720,
                    "width": 1280,
                }
            ],
        },
        [(QUAD, "", True), (SQUARE, "t", False)],
    ),
    "coco": (
        {
            "info": {"year": 2014},
            "images": [{"id": 1, "file_name": "a.jpg", "height": 720, "width": 1280}],
            "annotations": [
                {"id": 5, "image_id": 1, "segmentation": [[310, 104, 416, 141, 418, 216, 312, 179]]},
                {
                    "id": 6,
                    "image_id": 1,
                    "bbox": [0, 0, 4, 2],
                    "segmentation": {"counts": "", "size": []},
                    "iscrowd": 1,
                },
            ],
        },
        [(QUAD, "", False), (SQUARE, "", True)],
    ),
    # COCO-Text 2: objects by id; their order in the file means nothing.
    "cocotext": (
        {
            "cats": {},
            "anns": {
                "45347": {"bbox": [0, 0, 4, 2], "image_id": 7, "id": 45347, "legibility": "illegible"},
                "45346": {
                    "mask": [310, 104, 416, 141, 418, 216, 312, 179],
                    "image_id": 7,
                    "utf8_string": "the",
                    "legibility": "legible",
                },
            },
            "imgs": {"7": {"file_name": "a.jpg", "height": 720, "width": 1280, "id": 7}},
            "imgToAnns": {},
        },
        [(QUAD, "the", False), (SQUARE, "", True)],
    ),
    "textocr": (
        {
            "imgs": {"a0": {"id": "a0", "file_name": "a.jpg", "set": "val"}},
            "anns": {
                "a0_1": {
                    "id": "a0_1",
                    "image_id": "a0",
                    "points": [0, 0, 4, 0, 4, 2, 0, 2],
                    "utf8_string": ".",
                }
            },
        },
        [(SQUARE, ".", True)],
    ),
    "labelme": (
        {
            "version": "5.5.0",
            "flags": {},
            "imageData": None,
            "shapes": [
                {
                    "label": "text",
                    "description": "MASA",
                    "points": QUAD,
                    "shape_type": "polygon",
                    "flags": {},
                },
                {"label": "###", "points": [[4, 2], [0, 0]], "shape_type": "rectangle", "flags": {}},
                {"label": "x", "points": SQUARE, "flags": {"difficult": True}},
            ],
            "imagePath": "a.jpg",
            "imageHeight": 720,
            "imageWidth": 1280,
        },
        [(QUAD, "MASA", False), (SQUARE, "###", True), (SQUARE, "x", True)],
    ),
}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_format_is_told_by_content_and_read(name: str, tmp_path: Path) -> None:
    data, expected = DOCUMENTED[name]
    format = {"cocotext": "coco", "textocr": "coco"}.get(name, name)
    found, images = read_one(tmp_path, data)
    assert found == format
    assert [plain(word) for word in images["a.jpg"].words] == expected
    assert images["a.jpg"].problems == ()
    assert read_one(tmp_path, data, format)[1].keys() == images.keys()


@pytest.mark.parametrize("name", ["mmocr", "coco", "cocotext", "labelme"])
def test_a_stated_size_is_kept_as_evidence(name: str, tmp_path: Path) -> None:
    assert read_one(tmp_path, DOCUMENTED[name][0])[1]["a.jpg"].size == (720, 1280)


@pytest.mark.parametrize(
    ("height", "size"),
    [
        (640.0, (640, 480)),
        ("640", (640, 480)),
        ("?", None),
        (0, None),
        (True, None),
        (1e999, None),
        ([], None),
    ],
)
def test_a_stated_size_may_be_a_text(height: Any, size: tuple[int, int] | None, tmp_path: Path) -> None:
    data = {"images": {"a.jpg": {"words": [], "img_h": height, "img_w": 480}}}
    assert read_one(tmp_path, data)[1]["a.jpg"].size == size


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


def test_words_of_the_native_format(tmp_path: Path) -> None:
    words = {
        "10": {"points": QUAD},
        "9": None,
        "b": {"text": "no place", "illegibility": 1},
        "a": {"points": None},
    }
    images = {
        "a": {"words": words},
        "null": {"words": None},
        "list": {"words": [{"points": []}]},
        "none": {"words": []},
    }
    _, read = read_one(tmp_path, {"images": images})
    assert list(read) == ["a", "null", "list", "none"]
    assert [plain(word) for word in read["a"].words] == [
        ([], "", False),  # 9 before 10, numbers before letters
        (QUAD, "", False),
        ([], "", False),
        ([], "no place", True),
    ]
    assert [len(image.words) for image in read.values()] == [4, 0, 1, 0]
    assert all(image.problems == () for image in read.values())


def test_labelme_names_images_relative_to_its_file(tmp_path: Path) -> None:
    named = {
        "labels/1.json": "..\\img\\1.jpg",
        "labels/sub/2.json": "2.jpg",
        "labels/3.json": "../../elsewhere/3.jpg",
        "labels/4.json": "C:\\4.jpg",
        "labels/5.json": "/etc/5.jpg",
    }
    files = {path: json.dumps({"shapes": [], "imagePath": name}).encode() for path, name in named.items()}
    lay_out(tmp_path, files | {"labels/6.json": b"{", "img/6.png": b"", "labels/7.json": b'{"shapes": []}'})
    read = read_annotations(tmp_path / "labels", tmp_path / "img")
    assert [image.file for image in read.images] == [
        "1.jpg",
        "../../elsewhere/3.jpg",
        "C:/4.jpg",
        "/etc/5.jpg",
        "6.png",
        "7",
        "sub/2.jpg",
    ]
    assert [Path(problem.file).name for problem in read.problems] == ["6.json", "7.json"]


def test_labelme_shapes_that_are_no_words(tmp_path: Path) -> None:
    shapes = [
        {"label": "c", "points": [[1, 2], [3, 4]], "shape_type": "circle"},
        5,
        {"label": 7, "points": SQUARE},
    ]
    _, read = read_one(tmp_path, {"shapes": shapes, "imagePath": "a.jpg"})
    assert [problem.where for problem in read["a.jpg"].problems] == [
        "$.shapes[0].shape_type",
        "$.shapes[1]",
        "$.shapes[2].label",
    ]


def test_native_is_what_others_convert_to(tmp_path: Path) -> None:
    for data, _ in DOCUMENTED.values():
        _, before = read_one(tmp_path, data)
        found, after = read_one(tmp_path, dump(before.values()).encode())
        assert found == "native"
        for file, image in before.items():
            assert words_digest(after[file].words) == words_digest(image.words)
            assert after[file].size == image.size


def test_label_file_that_links_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    labels, images = tmp_path / "labels", tmp_path / "images"
    labels.mkdir()
    images.mkdir()
    (tmp_path / "secret.txt").write_text("1,1,9,1,9,9,1,9,a secret\n")
    (labels / "a.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(AnnotationError, match="a link that leads out"):
        read_annotations(labels, images, "icdar")
