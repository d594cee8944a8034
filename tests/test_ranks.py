"""Validation by two ranks gives what one gives: metrics, losses and counts, though their shares differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from ocr.detectors import DetectorOutput
from ocr.params import OverlapParams
from tests.support.pages import LIGHTNING_WARNS, MEAN, SIDE, STD, Batch, loader, module, sample_of, trainer

pytestmark = LIGHTNING_WARNS
SHARES = {1: [range(5)], 2: [range(2), range(2, 5)]}
"""Of five samples, in batches of two: the second rank has a batch more, and its last one is short."""

RANK = """
import sys
from pathlib import Path
from tests.test_ranks import validate
validate(Path(sys.argv[1]), 2)
"""


def pages() -> list[Batch]:
    """Pages whose image is the truth, so that a rank needs nothing else; some of it is missing."""
    samples = [{**sample_of(seed), "text": ["TOTAL", "4.20", "MILK", "BREAD"]} for seed in range(5)]
    for sample in samples:
        sample["images"] = 255 * sample["prob_maps"].expand(3, -1, -1)
    samples[1]["images"] = samples[1]["images"] * 0
    samples[3]["images"] = torch.cat(
        [samples[3]["images"][:, : SIDE // 2], samples[1]["images"][:, SIDE // 2 :]], 1
    )
    return samples


def forward(images: torch.Tensor) -> DetectorOutput:
    seen = images[:, :1] * STD[0] + MEAN[0]
    return DetectorOutput(12 * (seen - 0.5), 4 * seen)


class Record(pl.Callback):  # type: ignore[misc]  # Lightning is untyped here
    """Writes what each rank has found."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        metrics = (pl_module.metric, pl_module.cleval, pl_module.losses)
        found = {type(metric).__name__: metric.compute() for metric in metrics}
        found["logged"] = {name: float(value) for name, value in trainer.callback_metrics.items()}
        (self.folder / f"{trainer.global_rank} of {trainer.world_size}.json").write_text(json.dumps(found))


def validate(folder: Path, ranks: int) -> None:
    """Validate a rank's share of the pages; Lightning runs the script once more for the other rank."""
    detector = module(SIDE, overlap=OverlapParams(workers=2))
    detector.model.forward = forward  # type: ignore[method-assign]
    share = SHARES[ranks][int(os.environ.get("LOCAL_RANK", 0))]
    samples = pages()
    strategy = {"strategy": "ddp", "devices": 2} if ranks == 2 else {"devices": 1}
    run = trainer(folder, callbacks=[Record(folder)], use_distributed_sampler=False, **strategy)
    run.validate(detector, loader([samples[index] for index in share]), verbose=False)


@pytest.mark.slow
def test_two_ranks_find_what_one_finds(tmp_path: Path) -> None:
    script = tmp_path / "validate.py"
    script.write_text(RANK)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    run = subprocess.run(
        [sys.executable, script, tmp_path], env=environment, capture_output=True, text=True, timeout=170
    )
    assert run.returncode == 0, run.stderr
    validate(tmp_path, 1)
    alone = json.loads((tmp_path / "0 of 1.json").read_text())
    assert 0.5 < alone["logged"]["val/hmean"] < 1 and alone["logged"]["val/samples"] == 5
    assert 0.5 < alone["CLEval"]["hmean"] < 1 and alone["MeanLosses"]["total"] > 0
    for rank in (0, 1):
        found = json.loads((tmp_path / f"{rank} of 2.json").read_text())
        for name, values in alone.items():
            assert found[name] == pytest.approx(values, rel=1e-12), name
        for name in ("precision", "recall", "hmean", "images"):
            assert found["IouHmean"][name] == alone["IouHmean"][name]
            assert found["CLEval"][name] == alone["CLEval"][name]
        assert found["logged"]["val/hmean"] == alone["logged"]["val/hmean"]
