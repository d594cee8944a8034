"""A split as the engine sees it: everything listed is a sample, accepted or with a verdict."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ocr.preprocess import RawSample
from ocr.splits import AnnotatedSplit, HeaderCache, LabelFrame
from pipeline.errors import ConfigError, PipelineError
from tests.support.split_data import BOTH, SIZE, TALL, WIDE, Data, codes, hash_file, jpeg


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
        split = AnnotatedSplit(data.images, data.annotations, "native", "upright", part=(start, stop))
        listed = [sample.sample_id for sample in split.samples(hash_file)]
        assert [image.file for image in split.labelled] == listed
        return listed

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
    with pytest.raises(PipelineError, match="has changed"):
        rules("auto", None)
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
