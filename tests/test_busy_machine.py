"""What is told where the processors have more to do than they can."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace

import pytest
import torch

from warmstore.machine import examine
from warmstore.workflows import advise_threads


@pytest.mark.parametrize(
    ("load", "threads", "device", "in_doctor", "in_training"),
    [
        (0.3, None, "cpu", False, False),
        (999.0, None, "cpu", True, True),
        (999.0, None, "meta", True, False),
        (999.0, "1", "cpu", False, False),
    ],
)
def test_threads_are_advised_on_where_that_helps(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    load: float,
    threads: str | None,
    device: str,
    in_doctor: bool,
    in_training: bool,
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    told = examine()["load"]
    assert told.startswith(f"{load:.1f}") and ("OMP_NUM_THREADS=1" in told) == in_doctor
    with caplog.at_level(logging.INFO):
        advise_threads(SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device))))
    assert ("OMP_NUM_THREADS=1" in caplog.text) == in_training
