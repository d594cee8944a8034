"""The RAM cache: resident, verified, shared once, within its budget, and gone with its users."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import resource
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ocr.datasets import TensorDataset
from ocr.datasets.stored import CacheParams, ram_cache
from pipeline.errors import StoreError
from pipeline.memory import AddressRange, InMemory, file_residency, store_residency
from pipeline.store import MANIFEST, encode
from tests.support.reads import CANVAS, SAMPLE_BYTES, assert_reads, evict
from tests.support.stores import tensors_store


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
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_majflt=next(faults)))
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


def test_a_cache_that_is_off_says_so(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 3, CANVAS)
    evict(TensorDataset(path))
    told = str(TensorDataset(path, cache=CacheParams(mode="off")).warm())
    assert told.endswith("; the other 3 are read from the store's files (cache.mode is off)")


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


@pytest.mark.parametrize("mode", ["mmap", "ram"])
@pytest.mark.parametrize(("threads", "meet"), [(0, True), (2, True), (1, False)])
def test_warming_works_on_as_many_threads_as_it_may(
    tmp_path: Path, mode: Any, threads: int, meet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = CacheParams(mode=mode, threads=threads)
    dataset = TensorDataset(tensors_store(tmp_path, 2, CANVAS), ("image",), cache=params)
    together = threading.Barrier(2, timeout=20 if meet else 0.1)
    monkeypatch.setattr(ram_cache, "check_samples", lambda *_: together.wait())
    with contextlib.nullcontext() if meet else pytest.raises(threading.BrokenBarrierError):
        dataset.warm()


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
        for number in (0, 1):
            found = file_residency(dataset.store.chunk_file(name, number))
            assert found.resident == found.bytes
    assert_reads(dataset, 6)
    chunk = dataset.store.chunk_file("prob_map", 1)
    chunk.write_bytes(encode(codec, np.ones((4, 1, *CANVAS), np.uint8)))
    damaged = TensorDataset(path, cache=CacheParams(mode=mode, huge_pages=False))  # a copy of its own
    with pytest.raises(StoreError, match=r"00004\.jpg.*prob_map does not match.*warmstore repair"):
        damaged.warm()


@pytest.mark.parametrize("verify", [True, False])
def test_an_older_kernel_is_warm_too(tmp_path: Path, verify: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tensors_store(tmp_path, 4, CANVAS)
    evict(TensorDataset(path))
    monkeypatch.setattr(AddressRange, "_advise", lambda *_: False)
    dataset = TensorDataset(path, cache=CacheParams(verify=verify))
    assert dataset.warm().resident == 4
    assert_reads(dataset, 4)


@pytest.mark.parametrize("mode", ["mmap", "ram"])
@pytest.mark.parametrize("size", [0, 4096, 2 * 4096 * 64])
def test_a_file_of_another_size_is_an_error_at_opening_and_at_warming(
    tmp_path: Path, mode: Any, size: int
) -> None:
    path, cache = tensors_store(tmp_path, 4, CANVAS), CacheParams(mode=mode, verify=False)
    dataset = TensorDataset(path, cache=cache)
    os.truncate(dataset.store.chunk_file("image", 2), size)
    for read in (dataset.warm, lambda: TensorDataset(path)):
        with pytest.raises(StoreError, match=r"00002\.jpg.* image .*warmstore repair"):
            read()


def test_a_file_whose_samples_are_in_the_copy_may_be_cut(tmp_path: Path) -> None:
    params = CacheParams(mode="ram", budget=2 * SAMPLE_BYTES)
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS), cache=params)
    assert dataset.warm().samples == 4
    os.truncate(dataset.store.chunk_file("image", 1), 4096)
    assert_reads(dataset, 4)


def test_locking_more_than_is_allowed_is_said_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(AddressRange, "lock", refuse)
    dataset = TensorDataset(tensors_store(tmp_path, 2, CANVAS), cache=CacheParams(lock=True))
    assert dataset.warm().resident == 2
    assert "ulimit -l" in caplog.text


@pytest.mark.parametrize("mode", ["mmap", "ram"])
def test_locked_pages_are_locked_and_not_copied(tmp_path: Path, mode: Any) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 2, CANVAS), cache=CacheParams(mode=mode, lock=True))
    dataset.warm()
    images = dataset[0:2]["images"]
    sizes = mapped_sizes(images.data_ptr(), images.nbytes)
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


def test_residency_of_any_store_is_told_by_folder(tmp_path: Path) -> None:
    dataset = TensorDataset(tensors_store(tmp_path, 4, CANVAS, codec="zstd"))
    found = store_residency(dataset.store)
    assert found["image"].resident == found["image"].bytes
    assert sum(found.values(), InMemory(0, 0)).bytes == sum(
        file.stat().st_size for file in dataset.store.path.rglob("*") if file.is_file()
    )
    (dataset.store.path / "zarr.json").write_bytes(b"")
    assert store_residency(dataset.store)["metadata"].bytes == (dataset.store.path / MANIFEST).stat().st_size
    evict(dataset)
    (dataset.store.path / "image" / "a link").symlink_to(tmp_path / "nowhere")
    assert store_residency(dataset.store)["image"].resident < found["image"].bytes
