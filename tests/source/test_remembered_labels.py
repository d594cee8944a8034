"""Labels that are remembered are those that would be read: whatever decides them is in their key."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr.annotations import (
    FORMATS,
    AnnotatedImage,
    Annotations,
    LabelOptions,
    read_annotations,
    read_remembered,
)
from pipeline.digest import digest
from pipeline.errors import PipelineError
from tests.support.mutated_labels import encode
from tests.support.written_labels import IMAGES, IMPORTERS, draw

Change = Callable[[Path, Path], dict[str, Any]]


def plain(read: Annotations) -> object:
    """All that was read, as values that can be compared."""
    images = [
        (
            image.file,
            image.size,
            image.problems,
            [(word.points.tolist(), word.text, word.ignore) for word in image.words],
        )
        for image in read.images
    ]
    return read.format, read.notes, images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return prepared(tmp_path)


def prepared(folder: Path) -> Path:
    """Make a folder of images, and one for the memory."""
    for name in ("images", "work"):
        (folder / name).mkdir()
    for name in IMAGES:
        (folder / "images" / name).write_bytes(b"")
    return folder


def write(folder: Path, format: str) -> Path:
    """Write label files; gives the one, or their folder."""
    files = IMPORTERS[format].write(draw(IMPORTERS[format].corners))
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(encode(name, content))
    return folder / next(iter(files)).partition("/")[0]


def read(folder: Path, path: Path, **options: Any) -> tuple[Annotations, bool]:
    """Read labels with a memory; tells whether they were taken from it."""
    memory = folder / "work" / ".labels"
    before = memory.stat() if memory.exists() else None
    found = read_remembered(memory, path, folder / "images", **options)
    return found, before is not None and memory.stat().st_ino == before.st_ino


@pytest.mark.parametrize("format", IMPORTERS)
def test_what_is_remembered_is_what_was_read(folder: Path, format: str) -> None:
    path = write(folder, format)
    wanted = plain(read_annotations(path, folder / "images"))
    for remembered in (False, True):
        found, taken = read(folder, path)
        assert (plain(found), taken) == (wanted, remembered)


def _edit(path: Path, images: Path) -> dict[str, Any]:
    """Change a byte, and put size and modification time back."""
    status, data = path.stat(), path.read_bytes()
    path.write_bytes(data.replace(b"WORD3", b"WORD?"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return {}


def _add_image(path: Path, images: Path) -> dict[str, Any]:
    (images / "another.png").write_bytes(b"")
    return {}


CHANGES: dict[str, Change] = {
    "a byte": _edit,
    "the images": _add_image,
    "the format": lambda path, images: {"format": "native"},
    "an option": lambda path, images: {"options": LabelOptions(encoding="latin-1")},
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_decides_labels_is_in_their_key(folder: Path, change: str) -> None:
    path = write(folder, "native")
    read(folder, path)
    options = CHANGES[change](path, folder / "images")
    found, taken = read(folder, path, **options)
    assert not taken
    assert plain(found) == plain(read_annotations(path, folder / "images", **options))
    assert read(folder, path, **options)[1]


def test_a_label_file_that_becomes_a_link_is_looked_at_again(folder: Path) -> None:
    path = write(folder, "icdar")
    read(folder, path)
    file = sorted(path.iterdir())[0]
    file.rename(folder / "elsewhere.txt")
    file.symlink_to(folder / "elsewhere.txt")
    with pytest.raises(Exception, match="a link that leads out"):
        read(folder, path)


@settings(max_examples=30)
@given(st.data())
def test_damage_of_the_memory_is_never_read(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = prepared(tmp_path_factory.mktemp("damage"))
    path = write(folder, "native")
    wanted = plain(read(folder, path)[0])
    memory = folder / "work" / ".labels"
    whole = memory.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    memory.write_bytes(data.draw(st.sampled_from([flipped, whole[:at], b""])))
    found, taken = read(folder, path)
    assert (plain(found), taken) == (wanted, False)
    assert memory.read_bytes() == whole


def test_a_memory_of_another_version_is_not_read(folder: Path) -> None:
    path = write(folder, "native")
    wanted, memory = plain(read(folder, path)[0]), folder / "work" / ".labels"
    memory.write_bytes(digest(b"PK\x03\x04 a zip") + b"PK\x03\x04 a zip")
    assert plain(read(folder, path)[0]) == wanted


def test_runs_at_once_read_the_same(folder: Path) -> None:
    path = write(folder, "native")
    wanted = plain(read_annotations(path, folder / "images"))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: read(folder, path)[0], range(12)))
    assert all(plain(one) == wanted for one in found)


def test_words_that_are_no_numbers_and_problems_are_remembered(folder: Path) -> None:
    words = [{"points": [[float("nan"), 1], [np.inf, 2], [3, 4]], "text": "é\U0001f600"}, {"text": "nowhere"}]
    entries = {
        "a.png": {"words": words},
        "b.png": {"words": 5},
        "c.png": {"words": None, "img_h": 3, "img_w": 4},
    }
    path = folder / "labels.json"
    path.write_text(json.dumps({"images": entries, "further": 1}))
    first, second = read(folder, path)[0], read(folder, path)[0]
    assert repr(plain(first)) == repr(plain(second))
    assert [len(image.problems) for image in second.images] == [0, 1, 0]
    assert second.notes == ("labels.json holds 'further', a key that is not read",)


EDITS: dict[str, tuple[str, str]] = {
    "a text": ('"c.png": {"words": [{"text": "c"', '"c.png": {"words": [{"text": "other"'),
    "the first": ('{"a.png": ', '{"0.png": {"words": []}, "a.png": '),
    "the last": ('"e.png": {"words": [{"text": "e"', '"e.png": {"words": [{"text": "end"'),
    "one more": ("}]}}}", '}]}, "f.png": {"words": null}}}'),
    "one less": ('"c.png": {"words": [{"text": "c"}]}, ', ""),
    "a name": ('"c.png": ', '"é.png": '),
    "nothing": ("", ""),
}


def entries() -> str:
    listed = {f"{name}.png": {"words": [{"text": name}]} for name in "abcde"}
    return json.dumps({"images": listed})


@pytest.mark.parametrize("edit", EDITS)
def test_of_an_edited_file_only_what_differs_is_read(
    folder: Path, edit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, (old, new) = folder / "labels.json", EDITS[edit]
    path.write_text(entries())
    read(folder, path)
    assert old in entries()
    path.write_text(entries().replace(old, new, 1))
    (folder / "images" / "another.png").write_bytes(b"")
    wanted = plain(read_annotations(path, folder / "images"))

    def refuse(labels: Any) -> Iterable[AnnotatedImage]:
        raise AssertionError("the file is read whole")

    monkeypatch.setitem(FORMATS, "native", replace(FORMATS["native"], read=refuse))
    assert [plain(read(folder, path)[0]) for _ in range(2)] == [wanted, wanted]


PARTS = ['"a.png": ', '{"words": []}', '{"words": [{"text": "x"}]}', ",", "}", '"further": 1', " ", "{", '"']


@settings(max_examples=300)
@given(st.data())
def test_an_edited_file_gives_what_reading_all_of_it_gives(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    folder = prepared(tmp_path_factory.mktemp("edited"))
    path, text = folder / "labels.json", entries()
    path.write_text(text)
    read(folder, path)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 60)))
        text = text[:start] + data.draw(st.sampled_from(["", *PARTS, text[start:stop] * 2])) + text[stop:]
        path.write_text(text)
        assert outcome(lambda: read(folder, path)[0]) == outcome(
            lambda: read_annotations(path, folder / "images")
        )


def outcome(attempt: Callable[[], Annotations]) -> object:
    """What is read, or the error in words."""
    try:
        return plain(attempt())
    except PipelineError as error:
        return str(error)
