"""Detectors by name: what is installed, what a file may say of one, what a checkpoint's weights belong to."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from ocr.detectors import Detector, DetectorIdentity, find_detector, installed_detectors, registry
from ocr.training import DetectorModule
from pipeline import entry_points
from pipeline.errors import ConfigError
from pipeline.stage import Parameters
from tests.support.pages import MEAN, STD, TINY, module
from tests.support.shell import Shell


class Sizes(Parameters):
    """Parameters of a detector in a package that is not there."""

    kernels: int = 3
    sizes: tuple[int, int] = (1, 2)


SIZES = Detector(Sizes, torch.nn.Identity)


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detectors of other packages, beside those that are installed."""
    names = {
        "sizes": f"{__name__}:SIZES",
        "broken": "no_such_package:NET",
        "other": f"{__name__}:Sizes",
    }
    ours = entry_points.entry_points(group=registry.GROUP)
    twice = [EntryPoint("twice", f"{name}:NET", registry.GROUP) for name in ("one", "two")]
    theirs = [EntryPoint(name, value, registry.GROUP) for name, value in names.items()]
    every = EntryPoints((*ours, *theirs, *twice))
    monkeypatch.setattr(entry_points, "entry_points", lambda **asked: every.select(**asked))


@pytest.mark.usefixtures("packages")
def test_a_package_brings_a_detector() -> None:
    assert find_detector("sizes") is SIZES and "dbnet" in installed_detectors()
    assert find_detector("dbnet").params is type(TINY)


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dbnte", r"no detector 'dbnte' installed; there are: broken, dbnet.*; did you mean dbnet\?"),
        ("twice", "two packages register a detector twice: one:NET and two:NET"),
        ("broken", "detector broken of no_such_package:NET cannot be loaded: ModuleNotFoundError"),
        ("other", "Sizes is ModelMetaclass, no ocr.detectors.Detector"),
    ],
)
def test_a_detector_that_cannot_be_had_is_told(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        find_detector(name)


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ((), {"backbone": "tiny", "neck_channels": 64}),
        (("model.params.neck_channels=32",), {"backbone": "tiny", "neck_channels": 32}),
        (("model.neck_channels=32",), {"backbone": "tiny", "neck_channels": 32}),
        (("model.backbone=resnet18", "model.params.backbone=resnet50"), {"backbone": "resnet18"}),
        (("model.params.pretrained=2019",), {"pretrained": "2019"}),
        (("model.pretrained=[draft",), {"pretrained": "[draft"}),
        (("model.detector=sizes",), {"kernels": 3, "sizes": [1, 2]}),
        (("model.detector=sizes", "model.params.sizes=[4,5]"), {"kernels": 3, "sizes": [4, 5]}),
    ],
)
def test_a_file_names_a_detector_and_its_parameters(
    tmp_path: Path, typed: tuple[str, ...], expected: dict[str, Any]
) -> None:
    params = Shell(tmp_path).json("config", *typed)["model"]["params"]
    assert {key: params[key] for key in expected} == expected


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("model.detector=dbnte",), "model.detector: there is no detector 'dbnte' installed"),
        (("model.detector=sizes", "model.params.kernels=two"), 'model.params.kernels: "two" does not do'),
        (
            ("model.detector=sizes", "model.backbone=tiny"),
            "model.backbone: there is no such key (the command line); detector sizes has kernels, sizes",
        ),
        (("model.neck_channels=33",), "model.neck_channels: 33 does not do"),
        (("backbone=tiny",), "did you mean model.params.backbone?"),
        (("model.detector=os:system",), "there is no detector 'os:system' installed"),
    ],
)
def test_what_a_detector_does_not_know_is_refused(tmp_path: Path, typed: tuple[str, ...], words: str) -> None:
    done = Shell(tmp_path)("config", *typed)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_keys_of_before_count_in_a_users_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(tmp_path)
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "mine.yaml").write_text(
        "data: {root: x, splits: {val: {images: i, annotations: a}}}\n"
        "model: {backbone: resnet50, neck_channels: 32}\n"
    )
    monkeypatch.setattr("warmstore.configuration.compose.config_folders", lambda: (configs,))
    found = shell.typed("config", "--config", "mine", "--json")
    assert '"backbone": "resnet50"' in found.stdout and '"neck_channels": 32' in found.stdout


BEFORE = {"model": {"backbone": "tiny", "neck_channels": 64, "adaptive_scale_fusion": False}}


def test_a_checkpoint_of_before_is_a_dbnet(tmp_path: Path) -> None:
    detector = module()
    plain = {"canvas": [96, 96], "mean": list(MEAN), "std": list(STD)}
    saved = {"detector": {**BEFORE, **plain}, "state_dict": detector.state_dict()}
    torch.save(saved, tmp_path / "old.ckpt")
    loaded = DetectorModule.from_checkpoint(tmp_path / "old.ckpt")
    assert loaded.identity == detector.identity
    assert loaded.identity.as_json()["detector"] == "dbnet"


def test_a_checkpoint_of_a_detector_that_is_not_installed_names_it(tmp_path: Path) -> None:
    stored = {"detector": "psenet", "params": {}, "canvas": [96, 96], "mean": list(MEAN), "std": list(STD)}
    torch.save({"detector": stored, "state_dict": {}}, tmp_path / "its.ckpt")
    with pytest.raises(
        ConfigError, match=r"its\.ckpt cannot be loaded: .*'psenet' installed; there are: .*dbnet"
    ):
        DetectorModule.from_checkpoint(tmp_path / "its.ckpt")


def test_an_identity_is_told_apart_value_by_value() -> None:
    one = DetectorIdentity(params=TINY, canvas=(96, 96), mean=MEAN, std=STD)
    start = one.model_copy(update={"params": TINY.model_copy(update={"pretrained": "folder"})})
    assert one.differences(start) == []  # where a training started is nothing that weights belong to
    wide = start.model_copy(update={"canvas": (96, 128)})
    assert one.differences(wide) == ["canvas [96, 96] → [96, 128]"]
    with pytest.raises(ValidationError, match="detector dbnet has DBNetParams, not Sizes"):
        DetectorIdentity(params=Sizes(), canvas=(96, 96), mean=MEAN, std=STD)
