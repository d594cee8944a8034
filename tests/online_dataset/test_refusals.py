"""What an OnlineDataset refuses, and with which reason."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ocr.annotations import LabelOptions
from ocr.datasets import CacheConfig, OnlineDataset
from ocr.datasets.online import OnlineParams
from ocr.preprocess import MAP_DTYPES, DecodeParams
from ocr.splits import AnnotatedSplit
from pipeline.errors import ConfigError, PipelineError
from tests.support.online_samples import CANVAS, COUNT, PARAMS, config
from tests.support.stores import fields, sample, write_store


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
    part = AnnotatedSplit(folder / "img", folder / "box", part=(1, 4), options=options)
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
            r"canvas \[64, 64\] → \[96, 64\]; run `warmstore run maps`",
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
