"""Stores brought into a bucket and trained on from there, as typed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ocr.datasets import TensorDataset
from pipeline.errors import StoreError
from pipeline.store import open_store
from tests.support.shell import Shell

pytest.importorskip("obstore", reason="buckets are reached through obstore")


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "bucket").mkdir()
    return f"file://{tmp_path}/bucket"


def test_push_pull_verify_and_gc(built: Shell, url: str, tmp_path: Path) -> None:
    pushed = built.json("push", url)
    assert sorted(pushed) == ["train/tensors.zarr", "val/tensors.zarr"]
    assert all(done["sent"] == done["files"] for done in pushed.values())
    assert built.json("push", url, "--split", "val")["val/tensors.zarr"]["sent"] == 0
    other = f"work_dir={tmp_path}/other work"
    pulled = built.json("pull", url, other)
    assert {name: done["digest"] for name, done in pulled.items()} == {
        name: done["digest"] for name, done in pushed.items()
    }
    checked = built.json("verify", url)[url]["val/tensors.zarr"]
    assert (checked["checked"], checked["damaged"]) == (pushed["val/tensors.zarr"]["files"], [])
    assert "0 " in built("gc", url, "--keep", "1").stdout


def test_what_was_pulled_is_mended_by_a_pull(built: Shell, url: str, tmp_path: Path) -> None:
    built("push", url)
    other = f"work_dir={tmp_path}/other work"
    built("pull", url, other, "--split", "val")
    generation = (tmp_path / "other work/val/tensors.zarr").resolve()
    next(generation.glob("image/c.*")).unlink()
    told = built("verify", "--split", "val", other)
    assert told.returncode == 1
    remedy = f"pull {url} tensors --config tiny --split val '{other}'"
    assert remedy in told.stdout
    assert built("pull", url, "tensors", "--split", "val", other).returncode == 0
    assert built("verify", "--split", "val", other).returncode == 0


def test_a_checkpoint_is_validated_on_stores_of_a_bucket(built: Shell, url: str, tmp_path: Path) -> None:
    here = built.json("validate")["val"]
    built("push", url)
    cache = f"cache_dir={tmp_path}/cache"
    there = built.json("validate", f"stores={url}", cache, "data.root=nowhere")["val"]
    assert {**there, "seconds": 0} == {**here, "seconds": 0}
    shutil.rmtree(tmp_path / "bucket")
    told = built("validate", f"stores={url}", cache)
    assert told.returncode == 1 and f"there is no folder {tmp_path}/bucket" in told.stderr


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("status", "work_dir=s3://bucket/work"), "bring finished stores into one by `warmstore push URL`"),
        (("run", "data.root=gs://bucket/images"), "mount or copy a bucket with images"),
        (("status", "stores=work"), "it is the URL of a bucket"),
        (("push", "work"), "give the URL of a bucket first"),
        (("push", "file:///tmp", "tensor"), "there is no stage tensor; there are canonicalize"),
        (("verify", "s3://bucket", "--sample", "x"), "--sample goes with splits and paths"),
    ],
)
def test_what_is_typed_wrongly_is_told(built: Shell, typed: tuple[str, ...], said: str) -> None:
    told = built(*typed)
    assert told.returncode == 2
    assert said in told.stderr
    assert not (built.folder / "s3:").exists()


def test_a_copy_of_the_link_alone_is_told(built: Shell, tmp_path: Path) -> None:
    store = built.folder / "work/tiny/val/tensors.zarr"
    shutil.copy(store, tmp_path / "copied.zarr", follow_symlinks=False)
    with pytest.raises(StoreError, match="the link alone came along; copy it with `cp -rL`"):
        open_store(tmp_path / "copied.zarr")
    shutil.copytree(store, tmp_path / "whole.zarr")
    assert built("verify", str(tmp_path / "whole.zarr")).returncode == 0


def test_samples_are_not_mapped_from_a_bucket() -> None:
    with pytest.raises(StoreError, match=r"run `warmstore pull s3://receipts`"):
        TensorDataset("s3://receipts/val/tensors.zarr")


def test_a_bucket_without_stores_is_told(built: Shell, url: str) -> None:
    for command in ("pull", "verify", "gc"):
        told = built(command, url)
        assert told.returncode == 1
        assert "there is no" in told.stderr or "has no store" in told.stderr
