"""An ONNX file is a detector like any other: what it reads and gives, and what is told of a wrong one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ocr.datasets import TensorDataset
from ocr.detectors import DetectorIdentity
from ocr.evaluation import evaluate_detector
from ocr.params import BoxParams, DetectorSettings
from ocr.training import DetectorModule
from pipeline.errors import ConfigError, PipelineError
from tests.support.onnx_bytes import BIAS, WEIGHTS, model
from tests.support.pages import LIGHTNING_WARNS, MEAN, STD, Batch, loader, trainer
from tests.support.shell import Shell

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra [onnx] is not installed")
pytestmark = LIGHTNING_WARNS
EVERYWHERE = BoxParams(threshold=0.0, box_threshold=0.0)


def detector(path: Path, side: int = 128, **params: Any) -> DetectorModule:
    values = {"detector": "onnx", "params": {"path": str(path), **params}}
    identity = DetectorIdentity(**values, canvas=(side, side), mean=MEAN, std=STD)
    return DetectorModule(identity, DetectorSettings(boxes=EVERYWHERE))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "det.onnx").write_bytes(model())
    return tmp_path / "det.onnx"


def expected(images: torch.Tensor, order: str, scale: float, mean: Any, std: Any) -> Any:
    """The model's map in NumPy, from uint8 RGB (B, 3, H, W)."""
    values = images.double().numpy()[:, ::-1] if order == "bgr" else images.double().numpy()
    values = (values * scale - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    logits = (values * np.reshape(WEIGHTS, (3, 1, 1))).sum(1, keepdims=True) + BIAS
    return 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(
    ("scale", "mean", "std"),
    [(1 / 255, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), (1.0, (127.5, 120.0, 110.0), (60.0, 58.0, 57.0))],
)
@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("sigmoid", [True, False])
def test_a_model_reads_what_its_parameters_say(
    tmp_path: Path, order: str, scale: float, mean: Any, std: Any, batch: int | str, sigmoid: bool
) -> None:
    (tmp_path / "det.onnx").write_bytes(model((batch, 3, "h", "w"), sigmoid=sigmoid, outputs=("x", "maps")))
    gives = "probabilities" if sigmoid else "logits"
    read = {"channels": order, "scale": scale, "mean": mean, "std": std, "output": "maps", "gives": gives}
    network = detector(tmp_path / "det.onnx", **read)
    images = torch.randint(0, 256, (3, 3, 32, 64), dtype=torch.uint8)
    wanted = expected(images, order, scale, mean, std)
    for given in (images, network.pixels.normalise(network.pixels.unit(images))):  # stored either way
        found = network(network.prepared(given)).maps()
        np.testing.assert_allclose(found.numpy(), wanted, atol=3e-6)
    with torch.autocast("cpu", torch.bfloat16):  # whose rounding never reaches the model
        np.testing.assert_allclose(network(network.prepared(images)).maps().numpy(), wanted, atol=3e-6)


def test_it_is_validated_like_any_other(
    tmp_path: Path, path: Path, pages: list[Batch], dataset: TensorDataset
) -> None:
    network = detector(path)
    (result,) = trainer(tmp_path, precision="bf16-mixed").validate(network, loader(pages), verbose=False)
    assert np.isfinite(result["val/loss"]) and "val/threshold" not in result
    score = evaluate_detector(
        dataset,
        lambda batch: expected(batch["images"], "rgb", 1 / 255, MEAN, STD),
        decoder=network.decoder,
    )
    assert result["val/hmean"] == pytest.approx(score.iou["hmean"], abs=1e-6)


@pytest.mark.parametrize(
    ("written", "params", "words"),
    [
        (None, {}, r"there is no file .*det\.onnx; set model\.params\.path"),
        (b"no model", {}, r"det\.onnx cannot be loaded"),
        (model(("n", 3, "h", "w"), ("n", 2)), {}, r"reads images tensor\(float\) .*, other1 .*; a detector"),
        (model(), {"output": "boxes"}, "has no output boxes, but maps"),
        (model(), {"channel": "rgb"}, "channel"),
    ],
)
def test_a_model_that_cannot_be_judged_is_told(
    tmp_path: Path, written: bytes | None, params: dict[str, Any], words: str
) -> None:
    if written is not None:
        (tmp_path / "det.onnx").write_bytes(written)
    with pytest.raises((ConfigError, ValueError), match=words):
        detector(tmp_path / "det.onnx", **params)


def test_a_model_of_another_size_is_told_with_the_sample(tmp_path: Path, pages: list[Batch]) -> None:
    (tmp_path / "det.onnx").write_bytes(model(("n", 3, 64, 64)))
    words = r"detector onnx failed on sample page-0\.jpg: .*reads images of 3 × 64 × 64, not 3 × 128 × 128"
    with pytest.raises(PipelineError, match=words):
        trainer(tmp_path).validate(detector(tmp_path / "det.onnx"), loader(pages), verbose=False)


def test_it_learns_nothing(tmp_path: Path, path: Path, pages: list[Batch]) -> None:
    with pytest.raises(ConfigError, match="no weights that training could change; run `warmstore validate`"):
        trainer(tmp_path, max_epochs=1).fit(detector(path), loader(pages))


def test_the_command_line_judges_a_file(tmp_path: Path, path: Path) -> None:
    shell = Shell(tmp_path)
    for command in ("data", "run"):
        done = shell(command, "data.generate.val=2", "data.generate.train=1")
        assert done.returncode == 0, done.stderr
    chosen = ("--split", "val", "model.detector=onnx", f"model.params.path={path}")
    summary = shell.json("validate", *chosen)
    assert summary["val"]["samples"] == 2 and summary["checkpoint"] == "detector onnx"
    precisions = json.loads(shell("precision", *chosen, "--json").stdout)["precisions"]
    assert precisions["bf16-mixed"]["largest_difference"] == 0
    done = shell("validate", "--split", "val", "model.detector=onnx")
    assert done.returncode == 2 and "model.params.path: this key is missing" in done.stderr
