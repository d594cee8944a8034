"""`warmstore score`: what any detector wrote is judged like our own, and what cannot be read is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocr.annotations import match_names
from ocr.evaluation import LabelledImage, labelled_images
from ocr.geometry import transform_points, upright_matrix, upright_size
from pipeline.store import open_store
from tests.support.shell import Shell

Found = dict[str, list[Any]]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with three validation receipts in stores, of which some carry an EXIF orientation."""
    shell = Shell(tmp_path_factory.mktemp("score"))
    for command in ("data", "run"):
        done = shell(command, "data.generate.val=3", "data.generate.train=1")
        assert done.returncode == 0, done.stderr
    return shell


@pytest.fixture
def images(shell: Shell) -> list[LabelledImage]:
    return list(labelled_images(open_store(shell.folder / "work/tiny/val/tensors.zarr")))


@pytest.fixture
def found(images: list[LabelledImage]) -> Found:
    """A detector that finds all but the first region of each image."""
    return {image.sample_id: [np.asarray(p, float) for p in image.polygons[1:]] for image in images}


def paddle_lines(found: Found, path: Path) -> Path:
    lines = [f"val/{name}\t{json.dumps([p.tolist() for p in polygons])}" for name, polygons in found.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def paddle_objects(found: Found, path: Path) -> Path:
    words = {
        name: [{"transcription": "", "points": p.tolist(), "score": 0.9} for p in polygons]
        for name, polygons in found.items()
    }
    path.write_text("".join(f"{name}\t{json.dumps(listed)}\n" for name, listed in words.items()))
    return path


def icdar_results(found: Found, path: Path) -> Path:
    path.mkdir()
    for index, (name, polygons) in enumerate(found.items()):
        ends = ("", ",0.97", ",12 EUR")  # nothing, a score, a text
        lines = [",".join(map(str, p.flatten().tolist())) + ends[index % 3] for p in polygons]
        (path / f"res_{Path(name).stem}.txt").write_text("\n".join(lines))
    return path


def coco_results(found: Found, path: Path) -> Path:
    results = [
        {"image_id": name, "category_id": 1, "segmentation": [p.flatten().tolist()], "score": 0.5}
        for name, polygons in found.items()
        for p in polygons
    ]
    path.write_text(json.dumps(results))
    return path


def native_labels(found: Found, path: Path) -> Path:
    entries = {
        name: {"words": {str(i): {"points": p.tolist()} for i, p in enumerate(polygons)}}
        for name, polygons in found.items()
    }
    path.write_text(json.dumps({"images": entries}))
    return path


WRITERS: list[Callable[[Found, Path], Path]] = [
    paddle_lines,
    paddle_objects,
    icdar_results,
    coco_results,
    native_labels,
]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_every_format_gives_the_same_numbers(
    shell: Shell, images: list[LabelledImage], found: Found, tmp_path: Path, write: Any
) -> None:
    done = shell.json("score", str(write(found, tmp_path / "detections")), "--split", "val")["val"]
    counted = sum(sum(not flag for flag in image.ignore) for image in images)
    missed = sum(not image.ignore[0] for image in images)
    assert done["iou"]["recall"] == pytest.approx(1 - missed / counted) and done["iou"]["precision"] == 1
    assert done["cleval"]["hmean"] > 0.8 and done["without"] == done["unknown"] == []
    assert [one["sample_id"] for one in done["images"]] == [image.sample_id for image in images]
    folder = shell.folder / done["folder"]
    assert (folder / "worst.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "summary.json").read_text())["score"]["iou"] == done["iou"]


def test_polygons_in_raw_pixels_are_turned(shell: Shell, found: Found, tmp_path: Path) -> None:
    canonical = open_store(shell.folder / "work/tiny/val/canonical.zarr")
    orientations = np.asarray(canonical.small("orientation")).tolist()
    assert any(orientation > 1 for orientation in orientations)
    raw = {}
    for name, polygons in found.items():
        row = canonical.rows[name]
        size = upright_size(tuple(canonical.small("size")[row].tolist()), orientations[row])
        back = np.linalg.inv(upright_matrix(size, orientations[row]))
        raw[name] = [transform_points(back, polygon) for polygon in polygons]
    path = str(coco_results(raw, tmp_path / "raw.json"))
    assert shell.json("score", path, "--frame", "raw")["val"]["iou"]["precision"] == 1
    assert shell.json("score", path)["val"]["iou"]["precision"] < 1


def test_images_without_detections_count_as_empty_and_strangers_are_told(
    shell: Shell, found: Found, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = next(iter(found))
    path = paddle_lines({name: found[name], "elsewhere.jpg": found[name]}, tmp_path / "some.txt")
    done = shell.json("score", str(path))["val"]
    assert len(done["without"]) == 2 and done["unknown"] == ["val/elsewhere.jpg"]
    assert done["iou"]["images"] == 3 and done["iou"]["recall"] < 0.5
    assert "2 images have no detections" in caplog.text and "elsewhere.jpg" in caplog.text


def bad(text: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_text(text)
        return path

    return write


WRONG: list[tuple[Callable[[Path], Path], int, str]] = [
    (lambda path: path, 2, "there are no detections at"),
    (bad("a.jpg\t[[[1, 2], [3]]]\n"), 1, "line 1: $[0][1]: expected two numbers [x, y], found [3]"),
    (bad("a.jpg\t[[[1, 2], [3, 4], [5, 6]]]\n"), 2, "names no image of split val: it has a.jpg"),
    (bad('[{"bbox": [1, 2, 3, 4]}]'), 1, "$[0].image_id: expected an id or a name, found null"),
    (bad('[{"image_id": "receipt-00000.jpg"}]'), 1, "$[0]: expected a polygon or bbox"),
    (bad("[1, 2"), 1, "expected JSON"),
    (bad("receipt-00000.jpg\t[[[1, 2], [3, 4]]]\n"), 1, "polygon 0 has the shape (2, 2)"),
]


@pytest.mark.parametrize(("write", "code", "words"), WRONG)
def test_what_cannot_be_scored_is_told(
    shell: Shell, tmp_path: Path, write: Callable[[Path], Path], code: int, words: str
) -> None:
    done = shell("score", str(write(tmp_path / "detections")))
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr


def test_one_file_is_asked_for(shell: Shell) -> None:
    assert shell("score").returncode == 2
    shown = shell.typed("score", "--help").stdout
    assert "warmstore score predicts.txt" in shown


NAMES = [
    ("a/001.jpg", "a/001.jpg"),
    ("./a/001.jpg", "a/001.jpg"),
    ("a\\001.jpg", "a/001.jpg"),
    ("images/002.png", "b/002.png"),
    ("res_002", "b/002.png"),
    ("gt_002.txt", "b/002.png"),
    ("001", None),  # two samples are called so
    ("003.jpg", None),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_a_name_means_one_sample_or_none(name: str, expected: str | None) -> None:
    found, unknown = match_names([name], ["a/001.jpg", "b/001.jpg", "b/002.png"])
    assert found.get(name) == expected and unknown == ([] if expected else [name])
