"""What a run refuses, and where it may run."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, PipelineError, StoreError
from pipeline.store import open_store
from tests.support.toy import run, write


def test_a_split_without_samples_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(PipelineError, match=r"^split val lists no sample; check data\.splits\.val"):
        run(tmp_path / "raw", tmp_path / "work")


def test_a_stage_that_there_is_not_is_refused_before_anything_is_made(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no stage pain; there are read, paint, pack"):
        run(raw, tmp_path / "work", ["read", "pain"])
    assert not (tmp_path / "work").exists()


def test_what_a_stage_stands_on_is_named_with_all_that_was_asked_for(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    words = r"would stand on stale read \(.*upper.*\); run `warmstore run read paint pack`"
    with pytest.raises(PipelineError, match=words):
        run(raw, tmp_path / "work", ["paint", "pack"], upper=True)


def test_what_is_no_link_of_ours_is_never_replaced(raw: Path, tmp_path: Path) -> None:
    mine = tmp_path / "work/val/copies"
    write(mine, a="mine")
    with pytest.raises(PipelineError, match=r"val/copies is in the way: it is no link of warmstore's"):
        run(raw, tmp_path / "work")
    assert (mine / "a.txt").read_text() == "mine"


def test_a_thread_of_a_program_runs_stages_and_leaves_its_signals_alone(raw: Path, tmp_path: Path) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    thread = threading.Thread(target=run, args=(raw, tmp_path / "work", ["read"]))
    thread.start()
    thread.join()
    assert len(open_store(tmp_path / "work/val/read.zarr")) == 3
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_field_that_a_store_lacks_is_refused_with_those_it_has(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work", ["read"])
    store = open_store(tmp_path / "work/val/read.zarr")
    with pytest.raises(StoreError, match=r"has no field picture; it has copy, length, lines, words, kind"):
        store.value("picture", 0)
