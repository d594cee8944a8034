"""`warmstore init`: a folder of images and labels becomes a configuration that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ocr.splits import AnnotatedSplit, look_over
from tests.support.mutated_labels import encode
from tests.support.shell import Done, Shell
from tests.support.written_labels import HEIGHT, IMAGES, IMPORTERS, WIDTH, draw
from tests.test_overrides import NAMES
from warmstore.configuration import DataConfig, load_config
from warmstore.starter import CANVASES, LOST, READABLE, histogram, starter_yaml, suggest


def write_set(folder: Path, format: str = "native") -> tuple[str, str]:
    """Write nine words on three images, in a format's label files; gives the paths of IMAGES and LABELS."""
    (folder / "img").mkdir(parents=True)
    for number, name in enumerate(IMAGES):
        Image.new("RGB", (WIDTH, HEIGHT), (0, 90, number)).save(folder / "img" / name)
    files = IMPORTERS[format].write(draw(IMPORTERS[format].corners))
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(encode(name, content), encoding="utf-8")
    return str(folder / "img"), str(folder / next(iter(files)).split("/")[0])


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with configurations of its own, none yet."""
    (tmp_path / "configs").mkdir()
    return Shell(tmp_path, tmp_path / "configs")


def init(shell: Shell, pair: tuple[str, str], *words: str) -> Done:
    return shell.typed("init", "mine", "--train", *pair, *(words or ("--split-off", "0.34")))


def configured(shell: Shell) -> Any:
    """Give what `warmstore config` makes of the file that was written, named by its path."""
    done = shell.typed("config", "--config", "configs/mine.yaml", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("format", IMPORTERS)
def test_every_format_is_found_and_counted(shell: Shell, format: str) -> None:
    done = init(shell, write_set(shell.folder / "set", format))
    assert done.returncode == 0, done.stderr
    read = IMPORTERS[format].format
    assert f"train: 3 images and 6 words in format {read}, 3 more do not count" in done.stdout
    assert "split off: 1 of them to validate on, 2 are left to train on" in done.stdout
    splits = configured(shell)["data"]["splits"]
    assert [(split["format"], split["part"]) for split in splits.values()] == [
        (read, [1, None]),
        (read, [0, 1]),
    ]


@pytest.mark.parametrize("broken", IMAGES[1:])
def test_what_is_split_off_is_counted_without_refused_images(shell: Shell, broken: str) -> None:
    images, labels = write_set(shell.folder / "set")
    (Path(images) / broken).write_bytes(b"")
    done = init(shell, (images, labels), "--split-off", "0.67")
    assert done.returncode == 0, done.stderr
    listed = shell.typed("run", "canonicalize", "--config", "configs/mine.yaml", "--json", "executor=serial")
    found = {split: stages["canonicalize"]["accepted"] for split, stages in json.loads(listed.stdout).items()}
    told = f"split off: {found['val']} of them to validate on, {found['train']} are left to train on"
    assert told in done.stdout


def test_a_share_of_refused_images_alone_is_wrong_usage(shell: Shell) -> None:
    images, labels = write_set(shell.folder / "set")
    (taken,) = look_over(AnnotatedSplit(Path(images), Path(labels))).ranked[:1]
    (Path(images) / taken).write_bytes(b"")
    done = init(shell, (images, labels), "--split-off", "0.34")
    told = f"none of the 1 images that --split-off 0.34 leaves to val can be used: {taken} is empty: the file"
    assert (done.returncode, told in done.stderr, "give another share" in done.stderr) == (2, True, True)
    assert not (shell.folder / "configs/mine.yaml").exists()


def test_what_is_written_runs_as_the_next_command_says(shell: Shell) -> None:
    done = init(shell, write_set(shell.folder / "set"))
    command = next(line for line in done.stdout.splitlines() if line.startswith("next:"))
    words = command.partition(" warmstore ")[2].split() or command.split()[-3:]
    ran = shell.typed(*words, "--json", "canvas=64", "executor=serial")
    assert ran.returncode == 0, ran.stderr
    listed = {split: stages["tensors"]["samples"] for split, stages in json.loads(ran.stdout).items()}
    assert listed == {"train": 2, "val": 1}
    assert "are in split" not in ran.stderr


def test_two_folders_keep_their_formats_below_one_root(shell: Shell) -> None:
    train, val = write_set(shell.folder / "a/one"), write_set(shell.folder / "a/b/two", "icdar")
    done = init(shell, train, "--val", *val)
    assert done.returncode == 0, done.stderr
    data = configured(shell)["data"]
    assert data["root"] == str(shell.folder / "a")
    assert {name: (s["images"], s["annotations"], s["format"]) for name, s in data["splits"].items()} == {
        "train": ("one/img", "one/labels.json", "native"),
        "val": ("b/two/img", "b/two/gt", "icdar"),
    }


def test_what_a_run_will_refuse_is_told_with_the_reason(shell: Shell) -> None:
    images, labels = write_set(shell.folder / "set", "paddleocr")
    (Path(images) / "a.png").write_bytes(b"no picture")
    (Path(images) / "b.png").unlink()
    Image.new("RGB", (8, 8)).save(Path(images) / "d.png")
    done = init(shell, (images, labels), "--val", *write_set(shell.folder / "other"))
    assert done.returncode == 0, done.stderr
    assert "2 images will be quarantined" in done.stdout
    assert "a.png: unsupported_format: neither JPEG" in done.stdout
    assert "b.png: missing_image: b.png is not in the folder of images" in done.stdout
    assert "no labels for d.png; they are no samples" in done.stdout


def test_a_frame_that_nothing_tells_is_asked_for(shell: Shell) -> None:
    images, labels = write_set(shell.folder / "set", "icdar")
    turned = Image.Exif()
    turned[0x0112] = 3
    Image.new("RGB", (WIDTH, HEIGHT)).save(Path(images) / "a.png", exif=turned)
    told = "the labels of a.png were drawn before or after the image was turned upright: add label_frame=raw"
    assert told in init(shell, (images, labels)).stdout
    done = init(shell, (images, labels), "--split-off", "0.34", "label_frame=upright", "--force")
    assert done.returncode == 0 and told not in done.stdout
    assert {split["label_frame"] for split in configured(shell)["data"]["splits"].values()} == {"upright"}


@pytest.mark.parametrize(
    "name", [*NAMES[::6], "key: value", "# 1", "it's", "back\\slash", "${oc.env:HOME}", "a${b}"]
)
def test_a_folder_may_be_called_anything(shell: Shell, name: str) -> None:
    write_set(shell.folder / name / "set")
    done = init(shell, (f"{name}/set/img", f"{name}/set/labels.json"))
    assert done.returncode == 0, done.stderr
    assert configured(shell)["data"]["root"] == f"{name}/set"


def test_links_that_lead_elsewhere_are_written_as_where_they_lead(shell: Shell) -> None:
    images, labels = write_set(shell.folder / "disk/set")
    (shell.folder / "here").mkdir()
    (shell.folder / "here/img").symlink_to(images)
    (shell.folder / "here/labels.json").symlink_to(labels)
    done = init(shell, ("here/img", "here/labels.json"))
    assert done.returncode == 0, done.stderr
    data = configured(shell)["data"]
    assert (data["root"], data["splits"]["val"]["images"]) == ("disk/set", "img")


SPLIT_OFF = ("--split-off", "0.5")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "a split to validate on is needed: give either --val IMAGES LABELS, or --split-off"),
        (("--val", "set/img", "set/gt", *SPLIT_OFF), "a split to validate on is needed"),
        (("--val", "set/img", "nowhere"), "there are no labels at nowhere; give IMAGES, then LABELS"),
        (("--val", "set/labels.json", "set/img"), "there is no folder of images at set/labels.json"),
        (
            (*SPLIT_OFF, "colour=red"),
            "colour does not say how labels are read; these keys do: format, label_",
        ),
        ((*SPLIT_OFF, "encoding=klingon"), "encoding: Value error, it is no encoding of text"),
        ((*SPLIT_OFF, "format=coco"), "labels.json"),
        ((*SPLIT_OFF, "format=yolo"), "annotation format 'yolo' is not known: use auto, native"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    shell: Shell, words: tuple[str, ...], told: str
) -> None:
    write_set(shell.folder / "set")
    done = shell.typed("init", "mine", "--train", "set/img", "set/labels.json", *words)
    assert done.returncode in (1, 2) and told in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list((shell.folder / "configs").iterdir()) == []


@pytest.mark.parametrize("name", ["a/b", "mine.yaml", "-x", "../up", ""])
def test_a_name_that_is_none_is_refused(shell: Shell, name: str) -> None:
    done = shell.typed("init", "--train", *write_set(shell.folder / "set"), *SPLIT_OFF, "--", name)
    assert (done.returncode, "is no name for a run" in done.stderr) == (2, True)


def test_a_configuration_that_is_there_is_replaced_by_force_alone(shell: Shell) -> None:
    pair, file = write_set(shell.folder / "set"), shell.folder / "configs/mine.yaml"
    file.write_text("mine: own\n")
    done = init(shell, pair)
    assert (done.returncode, "mine.yaml is there already" in done.stderr) == (2, True)
    assert file.read_text() == "mine: own\n"
    assert init(shell, pair, *SPLIT_OFF, "--force").returncode == 0
    assert configured(shell)["work_dir"] == "work/mine"


def test_images_without_words_or_without_a_usable_one_are_wrong_usage(shell: Shell) -> None:
    images, labels = write_set(shell.folder / "set")
    Path(labels).write_text(json.dumps({"images": {name: {"words": []} for name in IMAGES}}))
    done = init(shell, (images, labels))
    assert (done.returncode, "there is nothing to learn from" in done.stderr) == (2, True)
    for image in Path(images).iterdir():
        image.write_bytes(b"")
    done = init(shell, (images, labels))
    assert (done.returncode, "none of the 3 images" in done.stderr) == (2, True)
    assert "empty: the file has no bytes" in done.stderr


@pytest.mark.parametrize(
    ("train", "val", "steps", "limits"),
    [(1, 1, 60, None), (48, 24, 600, None), (167, 42, 588, None), (5000, 201, 600, (100, 50))],
)
def test_a_starter_trains_for_minutes_whatever_the_number_of_images(
    tmp_path: Path, train: int, val: int, steps: int, limits: tuple[int, int] | None
) -> None:
    split = {"images": "img", "annotations": "gt"}
    data = DataConfig.model_validate_json(json.dumps({"root": "x", "splits": {"train": split, "val": split}}))
    file = tmp_path / "mine.yaml"
    file.write_text(starter_yaml("mine", data, {"train": train, "val": val}, suggest(np.full(9, 0.02))))
    trainer = load_config(str(file))[0].trainer
    assert trainer.max_epochs and trainer.max_epochs % (trainer.check_val_every_n_epoch or 0) == 0
    assert (trainer.limit_train_batches, trainer.limit_val_batches) == (limits or (None, None))
    assert trainer.max_epochs * (trainer.limit_train_batches or -(-train // 4)) == steps


HEIGHTS = st.lists(st.floats(1e-4, 1), min_size=1, max_size=200).map(np.array)


@given(HEIGHTS)
def test_the_smallest_canvas_that_keeps_the_text_readable(heights: Any) -> None:
    found = suggest(heights)
    fit = [side for side in CANVASES if (heights * side < READABLE).mean() <= LOST]
    assert found.canvas == (fit[0] if fit else CANVASES[-1])
    assert 3 <= found.min_text_size <= 8
    assert found.too_low == (heights * found.canvas < found.min_text_size).mean()
    assert found.min_text_size == 3 or found.too_low <= 0.01 + 1 / len(heights)


@given(HEIGHTS)
def test_a_histogram_counts_every_word_once(heights: Any) -> None:
    lines = histogram(heights * 640)
    assert sum(int(line.split("%")[0].split()[-2].replace(",", "")) for line in lines) == len(heights)
    assert len(lines) <= 13 and max(line.count("█") for line in lines) == 40
