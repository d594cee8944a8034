"""The RAM cache: resident, verified, shared once, within its budget, and gone with its users."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import logging
import mmap
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from torch.utils.data import DataLoader

from ocr.cache import CacheParams
from ocr.codec_advice import codec_speeds
from ocr.datasets import TensorDataset
from ocr.datasets.collate import as_collated
from ocr.datasets.pinning import register_with_cuda
from pipeline.codec import encode
from pipeline.direct import read_direct
from pipeline.errors import StoreError
from pipeline.memory import available_memory
from pipeline.pages import Region
from pipeline.residency import InMemory, file_residency, store_residency
from pipeline.shared import SharedMemory
from tests.stores import sample, tensors_store

CANVAS = (64, 64)
SAMPLE_BYTES = 64 * 64 * 8
IMAGE_BYTES = 64 * 64 * 3


def evict(dataset: TensorDataset) -> None:
    """Drop the store's files from the page cache."""
    for file in dataset.store.path.rglob("c.*"):
        with file.open("rb") as open_file:
            os.fsync(open_file.fileno())
            os.posix_fadvise(open_file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def assert_reads(dataset: TensorDataset, count: int, canvas: tuple[int, int] = CANVAS) -> None:
    for order in ("sequential", "shuffled"):
        seen = 0
        for batch in dataset.batches(3, order):  # type: ignore[arg-type]
            for image, name in zip(batch["images"], batch["sample_id"], strict=True):
                np.testing.assert_array_equal(image, sample(int(name[7:12]), *canvas)["image"])
                seen += 1
        assert seen == count


def memory_of(dataset: TensorDataset) -> SharedMemory:
    shared = dataset.cache._shared
    assert shared is not None
    return shared.memory


@pytest.mark.parametrize("mode", ["mmap", "ram"])
def test_warming_makes_every_sample_a_hit_from_the_first_epoch(
    tmp_path: Path, mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tensors_store(tmp_path, 7, CANVAS)
    evict(TensorDataset(path))
    dataset = TensorDataset(path, cache=CacheParams(mode=mode))
    warmth = dataset.warm()
    assert (warmth.resident, warmth.samples, warmth.bytes) == (7, 7, 7 * SAMPLE_BYTES)
    line = r"RAM cache warm: 7/7 samples \(0\.00 GB\) resident before epoch 0 in \d+\.\d\d s"
    assert any(re.fullmatch(line, record.message) for record in caplog.records)
    assert_reads(dataset, 7)
    assert (dataset.stats().hits, dataset.stats().misses) == (14, 0)
    assert dataset.stats().bytes_disk == 0


def test_warming_shows_its_progress_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS))
    for is_terminal in (False, True):
        screen = io.StringIO()
        monkeypatch.setattr(screen, "isatty", lambda: is_terminal)  # noqa: B023 - called in this round
        monkeypatch.setattr("sys.stderr", screen)
        dataset.warm()
        assert ("warming the RAM cache" in screen.getvalue()) == is_terminal
    assert "100%" in screen.getvalue()


def test_without_warming_the_first_epoch_misses_and_the_second_hits(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 6, CANVAS)
    evict(TensorDataset(path))
    dataset = TensorDataset(path, cache=CacheParams(mode="off"))
    assert dataset.warm().resident < 6
    for _ in dataset.batches(2):
        pass
    cold = dataset.stats()
    assert cold.misses > 0
    assert cold.bytes_disk + cold.bytes_ram == 6 * SAMPLE_BYTES
    assert sum(int(batch["images"].sum() > 0) for batch in dataset.batches(2)) == 3
    for name in ("prob_maps", "prob_masks", "thresh_maps", "thresh_masks"):
        assert all(batch[name].sum() > 0 for batch in dataset.batches(2))
    before = dataset.stats()
    assert [batch["images"].shape[0] for batch in dataset.batches(2)] == [2, 2, 2]
    assert (dataset.stats() - before).misses == 0


def test_samples_that_were_evicted_are_misses_once_a_fault_tells_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = iter([1, 1, 2])
    usage = SimpleNamespace(
        getrusage=lambda _: SimpleNamespace(ru_majflt=next(faults)), RUSAGE_SELF=resource.RUSAGE_SELF
    )
    monkeypatch.setattr("ocr.datasets.residency.resource", usage)
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS), ("image",))
    _ = dataset[0:4]
    evict(dataset)
    if any(file_residency(dataset.store.chunk_file("image", chunk)).resident for chunk in range(4)):
        pytest.skip("this file system is memory")
    found = []
    for _ in range(2):
        _ = dataset[0:4]
        found.append((dataset.stats().hits, dataset.stats().misses))
    assert found == [(8, 0), (8, 4)]


def test_a_store_of_another_user_is_said_to_be_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tensors_store(tmp_path, 2, CANVAS)
    TensorDataset(path)
    assert caplog.text == ""
    monkeypatch.setattr("os.geteuid", lambda: (path / "zarr.json").stat().st_uid + 1)
    monkeypatch.setattr("os.access", lambda *_: False)
    TensorDataset(path)
    assert "belongs to another user" in caplog.text


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_compressed_store_becomes_views_in_the_ram_cache(
    tmp_path: Path, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tensors_store(tmp_path, 10, CANVAS, 4, codec)
    dataset = TensorDataset(path, cache=CacheParams(mode="ram"))
    dataset.warm()
    assert "copies" not in caplog.text
    base = dataset[0:1]["images"].data_ptr()
    assert dataset[5:9]["images"].data_ptr() == base + 5 * 3 * 64 * 64
    assert_reads(dataset, 10)
    assert dataset.stats().misses == 0


@pytest.mark.parametrize("mode", ["mmap", "ram"])
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_what_exceeds_the_budget_is_read_from_the_files(
    tmp_path: Path, mode: Any, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tensors_store(tmp_path, 10, CANVAS, codec=codec)
    evict(TensorDataset(path))
    dataset = TensorDataset(path, cache=CacheParams(mode=mode, budget=4 * SAMPLE_BYTES + 5))
    warmth = dataset.warm()
    if codec == "none" or mode == "ram":
        assert 4 <= warmth.resident < 10
        assert "are read from the store's files" in caplog.text
    assert_reads(dataset, 10)


@pytest.mark.parametrize("mode", ["mmap", "ram"])
def test_a_budget_of_nothing_caches_nothing_and_reads_everything(tmp_path: Path, mode: Any) -> None:
    path = tensors_store(tmp_path, 5, CANVAS)
    evict(TensorDataset(path))
    dataset = TensorDataset(path, cache=CacheParams(mode=mode, budget=0))
    assert dataset.warm().resident == 0
    assert_reads(dataset, 5)


def test_a_budget_above_the_memory_is_cut_to_it_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 3, CANVAS), cache=CacheParams(budget=10**15))
    assert dataset.warm().resident == 3
    assert dataset.cache.budget < 10**15
    assert "no more than these are used" in caplog.text


@pytest.mark.parametrize("mode", ["mmap", "ram"])
def test_a_damaged_sample_stops_warming_with_its_name_and_the_remedy(tmp_path: Path, mode: Any) -> None:
    path = tensors_store(tmp_path, 9, CANVAS, 4)
    dataset = TensorDataset(path, cache=CacheParams(mode=mode))
    chunk = dataset.store.chunk_file("thresh_map", 1)
    data = bytearray(chunk.read_bytes())
    data[2 * 64 * 64 * 2 + 17] ^= 1
    chunk.write_bytes(data)
    fresh = TensorDataset(path, cache=CacheParams(mode=mode))
    with pytest.raises(StoreError, match=r"00006\.jpg.*thresh_map does not match.*warmstore repair"):
        fresh.warm()
    TensorDataset(path, cache=CacheParams(mode=mode, verify=False)).warm()


@pytest.mark.parametrize(("mode", "work"), [("mmap", "_make_resident"), ("ram", "_read_slot")])
@pytest.mark.parametrize(("threads", "meet"), [(0, True), (2, True), (1, False)])
def test_warming_works_on_as_many_threads_as_it_may(
    tmp_path: Path, mode: Any, work: str, threads: int, meet: bool
) -> None:
    params = CacheParams(mode=mode, threads=threads)
    dataset = TensorDataset(tensors_store(tmp_path, 2, CANVAS), ("image",), cache=params)
    read, together = getattr(dataset.cache, work), threading.Barrier(2, timeout=20 if meet else 0.1)

    def read_together(slot: Any) -> None:
        together.wait()
        read(slot)

    setattr(dataset.cache, work, read_together)
    with contextlib.nullcontext() if meet else pytest.raises(threading.BrokenBarrierError):
        dataset.warm()


def test_a_copy_is_filled_past_the_page_cache(tmp_path: Path) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS), cache=CacheParams(mode="ram"))
    evict(dataset)
    files = [dataset.store.chunk_file("image", chunk) for chunk in range(4)]
    out = np.frombuffer(mmap.mmap(-1, IMAGE_BYTES), np.uint8)
    if any(file_residency(file).resident for file in files) or not read_direct(files[0], out):
        pytest.skip("this file system is memory, or knows no direct reading")
    dataset.warm()
    assert [file_residency(file).resident for file in files] == [0, 0, 0, 0]


@pytest.mark.parametrize("mode", ["mmap", "ram"])
@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_compressed_store_is_verified_and_in_the_page_cache_after_warming(
    tmp_path: Path, mode: Any, codec: Any
) -> None:
    path = tensors_store(tmp_path, 6, CANVAS, 4, codec)
    dataset = TensorDataset(path, cache=CacheParams(mode=mode))
    evict(dataset)
    dataset.warm()
    for name in ("image", "thresh_map"):
        found = store_residency(dataset.store)[name]
        assert found.resident == found.bytes
    assert_reads(dataset, 6)
    chunk = dataset.store.chunk_file("prob_map", 1)
    chunk.write_bytes(encode(codec, np.ones((4, 1, *CANVAS), np.uint8)))
    damaged = TensorDataset(path, cache=CacheParams(mode=mode, huge_pages=False))  # a copy of its own
    with pytest.raises(StoreError, match=r"00004\.jpg.*prob_map does not match.*warmstore repair"):
        damaged.warm()


@pytest.mark.parametrize("at_hand", [True, False])
@pytest.mark.parametrize("huge_pages", [True, False])
def test_pages_of_any_size_hold_the_same_samples(
    tmp_path: Path, huge_pages: bool, at_hand: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_hand:
        monkeypatch.setattr("pipeline.pages.Region.collapse", lambda *_: False)
    path = tensors_store(tmp_path, 7, CANVAS)
    evict(TensorDataset(path))
    dataset = TensorDataset(path, cache=CacheParams(mode="ram", huge_pages=huge_pages))
    assert dataset.warm().resident == 7
    assert_reads(dataset, 7)


@pytest.mark.parametrize(
    ("mode", "huge_pages", "asks"),
    [("mmap", True, {"prefer_large_pages"}), ("ram", True, {"collapse"}), ("ram", False, set())],
)
def test_warming_asks_for_large_pages(
    tmp_path: Path, mode: Any, huge_pages: bool, asks: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[str] = set()
    for name in ("prefer_large_pages", "collapse"):
        monkeypatch.setattr(Region, name, lambda *_, name=name: asked.add(name))
    params = CacheParams(mode=mode, huge_pages=huge_pages)
    TensorDataset(tensors_store(tmp_path, 2, CANVAS), cache=params).warm()
    assert asked == asks


def test_a_copy_that_nobody_verified_is_shared_with_those_who_do_not_ask(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 4, CANVAS)
    chunk = TensorDataset(path).store.chunk_file("image", 2)
    whole = chunk.read_bytes()
    chunk.write_bytes(bytes(len(whole)))
    careless, other, careful = (
        TensorDataset(path, cache=CacheParams(mode="ram", verify=verify)) for verify in (False, False, True)
    )
    careless.warm()
    other.warm()
    assert memory_of(other).handle[2] == memory_of(careless).handle[2]
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


@pytest.mark.parametrize("mode", ["mmap", "ram", "off"])
def test_warming_reads_nothing_beyond_the_budget(tmp_path: Path, mode: Any) -> None:
    path = tensors_store(tmp_path, 40, CANVAS)
    evict(TensorDataset(path))
    dataset = TensorDataset(path, cache=CacheParams(mode=mode, budget=20 * SAMPLE_BYTES))
    resident = dataset.warm().bytes
    assert resident == (0 if mode == "off" else 20 * SAMPLE_BYTES)
    assert dataset.resident()[0] <= resident + SAMPLE_BYTES  # whose first sample is read for its small fields


def test_a_file_that_a_smaller_copy_lacks_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tensors_store(tmp_path, 5, CANVAS)
    small = TensorDataset(path, fields=("image",), cache=CacheParams(mode="ram", budget=2 * IMAGE_BYTES))
    small.warm()
    walked: list[tuple[int, int]] = []
    monkeypatch.setattr(Region, "walk", lambda _, offset, length: walked.append((offset, length)))
    large = TensorDataset(path, fields=("image",), cache=CacheParams(mode="ram"))
    os.truncate(large.store.chunk_file("image", 4), 0)  # to read it there would end this process
    with pytest.raises(StoreError, match=r"00004\.jpg.* was written to"):
        large.warm()
    assert walked == [(0, 2 * IMAGE_BYTES)]


def test_writing_into_a_batch_harms_no_shared_copy(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 4, CANVAS)
    first, second = (TensorDataset(path, cache=CacheParams(mode="ram")) for _ in range(2))
    first.warm()
    second.warm()
    for batch in first.batches(2):
        batch["images"].zero_()
    assert_reads(second, 4)


@pytest.mark.parametrize("verify", [True, False])
def test_a_kernel_that_cannot_populate_reads_ahead(
    tmp_path: Path, verify: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_ahead, asked = Region.read_ahead, []
    monkeypatch.setattr(Region, "populate", lambda *_: False)
    monkeypatch.setattr(Region, "read_ahead", lambda *where: asked.append(where) or read_ahead(*where))
    path = tensors_store(tmp_path, 4, CANVAS)
    evict(TensorDataset(path))
    dataset = TensorDataset(path, cache=CacheParams(verify=verify))
    dataset.warm()
    assert len(asked) == 4 * 5
    assert_reads(dataset, 4)


@pytest.mark.parametrize(("cut", "harm"), [(1, False), (3, True)])
def test_only_files_that_are_still_mapped_may_not_be_cut(tmp_path: Path, cut: int, harm: bool) -> None:
    params = CacheParams(mode="ram", budget=2 * SAMPLE_BYTES)
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS), cache=params)
    assert dataset.warm().samples == 4
    os.truncate(dataset.store.chunk_file("image", cut), 4096)
    with pytest.raises(StoreError, match="written to") if harm else contextlib.nullcontext():
        assert_reads(dataset, 4)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_workers_attach_to_the_copy_and_count_together(tmp_path: Path, method: str) -> None:
    path = tensors_store(tmp_path, 6, CANVAS, codec="zstd")
    dataset = TensorDataset(path, cache=CacheParams(mode="ram"))
    dataset.warm()
    loader = DataLoader(
        dataset, batch_size=2, num_workers=2, collate_fn=as_collated, multiprocessing_context=method
    )
    for batch in loader:
        for image, name in zip(batch["images"], batch["sample_id"], strict=True):
            np.testing.assert_array_equal(image, sample(int(name[7:12]), *CANVAS)["image"])
    assert (dataset.stats().hits, dataset.stats().misses) == (6, 0)


# ------------------------------------------------------------------- one copy for all processes

WARM = """
import os, signal, sys
from ocr.cache import CacheParams
from ocr.codec_advice import codec_speeds
from ocr.datasets import TensorDataset
dataset = TensorDataset(sys.argv[1], cache=CacheParams(mode="ram"))
if sys.argv[2] == "killed while filling":
    dataset.cache._read_slot = lambda slot: os.kill(os.getpid(), signal.SIGKILL)
dataset.warm()
print(os.fstat(dataset.cache._shared.memory.descriptor).st_ino, flush=True)
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
    names = set(Path("/dev/shm").iterdir())
    with start(path) as other:
        assert other.stdout is not None
        inode = int(other.stdout.readline())
        dataset = TensorDataset(path, cache=CacheParams(mode="ram"))
        dataset.warm()
        memory = memory_of(dataset)
        assert os.fstat(memory.descriptor).st_ino == inode
        other.send_signal(signal.SIGKILL)
    assert_reads(dataset, 4)
    assert set(Path("/dev/shm").iterdir()) <= names
    name = str(Path(f"/proc/self/fd/{memory.descriptor}").readlink()).removeprefix("/memfd:").split()[0]
    assert any(found.handle[2] == inode for found in SharedMemory.find(name))
    del memory, dataset
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
def test_a_child_forked_while_the_copy_is_filled_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 1, CANVAS)
    dataset = TensorDataset(path, ("image",), cache=CacheParams(mode="ram"))
    read, children = dataset.cache._read_slot, []

    def fork_and_read(slot: Any) -> None:
        child = os.fork()
        if not child:
            time.sleep(20)
            os._exit(0)
        children.append(child)
        read(slot)

    dataset.cache._read_slot = fork_and_read  # type: ignore[method-assign]
    dataset.warm()
    try:
        with (dataset.store.path / "zarr.json").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        (child,) = children
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_memory_that_nobody_has_sized_yet_is_no_copy(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 2, CANVAS)
    first = TensorDataset(path, cache=CacheParams(mode="ram"))
    first.warm()
    name = str(Path(f"/proc/self/fd/{memory_of(first).descriptor}").readlink()).removeprefix("/memfd:")
    del first
    other = SharedMemory.create(name.removesuffix(" (deleted)"), 0)
    dataset = TensorDataset(path, cache=CacheParams(mode="ram"))
    dataset.warm()
    assert memory_of(dataset).size > other.size == 0
    assert_reads(dataset, 2)


def test_too_little_shared_memory_is_seen_before_and_read_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 3, CANVAS), cache=CacheParams(mode="ram"))
    monkeypatch.setattr("pipeline.shared.available_memory", lambda: 1000)
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


def test_locking_more_than_is_allowed_is_said_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("pipeline.pages.Region.lock", refuse)
    dataset = TensorDataset(tensors_store(tmp_path, 2, CANVAS), cache=CacheParams(lock=True))
    assert dataset.warm().resident == 2
    assert "ulimit -l" in caplog.text


@pytest.mark.parametrize("mode", ["mmap", "ram"])
def test_locked_pages_are_locked_and_not_copied(tmp_path: Path, mode: Any) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 2, CANVAS), cache=CacheParams(mode=mode, lock=True))
    dataset.warm()
    array = dataset._reader.arrays["image"]
    sizes = mapped_sizes(array.region.address, array.nbytes)
    assert (sizes["Locked"] > 0, sizes["Anonymous"]) == (True, 0)
    assert_reads(dataset, 2)


def mapped_sizes(address: int, length: int) -> Counter[str]:
    """What the kernel says of the maps in a range of addresses, in kB."""
    sizes: Counter[str] = Counter()
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        begin = re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line)
        if begin:
            inside = address <= int(begin[1], 16) < address + length
        elif inside and line.endswith(" kB"):
            sizes[line.partition(":")[0]] += int(line.split()[1])
    return sizes


# ------------------------------------------------------------------------------ configuration


@pytest.mark.parametrize(
    ("budget", "available", "expected"),
    [
        (0, 100, 0),
        (50, 100, 50),
        (500, 100, 100),
        (0.5, 100, 50),
        (1.0, 100, 100),
        ("2GB", 10**10, 2 * 10**9),
        ("1.5 MB", 10**10, 1_500_000),
        ("25%", 1000, 250),
        ("0.25", 1000, 250),
        ("4096", 10**6, 4096),
    ],
)
def test_budgets(budget: Any, available: int, expected: int) -> None:
    assert CacheParams(budget=budget).budget_bytes(available) == expected


@pytest.mark.parametrize("budget", [-1, -0.1, 1.5, "200%", "much", "5XB", True, "nan"])
def test_budgets_that_are_none_are_refused(budget: Any) -> None:
    with pytest.raises(ValidationError):
        CacheParams(budget=budget)


@pytest.mark.parametrize("version", [1, 2])
def test_the_memory_that_is_left_respects_control_groups(tmp_path: Path, version: int) -> None:
    mount = tmp_path / "sys/fs/cgroup" / ("memory" if version == 1 else "")
    group = mount / "jobs/one"
    group.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    line = "9:memory:/jobs/one" if version == 1 else "0::/jobs/one"
    (tmp_path / "proc/self/cgroup").write_text(f"{line}\n")
    names = ("limit_in_bytes", "usage_in_bytes", "total_") if version == 1 else ("max", "current", "")
    for folder, limit, usage in ((group, "max", 10), (mount / "jobs", 5000, 4000), (mount, "9" * 19, 0)):
        (folder / f"memory.{names[0]}").write_text(f"{limit}\n")
        (folder / f"memory.{names[1]}").write_text(f"{usage}\n")
        stat = "".join(
            f"{names[2]}{name} {value}\n" for name, value in (("inactive_file", 20), ("active_file", 3))
        )
        (folder / "memory.stat").write_text(stat)
    assert available_memory(tmp_path) == 5000 - 4000 + 23
    (mount / "jobs" / f"memory.{names[0]}").unlink()
    assert available_memory(tmp_path) > 10**6


def test_statistics_are_logged_every_so_many_samples(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    params = CacheParams(log_statistics_every_n=4)
    dataset = TensorDataset(tensors_store(tmp_path, 10, CANVAS), cache=params)
    dataset.warm()
    assert sum(1 for _ in dataset.batches(2)) == 5
    lines = [record.message for record in caplog.records if "cache statistics" in record.message]
    assert [line.split(":")[0] for line in lines] == [
        "cache statistics after 4 samples",
        "cache statistics after 8 samples",
    ]
    assert "8 hits, 0 misses (100.0% in memory)" in lines[1]


def test_memory_for_a_device_is_mapped_shared_and_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """CUDA itself is not needed to see which memory it would be given, and when it is taken back."""
    calls: list[tuple[str, int]] = []

    class Runtime:
        def cudaHostRegister(self, address: int, length: int, flags: int) -> int:  # noqa: N802
            calls.append(("register", length))
            return 2 if len(calls) > 5 else 0

        def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
            calls.append(("unregister", 0))
            return 0

    path = tensors_store(tmp_path, 3, CANVAS)
    dataset = TensorDataset(path, cache=CacheParams(mode="ram"))
    dataset.cache.warm(list(dataset._reader.arrays.values()), range(3), for_device=True)

    def kernel(size: int, *, device: str) -> None:
        kernels.append(device)
        raise RuntimeError("CUDA error: out of memory")  # what CUDA keeps of a refusal

    kernels: list[str] = []
    monkeypatch.setattr("torch.cuda.cudart", Runtime)
    monkeypatch.setattr("ocr.datasets.pinning.torch.zeros", kernel)
    assert register_with_cuda(dataset.cache.shared_ranges())
    assert sum(length for _, length in calls) == 3 * SAMPLE_BYTES
    assert kernels == []
    assert not register_with_cuda(dataset.cache.shared_ranges())
    assert "error 2" in caplog.text and kernels == ["cuda"]
    monkeypatch.undo()
    assert_reads(dataset, 3)
    del dataset
    assert [name for name, _ in calls].count("unregister") == 5


def test_warming_twice_registers_the_copy_once_and_leaves_it_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    runtime = SimpleNamespace(
        cudaHostRegister=lambda address, *_: calls.append(address) or 0, cudaHostUnregister=lambda _: 0
    )
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.cudart", lambda: runtime)
    dataset = TensorDataset(tensors_store(tmp_path, 3, CANVAS), cache=CacheParams(mode="ram"))
    dataset.warm()
    memory, registered = memory_of(dataset), list(calls)
    assert len(registered) == 5
    assert dataset.warm().resident == 3
    assert memory_of(dataset) is memory
    assert calls == registered


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_worker_leaves_cuda_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS))
    loader = DataLoader(
        dataset, batch_sampler=[[2, 0]], num_workers=1, collate_fn=as_collated, multiprocessing_context="fork"
    )
    (batch,) = loader
    np.testing.assert_array_equal(batch["images"][0], sample(2, *CANVAS)["image"])


# ------------------------------------------------------------------- what the machine is asked


def test_residency_of_any_store_is_told_by_folder(tmp_path: Path) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS, codec="zstd"))
    found = store_residency(dataset.store)
    assert found["image"].resident == found["image"].bytes
    assert sum(found.values(), InMemory(0, 0)).bytes == sum(
        file.stat().st_size for file in dataset.store.path.rglob("*") if file.is_file()
    )
    evict(dataset)
    (dataset.store.path / "image" / "a link").symlink_to(tmp_path / "nowhere")
    assert store_residency(dataset.store)["image"].resident < found["image"].bytes


def test_codec_advice_measures_every_codec_on_the_stores_samples(tmp_path: Path) -> None:
    store = TensorDataset(tensors_store(tmp_path, 3, CANVAS)).store
    speeds = codec_speeds(store, samples=2)
    assert {speed.codec for speed in speeds} == {"none", "zstd", "lz4"}
    assert [speed.cold_seconds for speed in speeds] == sorted(speed.cold_seconds for speed in speeds)
    by_codec = {speed.codec: speed for speed in speeds}
    assert by_codec["none"].ratio == 1
    assert by_codec["zstd"].ratio > 1.2
    assert all(speed.decode_rate > 0 for speed in speeds)
