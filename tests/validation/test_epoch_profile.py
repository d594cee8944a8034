"""The profile of an epoch: its parts are its wall time, and what takes long is found under its name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from ocr.detection import BoxDecoder
from ocr.metrics import IouHmean
from ocr.params import OverlapParams
from ocr.training import PARTS, EpochProfile, describe, draw_profile
from tests.support.pages import LIGHTNING_WARNS, SIDE, Batch, loader, module, seeing, trainer

pytestmark = LIGHTNING_WARNS


class Slow(torch.nn.Module):
    """Waits before it passes batches on."""

    def __init__(self, batches: Any) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Any:
        for batch in self.batches:
            time.sleep(0.1)
            yield batch


def spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


class Spins(pl.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Does something else after each batch."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_validation_batch_end(self, *arguments: Any, **more: Any) -> None:
        spin(self.seconds)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_parts_of_an_epoch_are_its_wall_time(
    tmp_path: Path, samples: list[Batch], workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ocr.training")
    profile = EpochProfile()
    detector = module(SIDE, overlap=OverlapParams(workers=workers))
    run = trainer(tmp_path, max_epochs=2, callbacks=[profile])
    run.fit(detector, loader(samples), Slow(loader(samples)))
    assert [row["epoch"] for row in profile.epochs] == [0, 1]  # and no sanity check
    run.validate(detector, Slow(loader(samples)), verbose=False)
    told = [message.partition(":")[0] for message in caplog.messages if message.startswith("validation")]
    assert told == ["validation in epoch 0", "validation in epoch 1", "validation"]
    for row in profile.epochs:
        assert sum(row[name] for name in PARTS) == pytest.approx(row["wall_s"], rel=0.03)
        assert all(row[name] >= 0 for name in PARTS) and row["forward_s"] > 0 < row["loss_s"]
        assert 0.3 <= row["data_wait_s"] < row["wall_s"]
        assert row["loss_work_s"] > 0 < row["boxes_work_s"] and row["memory_peak"] > 50e6
        assert row["samples"] == 5 and row["samples_per_s"] == pytest.approx(5 / row["wall_s"])
        assert "waiting for data" in describe(row)


def test_what_takes_long_is_found_under_its_name(
    tmp_path: Path, samples: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = seeing(samples, monkeypatch)
    for owner, name, seconds in (
        (detector.model, "forward", 0.04),
        (detector, "loss", 0.08),
        (BoxDecoder, "decode_one", 0.05),
        (IouHmean, "measure", 0.03),
        (detector.pixels, "normalise", 0.06),
    ):
        whole = getattr(owner, name)

        def slowly(*a: Any, _whole: Any = whole, _seconds: float = seconds, **k: Any) -> Any:
            spin(_seconds)
            return _whole(*a, **k)

        monkeypatch.setattr(owner, name, slowly)
    profile = EpochProfile()
    run = trainer(tmp_path, callbacks=[Spins(0.05), profile])
    run.validate(detector, loader(samples), verbose=False)
    (row,) = profile.epochs
    least = {  # 3 batches, 5 samples
        "forward_s": 0.12,
        "loss_s": 0.24,
        "boxes_s": 0.25,
        "metric_s": 0.15,
        "transfer_s": 0.18,
        "other_s": 0.15,
    }
    for name, seconds in least.items():
        assert row[name] >= 0.9 * seconds, name


def test_an_epoch_is_drawn(tmp_path: Path) -> None:
    row = {**dict.fromkeys(PARTS, 0.5), "samples_per_s": 100.0, "epoch": 9}
    draw_profile([row, row], tmp_path / "profile.png")
    assert (tmp_path / "profile.png").read_bytes().startswith(b"\x89PNG")
