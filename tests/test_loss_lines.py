"""What a training tells on its way."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from ocr.training import LossLines
from tests.support.pages import LIGHTNING_WARNS, loader, module, sample_of, trainer

pytestmark = LIGHTNING_WARNS


class Told:
    """The lines of a training on four pages, two a step, and its metrics."""

    def __init__(
        self, folder: Path, caplog: pytest.LogCaptureFixture, every_s: float, **settings: Any
    ) -> None:
        samples = [sample_of(seed, side=96) for seed in (1, 2, 3, 4)]
        run = trainer(folder, callbacks=[LossLines(every_s)], **settings)
        caplog.clear()
        with caplog.at_level(logging.INFO, "ocr.training.progress_log"):
            run.fit(module(), loader(samples), loader(samples))
        self.lines = [
            record.message for record in caplog.records if record.name == "ocr.training.progress_log"
        ]
        self.loss = float(run.callback_metrics["train/loss"])
        self.hmean = f"H-mean {run.callback_metrics['val/hmean']:.3f}"


def loss_in(line: str) -> float:
    return float(line.split("loss ")[1].split(",")[0])


def test_a_line_is_due_by_the_clock_and_after_validation(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told(tmp_path, caplog, 0.0, max_epochs=2, check_val_every_n_epoch=2)
    *steps, validated = told.lines
    assert [line.rpartition(",")[0] for line in steps] == [
        f"epoch {epoch}, step {step} of 4" for epoch, step in ((0, 1), (0, 2), (1, 3), (1, 4))
    ]
    assert sum(map(loss_in, steps[2:])) / 2 == pytest.approx(told.loss, abs=0.002)
    assert validated.endswith(f" s: {told.hmean}")


@pytest.mark.parametrize("batches", [1, 2])
def test_the_loss_is_the_mean_since_the_last_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, batches: int
) -> None:
    told = Told(tmp_path, caplog, 3600.0, max_epochs=1, accumulate_grad_batches=batches)
    (line,) = told.lines
    assert line.endswith(f", {told.hmean}") and loss_in(line) == pytest.approx(told.loss, abs=0.002)
