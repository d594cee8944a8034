"""OnlineDataset: the stages' samples without the stages, and switches that do what they say."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from ocr.annotations import LabelOptions
from ocr.datasets import (
    CacheConfig,
    DatasetConfig,
    ImageLoadingConfig,
    OnlineDataset,
    TensorDataset,
)
from ocr.datasets.online import OnlineParams, online_dataset
from ocr.preprocess import MAP_DTYPES, DecodeParams, TensorParams
from ocr.splits import AnnotatedSplit
from pipeline.errors import ConfigError, PipelineError
from pipeline.maintenance import compute_chain
from pipeline.stage import Chunked
from pipeline.store import checksum
from stages import Canonicalize, Decode, Maps, Tensors
from tests.support.stores import fields, sample, write_store

CANVAS = (96, 64)
PARAMS = OnlineParams(decode=DecodeParams(canvas=CANVAS))
COUNT = 6


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six images, one of them with EXIF orientation 6, and ICDAR labels."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "img").mkdir()
    (folder / "box").mkdir()
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        pixels = rng.integers(0, 255, (16, 12, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize((120, 160), Image.Resampling.BICUBIC)
        exif = Image.Exif()
        if index == 2:
            exif[0x0112] = 6
        image.save(folder / "img" / f"{index}.jpg", quality=95, exif=exif)
        right = 150 if index == 2 else 90  # beyond the raw width: drawn on the upright image
        tops = (10, 40, 70)[: index + 1]
        lines = [f"10,{top},{right},{top},{right},{top + 18},10,{top + 18},word {top}" for top in tops]
        (folder / "box" / f"{index}.csv").write_text("\n".join(lines))
    return folder


def config(raw: Path, **switches: Any) -> DatasetConfig:
    return DatasetConfig(image_path=raw / "img", annotation_path=raw / "box", **switches)


def staged(raw: Path) -> list[dict[str, Any]]:
    """What the stages give for each sample."""
    stages = (Canonicalize(), Decode(canvas=CANVAS), Maps(canvas=CANVAS), Tensors(canvas=CANVAS))
    samples = AnnotatedSplit(raw / "img", raw / "box").samples(lambda path: bytes.fromhex(checksum(path)[1]))
    return [dict(compute_chain(stages, sample)["tensors"]) for sample in samples]


def assert_equal(found: Any, expected: Any) -> None:
    """Compare samples and batches bit for bit, types included."""
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            if key != "sample_id":
                assert_equal(found[key], expected[key])
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, str):
        assert found == expected
    else:
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)


EVERYTHING = ("image", "prob_map", "prob_mask", "thresh_map", "thresh_mask", "matrix", "inverse_matrix")
EVERYTHING += ("size", "polygons", "ignore", "text")


def test_samples_and_batches_equal_the_stores(raw: Path, tmp_path: Path) -> None:
    path = write_store(tmp_path / "tensors.zarr", staged(raw), fields(*CANVAS))
    store = TensorDataset(path, fields=EVERYTHING)
    online = OnlineDataset(config(raw), PARAMS, fields=EVERYTHING)
    assert len(online) == len(store) == COUNT
    for index in range(COUNT):
        assert_equal(online[index], store[index])
    for one, other in zip(online.batches(4), store.batches(4), strict=True):
        assert_equal(one, other)


SWITCHES: list[dict[str, Any]] = [
    {"preload_images": True},
    {"image_loading_config": ImageLoadingConfig(use_turbojpeg=False)},
    {"cache_config": CacheConfig(cache_images=True)},
    {"cache_config": CacheConfig(cache_maps=True)},
    {"cache_config": CacheConfig(cache_images=True, cache_maps=True)},
    {"cache_config": CacheConfig(cache_transformed_tensors=True)},
    {"preload_images": True, "cache_config": CacheConfig(cache_transformed_tensors=True)},
]


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_switches_change_no_sample_in_any_epoch(raw: Path, switches: dict[str, Any], workers: int) -> None:
    plain = list(OnlineDataset(config(raw), PARAMS).batches(4))
    switched = OnlineDataset(config(raw, **switches), PARAMS, workers=workers)
    for _ in range(2):
        for one, other in zip(switched.batches(4), plain, strict=True):
            assert_equal(one, other)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often images are decoded and maps drawn."""
    counts = {"decode_upright": 0, "final_maps": 0}
    for name in counts:
        step = getattr(online_dataset, name)

        def counted(*args: Any, name: str = name, step: Any = step) -> Any:
            counts[name] += 1
            return step(*args)

        monkeypatch.setattr(online_dataset, name, counted)
    return counts


@pytest.mark.parametrize(
    ("switches", "made", "first", "second"),
    [
        ({}, (0, 0), (6, 6), (12, 12)),
        ({"preload_images": True}, (6, 0), (6, 6), (6, 12)),
        ({"cache_config": CacheConfig(cache_images=True)}, (0, 0), (6, 6), (6, 12)),
        ({"cache_config": CacheConfig(cache_maps=True)}, (0, 0), (6, 6), (12, 6)),
        ({"cache_config": CacheConfig(cache_transformed_tensors=True)}, (0, 0), (6, 6), (6, 6)),
    ],
    ids=str,
)
def test_each_switch_saves_the_work_that_it_names(
    raw: Path, switches: dict[str, Any], made: Any, first: Any, second: Any, calls: dict[str, int]
) -> None:
    dataset = OnlineDataset(config(raw, **switches), PARAMS)
    assert tuple(calls.values()) == made
    for expected in (first, second):
        assert sum(len(batch["sample_id"]) for batch in dataset.batches(4)) == COUNT
        assert tuple(calls.values()) == expected


def test_a_tensor_cache_hits_from_the_second_epoch_for_all_workers(raw: Path) -> None:
    cache = CacheConfig(cache_transformed_tensors=True)
    dataset = OnlineDataset(config(raw, cache_config=cache), PARAMS, workers=2)
    for hits in (0, COUNT):
        before = dataset.stats()
        for _ in dataset.batches(2):
            pass
        assert (dataset.stats() - before).hits == hits


def test_maps_can_be_read_from_their_store(raw: Path, tmp_path: Path, calls: dict[str, int]) -> None:
    maps = tuple(field for field in fields(*CANVAS) if isinstance(field, Chunked) and field.name != "image")
    values = [{field.name: value[field.name] for field in maps} for value in staged(raw)]
    ids = [f"{index}.jpg" for index in range(COUNT)]
    path = write_store(tmp_path / "maps.zarr", values, maps, sample_ids=ids)
    plain = list(OnlineDataset(config(raw), PARAMS).batches(4))
    drawn = calls["final_maps"]
    for preload in (False, True):
        switches = {"maps_path": path, "load_maps": True, "preload_maps": preload}
        dataset = OnlineDataset(config(raw, **switches), PARAMS)
        for one, other in zip(dataset.batches(4), plain, strict=True):
            assert_equal(one, other)
    assert calls["final_maps"] == drawn


@pytest.mark.parametrize("preload", [False, True])
def test_prenormalized_images_are_those_of_the_formula(raw: Path, preload: bool) -> None:
    switches = {"prenormalize_images": True, "preload_images": preload}
    found = next(OnlineDataset(config(raw, **switches), PARAMS).batches(COUNT))["images"]
    pixels = next(OnlineDataset(config(raw), PARAMS).batches(COUNT))["images"]
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (TensorParams().mean, TensorParams().std))
    assert torch.equal(found, (pixels / 255 - mean) / std)


def test_statistics_are_logged_every_so_many_samples(raw: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    switches = {"cache_config": CacheConfig(log_statistics_every_n=4)}
    assert sum(1 for _ in OnlineDataset(config(raw, **switches), PARAMS).batches(2)) == 3
    lines = [record.message for record in caplog.records if "cache statistics" in record.message]
    assert len(lines) == 1 and "after 4 samples: 0 hits, 4 misses" in lines[0]


@pytest.mark.parametrize("fallback", [True, False])
def test_what_turbojpeg_refuses_is_read_by_pillow_or_not_at_all(
    raw: Path, tmp_path: Path, fallback: bool
) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    Image.new("CMYK", (120, 160), (9, 80, 7, 60)).save(tmp_path / "raw/img/1.jpg")
    loading = ImageLoadingConfig(turbojpeg_fallback=fallback)
    dataset = OnlineDataset(config(tmp_path / "raw", image_loading_config=loading), PARAMS)
    with (
        contextlib.nullcontext() if fallback else pytest.raises(PipelineError, match=r"1\.jpg cannot be used")
    ):
        assert dataset[1]["image"].float().std() > 0


def test_a_transform_changes_samples(raw: Path) -> None:
    dataset = OnlineDataset(config(raw), PARAMS, transform=lambda sample: {**sample, "image": 1})
    assert dataset[0]["image"] == 1


@pytest.mark.parametrize("switches", SWITCHES[:5], ids=str)
def test_a_transform_in_place_changes_no_later_epoch(raw: Path, switches: dict[str, Any]) -> None:
    def darken(sample: dict[str, Any]) -> dict[str, Any]:
        for name in ("image", "prob_map"):
            sample[name].div_(2, rounding_mode="floor")
        return sample

    dataset = OnlineDataset(config(raw, **switches), PARAMS, transform=darken)
    first, *others = [list(dataset.batches(4)) for _ in range(3)]
    for epoch in others:
        for one, other in zip(epoch, first, strict=True):
            assert_equal(one, other)


def test_choices(raw: Path) -> None:
    assert OnlineDataset(config(raw), PARAMS, limit=2).sample_ids == ["0.jpg", "1.jpg"]
    assert OnlineDataset(config(raw), PARAMS, samples=["4.jpg", "1.jpg"]).sample_ids == ["4.jpg", "1.jpg"]
    twice = OnlineDataset(config(raw), PARAMS, samples=["4.jpg", "4.jpg", "1.jpg"], limit=2)
    assert [name for batch in twice.batches(1) for name in batch["sample_id"]] == ["4.jpg", "4.jpg"]
    nothing = OnlineDataset(config(raw, preload_images=True), PARAMS, samples=[])
    assert list(nothing.batches(4)) == []
    only = OnlineDataset(config(raw), PARAMS, fields=("prob_map",))
    assert set(only[0]) == {"prob_map", "sample_id"}
    order = [name for batch in only.batches(2, [3, 0, 5]) for name in batch["sample_id"]]
    assert order == ["3.jpg", "0.jpg", "5.jpg"]


def test_a_split_says_what_a_format_and_a_frame_do_not(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    folder = tmp_path / "raw"
    (folder / "box/0.csv").write_text("10,10,90,10,90,28,10,28,收据", encoding="gbk")
    options = LabelOptions(encoding="gbk")
    whole = AnnotatedSplit(folder / "img", folder / "box", options=options)
    assert OnlineDataset(config(folder), PARAMS, fields=("text",), split=whole)[0]["text"] == ["收据"]
    part = AnnotatedSplit(folder / "img", folder / "box", ranks=(1, 4), options=options)
    assert len(OnlineDataset(config(folder), PARAMS, split=part)) == 3


@pytest.mark.parametrize(
    ("choice", "words"),
    [({"fields": ("picture",)}, "picture is no field of a sample"), ({"limit": -1}, "limit .* not -1")],
)
def test_choices_that_make_no_sense_are_refused(raw: Path, choice: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OnlineDataset(config(raw), PARAMS, **choice)


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_of_nothing_is_refused(raw: Path, batch_size: int) -> None:
    with pytest.raises(ConfigError, match="at least one sample"):
        OnlineDataset(config(raw), PARAMS).batches(batch_size)


@pytest.mark.parametrize("index", [COUNT, -COUNT - 1])
def test_an_index_out_of_range_is_an_index_error(raw: Path, index: int) -> None:
    with pytest.raises(IndexError, match=f"sample {index} of {COUNT}"):
        OnlineDataset(config(raw), PARAMS)[index]


# ----------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("switches", "reason"),
    [
        ({"preload_maps": True}, "preload_maps .* needs load_maps"),
        ({"load_maps": True}, "load_maps needs maps_path"),
        ({"preload_images": True, "cache_config": CacheConfig(cache_images=True)}, "leave cache_images off"),
        (
            {
                "maps_path": "m.zarr",
                "load_maps": True,
                "preload_maps": True,
                "cache_config": CacheConfig(cache_maps=True),
            },
            "leave cache_maps off",
        ),
        ({"preload_pictures": True}, "preload_pictures"),
    ],
)
def test_switches_that_make_no_sense_are_refused_with_the_reason(
    raw: Path, switches: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        config(raw, **switches)


def test_augmentation_with_a_tensor_cache_is_refused(raw: Path) -> None:
    cached = config(raw, cache_config=CacheConfig(cache_transformed_tensors=True))
    with pytest.raises(ConfigError, match="repeat the first epoch's augmentation"):
        OnlineDataset(cached, PARAMS, transform=lambda sample: sample)


def test_maps_that_do_not_exist_are_refused(raw: Path, tmp_path: Path) -> None:
    switches = {"maps_path": tmp_path / "maps.zarr", "load_maps": True, "preload_maps": True}
    with pytest.raises(ConfigError, match="maps are to be loaded, and do not exist"):
        OnlineDataset(config(raw, **switches), PARAMS)


@pytest.mark.parametrize(
    ("names", "recipe", "reason"),
    [
        (
            MAP_DTYPES,
            {"parameters": {"canvas": [64, 64]}},
            r"canvas \[64, 64\] → \[96, 64\]; run the stage maps",
        ),
        (["prob_map"], {}, "there is no prob_mask"),
        (MAP_DTYPES, {"parameters": {"shrink_ratio": 0.5}}, r"stages.maps.shrink_ratio 0\.5 → 0\.4"),
    ],
)
@pytest.mark.parametrize("preload", [False, True])
def test_maps_that_drawing_would_not_give_are_refused(
    raw: Path, tmp_path: Path, names: Any, recipe: Any, reason: str, preload: bool
) -> None:
    maps = tuple(field for field in fields(*CANVAS) if field.name in names)
    values = [{name: sample(index, *CANVAS)[name] for name in names} for index in range(COUNT)]
    ids = [f"{index}.jpg" for index in range(COUNT)]
    path = write_store(tmp_path / "maps.zarr", values, maps, attributes={"recipe": recipe}, sample_ids=ids)
    switches = {"maps_path": path, "load_maps": True, "preload_maps": preload}
    with pytest.raises(ConfigError, match=reason):
        OnlineDataset(config(raw, **switches), PARAMS)


def test_a_cache_above_the_free_memory_is_refused(raw: Path) -> None:
    huge = OnlineParams(decode=DecodeParams(canvas=(16384, 16384)))
    with pytest.raises(
        ConfigError, match=r"keeping images in memory needs 8\d{5}\.\d\d GB for 1,000,000 samples"
    ):
        OnlineDataset(config(raw, preload_images=True), huge, samples=["1.jpg"] * 1_000_000)


def test_bad_labels_are_listed_and_a_bad_image_raises_with_its_verdict(
    raw: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for name in ("img", "box"):
        (tmp_path / name).mkdir()
        for file in (raw / name).iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "box/1.csv").write_text("10,20,thirty")
    (tmp_path / "img/3.jpg").write_bytes((tmp_path / "img/3.jpg").read_bytes()[:1500])
    dataset = OnlineDataset(config(tmp_path), PARAMS)
    assert list(dataset.quarantined) == ["1.jpg"]
    assert "1 of 6 samples" in caplog.text
    assert len(dataset) == 5
    with pytest.raises(PipelineError, match=r"3\.jpg cannot be used"):
        dataset[dataset.sample_ids.index("3.jpg")]
    with pytest.raises(ConfigError, match=r"no usable sample 1\.jpg"):
        OnlineDataset(config(tmp_path), PARAMS, samples=["1.jpg"])
