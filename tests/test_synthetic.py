"""The synthetic receipts: the same bytes for a seed, and polygons that lie on the text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from ocr.annotations import read_annotations
from ocr.synthetic import draw_receipt, generate
from pipeline.errors import ConfigError

SMALL = (240, 176)


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 and 3 small receipts: enough for every orientation to occur."""
    root = tmp_path_factory.mktemp("receipts")
    generate(root, train=32, val=3, seed=5, size=SMALL)
    return root


@pytest.fixture(scope="module")
def labels(small: Path) -> dict[str, Any]:
    return dict(json.loads((small / "train.json").read_text(encoding="utf-8"))["images"])


def orientation_of(path: Path) -> int | None:
    with Image.open(path) as image:
        value = image.getexif().get(ExifTags.Base.Orientation)
    return None if value is None else int(value)


def darkness(image: Image.Image, quads: list[Any]) -> float:
    """The share of polygons that hold ink: their darkest tenth is well below their own median."""
    grey = np.asarray(image.convert("L"), np.float32)
    inked = 0
    for quad in quads:
        inside = np.zeros(grey.shape, np.uint8)
        cv2.fillPoly(inside, [np.round(quad).astype(np.int32)], 1)
        values = grey[inside > 0]
        inked += bool(values.size) and bool(np.percentile(values, 10) < 0.85 * np.percentile(values, 90))
    return inked / len(quads)


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        generate(tmp_path / name, train=2, val=1, seed=seed, size=SMALL)
    one, again, other = (files(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert all(one[name] != other[name] for name in one)


def test_a_larger_set_starts_with_the_smaller_one(tmp_path: Path, small: Path) -> None:
    generate(tmp_path, train=3, val=3, seed=5, size=SMALL)
    expected = files(small)
    assert all(
        content == expected[name] for name, content in files(tmp_path).items() if name.endswith(".jpg")
    )


def test_no_image_of_val_is_in_train(small: Path) -> None:
    train, val = ({path.read_bytes() for path in (small / split).iterdir()} for split in ("train", "val"))
    assert len(train) == 32 and len(val) == 3 and not train & val


def test_a_quarter_has_an_orientation_and_all_eight_occur(small: Path) -> None:
    found = [orientation_of(path) for path in sorted((small / "train").iterdir())]
    assert sorted(value for value in found if value) == list(range(1, 9))
    assert found.count(None) == 24


def test_polygons_lie_on_ink_in_the_upright_frame(small: Path, labels: dict[str, Any]) -> None:
    for file, entry in labels.items():
        quads = [word["points"] for word in entry["words"].values()]
        with Image.open(small / "train" / file) as raw:
            upright = ImageOps.exif_transpose(raw)
            assert (upright.height, upright.width) == (entry["img_h"], entry["img_w"])
            assert darkness(upright, quads) > 0.95
            if (orientation_of(small / "train" / file) or 1) in (3, 4, 6, 8):
                assert darkness(raw, quads) < 0.9, "the check cannot tell the frames apart"


def test_polygons_are_clockwise_and_inside_the_image(labels: dict[str, Any]) -> None:
    for entry in labels.values():
        quads = np.array([word["points"] for word in entry["words"].values()])
        assert quads.shape == (len(entry["words"]), 4, 2) and len(quads) >= 15
        x, y = quads[..., 0], quads[..., 1]
        assert x.min() >= 0 and x.max() <= entry["img_w"] and y.min() >= 0 and y.max() <= entry["img_h"]
        area = (x * np.roll(y, -1, 1) - y * np.roll(x, -1, 1)).sum(1) / 2
        assert (area > 0).all()  # y points down: a positive shoelace area runs clockwise on the screen


def test_the_annotations_are_read_as_native(small: Path, labels: dict[str, Any]) -> None:
    read = read_annotations(small / "train.json", small / "train")
    assert read.format == "native" and not read.problems
    assert [image.file for image in read.images] == list(labels)
    words = [word for image in read.images for word in image.words]
    assert all(word.text for word in words) and any("€" in word.text for word in words)
    ignored = sum(word.ignore for word in words) / len(words)
    assert 0.005 < ignored < 0.1


def test_the_next_set_leaves_nothing_of_the_last_but_files_of_others(tmp_path: Path) -> None:
    generate(tmp_path, train=3, val=0, size=SMALL)
    (tmp_path / "train" / "mine.jpg").write_bytes(b"not a receipt")
    generate(tmp_path, train=1, val=0, size=SMALL)
    assert sorted(files(tmp_path)) == ["train.json", "train/mine.jpg", "train/receipt-00000.jpg", "val.json"]
    assert json.loads((tmp_path / "val.json").read_text()) == {"images": {}}


def test_progress_is_reported_per_image(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []
    generate(tmp_path, train=2, val=1, size=SMALL, report=lambda split, done: seen.append((split, done)))
    assert seen == [("train", 1), ("train", 2), ("val", 1)]


def test_a_negative_number_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="-1 images"):
        generate(tmp_path, train=2, val=-1)
    assert not list(tmp_path.iterdir())


def test_the_size_of_a_photo_is_near_the_one_asked_for() -> None:
    sizes = [draw_receipt(np.random.default_rng(seed), (480, 320)).size for seed in range(6)]
    assert all(416 <= height <= 528 and 272 <= width <= 352 for height, width in sizes)
    whole_blocks = [height % 16 == 0 and width % 16 == 0 for height, width in sizes]
    assert any(whole_blocks) and not all(whole_blocks)
