"""A split as the engine sees it: everything listed is a sample, accepted or with a verdict."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from PIL import Image

from ocr.annotations import LabelOptions
from ocr.preprocess import RawSample
from ocr.splits import AnnotatedSplit, HeaderCache, LabelFrame
from pipeline.errors import ConfigError
from pipeline.planning import SourceSample

SIZE = (40, 60)  # height, width as stored
WIDE = [[30, 5], [58, 5], [58, 10], [30, 10]]
TALL = [[5, 30], [10, 30], [10, 58], [5, 58]]
BOTH = [[1, 1], [39, 1], [39, 39], [1, 39]]


def jpeg(orientation: int = 1, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", exif=exif)
    return file.getvalue()


def hash_file(path: Path) -> bytes:
    return xxhash.xxh3_128_digest(path.read_bytes())


class Data:
    """A data set in the making: image files, and words by image."""

    def __init__(self, root: Path) -> None:
        self.images = root / "img"
        self.annotations = root / "labels.json"
        self.images.mkdir(parents=True)
        self.entries: dict[str, Any] = {}

    def add(self, name: str, data: bytes | None, *polygons: Any) -> None:
        if data is not None:
            (self.images / name).parent.mkdir(parents=True, exist_ok=True)
            (self.images / name).write_bytes(data)
        self.entries[name] = {"words": [{"points": points, "text": "t"} for points in polygons]}

    def split(self, label_frame: LabelFrame = "upright", cache: Path | None = None) -> AnnotatedSplit:
        self.annotations.write_text(json.dumps({"images": self.entries}))
        return AnnotatedSplit(self.images, self.annotations, "auto", label_frame, cache)

    def samples(self, label_frame: LabelFrame = "upright") -> dict[str, SourceSample]:
        return {sample.sample_id: sample for sample in self.split(label_frame).samples(hash_file)}


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / "data")


def codes(samples: dict[str, SourceSample]) -> dict[str, str | None]:
    return {name: sample.verdict.code if sample.verdict else None for name, sample in samples.items()}


def test_everything_listed_is_a_sample_in_the_order_of_the_annotation(data: Data) -> None:
    data.add("z.jpg", jpeg(), BOTH)
    data.add("gone.jpg", None, BOTH)
    data.add("../up.jpg", None)
    data.add("sub/a.jpg", jpeg(), BOTH)
    data.add("same.jpg", jpeg())
    data.add("SAME.jpg", jpeg())
    data.add("bad.jpg", jpeg(), [[1, 2], ["x", 3]])
    data.add("no text.jpg", jpeg())
    (data.images / "loose.jpg").write_bytes(jpeg())
    (data.images / "notes.txt").write_bytes(b"")
    samples = data.samples()
    assert codes(samples) == {
        "z.jpg": None,
        "gone.jpg": "missing_image",
        "../up.jpg": "parent_path",
        "sub/a.jpg": None,
        "same.jpg": "colliding_path",
        "SAME.jpg": "colliding_path",
        "bad.jpg": "bad_annotation",
        "no text.jpg": None,
    }
    assert list(samples) == list(data.entries)
    assert data.split().unlabelled() == ["loose.jpg"]
    raw = samples["z.jpg"].payload
    assert isinstance(raw, RawSample)
    assert (raw.image, raw.frame, raw.rule, len(raw.words)) == (
        data.images / "z.jpg",
        "upright",
        "declared",
        1,
    )
    bad = samples["bad.jpg"].verdict
    assert bad is not None
    assert bad.reason == (
        'labels.json: $.images["bad.jpg"].words[0].points[1]: expected two numbers [x, y], found ["x", 3]'
    )


def test_an_image_listed_twice_is_one_sample_and_refused(data: Data) -> None:
    data.add("a.jpg", jpeg(), BOTH)
    data.split()
    data.annotations.write_text(
        '{"images": {"a.jpg": {"words": []}, "b.jpg": {"words": []}, "a.jpg": {"words": []}}}'
    )
    split = AnnotatedSplit(data.images, data.annotations)
    found = {sample.sample_id: sample for sample in split.samples(hash_file)}
    assert codes(found) == {"a.jpg": "duplicate_path", "b.jpg": "missing_image"}


def test_parts_of_a_folder_are_disjoint_and_keep_their_samples_in_any_order_of_the_annotation(
    data: Data,
) -> None:
    names = [f"{index}.jpg" for index in range(12)]
    for name in names:
        data.add(name, jpeg(), BOTH)

    def part(start: int, stop: int) -> list[str]:
        data.split()
        split = AnnotatedSplit(data.images, data.annotations, "native", "upright", ranks=(start, stop))
        return [sample.sample_id for sample in split.samples(hash_file)]

    train, val = part(0, 9), part(9, 12)
    assert (len(train), len(val)) == (9, 3)
    assert sorted([*train, *val], key=names.index) == names
    assert train == sorted(train, key=names.index)
    data.entries = dict(reversed(data.entries.items()))
    assert part(9, 12) == val[::-1]


def test_digests_follow_content_and_nothing_else(data: Data, tmp_path: Path) -> None:
    data.add("a.jpg", jpeg(), BOTH)
    data.add("b.jpg", jpeg(seed=1), BOTH)
    before = data.samples()
    assert set(before["a.jpg"].inputs) == {"image", "annotation", "frame"}
    assert all(len(digest) == 16 for digest in before["a.jpg"].inputs.values())
    assert before["a.jpg"].inputs["image"] == hash_file(data.images / "a.jpg")

    moved = Data(tmp_path / "elsewhere")
    shutil.copytree(data.images, moved.images, dirs_exist_ok=True)
    moved.entries = dict(reversed(data.entries.items()))
    after = moved.samples()
    assert list(after) == ["b.jpg", "a.jpg"]
    assert all(after[name].inputs == before[name].inputs for name in after)

    data.add("a.jpg", jpeg(), WIDE)
    edited = data.samples()
    changed = {
        key for key in before["a.jpg"].inputs if edited["a.jpg"].inputs[key] != before["a.jpg"].inputs[key]
    }
    assert changed == {"annotation"}
    assert edited["b.jpg"].inputs == before["b.jpg"].inputs
    assert data.samples("raw")["a.jpg"].inputs["frame"] != before["a.jpg"].inputs["frame"]


def test_frames_are_decided_for_the_split(data: Data) -> None:
    data.add("1.jpg", jpeg(1), WIDE)
    data.add("6 upright.jpg", jpeg(6), TALL)
    data.add("6 silent.jpg", jpeg(6), BOTH)
    data.add("3.jpg", jpeg(3), WIDE)
    data.add("empty.jpg", jpeg(6))
    data.add("broken.jpg", b"no image", BOTH)
    payloads = {name: sample.payload for name, sample in data.samples("auto").items()}
    assert {name: (raw.frame, raw.rule) for name, raw in payloads.items()} == {
        "1.jpg": ("upright", "same_frame"),
        "6 upright.jpg": ("upright", "bounds"),
        "6 silent.jpg": ("upright", "majority"),
        "3.jpg": ("upright", "majority"),
        "empty.jpg": ("upright", "no_polygons"),
        "broken.jpg": ("upright", "unread"),  # left to the stage, which says what is wrong with it
    }
    data.add("6 raw.jpg", jpeg(6), WIDE)
    mixed = data.samples("auto")
    assert codes(mixed) == dict.fromkeys(data.entries, None) | dict.fromkeys(
        ("6 silent.jpg", "3.jpg"), "frame_unknown"
    )
    assert mixed["6 raw.jpg"].payload.frame == "raw"


def test_photographs_of_all_orientations(exif_photos: Path, data: Data) -> None:
    """Labels drawn upright on a photograph that is wider than high, near its right edge."""
    for number in range(1, 9):
        name = f"Landscape_{number}.jpg"
        data.add(name, (exif_photos / name).read_bytes(), [[1700, 10], [1790, 10], [1790, 40], [1700, 40]])
    rules = {name: sample.payload.rule for name, sample in data.samples("auto").items()}
    assert list(rules.values()) == ["same_frame"] + ["majority"] * 3 + ["bounds"] * 4
    assert {sample.payload.frame for sample in data.samples("auto").values()} == {"upright"}


def test_headers_are_read_once_and_only_where_they_matter(data: Data, tmp_path: Path) -> None:
    data.add("a.jpg", jpeg(6), TALL)
    data.add("b.jpg", jpeg(6), WIDE)
    data.add("no text.jpg", jpeg(8))
    digests = {path: hash_file(path) for path in data.images.iterdir()}

    def rules(label_frame: LabelFrame, cache: Path | None) -> list[str]:
        found = data.split(label_frame, cache).samples(digests.__getitem__)
        return [sample.payload.rule for sample in found]

    cache = tmp_path / "headers"
    assert rules("auto", cache) == ["bounds", "bounds", "no_polygons"]
    for path in digests:
        path.write_bytes(b"whoever reads this again finds no header")
    assert rules("auto", cache) == ["bounds", "bounds", "no_polygons"]
    assert rules("auto", None) == ["unread", "unread", "no_polygons"]
    assert rules("upright", None) == ["declared"] * 3


def test_a_damaged_memory_of_headers_is_read_as_empty(data: Data, tmp_path: Path) -> None:
    data.add("a.jpg", jpeg(6), TALL)
    memory = tmp_path / "headers"
    memory.write_bytes(b"damaged")
    headers = HeaderCache(memory)
    path = data.images / "a.jpg"
    assert headers.read(path, hash_file(path)) == (SIZE, 6)
    headers.save()
    assert HeaderCache(memory).read(tmp_path / "not opened", hash_file(path)) == (SIZE, 6)


def test_a_file_that_cannot_be_hashed_is_one_verdict(data: Data) -> None:
    data.add("a.jpg", jpeg())
    data.add("b.jpg", jpeg())

    def failing(path: Path) -> bytes:
        if path.name == "a.jpg":
            raise PermissionError(13, "Permission denied")
        return hash_file(path)

    found = {sample.sample_id: sample for sample in data.split().samples(failing)}
    assert codes(found) == {"a.jpg": "unreadable_image", "b.jpg": None}


def test_wrong_configuration_is_told_before_anything_is_read(data: Data) -> None:
    with pytest.raises(ConfigError, match="lists no image"):
        data.split().samples(hash_file)
    shutil.rmtree(data.images)
    with pytest.raises(ConfigError, match="no folder of images"):
        data.split().samples(hash_file)


QUAD = [[4, 4], [30, 4], [30, 20], [4, 20]]


@pytest.mark.parametrize(
    ("orientation", "stated", "frame", "code"),
    [
        (1, (40, 60), "auto", None),
        (1, (41, 60), "auto", None),  # a pixel of rounding
        (1, (60, 40), "auto", "stated_size"),  # turned since, and its EXIF is gone
        (1, (80, 120), "auto", "stated_size"),  # scaled: see below
        (1, (80, 100), "declared", "stated_size"),
        (3, (60, 40), "auto", "stated_size"),
        (6, (40, 60), "auto", None),
        (6, (60, 40), "auto", None),
        (6, (60, 41), "upright", None),
        (6, (33, 77), "raw", "stated_size"),
    ],
)
def test_the_stated_size_is_compared_before_any_other_rule(
    orientation: int, stated: tuple[int, int], frame: str, code: str | None, data: Data
) -> None:
    data.add("a.jpg", jpeg(orientation), QUAD)
    data.entries["a.jpg"] |= {"img_h": stated[0], "img_w": stated[1]}
    found = data.samples("upright" if frame == "declared" else frame)  # type: ignore[arg-type]
    assert codes(found) == {"a.jpg": code}


@pytest.mark.parametrize(("orientation", "frame"), [(1, "upright"), (6, "upright"), (6, "raw")])
def test_labels_of_a_scaled_copy_are_refused_or_scaled_and_told(
    orientation: int, frame: str, data: Data
) -> None:
    data.add("a.jpg", jpeg(orientation), QUAD)
    height, width = SIZE if frame == "raw" or orientation == 1 else SIZE[::-1]
    data.entries["a.jpg"] |= {"img_h": 2 * height, "img_w": 2 * width}
    refused = data.samples("auto")["a.jpg"].verdict
    assert refused is not None and "scale_labels=true" in str(refused)
    assert f"{2 * width} x {2 * height}" in str(refused)
    split = AnnotatedSplit(data.images, data.annotations, "auto", "auto", scale_labels=True)
    (sample,) = split.samples(hash_file)
    rule = "same_frame" if orientation == 1 else "stated_size"
    assert (sample.payload.frame, sample.payload.rule) == (frame, f"{rule} scaled")
    assert sample.payload.words[0].points.tolist() == [[x / 2, y / 2] for x, y in QUAD]
    assert "which were scaled" in split.notes[0]


def test_a_declared_frame_that_stated_sizes_contradict_is_told(data: Data) -> None:
    data.add("a.jpg", jpeg(6), QUAD)
    data.entries["a.jpg"] |= {"img_h": 40, "img_w": 60}
    split = data.split("upright")
    assert codes({s.sample_id: s for s in split.samples(hash_file)}) == {"a.jpg": None}
    assert split.notes == ("labels.json states sizes of the raw frame, and label_frame is upright",)


def test_names_that_were_written_on_windows(data: Data) -> None:
    data.add("sub/a.jpg", jpeg(), QUAD)
    data.add("b\\c.jpg", jpeg(seed=1), QUAD)  # a file that is called so
    data.entries["sub\\a.jpg"] = data.entries.pop("sub/a.jpg")
    data.entries["..\\a.jpg"] = {"words": []}
    split = data.split()
    found = {sample.sample_id: sample for sample in split.samples(hash_file)}
    assert codes(found) == {"b\\c.jpg": None, "sub/a.jpg": None, "..\\a.jpg": "parent_path"}
    assert split.unlabelled() == []


@pytest.mark.parametrize(
    ("there", "named"),
    [("cafe\u0301.jpg", "caf\u00e9.jpg"), ("cafe\u0301.jpg", "caf\u00e9"), ("IMG.JPG", "img.jpg")],
)
def test_a_missing_image_that_is_there_under_a_name_that_looks_alike(
    there: str, named: str, data: Data
) -> None:
    data.add(there, jpeg(), QUAD)
    data.entries[named] = data.entries.pop(there)
    verdict = data.samples()[named].verdict
    assert verdict is not None and verdict.code == "missing_image"
    assert f"{there!a} is, which differs in case or Unicode normalisation" in verdict.reason


def test_a_link_that_leads_nowhere_is_a_missing_image(data: Data) -> None:
    data.add("a.jpg", None, QUAD)
    (data.images / "a.jpg").symlink_to("nowhere.jpg")
    verdict = data.samples()["a.jpg"].verdict
    assert verdict is not None and verdict.code == "missing_image"
    assert verdict.reason.endswith(
        "a.jpg is not in the folder of images: the link of this name leads nowhere"
    )


def test_links_out_of_the_root_are_followed_where_that_is_asked_for(data: Data, tmp_path: Path) -> None:
    """Hugging Face's and DVC's caches: every file of a snapshot is a link to a blob elsewhere."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs/9f3c").write_bytes(jpeg())
    data.add("a.jpg", None, QUAD)
    (data.images / "a.jpg").symlink_to(tmp_path / "blobs/9f3c")
    verdict = data.samples()["a.jpg"].verdict
    assert verdict is not None and verdict.code == "outside_root" and "follow_links=true" in verdict.reason
    split = AnnotatedSplit(data.images, data.annotations, options=LabelOptions(follow_links=True))
    (sample,) = split.samples(hash_file)
    assert (sample.verdict, sample.payload.image) == (None, data.images / "a.jpg")
