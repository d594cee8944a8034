"""The copy in shared memory: filled once, whole, found by every process, and gone with its users."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from ocr.datasets import TensorDataset
from ocr.datasets.stored import CacheParams, ram_cache
from pipeline.errors import StoreError
from pipeline.memory import AddressRange, SharedMemory, file_residency, read_direct, shared_memory
from tests.support.reads import CANVAS, IMAGE_BYTES, SAMPLE_BYTES, assert_reads, copies, evict
from tests.support.stores import sample, tensors_store


def test_a_copy_is_filled_past_the_page_cache(tmp_path: Path) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS), cache=CacheParams(mode="ram"))
    evict(dataset)
    files = [dataset.store.chunk_file("image", chunk) for chunk in range(4)]
    out = np.frombuffer(mmap.mmap(-1, IMAGE_BYTES), np.uint8)
    if any(file_residency(file).resident for file in files) or not read_direct(files[0], out):
        pytest.skip("this file system is memory, or knows no direct reading")
    dataset.warm()
    assert [file_residency(file).resident for file in files] == [0, 0, 0, 0]


@pytest.mark.parametrize("at_hand", [True, False])
@pytest.mark.parametrize("huge_pages", [True, False])
def test_pages_of_any_size_hold_the_same_samples(
    tmp_path: Path, huge_pages: bool, at_hand: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_hand:
        monkeypatch.setattr(AddressRange, "collapse", lambda *_: False)
    path = tensors_store(tmp_path, 7, CANVAS)
    evict(TensorDataset(path))
    dataset = TensorDataset(path, cache=CacheParams(mode="ram", huge_pages=huge_pages))
    assert dataset.warm().resident == 7
    assert_reads(dataset, 7)


def test_a_copy_that_nobody_verified_is_shared_with_those_who_do_not_ask(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 4, CANVAS)
    chunk = TensorDataset(path).store.chunk_file("image", 2)
    whole = chunk.read_bytes()
    chunk.write_bytes(bytes(len(whole)))
    careless, other, careful = (
        TensorDataset(path, cache=CacheParams(mode="ram", verify=verify)) for verify in (False, False, True)
    )
    before = copies().keys()
    careless.warm()
    other.warm()
    assert len(copies().keys() - before) == 1
    with pytest.raises(StoreError, match=r"00002\.jpg.*image does not match"):
        careful.warm()
    chunk.write_bytes(whole)
    careful = TensorDataset(path, cache=CacheParams(mode="ram"))
    careful.warm()
    assert_reads(careful, 4)


def test_sharing_a_smaller_copy_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tensors_store(tmp_path, 5, CANVAS, codec="zstd")
    small = TensorDataset(path, cache=CacheParams(mode="ram", budget=2 * SAMPLE_BYTES))
    assert small.warm().resident == 2
    assert "another process" not in caplog.text
    large = TensorDataset(path, cache=CacheParams(mode="ram"))
    assert large.warm().resident == 2
    assert "with 2 of the 5 chunks" in caplog.text
    assert_reads(large, 5)


def test_a_file_that_a_smaller_copy_lacks_is_not_looked_at(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 5, CANVAS)
    small = TensorDataset(path, fields=("image",), cache=CacheParams(mode="ram", budget=2 * IMAGE_BYTES))
    small.warm()
    large = TensorDataset(path, fields=("image",), cache=CacheParams(mode="ram"))
    os.truncate(large.store.chunk_file("image", 4), 0)  # to read it there would end this process
    assert 2 <= large.warm().resident < 5


def test_writing_into_a_batch_harms_no_shared_copy(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 4, CANVAS)
    first, second = (TensorDataset(path, cache=CacheParams(mode="ram")) for _ in range(2))
    first.warm()
    second.warm()
    for batch in first.batches(2):
        batch["images"].zero_()
    assert_reads(second, 4)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_workers_attach_to_the_copy_and_count_together(tmp_path: Path, method: str) -> None:
    path = tensors_store(tmp_path, 6, CANVAS, codec="zstd")
    dataset = TensorDataset(path, cache=CacheParams(mode="ram"))
    dataset.warm()
    loader = DataLoader(dataset, batch_size=2, num_workers=2, multiprocessing_context=method)
    for batch in loader:
        for image, name in zip(batch["images"], batch["sample_id"], strict=True):
            np.testing.assert_array_equal(image, sample(int(name[7:12]), *CANVAS)["image"])
    assert (dataset.stats().hits, dataset.stats().misses) == (6, 0)


WARM = """
import os, signal, sys
import ocr.datasets.stored.ram_cache
from ocr.datasets import TensorDataset
dataset = TensorDataset(sys.argv[1], cache=ocr.datasets.stored.ram_cache.CacheParams(mode="ram"))
if sys.argv[2] == "killed while filling":
    ocr.datasets.stored.ram_cache.check_samples = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
dataset.warm()
print("warm", flush=True)
sys.stdin.read()
"""


def start(path: Path, how: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WARM, str(path), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_processes_share_one_copy_that_a_kill_frees(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 4, CANVAS)
    before = copies().keys()
    with start(path) as other:
        assert other.stdout is not None and other.stdout.readline() == "warm\n"
        dataset = TensorDataset(path, cache=CacheParams(mode="ram"))
        dataset.warm()
        (inode,) = copies().keys() - before
        assert inode in copies(other.pid)
        other.send_signal(signal.SIGKILL)
    assert_reads(dataset, 4)
    assert not list(Path("/dev/shm").glob("*warmstore*"))
    name = copies()[inode]
    assert any(found.handle[2] == inode for found in SharedMemory.find(name))
    del dataset
    assert list(SharedMemory.find(name)) == []


@pytest.mark.slow
def test_a_process_killed_while_it_fills_is_no_obstacle(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 4, CANVAS)
    with start(path, "killed while filling") as other:
        assert other.wait(60) == -signal.SIGKILL
    dataset = TensorDataset(path, cache=CacheParams(mode="ram"))
    assert dataset.warm().resident == 4
    assert_reads(dataset, 4)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_forked_while_the_copy_is_filled_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tensors_store(tmp_path, 1, CANVAS)
    dataset = TensorDataset(path, ("image",), cache=CacheParams(mode="ram"))
    children = []

    def fork(*_: Any) -> None:
        child = os.fork()
        if not child:
            time.sleep(20)
            os._exit(0)
        children.append(child)

    monkeypatch.setattr(ram_cache, "check_samples", fork)
    dataset.warm()
    try:
        with (dataset.store.path / "zarr.json").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError where the child holds it
    finally:
        (child,) = children
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_memory_that_nobody_has_sized_yet_is_no_copy(tmp_path: Path) -> None:
    path, before = tensors_store(tmp_path, 2, CANVAS), copies().keys()
    first = TensorDataset(path, cache=CacheParams(mode="ram"))
    first.warm()
    (inode,) = copies().keys() - before
    unsized = SharedMemory.create(copies()[inode], 0)
    del first
    dataset = TensorDataset(path, cache=CacheParams(mode="ram"))
    assert dataset.warm().resident == 2
    assert len(copies().keys() - before) == 2 and unsized.size == 0
    assert_reads(dataset, 2)


def test_too_little_shared_memory_is_seen_before_and_read_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 3, CANVAS), cache=CacheParams(mode="ram"))
    monkeypatch.setattr(shared_memory, "available_memory", lambda: 1000)
    dataset.warm()
    assert "the RAM cache is not filled" in caplog.text
    assert_reads(dataset, 3)


def test_memory_that_runs_out_while_it_is_filled_is_read_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 5, (512, 512)), cache=CacheParams(mode="ram"))
    left = iter(range(3))

    def allocate(*_: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr("os.posix_fallocate", allocate)
    dataset.warm()
    assert "the RAM cache is not filled" in caplog.text
    assert_reads(dataset, 5, (512, 512))
