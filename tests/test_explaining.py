"""`explain` in words and files; and a store that cannot be opened is one row of those who look at all."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.store import open_store
from tests.support.shell import Shell

NAME = "receipt-00003.jpg"
STAGES = ("canonicalize", "decode", "maps", "tensors")
Words = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("built"))
    done = shell("run")
    assert done.returncode == 0, done.stderr
    return shell


@pytest.fixture
def shell(built: Shell, tmp_path: Path) -> Shell:
    """A copy of a folder in which all stages are built, to be harmed."""
    shutil.copytree(built.folder, tmp_path / "copy", symlinks=True)
    return Shell(tmp_path / "copy")


def edit(shell: Shell, change: Callable[[Words], None]) -> None:
    """Change the words of one sample of split val."""
    path = shell.folder / "data/tiny/val.json"
    labels = json.loads(path.read_text())
    change(labels["images"][NAME]["words"])
    path.write_text(json.dumps(labels))


def move(words: Words) -> None:
    words["0003"]["points"] = [[x + 4, y] for x, y in words["0003"]["points"]]


def rename(words: Words) -> None:
    words["0002"]["text"] = "changed"


def ignore(words: Words) -> None:
    words["0001"]["ignore"] = True


def remove(words: Words) -> None:
    del words["0002"]


def add(words: Words) -> None:
    words["9999"] = {"points": [[5, 5], [60, 5], [60, 20], [5, 20]], "text": "NEW", "ignore": False}


def move_and_rename(words: Words) -> None:
    move(words)
    words["0003"]["text"] = "both"


@pytest.mark.parametrize(
    ("change", "words", "again"),
    [
        (move, r'word 3 moved \("\S+"\)', {"canonicalize", "maps", "tensors"}),
        (rename, r'word 2 reads "changed" instead of "\S+"', {"canonicalize", "tensors"}),
        (ignore, "word 1 is ignored now", {"canonicalize", "maps", "tensors"}),
        (remove, r'word 2 is gone \("\S+"\)', {"canonicalize", "maps", "tensors"}),
        (add, r'word \d+ is new \("NEW"\)', {"canonicalize", "maps", "tensors"}),
        (move_and_rename, r'word 3 moved \("both"\) and reads "both"', {"canonicalize", "maps", "tensors"}),
    ],
)
def test_a_changed_label_is_told_by_its_word(
    shell: Shell, change: Callable[[Words], None], words: str, again: set[str]
) -> None:
    edit(shell, change)
    told = shell("explain", NAME, "--split", "val").stdout
    computed = [name for name in STAGES if name in again]
    spared = [name for name in STAGES if name not in again]
    listed = f"{', '.join(computed[:-1])} and {computed[-1]} are computed again"
    kept = f"{' and '.join(spared)} {'are' if len(spared) > 1 else 'is'} not"
    assert re.match(rf"val {NAME}: {words}.*: {listed}, {kept}\n", told), told
    assert not re.search(r"[0-9a-f]{12}", told)
    assert f"  {spared[0]}: fresh\n" in told and f"  {computed[0]}: stale\n" in told
    found = shell.json("explain", NAME, "--split", "val")["val"]
    assert {name for name in STAGES if found[name]["computed_again"]} == again
    reasons = [reason for name in computed for reason in found[name]["why"]]
    assert not [
        reason for reason in reasons if reason.endswith(tuple(f": {name} is stale" for name in spared))
    ]
    done = shell.json("run", "--split", "val")["val"]
    assert {name for name in STAGES if done[name]["computed"]} == again


def repaint(shell: Shell) -> None:
    path = shell.folder / "data/tiny/val" / NAME
    with Image.open(path) as image:
        edited = image.point(lambda value: 255 - value)
    path.unlink()  # the store links the file
    edited.save(path)


def lose_a_chunk(shell: Shell) -> None:
    open_store(shell.folder / "work/tiny/val/decode.zarr").chunk_file("image", 3).unlink()


def lose_a_store(shell: Shell) -> None:
    shutil.rmtree(shell.folder / "work/tiny/val/.generations/maps")


def nothing(shell: Shell) -> None:
    del shell


def spoil(shell: Shell) -> None:
    path = shell.folder / "data/tiny/val" / NAME
    path.unlink()
    path.write_bytes(b"no image")


def delist(shell: Shell) -> None:
    path = shell.folder / "data/tiny/val.json"
    labels = json.loads(path.read_text())
    del labels["images"][NAME]
    path.write_text(json.dumps(labels))


@pytest.mark.parametrize(
    ("harm", "override", "words"),
    [
        (nothing, "seed=0", "nothing changed\n"),
        (
            repaint,
            "seed=0",
            rf"the file .*/{NAME} changed: canonicalize, decode and tensors are .*, maps is not",
        ),
        (
            lose_a_chunk,
            "seed=0",
            r"decode is damaged: .*image/c\.3\.\S+: decode is computed again, .* are not",
        ),
        (lose_a_store, "seed=0", "maps was never built: maps is computed again, canonicalize, .* are not"),
        (
            nothing,
            "stages.maps.shrink_ratio=0.5",
            r"stages\.maps\.shrink_ratio 0\.4 → 0\.5: maps and",
        ),
        (
            nothing,
            "stages.decode.padding=center",
            "stages.decode.padding .*center: decode, maps",
        ),
        (spoil, "seed=0", "canonicalize refuses it: "),
        (delist, "seed=0", "it is not listed any more: a run drops it\n$"),
    ],
)
def test_files_settings_and_lost_chunks_are_told(
    shell: Shell, harm: Callable[[Shell], None], override: str, words: str
) -> None:
    harm(shell)
    done = shell("explain", NAME, "--split", "val", override)
    assert done.returncode == 0, done.stderr
    assert re.match(f"val {NAME}: {words}", done.stdout), done.stdout


def test_all_splits_are_looked_into(built: Shell) -> None:
    assert list(built.json("explain", NAME)) == ["train", "val"]
    assert list(built.json("explain", "receipt-00007.jpg")) == ["train"]  # val has six
    done = built("explain", "receipt-00009.jpg")
    assert done.returncode == 2
    assert "split train or val of tiny has no sample receipt-00009.jpg, but receipt-0000" in done.stderr


def garble(name: str) -> Callable[[Path], None]:
    def harm(store: Path) -> None:
        (store / name).write_bytes(b"garbled")

    return harm


def lose(name: str) -> Callable[[Path], None]:
    def harm(store: Path) -> None:
        (store / name).unlink()

    return harm


def make_newer(store: Path) -> None:
    metadata = json.loads((store / "zarr.json").read_text())
    metadata["attributes"]["format_version"] = 99
    (store / "zarr.json").write_text(json.dumps(metadata))


@pytest.mark.parametrize(
    ("stage", "harm"),
    [
        ("canonical", garble("zarr.json")),
        ("canonical", lose("manifest.json")),
        ("decode", garble("manifest.json")),
        ("decode", garble("sample_id/c.0")),
        ("maps", lose("zarr.json")),
        ("maps", make_newer),
        ("maps", lambda store: shutil.rmtree(store.resolve())),
        ("tensors", garble("checksum/c.0.0.0")),
        ("tensors", lose("sample_id/c.0")),
        (
            "tensors",
            lambda store: [shutil.rmtree(path) for path in store.resolve().glob("*") if path.is_dir()],
        ),
    ],
)
def test_a_broken_store_is_one_row(shell: Shell, stage: str, harm: Callable[[Path], None]) -> None:
    harm(shell.folder / f"work/tiny/val/{stage}.zarr")
    found = shell.json("status")
    assert [list(stages) for stages in found.values()] == [list(STAGES)] * 2
    assert {s["state"] for s in found["train"].values()} == {"fresh"}
    assert found["val"]["canonicalize" if stage == "canonical" else stage]["state"] != "fresh"
    for command in ("status", "plan", "report --format md", "inspect"):
        done = shell(*command.split())
        assert (done.returncode, "train" in done.stdout) == (0, True), done.stderr
        assert command == "inspect" or f"{stage}.zarr" not in done.stderr  # its row has told it
    done = shell("run", "--split", "val")
    assert done.returncode == 0, done.stderr
    assert {s["state"] for s in shell.json("status")["val"].values()} == {"fresh"}
