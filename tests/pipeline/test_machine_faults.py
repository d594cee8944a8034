"""A machine's fault is no verdict on a sample: it ends the task, nothing is recorded, and a rerun goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline import failpoints
from pipeline.errors import PipelineError, host
from pipeline.execution import Executor, ExecutorConfig
from pipeline.maintenance import contested_verdicts, verify_store
from pipeline.runner import run_stages
from pipeline.stage import Inputs
from pipeline.store import open_store
from tests.support.toy import Read, Silent, clean_digests, make_pipeline, run, write


class Unmounts(Silent):
    """Takes the raw files away when a stage begins: they were hashed, and none is computed yet."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def begin(self, split: str, stage: str, samples: int) -> Callable[[int], None]:
        self.folder.rename(self.folder.with_name("unmounted"))
        return super().begin(split, stage, samples)


def failing(monkeypatch: pytest.MonkeyPatch, sample_id: str, error: Exception) -> None:
    """Let stage `read` fail with one sample."""
    compute = Read.compute

    def fail(self: Read, inputs: Inputs) -> Mapping[str, Any]:
        if inputs.sample_id == sample_id:
            raise error
        return compute(self, inputs)

    monkeypatch.setattr(Read, "compute", fail)


def verdicts(work: Path, stage: str = "read") -> dict[str, dict[str, Any]]:
    """Give the verdicts of a published store by sample."""
    return {v["sample_id"]: v for v in open_store(work / f"val/{stage}.zarr").info.quarantined}


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_raw_files_that_are_unmounted_under_a_run_are_no_verdicts(
    raw: Path, tmp_path: Path, kind: str
) -> None:
    work = tmp_path / "work"
    chosen = ExecutorConfig(kind=kind, workers=2, batch=2)
    stopped = rf"No such file or directory \({raw}/[abcd]\.txt on {host()}\).*rerun continues"
    with pytest.raises(PipelineError, match=stopped), Executor(chosen) as executor:
        list(run_stages(make_pipeline(raw, work), ["read"], executor, Unmounts(raw)))
    raw.with_name("unmounted").rename(raw)
    assert {name: result.digest for name, result in run(raw, work).items()} == clean_digests(
        raw, tmp_path / "clean"
    )
    assert {name: v["code"] for name, v in verdicts(work).items()} == {"c.txt": "bad"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError("image file is truncated"), "stage_error"),  # a library's, as Pillow's are: no number
        (OSError(5, "Input/output error", "/data/b.txt"), None),
        (TimeoutError(110, "Connection timed out", "/data/b.txt"), None),
        (ValueError("unforeseen"), "stage_error"),
        (MemoryError("no room"), "out_of_memory"),
    ],
)
def test_errors_of_the_system_are_the_machines_and_all_others_the_samples(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str | None
) -> None:
    failing(monkeypatch, "b.txt", error)
    if code is None:
        with pytest.raises(PipelineError, match=rf"\(/data/b.txt on {host()}\).*no verdict"):
            run(raw, tmp_path / "work")
        records = [json.loads(path.read_bytes()) for path in tmp_path.rglob("*.records")]
        assert "b.txt" not in str(records)
        return
    run(raw, tmp_path / "work")
    assert verdicts(tmp_path / "work")["b.txt"]["code"] == code
    assert verdicts(tmp_path / "work")["b.txt"]["host"] == host()
    assert "host" not in verdicts(tmp_path / "work")["c.txt"]  # bad wherever it is looked at


def test_retry_looks_at_staged_verdicts_too(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as odd:
        failing(odd, "b.txt", ValueError("only here and now"))
        failpoints.arm("manifest.write:1:eio")
        with pytest.raises(PipelineError, match="rerun continues"):
            run(raw, tmp_path / "work")
        failpoints.arm("")
    run(raw, tmp_path / "work", ["read"], retry=True)
    assert set(verdicts(tmp_path / "work")) == {"c.txt"}


def test_verdicts_that_other_runs_of_the_same_inputs_did_not_give_are_told(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    run(raw, work)
    run(raw, work, upper=True)
    with monkeypatch.context() as odd:
        failing(odd, "b.txt", ValueError("only here and now"))
        run(raw, work)
    assert verify_store(work / "val/read.zarr", only={"a.txt"}).contested == []
    (found,) = verify_store(work / "val/read.zarr").contested
    assert str(found) == (
        f"b.txt is quarantined (stage_error on {host()}), and generation 1 has it as accepted, "
        "from the same inputs"
    )
    run(raw, work, retry=True)
    assert contested_verdicts(open_store(work / "val/read.zarr")) == []
    write(raw, b="bad from now on")
    run(raw, work)
    assert contested_verdicts(open_store(work / "val/read.zarr")) == []
