"""Looking at stores and samples: pictures, HTML, xarray."""

from __future__ import annotations

import copy
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from PIL import Image

from ocr.datasets import DatasetConfig, OnlineDataset, TensorDataset, draw_sample
from ocr.datasets.online import OnlineParams
from ocr.preprocess import DecodeParams
from pipeline.errors import ConfigError, PipelineError, StoreError
from pipeline.execution import Executor, ExecutorConfig
from pipeline.pictures import CAPTION, GAP, IGNORED, MAP, OUTLINE, as_pixels, overview
from pipeline.planning import FileHashes, Pipeline
from pipeline.remote import push
from pipeline.runner import run_stages
from pipeline.stage import Chunked, Row
from pipeline.store import Bucket, BucketStore, open_store
from pipeline.workspace import Workspace
from stages import Canonicalize
from tests.support.split_data import WIDE, Data, jpeg
from tests.support.stores import fields, sample, tensors_store, write_store
from tests.support.toy import Silent, run, write

CANVAS = (64, 64)
MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.25, 0.2)  # of the stores that tests write
SIDE = 64
SQUARES = tuple(
    np.array([(x, 8), (x + 16, 8), (x + 16, 40), (x, 40)], np.float32) / (0.5, 0.25) for x in (8, 40)
)
GREY = (100, 150, 200)


def drawn_sample() -> dict[str, Any]:
    """A plain image with a square of text and one of don't-care, and a map of its left half."""
    left = np.zeros((1, *CANVAS), np.uint8)
    left[..., :32] = 1
    image = np.zeros((3, *CANVAS), np.uint8) + np.array(GREY, np.uint8).reshape(3, 1, 1)
    parts = {"points": tuple(s.astype(np.float32) for s in SQUARES), "ignore": np.array([0, 1], np.uint8)}
    plain = sample(2, *CANVAS)
    return {**plain, **parts, "image": image, "prob_map": left, "matrix": np.diag([0.5, 0.25, 1])}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    samples = [drawn_sample(), *(sample(i, *CANVAS) for i in range(10))]
    return write_store(folder / "tensors.zarr", samples, fields(*CANVAS))


def panels(sheet: Image.Image, side: int = SIDE) -> list[np.ndarray]:
    """Cut a sheet of three columns into its pictures."""
    pixels, step = np.asarray(sheet), side + GAP
    tops = range(GAP + CAPTION, len(pixels) - side + 1, step + CAPTION)
    lefts = range(GAP, pixels.shape[1] - side + 1, step)
    return [pixels[top : top + side, left : left + side] for top in tops for left in lefts]


def box_of(panel: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, ...]:
    """Left, top, right, bottom of the pixels of a colour."""
    ys, xs = np.nonzero((panel == colour).all(axis=-1))
    return (int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max()))


def drawings(path: Path, side: int) -> list[Image.Image]:
    dataset = TensorDataset(path)
    plain = dataset[0]
    normalised = {**plain, "image": (plain["image"] / 255 - torch.tensor(MEAN).view(3, 1, 1))}
    normalised["image"] = (normalised["image"] / torch.tensor(STD).view(3, 1, 1)).to(torch.bfloat16)
    return [
        open_store(path).show(0, side=side),
        dataset.show("folder/00000.jpg", side=side),
        TensorDataset(path, ("size",)).show(-11, side=side),
        draw_sample(plain, (MEAN, STD), side),
        draw_sample(normalised, (MEAN, STD), side),
    ]


@pytest.mark.parametrize("side", [64, 128])
def test_polygons_lie_where_the_matrix_brings_them_and_maps_over_the_image(path: Path, side: int) -> None:
    for drawing in drawings(path, side):
        image, prob_map, *rest = panels(drawing, side)
        scale = side // 64
        assert box_of(image, OUTLINE) == pytest.approx([8 * scale, 8 * scale, 24 * scale, 40 * scale], abs=1)
        assert box_of(image, IGNORED) == pytest.approx([40 * scale, 8 * scale, 56 * scale, 40 * scale], abs=1)
        np.testing.assert_allclose(image[-1, -1], GREY, atol=2)  # bfloat16 has 8 bits
        orange, grey = prob_map[side // 2, side // 4], prob_map[side // 2, side * 3 // 4]
        assert np.ptp(grey.astype(int)) == 0
        np.testing.assert_allclose(orange, 0.785 * np.array(MAP) + 0.215 * grey, atol=3)
        assert len(rest) == 4  # three more maps, and a free place


def test_polygons_are_those_of_the_first_store_and_lie_over_its_image(path: Path, tmp_path: Path) -> None:
    heat = Chunked("heat", "uint8", (1, *CANVAS), "none")
    more = write_store(tmp_path / "heat.zarr", [{"heat": np.eye(64, dtype=np.uint8)[None]}] * 11, (heat,))
    drawn = TensorDataset([path, more]).show(0, "image", "heat", side=SIDE)
    image, laid_over = panels(drawn)
    assert box_of(image, OUTLINE) == pytest.approx([8, 8, 24, 40], abs=1)
    assert len(set(map(tuple, laid_over.reshape(-1, 3).tolist()))) == 2


def test_fields_are_chosen_and_still_laid_over_the_image(path: Path) -> None:
    everything = panels(open_store(path).show(0, side=SIDE))
    (chosen,) = panels(open_store(path).show(0, "thresh_map", side=SIDE))
    np.testing.assert_array_equal(chosen, everything[3])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_normalised_images_are_shown_as_they_were(tmp_path: Path, dtype: str) -> None:
    pixels = sample(1, *CANVAS)["image"]
    values = (torch.from_numpy(pixels) / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(
        3, 1, 1
    )
    stored = values.to(getattr(torch, dtype))
    array = stored.view(torch.uint16).numpy() if dtype == "bfloat16" else stored.numpy()
    declared = (Chunked("image", array.dtype.name, (3, *CANVAS), "none"),)
    attributes = {"image_dtype": dtype, "normalised": True}
    path = write_store(tmp_path / "tensors.zarr", [{"image": array}], declared, attributes=attributes)
    (shown,) = panels(open_store(path).show(0, side=SIDE))
    np.testing.assert_allclose(shown.astype(int), pixels.transpose(1, 2, 0), atol=2)


def test_polygons_are_drawn_over_the_first_image_alone() -> None:
    plain = Image.new("RGB", (SIDE, SIDE))
    panels = overview({"one": plain, "other": plain}, [[(8, 8), (24, 8), (24, 40)]], (), SIDE)
    assert [name for name, _ in panels] == ["one", "other"]
    assert [OUTLINE in {colour for _, colour in panel.getcolors() or ()} for _, panel in panels] == [
        True,
        False,
    ]


def test_values_of_any_range_are_stretched_to_that_of_pixels() -> None:
    image = np.array([-3.0, 1.0, 5.0]).reshape(3, 1, 1)
    np.testing.assert_array_equal(as_pixels(image), [[[0, 128, 255]]])
    np.testing.assert_array_equal(as_pixels(np.ones((3, 1, 1))), np.zeros((1, 1, 3)))


def test_files_that_are_no_images_are_not_shown(tmp_path: Path) -> None:
    write(tmp_path / "raw", a="one")
    run(tmp_path / "raw", tmp_path / "work", ("read",))
    store = open_store(tmp_path / "work/val/read.zarr")
    with pytest.raises(StoreError, match="holds no picture among copy, length"):
        store.show(0)
    assert "<img" not in store._repr_html_()


def test_raw_files_are_shown_with_polygons_in_their_own_frame(tmp_path: Path) -> None:
    data = Data(tmp_path)
    data.add("a.jpg", jpeg(), WIDE)
    workspace = Workspace(tmp_path / "work", "val")
    hashes = FileHashes(workspace.folder / ".hashes", tmp_path)
    pipeline = Pipeline(workspace, (Canonicalize(),), data.split(), hashes)
    list(run_stages(pipeline, ["canonicalize"], Executor(ExecutorConfig(kind="serial")), Silent()))
    (upright,) = panels(open_store(tmp_path / "work/val/canonical.zarr").show("a.jpg", side=120), 120)
    assert box_of(upright, OUTLINE) == pytest.approx([60, 10, 116, 20], abs=1)  # 60 pixels wide, drawn 120
    online = OnlineDataset(
        DatasetConfig(image_path=data.images, annotation_path=data.annotations),
        OnlineParams(decode=DecodeParams(canvas=(64, 64))),
        transform=lambda sample: {**sample, "image": sample["image"] * 0},
    )
    image, *_ = panels(online.show("a.jpg", side=120), 120)
    assert box_of(image, OUTLINE) == pytest.approx([60, 10, 116, 20], abs=2)
    assert set(map(tuple, image.reshape(-1, 3).tolist())) == {(0, 0, 0), OUTLINE}


@pytest.mark.parametrize(
    ("chosen", "error", "words"),
    [
        ((99,), IndexError, "sample 99 of 11"),
        (("00003",), ConfigError, "no sample 00003, but folder/00003.jpg"),
        ((0, "picture"), StoreError, "no picture among picture"),
    ],
)
def test_what_cannot_be_shown_is_told(path: Path, chosen: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        open_store(path).show(*chosen)


def test_a_sample_without_pictures_is_told(path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to draw of a sample without image, prob_map"):
        draw_sample(TensorDataset(path, ("size",))[0], (MEAN, STD))


# --------------------------------------------------------------------------------- HTML


def test_html_has_the_fields_and_eight_thumbnails_with_names_that_cannot_break_out(tmp_path: Path) -> None:
    names = [f"<b>{row}</b>.jpg" for row in range(10)]
    samples = [sample(i, *CANVAS) for i in range(10)]
    path = write_store(tmp_path / "tensors.zarr", samples, fields(*CANVAS), sample_ids=names)
    store, dataset = open_store(path), TensorDataset(path, samples=names[:1:-1])
    for html, first, more in ((store._repr_html_(), 0, "and 2 more"), (dataset._repr_html_(), 9, None)):
        assert html.count("<img src='data:image/jpeg;base64,") == 8
        assert re.findall(r"<figcaption>&lt;b&gt;(\d)", html)[0] == str(first)
        assert "<b>" not in html
        assert (more or "<p>") in html or more is None
    assert "uint8 (10, 3, 64, 64)" in store._repr_html_()


def test_a_damaged_sample_is_named_beside_the_thumbnails_of_the_others(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 3, CANVAS)
    open_store(path).chunk_file("image", 1).write_bytes(b"")
    html = open_store(path)._repr_html_()
    assert html.count("<img") == 2
    assert "folder/00001.jpg: damaged" in html


# -------------------------------------------------------------------------------- xarray


def test_samples_are_selected_by_name_and_damage_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "raw", a="one", b="two words", d="three")
    run(tmp_path / "raw", tmp_path / "work")
    store = open_store(tmp_path / "work/val/pack.zarr")
    dataset = store.to_xarray()
    assert dataset["sample"].values.tolist() == ["a.txt", "b.txt", "d.txt"]
    np.testing.assert_array_equal(dataset["picture"].sel(sample="b.txt"), store.value("picture", 1))
    assert dataset["length"].sel(sample=["d.txt", "a.txt"]).values.tolist() == [5, 3]
    plain = xarray.open_zarr(store.path)
    plain = plain.assign_coords(sample=plain.sample_id.astype(object))
    assert plain["length"].sel(sample="d.txt") == 5
    store.chunk_file("picture", 1).write_bytes(bytes(64))
    with pytest.raises(StoreError, match=r"of b.txt\) is damaged"):
        dataset["picture"].sel(sample="b.txt").load()
    store.chunk_file("picture", 1).unlink()
    with pytest.raises(StoreError, match=r"of b.txt\) is missing"):
        dataset["picture"].sel(sample="b.txt").load()


def test_xarray_that_is_not_there_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(
        PipelineError, match=r"to_xarray needs xarray, .* -m pip install 'warmstore\[notebook\]'`"
    ):
        open_store(path).to_xarray()


def test_a_copy_of_a_store_holds_its_generation_by_itself(path: Path) -> None:
    store = open_store(path)
    again = copy.deepcopy(store)
    store.close()
    store.close()  # once more is as good
    os.fstat(again._lock)
    np.testing.assert_array_equal(again.value("size", 0), drawn_sample()["size"])
    assert Row("size", "int32", (2,)) in again.declared.values()


def test_a_copy_of_a_store_in_a_bucket_reads_the_same_generation_of_it(tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="buckets are reached through obstore")
    write(tmp_path / "raw", a="one", b="two words")
    run(tmp_path / "raw", tmp_path / "work")
    (tmp_path / "bucket").mkdir()
    place = BucketStore(Bucket(f"file://{tmp_path}/bucket"), "val/pack.zarr")
    with open_store(tmp_path / "work/val/pack.zarr") as local:
        push(local, place, lambda _: None)
        digest = local.digest
    store = open_store(str(place))
    again = copy.deepcopy(store)
    del store
    assert again.digest == digest
    assert again.to_xarray()["length"].sel(sample="b.txt") == again.value("length", 1) == 9
