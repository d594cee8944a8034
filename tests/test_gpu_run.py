"""`make gpu` loses nothing to a step that fails or hangs, and says how far its goals are reached."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, gpu_figures
from benchmarks.record import Row


def step(code: str, **other: Any) -> gpu.Step:
    read = {"read": lambda text: [Row(name="found", unit="s", values=(float(text),))]}
    return gpu.Step("one", 30, [sys.executable, "-c", code], **{**read, **other})


@pytest.mark.parametrize(
    ("code", "ended", "found", "fine"),
    [
        ("print(3)", "ran", 1, True),
        ("print(3); exit(1)", "exit code 1", 1, True),  # a check that found something
        ("print(3); exit(2)", "exit code 2", 1, False),
        ("raise MemoryError('too large')", "exit code 1: MemoryError: too large", 0, False),
        ("print('half of a')", "exit code 0: ValueError", 0, False),
    ],
)
def test_a_step_is_told_by_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, ended: str, found: int, fine: bool
) -> None:
    monkeypatch.setattr(gpu, "FOLDER", tmp_path)
    outcome = gpu.run(step(code), time.monotonic() + 60)
    assert (outcome.ended.startswith(ended), len(outcome.rows), outcome.fine) == (True, found, fine)


@pytest.mark.parametrize("device", [True, False])
@pytest.mark.parametrize("receipts", [None, Path("receipts")])
def test_all_steps_together_take_less_than_eight_minutes(receipts: Path | None, device: bool) -> None:
    steps = gpu.steps(receipts, device)
    assert sum(one.limit for one in steps) < 480
    assert len({one.name for one in steps}) == len(steps)


def test_the_store_is_held_against_the_baseline_epoch_by_epoch() -> None:
    def epoch(rung: str, number: int, seconds: float, hmean: float) -> dict[str, Any]:
        parts = {"wall_s": seconds, "data_wait_s": 0.1, "forward_s": 0.2}
        return {"rung": rung, "precision": "16-mixed", "epoch": number, "metrics": {"hmean": hmean}, **parts}

    times = (("plain online", (9.0, 8.0)), ("+ RAM images", (5.0, 5.0)), ("the store", (1.0, 1.5)))
    epochs = [
        epoch(rung, n, s, 0.94 + 0.01 * (rung == "the store")) for rung, of in times for n, s in enumerate(of)
    ]
    rows = [
        row.model_copy(update={"conditions": {**row.conditions, "step": "epochs"}})
        for row in gpu_figures.of_rungs(json.dumps({"epochs": epochs}))
    ]
    faster, moved = gpu_figures.goals(rows)
    assert faster.startswith("goal of 8 times missed") and "9.0, 5.3 times" in faster
    assert moved.startswith("goal of the same metric missed") and "0.0100" in moved
    assert "| the store | s | 1.25 (1 – 1.50) | 1.0, 1.5 |" in gpu_figures.table_of(rows)
    assert [*gpu_figures.goals(rows[:4])] == []
