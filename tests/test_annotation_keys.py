"""Keys that change the meaning, fields that say nothing, shapes that mean another: read, or told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocr.annotations import PLAIN, Annotations, LabelOptions, read_annotations
from pipeline.errors import ConfigError
from tests.support.labels import lay_out

QUAD = [[20.0, 20.0], [120.0, 22.0], [119.0, 60.0], [20.0, 61.0]]
FLAT = [value for point in QUAD for value in point]
BOX = [20.0, 20.0, 100.0, 40.0]
RECT = [20, 20, 120, 20, 120, 60, 20, 60]
CORNERS = [[20.0, 20.0], [120.0, 20.0], [120.0, 60.0], [20.0, 60.0]]
TURNED = [[90.0, -10.0], [90.0, 90.0], [50.0, 90.0], [50.0, -10.0]]


def coco(*annotations: dict[str, Any], **document: Any) -> dict[str, Any]:
    listed = [{"id": i, "image_id": 1, "category_id": 1, **found} for i, found in enumerate(annotations)]
    return {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": listed, **document}


def native(**word: Any) -> dict[str, Any]:
    return {"images": {"a.jpg": {"words": [{"text": "t", **word}]}}}


def mmocr(**word: Any) -> dict[str, Any]:
    return {"data_list": [{"img_path": "a.jpg", "instances": [word]}]}


def labelme(**shape: Any) -> dict[str, Any]:
    return {"imagePath": "a.jpg", "shapes": [{"label": "t", "points": QUAD, **shape}]}


def paddle(**word: Any) -> bytes:
    return f"a.jpg\t{json.dumps([{'transcription': 't', 'points': QUAD, **word}])}\n".encode()


def read(folder: Path, data: Any, options: LabelOptions = PLAIN) -> Annotations:
    encoded = data if isinstance(data, bytes) else json.dumps(data).encode()
    return read_annotations(
        lay_out(folder, {"labels.json": encoded}) / "labels.json", folder, "auto", options
    )


def is_told(notes: tuple[str, ...], told: str | None) -> bool:
    return not notes if told is None else any(told in note for note in notes)


# The document; points, text and flag of its one word; what is told, if anything.
READ: list[tuple[Any, Any, str | None]] = [
    # X-AnyLabeling writes `difficult` beside the label, LabelMe's users define flags.
    (labelme(shape_type="rotation", difficult=True, direction=0.0, attributes={}), (QUAD, "t", True), None),
    (labelme(flags={"difficult": True}), (QUAD, "t", True), None),
    (labelme(flags={"blurred": True}), (QUAD, "t", False), "holds shapes[].flags.'blurred'"),
    (labelme(score=0.5, attributes={"a": "b"}), (QUAD, "t", False), "holds shapes[].'attributes'"),
    # CVAT: a box before it was turned, clockwise about its centre; what users define is in `attributes`.
    (coco({"segmentation": [], "bbox": BOX, "attributes": {"rotation": 90.0}}), (TURNED, "", False), None),
    (coco({"segmentation": [FLAT], "bbox": BOX, "attributes": {"rotation": 9}}), (QUAD, "", False), None),
    (coco({"segmentation": [RECT], "bbox": BOX, "attributes": {"rotation": 90}}), (TURNED, "", False), None),
    (coco({"bbox": BOX, "attributes": {"rotation": 0.0, "occluded": False}}), (CORNERS, "", False), None),
    (coco({"bbox": BOX, "attributes": {"text": "a", "difficult": True}}), (CORNERS, "a", True), None),
    (coco({"bbox": BOX, "attributes": {"colour": "red"}}), (CORNERS, "", False), "attributes.'colour'"),
    # AdelaiDet: points in `polys`; characters by number and curves are not read.
    (coco({"polys": FLAT, "bbox": BOX, "rec": [3, 4]}), (QUAD, "", False), "holds annotations[].'rec'"),
    (coco({"bbox": BOX, "bezier_pts": [1.0] * 16}), (CORNERS, "", False), "annotations[].'bezier_pts'"),
    (coco({"bbox": BOX, "iscrowd": 1}), (CORNERS, "", True), "iscrowd"),
    (coco({"bbox": BOX, "difficult": 1}), (CORNERS, "", True), None),
    (native(points=QUAD, illegibility=True), (QUAD, "t", True), None),
    (native(points=QUAD, difficult=True, language="en"), (QUAD, "t", True), None),
    (native(points=QUAD, text=None, transcription="b"), (QUAD, "b", False), None),
    (native(points=QUAD, legible=False, dont_care=1), (QUAD, "t", False), "holds words.'dont_care'"),
    (paddle(illegibility=True), (QUAD, "t", True), None),
    (paddle(key_cls="total", score=0.7), (QUAD, "t", False), "holds 'score'"),
    (mmocr(polygon=FLAT, difficult=True), (QUAD, "", False), "holds instances[].'difficult'"),
    (mmocr(polygon=FLAT, bbox_label=2), (QUAD, "", False), "bbox_label 2, which are words too"),
    # A field that is no outline beside a good box.
    (coco({"segmentation": [[]], "bbox": BOX}), (CORNERS, "", False), "segmentation that is no outline"),
    (coco({"segmentation": [[20, 20, 120, 60]], "bbox": BOX}), (CORNERS, "", False), "no outline"),
    (coco({"segmentation": [20, 20, 120, 60], "bbox": BOX}), (CORNERS, "", False), "no outline"),
    (coco({"segmentation": [[0] * 8], "bbox": BOX}), (CORNERS, "", False), "no outline"),
    (coco({"segmentation": [[20, 20, 70, 20, 120, 20]], "bbox": BOX}), (CORNERS, "", False), "no outline"),
    (coco({"segmentation": [[20, 20, 120, 60, 20, 20]], "bbox": BOX}), (CORNERS, "", False), "no outline"),
    (coco({"segmentation": [[0] * 6]}), ([[0.0, 0.0]] * 3, "", False), "no outline"),  # the repair counts it
    (mmocr(polygon=[0] * 8, bbox=[20, 20, 120, 60]), (CORNERS, "", False), "no outline"),
    (coco({"segmentation": [FLAT, [1, 2]], "bbox": BOX}), (QUAD, "", False), "some parts"),
    (coco({"segmentation": [[]], "mask": FLAT, "bbox": BOX}), (QUAD, "", False), "no outline"),
    (coco({"segmentation": {"counts": "", "size": []}, "bbox": BOX}), (CORNERS, "", False), "run-length"),
    (coco({"segmentation": [[20, 20, 120, 60]]}), (CORNERS, "", False), "two corners"),
    (mmocr(polygon=[], bbox=[20, 20, 120, 60]), (CORNERS, "", False), None),
    (mmocr(polygon=[1, 2, 3, 4], bbox=[20, 20, 120, 60]), (CORNERS, "", False), "no outline"),
    # What means another thing.
    (native(points=QUAD, text="###"), (QUAD, "###", True), "words ### that no flag marks"),
    (coco({"bbox": BOX, "utf8_string": "###"}), (CORNERS, "###", True), "words ### that no flag marks"),
    (mmocr(polygon=FLAT, text="###", ignore=True), (QUAD, "###", True), None),
    (native(points=[QUAD[0], QUAD[1], QUAD[3], QUAD[2]]), (QUAD, "t", False), "four points in Z order"),
    (native(points=[QUAD[0], QUAD[2], QUAD[1], QUAD[3]]), (QUAD, "t", False), "four points in Z order"),
    (paddle(points=[[120, 60], [20, 20]]), (CORNERS, "t", False), "two points, which were read"),
    (labelme(points=[[120, 60], [20, 20]], shape_type="rectangle"), (CORNERS, "t", False), None),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected", "told"), READ)
def test_a_key_is_read_or_told(data: Any, expected: Any, told: str | None, tmp_path: Path) -> None:
    found = read(tmp_path, data)
    assert found.problems == ()
    ((word,),) = [image.words for image in found.images]
    assert ([[round(x, 9), round(y, 9)] for x, y in word.points.tolist()], word.text, word.ignore) == expected
    assert is_told(found.notes, told)


WRONG = [
    (native(points=QUAD, text=12), 'expected a text in quotes ("12"), found 12'),
    (labelme(label=7), 'expected a text in quotes ("7"), found 7'),
    (labelme(difficult="no"), "expected true or false"),
    (coco({"segmentation": [[]]}), "expected a polygon or bbox"),
    (coco({"segmentation": "x", "bbox": BOX}), "expected a list of coordinates"),
    (coco({"bbox": BOX, "attributes": {"rotation": "90"}}), "rotation: expected degrees"),
    (mmocr(polygon=[]), "expected an object with polygon or bbox"),
]


@pytest.mark.parametrize(("data", "problem"), WRONG)
def test_what_cannot_be_meant_says_what_to_write(data: Any, problem: str, tmp_path: Path) -> None:
    (found,) = read(tmp_path, data).problems
    assert problem in str(found)


def test_what_is_told_has_a_count(tmp_path: Path) -> None:
    found = read(tmp_path, coco(*[{"bbox": BOX, "rec": [1]}] * 3, {"bbox": BOX, "rec": []}))
    assert found.notes == ("labels.json holds annotations[].'rec', a key that is not read (3 times)",)


SETS = {
    "imgs": {str(i): {"file_name": f"{i}.jpg", "set": "train" if i < 3 else "val"} for i in range(4)},
    "anns": {},
}


@pytest.mark.parametrize(
    ("split", "subset", "images", "told"),
    [
        ("val", None, [3], "train 3, val 1; those of val were taken"),
        ("train", None, [0, 1, 2], "those of train were taken"),
        ("dev", None, [0, 1, 2, 3], "data.splits.<split>.subset takes one of them"),
        ("dev", "val", [3], "those of val were taken"),
        ("val", "*", [0, 1, 2, 3], None),
    ],
)
def test_the_sets_of_cocotext(
    split: str, subset: str | None, images: list[int], told: str | None, tmp_path: Path
) -> None:
    found = read(tmp_path, SETS, LabelOptions(split=split, subset=subset))
    assert [image.file for image in found.images] == [f"{i}.jpg" for i in images]
    assert is_told(found.notes, told)


def test_categories_are_told_and_chosen(tmp_path: Path) -> None:
    names = [{"id": 1, "name": "text"}, {"id": 2, "name": "logo"}]
    data = coco({"bbox": BOX}, {"bbox": BOX, "category_id": 2}, categories=names)
    found = read(tmp_path, data)
    assert len(found.images[0].words) == 2
    assert "categories text 1, logo 1; all of them are words" in found.notes[0]
    chosen = read(tmp_path, data, LabelOptions(categories=("text",)))
    assert len(chosen.images[0].words) == 1
    assert "those of text are words" in chosen.notes[0]
    logos = read(tmp_path, coco({"bbox": BOX, "category_id": "2"}, categories=names))
    assert "categories logo 1; all of them are words" in logos.notes[0]


def test_labels_that_are_classes_are_told_where_others_have_descriptions(tmp_path: Path) -> None:
    shapes = [{"label": "text", "description": "MASA", "points": QUAD}, {"label": "logo", "points": QUAD}]
    found = read(tmp_path, {"imagePath": "a.jpg", "shapes": shapes})
    assert [word.text for word in found.images[0].words] == ["MASA", "logo"]
    assert is_told(found.notes, "has shapes without a description, whose label was read as their text")


@pytest.mark.parametrize("options", [LabelOptions(categories=("word",)), LabelOptions(subset="dev")])
def test_what_is_chosen_and_not_there_is_refused(options: LabelOptions, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no (set|category)"):
        read(tmp_path, coco({"bbox": BOX}), options)


TEXT = f"a.jpg\t{json.dumps([{'transcription': '发票', 'points': QUAD}], ensure_ascii=False)}"


@pytest.mark.parametrize(
    ("data", "encoding", "text", "told"),
    [
        (TEXT.encode("gbk"), "gbk", "发票", None),
        (TEXT.encode("gbk"), "gb18030", "发票", None),
        (TEXT.encode("gbk"), None, "·¢Æ±", "is not UTF-8 and was read as Latin-1"),
        (TEXT.encode("utf-16"), None, "发票", "was read as UTF-16"),
        ((TEXT + "\n\ufeffb" + TEXT[1:]).encode(), None, "发票", "byte order marks in its middle"),
        (json.dumps(labelme(label="发票"), ensure_ascii=False).encode("gbk"), "gbk", "发票", None),
    ],
)
def test_encodings(data: bytes, encoding: str | None, text: str, told: str | None, tmp_path: Path) -> None:
    found = read(tmp_path, data, LabelOptions(encoding=encoding))
    assert {word.text for image in found.images for word in image.words} == {text}
    assert is_told(found.notes, told)


def test_files_beside_labels_are_no_samples(tmp_path: Path) -> None:
    names = ["classes.txt", "._a.txt", "Thumbs.db", ".DS_Store", "README.txt", "sub/classes.txt"]
    files = {f"gt/{name}": b"text\n" for name in names}
    lay_out(
        tmp_path, files | {"gt/a.txt": b"1,2,3,2,3,4,1,4,a", "img/a.jpg": b"", "img/sub/classes.jpg": b""}
    )
    found = read_annotations(tmp_path / "gt", tmp_path / "img")
    assert [image.file for image in found.images] == ["a.jpg", "sub/classes.jpg"]
    assert found.notes == ("README.txt is no label file of an image and was passed over (2 times)",)


@pytest.mark.parametrize("named", ["IMG_0001.jpg", "C:\\Users\\me\\1.jpg", "..\\photos\\old.jpg"])
def test_an_image_that_was_renamed_is_looked_for_beside_its_labels(named: str, tmp_path: Path) -> None:
    data = json.dumps({**labelme(), "imagePath": named}).encode()
    lay_out(tmp_path, {"gt/1.json": data, "img/1.png": b"", "img/2.png": b""})
    found = read_annotations(tmp_path / "gt", tmp_path / "img")
    assert [image.file for image in found.images] == ["1.png"]
    assert "1.png was taken" in found.notes[0]


def test_labels_that_are_links_are_followed_where_that_is_asked_for(tmp_path: Path) -> None:
    lay_out(tmp_path, {"blobs/9f": b"1,2,3,2,3,4,1,4,a", "more/b.txt": b"", "gt/c.txt": b""})
    (tmp_path / "gt/a.txt").symlink_to("../blobs/9f")
    (tmp_path / "gt/more").symlink_to("../more")
    (tmp_path / "more/back").symlink_to("../gt")
    found = read_annotations(tmp_path / "gt", tmp_path, "auto", LabelOptions(follow_links=True))
    assert [image.file for image in found.images] == ["a", "c", "more/b"]
