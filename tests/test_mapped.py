"""Mapped arrays: views where samples adjoin, copies elsewhere, and never a damaged store."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import StoreError
from pipeline.memory import (
    HUGE_PAGE,
    PAGE,
    AddressRange,
    MappedArray,
    PageTaker,
    SharedMemory,
    mapped_array,
)
from pipeline.store import encode, open_store
from tests.support.stores import fields, sample, tensors_store, write_store

ALIGNED, UNALIGNED = (64, 64), (10, 11)
LARGE = (96, 160)
"""A sample of it is more than a page, and no whole number of them, as one of 1600 × 736 is."""


def expected(count: int, canvas: tuple[int, int], name: str = "image") -> np.ndarray:
    return np.stack([sample(index, *canvas)[name] for index in range(count)])


@pytest.mark.parametrize(("canvas", "per_chunk"), [(ALIGNED, 1), (ALIGNED, 4), (UNALIGNED, 1), (LARGE, 1)])
@pytest.mark.parametrize("name", ["image", "thresh_map"])
def test_views_of_any_run_are_the_store_and_share_its_pages(
    tmp_path: Path, canvas: tuple[int, int], per_chunk: int, name: str
) -> None:
    array = MappedArray(open_store(tensors_store(tmp_path, 10, canvas, per_chunk)), name)
    assert array.why_copied is None
    whole = array.view(0, 10)
    assert whole is not None
    for start, stop in [(0, 10), (3, 9), (9, 10), (4, 4)]:
        view = array.view(start, stop)
        assert view is not None
        np.testing.assert_array_equal(view, expected(10, canvas, name)[start:stop])
        assert stop == start or np.shares_memory(view, whole)


@pytest.mark.parametrize(
    ("canvas", "per_chunk", "codec", "why"),
    [
        (UNALIGNED, 4, "none", "no whole number"),
        (ALIGNED, 1, "zstd", "compressed"),
        (ALIGNED, 2, "lz4", "compressed"),
    ],
)
def test_what_cannot_be_a_view_is_the_same_by_a_copy(
    tmp_path: Path, canvas: tuple[int, int], per_chunk: int, codec: str, why: str
) -> None:
    array = MappedArray(open_store(tensors_store(tmp_path, 10, canvas, per_chunk, codec)), "image")
    assert why in (array.why_copied or "")
    assert array.view(0, 10) is None
    rows = [9, 0, 3, 4, 4]
    out = np.empty((len(rows), *array.shape[1:]), array.dtype)
    np.testing.assert_array_equal(array.gather(rows, out), expected(10, canvas)[rows])


@given(
    rows=st.lists(st.integers(0, 6), max_size=8),
    start=st.integers(0, 6),
    length=st.integers(0, 7),
    layout=st.sampled_from([((32, 32), 2), (UNALIGNED, 1), (UNALIGNED, 2), (LARGE, 1)]),
)
@settings(max_examples=60, deadline=None)
def test_gathers_and_views_agree_with_numpy(
    rows: list[int], start: int, length: int, layout: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    canvas, per_chunk = layout
    folder = tmp_path_factory.getbasetemp() / f"agree-{canvas[0]}-{per_chunk}"
    if not folder.exists():
        folder.mkdir()
        tensors_store(folder, 7, canvas, per_chunk)
    array = MappedArray(open_store(folder / "tensors.zarr"), "image")
    truth, stop = expected(7, canvas), min(7, start + length)
    out = np.empty((len(rows), *array.shape[1:]), array.dtype)
    np.testing.assert_array_equal(array.gather(rows, out), truth[rows])
    view = array.view(start, stop)
    if view is not None:
        np.testing.assert_array_equal(view, truth[start:stop])


def test_writing_into_a_view_changes_no_file(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 3, ALIGNED)
    view = MappedArray(open_store(path), "image").view(0, 3)
    assert view is not None
    view[:] = 0
    again = MappedArray(open_store(path), "image").view(0, 3)
    np.testing.assert_array_equal(again, expected(3, ALIGNED))


def test_views_outlive_the_array_and_the_store(tmp_path: Path) -> None:
    view = MappedArray(open_store(tensors_store(tmp_path, 3, ALIGNED)), "image").view(1, 3)
    np.testing.assert_array_equal(view, expected(3, ALIGNED)[1:])


def test_a_read_only_store_can_be_mapped(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 2, ALIGNED)
    for file in path.resolve().rglob("*"):
        file.chmod(0o555 if file.is_dir() else 0o444)
    view = MappedArray(open_store(path), "image").view(0, 2)
    np.testing.assert_array_equal(view, expected(2, ALIGNED))


@pytest.mark.parametrize("damage", ["missing", "short", "long"])
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_chunk_that_is_not_whole_is_an_error_with_its_sample(
    tmp_path: Path, damage: str, codec: str
) -> None:
    store = open_store(tensors_store(tmp_path, 3, ALIGNED, codec=codec))
    chunk = store.chunk_file("image", 1)
    data = chunk.read_bytes()
    chunk.unlink()
    if damage != "missing":
        chunk.write_bytes(data[:-PAGE] if damage == "short" else data + data)
    if codec == "zstd" and damage == "long":
        chunk.write_bytes(b"no zstd frame at all")
    with pytest.raises(StoreError, match=r"00001\.jpg.*warmstore repair"):
        MappedArray(store, "image").gather([1], np.empty((1, 3, 64, 64), np.uint8))


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("channels", [2, 4])
def test_a_compressed_chunk_of_another_size_is_an_error(tmp_path: Path, codec: Any, channels: int) -> None:
    store = open_store(tensors_store(tmp_path, 3, ALIGNED, codec=codec))
    store.chunk_file("image", 1).write_bytes(encode(codec, np.zeros((1, channels, *ALIGNED), np.uint8)))
    with pytest.raises(StoreError, match=r"00001\.jpg.*warmstore repair"):
        MappedArray(store, "image").gather([1], np.empty((1, 3, *ALIGNED), np.uint8))


@pytest.mark.parametrize("name", ["picture", "size"])
def test_a_field_that_is_no_array_is_refused_with_those_that_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match=f"no array field {name}.*prob_map"):
        MappedArray(open_store(tensors_store(tmp_path, 1, ALIGNED)), name)


def test_more_chunks_than_may_be_mapped_are_read_from_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tensors_store(tmp_path, 5, ALIGNED))
    monkeypatch.setattr(mapped_array, "_MAX_MAPS", 4)
    array = MappedArray(store, "image")
    assert "5 chunk files" in (array.why_copied or "")
    out = np.empty((5, 3, 64, 64), np.uint8)
    np.testing.assert_array_equal(array.gather(range(5), out), expected(5, ALIGNED))


def test_a_file_system_without_mmap_is_read_by_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(AddressRange, "place", refuse)
    array = MappedArray(open_store(tensors_store(tmp_path, 3, ALIGNED)), "image")
    assert "No such device" in (array.why_copied or "")
    out = np.empty((2, 3, 64, 64), np.uint8)
    np.testing.assert_array_equal(array.gather([2, 0], out), expected(3, ALIGNED)[[2, 0]])


ARRAYS = ("image", "prob_map", "prob_mask", "thresh_map", "thresh_mask")
LIMITED = """
import os, resource, sys
from pipeline.memory.mapped_array import MappedArray
from pipeline.store.reader import open_store
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
def maps():
    return len(open("/proc/self/maps").readlines())
store, before = open_store(sys.argv[1]), maps()
arrays = [MappedArray(store, name) for name in sys.argv[2:]]
total = sum(int(array.view(start, start + 8).sum()) for array in arrays for start in range(0, 20000, 8))
print(maps() - before, len(os.listdir("/proc/self/fd")), total)
"""


@pytest.mark.slow
def test_maps_and_descriptors_stay_bounded_for_20_000_samples(tmp_path: Path) -> None:
    samples = [sample(index, 8, 8) for index in range(8)] * 2500
    path = write_store(tmp_path / "tensors.zarr", samples, fields(8, 8), samples_per_chunk=8)
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, path, *ARRAYS], capture_output=True, text=True, check=True
    )
    maps, descriptors, total = map(float, run.stdout.split())
    assert maps <= 5 * 20_000 / 8 + 10
    assert descriptors < 20
    assert total > 0


def test_residency_is_what_the_kernel_says(tmp_path: Path) -> None:
    array = MappedArray(open_store(tensors_store(tmp_path, 4, ALIGNED)), "image")
    assert array.resident(0, 4) == array.nbytes
    for chunk in range(4):
        with array.store.chunk_file("image", chunk).open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    evicted = array.resident(0, 4)
    assert evicted < array.nbytes
    array.region.populate(0, array.slot_bytes)
    assert array.resident(0, 1) == array.sample_bytes


def test_populating_a_file_that_was_cut_is_an_error_and_not_a_signal(tmp_path: Path) -> None:
    array = MappedArray(open_store(tensors_store(tmp_path, 2, ALIGNED)), "image")
    os.truncate(array.store.chunk_file("image", 1), PAGE)
    with pytest.raises(OSError, match="reading a mapped file"):
        array.region.populate(array.slot_bytes, array.slot_bytes)


def test_a_region_is_unmapped_with_its_last_array() -> None:
    def mapped(address: int) -> bool:
        ranges = (line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines())
        return any(int(start, 16) <= address < int(end, 16) for start, end in ranges)

    region = AddressRange(100 * PAGE)
    address, view = region.address, region.bytes()[5:]
    del region
    assert mapped(address)
    del view
    assert not mapped(address)


def test_a_run_that_is_shared_in_part_is_no_view(tmp_path: Path) -> None:
    array = MappedArray(open_store(tensors_store(tmp_path, 3, ALIGNED)), "image")
    memory = SharedMemory.create(f"test-{os.getpid()}", array.slot_bytes)
    array.place(1, 1, memory.descriptor, 0, shared=True)
    os.pwrite(memory.descriptor, b"other", 0)
    assert array.view(0, 2) is None and array.view(1, 3) is None
    first, second = array.view(0, 1), array.view(1, 2)
    assert first is not None and second is not None
    np.testing.assert_array_equal(first, expected(1, ALIGNED))
    assert second.tobytes().rstrip(b"\0") == b"other"
    assert array.resident(2, 2) == 0


def test_shared_memory_is_found_by_name_and_handle_and_gone_with_its_last_user() -> None:
    name = f"test-{os.getpid()}"
    memory = SharedMemory.create(name, PAGE)
    os.pwrite(memory.descriptor, b"hello", 0)
    for other in (SharedMemory.attach(memory.handle), next(SharedMemory.find(name))):
        assert other is not None
        assert os.pread(other.descriptor, 5, 0) == b"hello"
    handle = memory.handle
    del memory, other
    assert SharedMemory.attach(handle) is None
    assert list(SharedMemory.find(name)) == []


@pytest.mark.parametrize("huge_pages", [True, False])
def test_shared_memory_is_zeroed_and_taken_to_its_last_byte(huge_pages: bool) -> None:
    size = 3 * HUGE_PAGE + PAGE
    memory = SharedMemory.create(f"test-{os.getpid()}", size, taken=False)
    assert os.fstat(memory.descriptor).st_blocks == 0
    region = AddressRange(size)
    region.place(0, memory.descriptor, size, shared=True)
    taker = PageTaker(memory, region, huge_pages)
    taker.take(HUGE_PAGE - 1, 2)
    assert os.fstat(memory.descriptor).st_blocks * 512 == 2 * HUGE_PAGE
    os.pwrite(memory.descriptor, b"kept", HUGE_PAGE)
    taker.take(0, size)
    assert os.pread(memory.descriptor, 4, HUGE_PAGE) == b"kept"
    os.pwrite(memory.descriptor, bytes(4), HUGE_PAGE)
    assert os.pread(memory.descriptor, 2 * size, 0) == bytes(size)
    assert os.fstat(memory.descriptor).st_blocks * 512 >= size


def test_shared_memory_that_does_not_fit_is_an_error_at_once() -> None:
    with pytest.raises(OSError, match="bytes of memory"):
        SharedMemory.create("too-large", 1 << 50)


def test_a_chunk_that_comes_in_pieces_is_read_whole(tmp_path: Path) -> None:
    array = MappedArray(open_store(tensors_store(tmp_path, 1, (256, 256))), "image")
    path = array.store.chunk_file("image", 0)
    data = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    out = np.empty((1, 3, 256, 256), np.uint8)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(path.write_bytes, data)
        array.read(0, out)
        assert written.result() == len(data)
    assert out.tobytes() == data
