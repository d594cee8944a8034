"""OnlineDataset: the stages' samples without the stages, and switches that do what they say."""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from ocr.datasets import CacheConfig, ImageLoadingConfig, OnlineDataset, TensorDataset
from ocr.datasets.online import online_dataset
from ocr.preprocess import TensorParams
from pipeline.errors import ConfigError, PipelineError
from pipeline.stage import Chunked
from tests.support.online_samples import CANVAS, COUNT, PARAMS, assert_equal, config, staged
from tests.support.stores import fields, write_store

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


def test_names_lists_and_masks_choose_samples_as_a_stores_dataset_does(raw: Path) -> None:
    online = OnlineDataset(config(raw), PARAMS)
    names = online.sample_ids
    assert_equal(online[names[2]], online[2])
    mask = [name in names[:3] for name in names]
    for index, rows in (
        ([2, 0], [2, 0]),
        ([names[2], names[0]], [2, 0]),
        (slice(2, None, -2), [2, 0]),
        (mask, [0, 1, 2]),
    ):
        assert_equal(online[index], next(online.batches(3, rows)))
    with pytest.raises(ConfigError, match=r"has no sample nowhere\.jpg"):
        online["nowhere.jpg"]


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
