"""Annotation files that are wrong: every problem is told, with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ocr.annotations import AnnotationError, LabelOptions, read_annotations
from pipeline.errors import ConfigError
from tests.support.labels import lay_out, read_one


def test_every_problem_is_told_with_its_place(tmp_path: Path) -> None:
    words = {
        "1": {"points": [[1, "2"]]},
        "2": {"points": [[1, 2], [True, 2]]},
        "3": {"points": "x", "text": 3, "ignore": "yes"},
        "4": [],
        "5": {"points": [[10**400, 1]]},
        "6": {"text": "\ud800"},
    }
    _, read = read_one(
        tmp_path, {"images": {"a b.jpg": {"words": words}, "c": {"word": {}}, "d": {"words": 5}}}
    )
    told = [
        str(problem).removeprefix(f"{tmp_path / 'labels'}: ")
        for image in read.values()
        for problem in image.problems
    ]
    start = '$.images["a b.jpg"].words'
    assert told == [
        f'{start}["1"].points[0]: expected two numbers [x, y], found [1, "2"]',
        f'{start}["2"].points[1]: expected two numbers [x, y], found [true, 2]',
        f'{start}["3"].ignore: expected true or false, found "yes"',
        f'{start}["3"].points: expected a list of [x, y], found "x"',
        f'{start}["3"].text: expected a text in quotes ("3"), found 3',
        f'{start}["4"]: expected an object with points, text and ignore, found []',
        f'{start}["5"].points: expected numbers that a float64 can hold, found [[1{"0" * 56}…',
        f'{start}["6"].text: expected Unicode text, found "\\ud800"',
        '$.images.c: expected an object with "words", found an object of 1 keys',
        "$.images.d.words: expected an object of words, a list of words or null, found 5",
    ]


UNUSABLE = {
    b"": "a known annotation format",
    b"[1]": "a known annotation format",
    b'{"images": 3}': "a known annotation format",
    b'{"answer": 42}': "the keys of a known annotation format, found 'answer'",
    b'{"images": {"a": {"words": [}}}': "line 1 column 29: expected JSON (expecting value), found '}}}'",
    b'{"images": {"a.jpg": {': "(expecting property name enclosed in double quotes), found the end",
    b'{"images": {}} x': "expected JSON (extra data), found 'x'",
    b'{"images": ' + b"[" * 100_000: "nested less deeply",
    b'{"images": {"a": {"words": [{"points": [[' + b"1" * 5000 + b",0]]}]}}}": "numbers of a sensible length",
    b'{"images": {"\xe9": {}}}': "expected UTF-8, found the byte 0xe9",
    b'{"images": [{"id": 1}], "annotations": []}': "$.images[0]: expected an object with file_name",
    b'{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": []}': "id once",
    b'{"images": [], "annotations": [{"image_id": 3}, 7]}': "$.annotations[1].image_id: expected an id",
    b'{"images": [], "annotations": 1}': "$.annotations: expected a list",
    b'{"data_list": [{"img": 1}, 2]}': "$.data_list[1]: expected an object with img_path, found 2",
    b'a.jpg\t[]\nno tab here\n{"x": 1}\n': "line 3: expected an image, a tab and JSON",
    b"\x00\x01\x02": "a known annotation format",
}


@pytest.mark.parametrize("data", UNUSABLE, ids=lambda data: repr(data[:40]))
def test_a_file_that_cannot_be_used_says_why(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError) as raised:
        read_one(tmp_path, data)
    assert UNUSABLE[data] in str(raised.value)
    assert str(tmp_path / "labels") in str(raised.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(AnnotationError, match="expected a regular file"):
        read_annotations(tmp_path / "a.txt", tmp_path)
    (problem,) = read_annotations(tmp_path, tmp_path).problems
    assert problem.expected == "a regular file"


def test_problems_are_many_and_still_readable(tmp_path: Path) -> None:
    entries = [{"id": i, "file_name": i} for i in range(5000)]
    with pytest.raises(AnnotationError) as raised:
        read_one(tmp_path, {"images": entries, "annotations": []})
    assert len(raised.value.problems) == 100
    assert len(str(raised.value).splitlines()) == 21
    assert str(raised.value).endswith("and 80 more")


@pytest.mark.parametrize(
    ("format", "message"),
    [("yolo", "'yolo' is not known: use auto, native, icdar"), ("auto", "no annotations at")],
)
def test_wrong_configuration(format: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json" if format == "auto" else tmp_path
    with pytest.raises(ConfigError, match=message):
        read_annotations(path, tmp_path, format)


@pytest.mark.parametrize("first", ["", "{", "[]", '{"a": 1}', '{"images": {}}'])
def test_one_file_of_a_folder_never_refuses_the_others(first: str, tmp_path: Path) -> None:
    files = {"gt/0.json": first.encode(), "gt/a.json": b'{"imagePath": "a.jpg", "shapes": []}'}
    read = read_annotations(lay_out(tmp_path, files) / "gt", tmp_path)
    assert [(image.file, len(image.problems)) for image in read.images] == [("0", 1), ("a.jpg", 0)]
    (tmp_path / "gt/a.json").unlink()
    with pytest.raises(AnnotationError, match="expected"):
        read_annotations(tmp_path / "gt", tmp_path)


def test_one_text_file_that_cannot_be_read_refuses_itself_alone(tmp_path: Path) -> None:
    files = {"gt/0.txt": b"\xff", "gt/a.txt": b"1,2,3,2,3,4,1,4,a"}
    lay_out(tmp_path, files)
    (tmp_path / "gt/1.txt").symlink_to("nowhere")
    read = read_annotations(tmp_path / "gt", tmp_path, "auto", LabelOptions(encoding="utf-8"))
    assert [(image.file, len(image.problems)) for image in read.images] == [("0", 1), ("1", 1), ("a", 0)]


def test_a_folder_without_labels(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="label files"):
        read_annotations(lay_out(tmp_path, {"a.png": b""}), tmp_path)
    with pytest.raises(AnnotationError, match="label files"):
        read_annotations(tmp_path, tmp_path, "icdar")
