"""Names of images: what must not be opened is refused, with its reason, before anything is."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from ocr.splits import ImageRoot, check_names, sample_id
from pipeline.errors import Quarantine

NAMES = {
    "a.jpg": None,
    "sub/a b'c,d.jpg": None,
    "日本/領収書.jpg": None,
    "..a..jpg": None,
    "a..b/c.jpg": None,
    "~/a.jpg": None,
    "$HOME.jpg": None,
    "/etc/passwd": "absolute_path",
    "//server/a.jpg": "absolute_path",
    "\\\\server\\a.jpg": "absolute_path",
    "C:\\a.jpg": "absolute_path",
    "c:a.jpg": "absolute_path",
    "../a.jpg": "parent_path",
    "a/../../b.jpg": "parent_path",
    "a/../b.jpg": "parent_path",
    "a/..": "parent_path",
    "..\\a.jpg": "parent_path",
    "a\0.jpg": "nul_in_path",
    "\0": "nul_in_path",
    "a\n.jpg": "control_in_path",
    "a\x1b[31m.jpg": "control_in_path",
    "a\u2028.jpg": "control_in_path",
    "a\ud800.jpg": "not_unicode",
    "": "empty_path",
    ".": "empty_path",
    "./": "empty_path",
}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names(name: str) -> None:
    verdict = check_names([name]).get(sample_id(name))
    assert (verdict and verdict.code) == NAMES[name]
    assert sample_id(name).isprintable()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("./a.jpg", "a.jpg"),
        ("a//b.jpg", "a/b.jpg"),
        ("a/./b.jpg", "a/b.jpg"),
        (".a/.b", ".a/.b"),
        ("a/", "a"),
    ],
)
def test_one_file_has_one_id(name: str, expected: str) -> None:
    assert sample_id(name) == expected
    assert sample_id(expected) == expected


COLLISIONS = [
    (["a.jpg", "a.jpg"], "duplicate_path"),
    (["a.jpg", "./a.jpg"], "duplicate_path"),
    (["a.jpg", "A.JPG"], "colliding_path"),
    (["Straße.jpg", "STRASSE.jpg"], "colliding_path"),
    ([unicodedata.normalize("NFC", "é.jpg"), unicodedata.normalize("NFD", "é.jpg")], "colliding_path"),
    ([unicodedata.normalize("NFC", "É.jpg"), unicodedata.normalize("NFD", "é.jpg")], "colliding_path"),
    (["\u212a.jpg", "k.jpg"], "colliding_path"),
    (["a/b.jpg", "a\\b.jpg"], "colliding_path"),
    (["Sub/a.jpg", "sub/a.jpg"], "colliding_path"),
]


@pytest.mark.parametrize(("names", "code"), COLLISIONS, ids=ascii)
def test_names_that_may_be_one_file_are_all_refused(names: list[str], code: str) -> None:
    verdicts = check_names([*names, "other.jpg"])
    assert {identity: verdict.code for identity, verdict in verdicts.items()} == {
        sample_id(name): code for name in names
    }


def test_names_that_only_look_alike_are_two_files() -> None:
    assert check_names(["a.jpg", "a.png", "b/a.jpg", "aa.jpg", "ａ.jpg"]) == {}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    images = tmp_path / "img"
    (images / "sub").mkdir(parents=True)
    (images / "sub/a.jpg").write_bytes(b"a")
    (tmp_path / "img2").mkdir()
    (tmp_path / "img2/secret.jpg").write_bytes(b"secret")
    (images / "inside.jpg").symlink_to("sub/a.jpg")
    (images / "folder").symlink_to("sub")
    (images / "outside.jpg").symlink_to(tmp_path / "img2/secret.jpg")
    (images / "outside").symlink_to("../img2")
    (images / "hop.jpg").symlink_to("outside.jpg")
    (images / "device.jpg").symlink_to("/dev/zero")
    (images / "dangling.jpg").symlink_to("nowhere.jpg")
    (images / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(images / "pipe.jpg")
    return images


FILES = {
    "sub/a.jpg": None,
    "inside.jpg": None,
    "folder/a.jpg": None,
    "outside.jpg": "outside_root",
    "outside/secret.jpg": "outside_root",
    "hop.jpg": "outside_root",
    "device.jpg": "outside_root",
    "dangling.jpg": "missing_image",
    "loop.jpg": "unreadable_image",
    "nothing.jpg": "missing_image",
    "sub/a.jpg/b.jpg": "missing_image",
    "sub": "not_a_file",
    "pipe.jpg": "not_a_file",
    "n" * 300: "unreadable_image",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("linked", [False, True], ids=["root", "link to root"])
def test_files(name: str, linked: bool, root: Path) -> None:
    given = root
    if linked:
        given = root.parent / "link"
        given.symlink_to(root)
    code = None
    try:
        assert ImageRoot(given).locate(name).read_bytes() == b"a"
    except Quarantine as verdict:
        code = verdict.code
    assert code == FILES[name]


def test_nothing_outside_is_opened_through_a_folder_seen_before(root: Path) -> None:
    images = ImageRoot(root)
    images.locate("folder/a.jpg")
    with pytest.raises(Quarantine, match="outside_root"):
        images.locate("outside/nothing.jpg")
