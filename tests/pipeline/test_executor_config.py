"""Where tasks run: what is asked for, and what makes no sense."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.execution import ExecutorConfig
from tests.support.toy import Read, computed_by, run


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"batch": 0},
        {"timeout": 0},
        {"wait_workers": 0},
        {"memory": (1 << 28) - 1},
        {"kind": "threads", "address": "tcp://127.0.0.1:1"},
        {"kind": "fast"},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(reversed(wrong))):
        ExecutorConfig(**wrong)


def test_the_smallest_that_make_sense_are_taken() -> None:
    config = ExecutorConfig(workers=1, batch=1, memory=1 << 28)
    assert (config.kind, config.width) == ("auto", 1)
    assert ExecutorConfig().width == len(os.sched_getaffinity(0))
    assert ExecutorConfig(kind="dask", address="tcp://127.0.0.1:1").address


@pytest.mark.parametrize(("kind", "here"), [("serial", True), ("threads", True), ("processes", False)])
def test_only_processes_compute_elsewhere(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, here: bool
) -> None:
    names = computed_by(Read, monkeypatch)
    run(raw, tmp_path / "work", ["read"], ExecutorConfig(kind=kind, workers=1))
    assert sorted(names) == (["a.txt", "b.txt", "c.txt", "d.txt"] if here else [])
