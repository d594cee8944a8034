"""Labels of another size than the image, and names that are not spelled as the file's."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocr.annotations import LabelOptions
from ocr.splits import AnnotatedSplit
from tests.support.split_data import SIZE, Data, codes, hash_file, jpeg

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
