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
