"""Before a worker is given a task it shows that it has the run's versions, folders and files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import PipelineError, host
from pipeline.execution import ExecutorConfig, handshake
from pipeline.files import checksum
from tests.support.dask_processes import Cluster
from tests.support.toy import Read, clean_digests, run


@pytest.fixture
def offered(raw: Path, tmp_path: Path) -> handshake.Handshake:
    (tmp_path / "staging").mkdir()
    return handshake.offer(Read(), tmp_path / "staging", (raw / "a.txt", checksum(raw / "a.txt")[1]))


def nothing() -> None:
    """Is told of samples."""


def another_recipe(offered: handshake.Handshake) -> handshake.Handshake:
    return replace(offered, recipe={**offered.recipe, "libraries": {"libjpeg-turbo": "3.0.1"}})


def another_folder(offered: handshake.Handshake) -> handshake.Handshake:
    (offered.folder / f"{offered.nonce}.offer").write_text("of another run")
    return offered


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda o: replace(o, engine="older"), "version of the engine older → [0-9a-f]{12}"),
        (another_recipe, r"libjpeg-turbo 3\.0\.1 → unset"),
        (lambda o: replace(o, codecs={**o.codecs, "zstd": "10400"}), r"zstd 10400 → \d+"),
        (lambda o: replace(o, folder=Path("/not/mounted")), "/not/mounted cannot be used there"),
        (lambda o: replace(o, nonce="another run's"), r"staging cannot be used there \(No such file"),
        (another_folder, "staging is another folder there"),
        (lambda o: replace(o, raw_file=(Path("/data/a.jpg"), "00")), "/data/a.jpg cannot be read there"),
        (lambda o: replace(o, raw_file=(o.raw_file[0], "00")), "has the checksum 00 here and [0-9a-f]{32}"),
    ],
)
def test_what_a_worker_lacks_is_told_with_both_values(
    offered: handshake.Handshake, change: Callable[[Any], handshake.Handshake], told: str
) -> None:
    answered = handshake.answer(change(offered), nothing)
    assert answered.host == host()
    (problem,) = handshake.accept(offered, answered)
    assert re.search(told, problem)


def test_a_worker_that_has_all_is_accepted_and_one_that_writes_elsewhere_is_not(
    offered: handshake.Handshake,
) -> None:
    assert handshake.accept(offered, handshake.answer(offered, nothing)) == ()
    (problem,) = handshake.accept(offered, handshake.Answer(host(), (), "not there"))
    assert "does not arrive here" in problem


def without_package(folder: Path) -> dict[str, str]:
    """Environment of a worker that finds no package of ours."""
    folder.mkdir()
    (folder / "pipeline.py").write_text("raise ModuleNotFoundError(\"No module named 'pipeline'\")")
    return {"PYTHONPATH": str(folder)}


def with_another_zstd(folder: Path) -> dict[str, str]:
    """Environment of a worker whose codec is of another version."""
    folder.mkdir()
    patch = "import numcodecs.zstd; numcodecs.zstd.VERSION_NUMBER = 10400"
    (folder / "sitecustomize.py").write_text(patch)
    return {"PYTHONPATH": str(folder)}


@pytest.mark.slow
def test_workers_that_lack_something_are_named_and_not_used(raw: Path, tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        cluster.join(nanny=False, **without_package(tmp_path / "bare"))
        cluster.join(nanny=False, **with_another_zstd(tmp_path / "older"))
        cluster.wait(2)
        config = ExecutorConfig(kind="dask", address=cluster.address, batch=1)
        with pytest.raises(PipelineError, match="no dask worker can be used") as refused:
            run(raw, tmp_path / "work", executor=config)
        for told in ("No module named 'pipeline'", r"zstd \d+ → 10400", rf"{host()} \(tcp://"):
            assert re.search(told, str(refused.value))
        (tmp_path / "elsewhere").mkdir()
        cluster.join(nanny=False, folder=tmp_path / "elsewhere")  # paths are absolute
        cluster.wait(3)
        found = run(raw, tmp_path / "work", executor=config)
    assert {n: r.digest for n, r in found.items()} == clean_digests(raw, tmp_path / "clean")
