"""What OcrDataModule hands out: alike for all splits, said in its first line, as the module expects it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import Subset

from ocr.datasets import OcrDataModule, TensorDataset
from ocr.datasets.stored import CacheParams
from ocr.detectors import DetectorIdentity
from ocr.training import DetectorModule
from pipeline.errors import ConfigError, StoreError
from pipeline.stage import Chunked
from tests.support.pages import LIGHTNING_WARNS, TINY
from tests.support.stores import fields, sample, tensors_store, write_store
from tests.test_datamodule import Recorder, trainer

CANVAS = (64, 64)
MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.25, 0.2)  # of the stores that tests write
BGR = MEAN[::-1], STD[::-1]

pytestmark = LIGHTNING_WARNS


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tensors_store(tmp_path_factory.mktemp("store"), 5, CANVAS)


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of normalised images."""
    others = fields(*CANVAS)[1:]
    declared = (Chunked("image", "float16", (3, *CANVAS), "none"), *others)
    samples = [
        {**one, "image": (one["image"] / 255 - 0.5).astype(np.float16)}
        for one in (sample(i, *CANVAS) for i in range(3))
    ]
    folder = tmp_path_factory.mktemp("floats")
    return write_store(folder / "tensors.zarr", samples, declared)


def test_splits_are_alike_unless_it_is_told_otherwise(path: Path) -> None:
    module = Recorder()
    trainer(max_epochs=1).fit(module, OcrDataModule(path, path))
    assert module.types == {"train": torch.uint8, "val": torch.uint8}


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            {},
            [
                "train: 5 samples, images uint8 0…255 as stored, not normalised "
                "(the store's mean is [0.5,0.25,0.125], its std [0.5,0.25,0.2])",
                "val: 5 samples, images uint8 0…255 as stored, not normalised "
                "(the store's mean is [0.5,0.25,0.125], its std [0.5,0.25,0.2])",
            ],
        ),
        (
            {"normalise": ("val",), "limit": 2, "train_fields": ("size",)},
            [
                "train: 2 samples, without images",
                "val: 2 samples, images float32, normalised with the store's mean [0.5,0.25,0.125] and std "
                "[0.5,0.25,0.2]",
            ],
        ),
    ],
)
def test_the_first_lines_say_what_is_handed_out(
    path: Path, caplog: pytest.LogCaptureFixture, arguments: dict[str, Any], lines: list[str]
) -> None:
    caplog.set_level("INFO")
    OcrDataModule(path, path, **arguments).setup("fit")
    assert caplog.messages[:2] == [f"OcrDataModule hands out {line}" for line in lines]


def test_images_that_are_stored_normalised_are_said_to_be(
    floats: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    OcrDataModule(val=floats).setup("validate")
    assert "3 samples, images float16, stored normalised with mean [0.5,0.25,0.125]" in caplog.messages[0]


class Expecting(Recorder):
    """A module that says what images it expects."""

    mean_std: Any = (MEAN, STD)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("which", ["path", "floats"])
@pytest.mark.parametrize("expected", [(MEAN, STD), BGR, (MEAN, (1, 1, 1))], ids=["same", "BGR", "std"])
def test_images_normalised_otherwise_than_a_module_expects_are_refused(
    request: pytest.FixtureRequest, which: str, normalise: bool, expected: Any
) -> None:
    module, store = Expecting(), request.getfixturevalue(which)
    module.mean_std = expected
    data = OcrDataModule(val=store, normalise=normalise)
    if expected == (MEAN, STD) or (which == "path" and not normalise):
        trainer().validate(module, data, verbose=False)
        return
    with pytest.raises(ConfigError) as refused:
        trainer().validate(module, data, verbose=False)
    told = str(refused.value)
    wanted, std = (f"[{','.join(f'{value:g}' for value in values)}]" for values in expected)
    assert f"mean [0.5,0.25,0.125] and std [0.5,0.25,0.2] of {store}, and Expecting expects" in told
    assert f"run `warmstore run tensors stages.tensors.mean={wanted} stages.tensors.std={std}`" in told
    assert ("normalise=False" in told) == (which == "path")


def test_a_detector_of_another_mean_is_told_and_normalises_itself_where_it_may(path: Path) -> None:
    detector = DetectorModule(DetectorIdentity(params=TINY, canvas=CANVAS, mean=BGR[0], std=BGR[1]))
    run = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    with pytest.raises(ConfigError, match="DetectorModule expects mean"):
        run.validate(detector, OcrDataModule(val=path, normalise=True), verbose=False)
    run.validate(detector, OcrDataModule(val=path), verbose=False)


@pytest.mark.parametrize(("name", "value"), [("mean", BGR[0]), ("std", (1, 1, 1))])
def test_a_dataset_can_be_told_what_to_expect(path: Path, name: str, value: Any) -> None:
    TensorDataset(path, expect={"mean": MEAN, "std": STD})
    with pytest.raises(StoreError, match=rf"{name} \[0.5, 0.25.*\] → \["):
        TensorDataset(path, expect={"mean": MEAN, "std": STD, name: value})


@pytest.mark.parametrize("mode", ["mmap", "ram", "off"])
def test_the_name_of_a_mode_is_a_cache(path: Path, mode: Any) -> None:
    data = OcrDataModule(val=path, cache=mode)
    data.setup("validate")
    assert data.datasets["val"].cache.params == CacheParams(mode=mode)
    assert TensorDataset(path, cache=mode).cache.params == CacheParams(mode=mode)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cache": "disk"}, "the name of a mode, mmap, ram, off, not 'disk'"),
        ({"normalise": ("validation",)}, "splits of train, val and test, not {'validation'}"),
        ({"val": Subset(torch.zeros(3), [0])}, "val is a Subset; give OcrDataModule a store's path"),
    ],
)
def test_arguments_that_mean_nothing_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OcrDataModule(**arguments)
