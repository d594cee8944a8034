"""`precision`, `ceiling` and `bench epoch` as a user types them, on two receipts."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from concurrent.futures import Executor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl

from ocr.evaluation import Measured
from ocr.training import autocast
from pipeline.store import open_store
from tests.support.shell import PROJECT, Shell
from warmstore.configuration import load_config
from warmstore.workflows import epoch_ladder, inputs

# Small text on a small canvas: gently shrunk maps, so that kernels are not thinner than a pixel.
SETTINGS = (
    "canvas=320",
    "data.generate.seed=1",
    "data.generate.train=2",
    "data.generate.val=3",
    "data.generate.size=[512,384]",
    "stages.maps.min_text_size=3",
    "stages.maps.shrink_ratio=0.6",
)

BY_HEART = (
    "trainer.overfit_batches=1",
    "trainer.max_epochs=200",
    "trainer.check_val_every_n_epoch=200",
    "trainer.num_sanity_val_steps=0",
    "model.augment.enabled=false",
    "model.batch_size=2",
    "model.optimizer.lr=5e-3",
)


class Small(Shell):
    """A shell that adds the settings above."""

    def __call__(self, *arguments: str) -> Any:
        return super().__call__(*arguments, *SETTINGS)

    def bench(self, what: str, *arguments: str) -> Any:
        """Run a command of the group `bench`."""
        return self.typed("bench", what, "--config", "tiny", *arguments, *SETTINGS)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Small:
    small = Small(tmp_path_factory.mktemp("evaluating"))
    for command in ("data", "run"):
        assert small(command).returncode == 0
    return small


@pytest.fixture(scope="module")
def learnt(shell: Small) -> dict[str, Any]:
    """The summary of a training that learns two receipts by heart."""
    found: dict[str, Any] = shell.json("train", *BY_HEART)
    return found


@pytest.mark.slow
def test_bfloat16_keeps_the_metric_of_a_trained_detector(shell: Small, learnt: dict[str, Any]) -> None:
    done = shell("precision", "--split", "train", "--checkpoint", learnt["checkpoint"], "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["passed"], found["tolerance"]) == (0, True, 0.002)
    reference, half = found["precisions"]["32-true"], found["precisions"]["bf16-mixed"]
    assert reference["hmean"] >= 0.95 and half["samples"] == 2
    assert half["moved"] <= 0.002 and 0 < half["largest_difference"] < 0.2
    assert reference["boxes"] > 40 and reference["boxes_changed"] == 0
    shown = shell("precision", "--split", "train", "--checkpoint", learnt["checkpoint"]).stdout
    assert "bf16-mixed" in shown and "passed: the metric may move by 0.002" in shown


@pytest.mark.slow
def test_a_metric_that_moves_is_exit_code_1(
    shell: Small, learnt: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Measured, "moved", lambda self, reference: 0.0021)
    arguments = ("precision", "--split", "train", "--checkpoint", learnt["checkpoint"])
    assert shell(*arguments).returncode == 1
    assert shell(*arguments, "--tolerance", "0.003").returncode == 0


@pytest.mark.slow
def test_a_checkpoint_of_another_canvas_is_refused(shell: Small, learnt: dict[str, Any]) -> None:
    for command in ("precision", "validate"):
        done = Shell.__call__(
            shell, command, "--checkpoint", learnt["checkpoint"], *SETTINGS[1:], "work_dir=work/other"
        )
        assert done.returncode == 1 and "there is no store" in done.stderr
    assert (
        Shell.__call__(shell, "run", "--split", "val", *SETTINGS[1:], "work_dir=work/other").returncode == 0
    )
    for command in ("precision", "validate"):
        done = Shell.__call__(
            shell, command, "--checkpoint", learnt["checkpoint"], *SETTINGS[1:], "work_dir=work/other"
        )
        assert done.returncode == 2
        assert "was trained for canvas [320, 320] and the configuration has [256, 256]" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["model.neck_channels=32", "stages.tensors.mean=[0.5,0.5,0.5]"])
@pytest.mark.parametrize("command", ["precision", "validate"])
def test_a_checkpoint_of_another_detector_is_refused(
    shell: Small, learnt: dict[str, Any], monkeypatch: pytest.MonkeyPatch, command: str, setting: str
) -> None:
    monkeypatch.setattr(inputs, "checked_store", lambda *_: None)
    done = shell(command, "--split", "train", "--checkpoint", learnt["checkpoint"], setting)
    assert done.returncode == 2 and "the checkpoint belongs to another detector" in done.stderr
    assert setting.partition("=")[0].rpartition(".")[2] in done.stderr


class Inline(Executor):
    """Stands in for the process of a rung."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Any:
        rung, job = pickle.loads(pickle.dumps(arguments))  # as it would travel
        return SimpleNamespace(result=lambda: work(rung, job))


RUNGS_OF_FLOAT32 = ("plain online", "+ TurboJPEG", "+ RAM images")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lightning_fabric.utilities.warnings.PossibleUserWarning")
def test_epochs_are_the_same_on_every_rung(
    shell: Small, learnt: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_ladder, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(autocast, "computes_bf16", lambda: True)
    arguments = ("epoch", "--split", "train", "--checkpoint", learnt["checkpoint"])
    found = json.loads(shell.bench(*arguments, "--epochs", "2", "--json").stdout)
    assert found["same_metrics"] == {"32-true": True, "bf16-mixed": True}
    rungs = [(one["rung"], one["epoch"], one["hits"], one["misses"]) for one in found["epochs"]]
    assert rungs == [
        ("plain online", 0, 0, 2),
        ("plain online", 1, 0, 2),
        ("+ TurboJPEG", 0, 0, 2),
        ("+ TurboJPEG", 1, 0, 2),
        ("+ RAM images", 0, 0, 2),  # their maps are drawn
        ("+ RAM images", 1, 0, 2),
        ("+ mixed precision", 0, 0, 2),
        ("+ mixed precision", 1, 0, 2),
        ("+ tensor cache", 0, 0, 2),
        ("+ tensor cache", 1, 2, 0),
        ("the store", 0, 2, 0),
        ("the store", 1, 2, 0),
    ]
    for one in found["epochs"]:
        assert one["metrics"]["hmean"] >= 0.95 and one["metrics"]["samples"] == 2
        assert one["wall_s"] > one["forward_s"] > 0
        assert one["precision"] == ("32-true" if one["rung"] in RUNGS_OF_FLOAT32 else "bf16-mixed")

    def moved(self: Any, *rest: Any, **named: Any) -> Any:
        (metrics,) = validate(self, *rest, **named)
        return ({**metrics, "val/hmean": time.perf_counter()},)

    validate = pl.Trainer.validate
    monkeypatch.setattr(pl.Trainer, "validate", moved)
    done = shell.bench(*arguments, "--samples", "1", "--epochs", "1")
    assert done.returncode == 1
    assert "32-true: the metrics are NOT the same on every rung" in done.stdout


def test_the_last_rung_reads_the_store_that_was_checked(shell: Small, tmp_path: Path) -> None:
    """It may come from a bucket, and lie in the cache folder."""
    shutil.copytree(shell.folder / "work/tiny/val/tensors.zarr", tmp_path / "tensors.zarr")
    config, _ = load_config("tiny", [*SETTINGS, f"work_dir={tmp_path}/none"])
    checked = inputs.ValidationInputs(config, "val", None, open_store(tmp_path / "tensors.zarr"))
    last = epoch_ladder.epoch_rungs(config, "val")[-1]
    assert len(epoch_ladder.open_rung(last, epoch_ladder.epoch_job(checked, limit=2))) == 2


def test_the_ceiling_of_canvases(shell: Small) -> None:
    found = shell.json("ceiling", "--canvas", "96,320x256")["val"]
    assert [one["canvas"] for one in found] == [[96, 96], [320, 256]]
    assert found[0]["iou"]["hmean"] < 0.5 < 0.9 < found[1]["iou"]["hmean"]
    assert found[0]["images"] == 3 and sum(found[0]["lost"].values()) > 0
    words = shell("ceiling", "--canvas", "96").stdout
    assert "96 × 96" in words and "below the box decoder's minimum" in words


def test_what_is_timed_of_a_ceiling_compiles_nothing(shell: Small) -> None:
    command = ["ceiling", "--config", "tiny", "--split", "train", "--canvas", "320,320", "--json", *SETTINGS]
    done = subprocess.run(  # in which no loop has been loaded
        [sys.executable, "-m", "warmstore", *command],
        cwd=shell.folder,
        env={**os.environ, "WARMSTORE_CONFIGS": str(PROJECT / "configs"), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        check=True,
    )
    first, second = (one["maps_ms"] for one in json.loads(done.stdout)["train"])
    assert first < 10 * second


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ceiling", "--canvas", "640,big"), "'big' is no canvas"),
        (("ceiling", "--canvas", "0"), "'0' is no canvas"),
        (("precision", "--checkpoint", "none.ckpt"), "there is no checkpoint none.ckpt"),
        (("precision", "--precision", "8-bit"), "'8-bit' is not one of"),
        (("precision", "--tolerance", "-1"), "-1"),
        (("train", "trainer.val_precision=64-true"), "trainer.val_precision"),
        (
            ("train", "trainer.precision=bf16-true", "trainer.val_precision=32-true"),
            "trainer.precision",
        ),
    ],
)
def test_wrong_usage_is_one_sentence(shell: Small, arguments: tuple[str, ...], words: str) -> None:
    done = shell(*arguments)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


def test_box_decoding_grows_by_what_the_maps_shrank(shell: Small) -> None:
    found = shell.json("config")
    assert found["model"]["boxes"]["shrink_ratio"] == 0.6
    told = shell.json("config", "model.boxes.shrink_ratio=0.5")
    assert told["model"]["boxes"]["shrink_ratio"] == 0.5
