"""What `run`, `status` and `report` say of a split beside the counts of its samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.store import open_store
from tests.support.shell import Done, Shell

QUAD = [20, 20, 120, 20, 120, 60, 20, 60]
LONG = "票" * 80 + "ab.jpg"
SPLITS = ["data.root=ds", "canvas=64"] + [
    f"data.splits.{split}.{key}"
    for split in ("train", "val")
    for key in ("images=img", f"annotations={split}.json", "format=auto", "label_frame=upright")
]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with three images, one of which is in both splits."""
    (tmp_path / "ds/img").mkdir(parents=True)
    turned = Image.Exif()
    turned[0x0112] = 6
    for number, (name, exif) in enumerate({"a.jpg": None, "b.jpg": None, LONG: turned}.items()):
        size = (101, 77) if exif else (320, 240)  # whose sides no lossless turn keeps: it becomes a PNG
        Image.new("RGB", size, (200, 0, number)).save(tmp_path / "ds/img" / name, exif=exif or Image.Exif())
    write(tmp_path, "train", ["a.jpg"])
    write(tmp_path, "val", ["a.jpg", "b.jpg", LONG])
    return Shell(tmp_path)


def write(folder: Path, split: str, names: list[str], **more: Any) -> None:
    images = [{"id": i, "file_name": name, **more} for i, name in enumerate(names)]
    word = {"category_id": 1, "segmentation": [QUAD], "rec": [1]}
    words = [{"id": i, "image_id": i, **word} for i in range(len(names))]
    document = {"images": images, "annotations": words, "categories": [{"id": 1, "name": "text"}]}
    (folder / f"ds/{split}.json").write_text(json.dumps(document))


def done(shell: Shell, command: str, *more: str) -> Done:
    result = shell(command, *SPLITS, *more)
    assert result.returncode == 0, result.stderr
    return result


def test_what_labels_hold_that_is_not_read_is_told_by_every_command(shell: Shell) -> None:
    told = "val: val.json holds annotations[].'rec', a key that is not read (3 times)"
    assert told in done(shell, "run").stderr
    assert told in done(shell, "status").stdout
    assert f"- {told}" in done(shell, "report", "--format", "md").stdout
    assert told.removeprefix("val: ") in json.loads(done(shell, "report", "--json").stdout)["remarks"]["val"]


def test_an_image_in_two_splits_is_told_by_name(shell: Shell) -> None:
    first = done(shell, "run", "--split", "val").stderr  # before the other is stored
    assert "val: shares 1 image with split train: a.jpg" in first
    assert "val: shares 1 image with split train: a.jpg" in done(shell, "run").stderr
    status = done(shell, "status").stdout
    assert "train: shares 1 image with split val: a.jpg" in status
    assert "train: no labels for b.jpg" in status


def test_what_several_splits_have_to_say_is_told_once(shell: Shell) -> None:
    write(shell.folder, "val", ["a.jpg"])
    for told in (done(shell, "run").stderr, done(shell, "status").stdout):
        assert [line for line in told.splitlines() if "no labels for" in line] == [
            f"train, val: no labels for b.jpg, {LONG}; they are no samples"
        ]
    assert "- train, val: no labels for b.jpg" in done(shell, "report", "--format", "md").stdout


def test_one_name_without_room_for_a_suffix_stops_nothing(shell: Shell) -> None:
    done(shell, "run", "--split", "val")
    assert open_store(shell.folder / "work/tiny/val/tensors.zarr").sample_ids == ("a.jpg", "b.jpg", LONG)
    (made,) = (shell.folder / "work/tiny/val/images").glob("票*")
    assert made.name.endswith(".upright.png")
    with Image.open(made) as image:
        assert image.size == (77, 101)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.splits.val.encoding=klingon", "no encoding of text that Python knows"),
        ("data.splits.val.categories=[logo]", "has no category 'logo', but text 3"),
        ("data.splits.val.subset=dev", "has no set 'dev'"),
        ("data.splits.val.images=elsewhere", "data.splits.val.follow_links=true follows links"),
    ],
)
def test_what_a_split_says_of_its_labels_is_checked(override: str, message: str, shell: Shell) -> None:
    (shell.folder / "ds/elsewhere").symlink_to(shell.folder)
    found = shell("run", "--split", "val", *SPLITS, override)
    assert (found.returncode, message in found.stderr) == (2, True), found.stderr


def test_labels_of_another_size_are_refused_or_scaled_and_counted(shell: Shell) -> None:
    write(shell.folder, "val", ["a.jpg", "b.jpg"], width=640, height=480)
    refused = shell("run", "--split", "val", *SPLITS)
    assert "a.jpg: stated_size: labels drawn on 640 x 480 pixels" in refused.stderr
    scaled = done(shell, "run", "--split", "val", "data.splits.val.scale_labels=true")
    assert "has labels drawn on a larger or smaller copy, which were scaled (2 times)" in scaled.stderr
    store = open_store(shell.folder / "work/tiny/val/canonical.zarr")
    assert store.info.tallies["frame"]["scaled"] == 2
