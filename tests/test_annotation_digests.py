"""The digest of an annotation: that of its meaning, not of its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocr.annotations import words_digest
from tests.support.labels import read_one


def digest(folder: Path, entry: str) -> bytes:
    _, read = read_one(folder, b'{"images": {"a": ' + entry.encode() + b"}}")
    assert read["a"].problems == ()
    return words_digest(read["a"].words)


BASE = (
    '{"words": {"1": {"points": [[0, 1], [4, 0], [4, 2]], "text": "a", "ignore": false}, "2": {"text": "b"}}}'
)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("[0, 1]", "[ -0.0,1.0e0 ]", True),
        ('"ignore": false', '"ignore": 0, "language": "en"', True),
        ('{"text": "b"}', '{"text": "b", "points": null}', True),
        (
            '"points": [[0, 1], [4, 0], [4, 2]], "text": "a"',
            '"text": "a", "points": [[0, 1], [4, 0], [4, 2]]',
            True,
        ),
        ('"2"', '"3"', True),
        ('"2"', '"0"', False),
        ("[0, 1]", "[0, 1.0000001]", False),
        ("[0, 1], [4, 0]", "[4, 0], [0, 1]", False),
        ('"a"', '"A"', False),
        ("false", "true", False),
        ('"text": "b"', '"text": ""', False),
        ('"text": "a"', '"text": "ab"', False),
    ],
)
def test_the_digest_of_an_annotation_is_that_of_its_meaning(
    old: str, new: str, same: bool, tmp_path: Path
) -> None:
    assert old in BASE
    assert (digest(tmp_path, BASE) == digest(tmp_path, BASE.replace(old, new))) is same


def test_the_digest_keeps_neighbouring_texts_apart(tmp_path: Path) -> None:
    words = [
        '{"words": [{"text": "ab"}, {"text": "c"}]}',
        '{"words": [{"text": "a"}, {"text": "bc"}]}',
        '{"words": []}',
    ]
    assert len({digest(tmp_path, entry) for entry in words}) == 3
