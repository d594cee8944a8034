"""Checkpoints say what they hold: the same detector comes back, another is refused, no code is run."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from ocr.training import DetectorModule, read_checkpoint
from pipeline.errors import ConfigError
from tests.support.pages import LIGHTNING_WARNS, MEAN, TINY, Batch, identity, loader, module, trainer
from warmstore.configuration import RunConfig
from warmstore.workflows import trained_detector

pytestmark = LIGHTNING_WARNS
GREY = identity(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, small: list[Batch]) -> tuple[Path, DetectorModule]:
    """A checkpoint after one of two epochs, and the detector it was taken of."""
    folder = tmp_path_factory.mktemp("run")
    detector = module(belongs_to=GREY)
    run = trainer(folder, max_epochs=1)
    run.fit(detector, loader(small))
    run.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt", detector.eval()


def test_a_checkpoint_gives_the_same_detector_back(checkpoint: tuple[Path, DetectorModule]) -> None:
    path, trained = checkpoint
    loaded = DetectorModule.from_checkpoint(str(path))
    assert loaded.identity == GREY and not loaded.training
    assert torch.equal(loaded.pixels.mean, trained.pixels.mean) and torch.equal(
        loaded.pixels.std, trained.pixels.std
    )
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(loaded(images)[:2], trained(images)[:2], strict=True))


def test_training_goes_on_from_a_checkpoint(
    tmp_path: Path, checkpoint: tuple[Path, DetectorModule], small: list[Batch]
) -> None:
    run = trainer(tmp_path, max_epochs=2)
    detector = module(belongs_to=GREY)
    run.fit(detector, loader(small), ckpt_path=checkpoint[0], weights_only=True)
    assert run.current_epoch == 2 and run.global_step == 4


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"canvas": (96, 128)}, r"canvas \[96, 96\] → \[96, 128\]"),
        ({"params": TINY.model_copy(update={"neck_channels": 32})}, r"params\.neck_channels 64 → 32"),
        ({"mean": MEAN}, r"mean \[0\.5, 0\.4, 0\.3\] → \[0\.485"),
    ],
)
def test_a_checkpoint_of_another_detector_is_refused(
    tmp_path: Path,
    checkpoint: tuple[Path, DetectorModule],
    small: list[Batch],
    other: dict[str, Any],
    words: str,
) -> None:
    belongs_to = GREY.model_copy(update=other)
    with pytest.raises(ConfigError, match=words):
        trainer(tmp_path).validate(
            module(belongs_to=belongs_to), loader(small), ckpt_path=checkpoint[0], weights_only=True
        )


@pytest.mark.parametrize("shift", [0, 1e-5])
def test_a_checkpoint_belongs_to_its_configuration_to_the_digits_that_a_module_holds(
    tmp_path: Path, shift: float
) -> None:
    mean, std = (0.2000025, 0.5455144964388339, 0.35651750283124317), (0.2000065, 0.25, 100.1234567)
    detector, run = module(belongs_to=identity(mean=mean, std=std)), trainer(tmp_path)
    run.strategy.connect(detector)
    run.save_checkpoint(tmp_path / "last.ckpt")
    config = RunConfig.model_validate(
        {
            "canvas": (96, 96),
            "data": {"root": tmp_path, "splits": {"val": {"images": tmp_path, "annotations": tmp_path}}},
            "stages": {"tensors": {"mean": (mean[0] + shift, *mean[1:]), "std": std}},
            "model": {"params": TINY},
        }
    )
    with pytest.raises(ConfigError, match="mean") if shift else nullcontext():
        trained_detector(config, tmp_path / "last.ckpt")


class Payload:
    def __reduce__(self) -> Any:
        return os.mkdir, ("hit",)


def test_no_code_in_a_checkpoint_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "detector": Payload()}, tmp_path / "bad.ckpt")
    with pytest.raises(ConfigError, match=r"bad\.ckpt cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "bad.ckpt")
    assert not (tmp_path / "hit").exists()


def test_what_is_no_checkpoint_of_a_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no checkpoint .*none\.ckpt"):
        DetectorModule.from_checkpoint(tmp_path / "none.ckpt")
    for damaged in ("not a checkpoint", ""):
        (tmp_path / "text.ckpt").write_text(damaged)
        with pytest.raises(
            ConfigError, match=r"text\.ckpt cannot be read as a checkpoint: it is damaged, or .+$"
        ):
            DetectorModule.from_checkpoint(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ConfigError, match=r"other\.ckpt is not a checkpoint of a detector"):
        DetectorModule.from_checkpoint(tmp_path / "other.ckpt")
