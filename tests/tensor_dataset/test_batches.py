"""TensorDataset: the store's samples in any order, without a copy where none is needed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ocr.datasets import TensorDataset
from ocr.datasets.batches import BufferPool, collate
from ocr.datasets.stored import CacheParams
from tests.support.stores import fields, sample, tensors_store, write_store
from tests.support.tensor_batches import CANVAS, assert_batch


def test_a_sample_is_what_was_stored(path: Path) -> None:
    dataset = TensorDataset(path)
    for index in (0, 3, -1):
        assert_batch(collate([dataset[index]]), [index % 11])
    assert dataset[3]["image"].shape == (3, 64, 64)
    assert dataset[3]["image"].dtype == torch.uint8


def test_printing_says_what_is_read_and_how(path: Path) -> None:
    dataset = TensorDataset(path, ("image", "size"), limit=3, cache=CacheParams(mode="off"))
    expected = f"TensorDataset of {path}: 3 of 11 samples, cache mode off, fields image, size"
    assert repr(dataset) == expected


@pytest.mark.parametrize("rows", [[0, 1, 2], [10], [5, 3, 3, 9], [-1, 0], []])
def test_getitems_gives_a_collated_batch_of_any_rows(path: Path, rows: list[int]) -> None:
    batch = TensorDataset(path).__getitems__(rows)
    assert_batch(batch, [row % 11 for row in rows]) if rows else None
    assert len(batch["images"]) == len(rows)


def test_slices_are_batches_and_views(path: Path) -> None:
    dataset = TensorDataset(path)
    assert_batch(dataset[2:7], [2, 3, 4, 5, 6])
    assert_batch(dataset[::-2], list(range(11))[::-2])
    assert dataset[2:7]["images"].data_ptr() == dataset[2:3]["images"].data_ptr()


@pytest.mark.parametrize("batch_size", [1, 4, 11, 12])
@pytest.mark.parametrize("drop_last", [False, True])
def test_sequential_batches_are_views_of_everything_in_order(
    path: Path, batch_size: int, drop_last: bool
) -> None:
    dataset = TensorDataset(path)
    batches = list(dataset.batches(batch_size, drop_last=drop_last))
    count = 11 - 11 % batch_size if drop_last else 11
    rows = [list(range(start, min(start + batch_size, count))) for start in range(0, count, batch_size)]
    assert len(batches) == len(rows)
    base = dataset[0:1]["images"].data_ptr()
    for batch, expected in zip(batches, rows, strict=True):
        assert_batch(batch, expected)
        assert batch["images"].data_ptr() == base + expected[0] * 3 * 64 * 64


def test_shuffled_batches_are_everything_once_and_the_same_for_a_seed(path: Path) -> None:
    dataset = TensorDataset(path)

    def order(seed: int) -> list[str]:
        return [name for batch in dataset.batches(4, "shuffled", seed=seed) for name in batch["sample_id"]]

    assert sorted(order(1)) == dataset.sample_ids
    assert order(1) == order(1) != order(2)
    for batch in dataset.batches(4, "shuffled", seed=3):
        assert_batch(batch, [int(name[7:12]) for name in batch["sample_id"]])


def test_batches_that_are_kept_are_never_overwritten(path: Path) -> None:
    dataset = TensorDataset(path)
    for _ in range(3):
        kept = [*dataset.batches(2, "shuffled", seed=5), *dataset.batches(2, [3, 1, 4, 1, 5])]
        for batch in kept:
            assert_batch(batch, [int(name[7:12]) for name in batch["sample_id"]])


def test_buffers_are_reused_once_nothing_refers_to_them() -> None:
    pool = BufferPool()
    first = pool.take((4, 8), torch.float32)
    address, part = first.data_ptr(), first[2:].view(torch.int32)
    del first
    assert pool.take((4, 8), torch.float32).data_ptr() != address
    del part
    again = {pool.take((4, 8), torch.float32).data_ptr() for _ in range(2)}
    assert address in again


def test_buffers_are_page_locked_where_cuda_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, zeros = [], torch.zeros

    def allocate(size: int, *, dtype: torch.dtype, pin_memory: bool) -> torch.Tensor:
        asked.append(pin_memory)
        return zeros(size, dtype=dtype)

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.zeros", allocate)
    for pin in (True, False):
        BufferPool(pin).take((2, 3), torch.float32)
    assert asked == [True, False]


def test_writing_into_a_batch_harms_no_store(path: Path) -> None:
    for batch in TensorDataset(path).batches(4):
        batch["images"].zero_()
        batch["thresh_maps"].add_(1)
    assert_batch(TensorDataset(path)[:], list(range(11)))


@pytest.mark.parametrize("order", ["shuffled", [10, 3, 4, 5, 0]])
def test_a_batch_out_of_order_is_a_copy_also_of_adjoining_samples(path: Path, order: Any) -> None:
    dataset = TensorDataset(path)
    for _ in range(2):
        for batch in dataset.batches(1, order):
            assert_batch(batch, [int(name[7:12]) for name in batch["sample_id"]])
            batch["images"].zero_()  # as a change of training batches does


@pytest.mark.parametrize(
    ("choice", "rows"),
    [
        ({"limit": 3}, [0, 1, 2]),
        ({"limit": 100}, list(range(11))),
        ({"limit": 0}, []),
        ({"samples": ["folder/00007.jpg", "folder/00002.jpg"]}, [7, 2]),
        ({"samples": ["folder/00003.jpg", "folder/00004.jpg"]}, [3, 4]),
        ({"where": lambda row: row["size"][1] % 2 == 1}, [1, 3, 5, 7, 9]),
        ({"where": lambda row: row["sample_id"] > "folder/00006.jpg", "limit": 2}, [7, 8]),
    ],
)
def test_subsets(path: Path, choice: dict[str, Any], rows: list[int]) -> None:
    dataset = TensorDataset(path, **choice)
    assert len(dataset) == len(rows)
    found = list(dataset.batches(4))
    assert [name for batch in found for name in batch["sample_id"]] == [
        f"folder/{row:05}.jpg" for row in rows
    ]
    for batch in found:
        assert_batch(batch, [int(name[7:12]) for name in batch["sample_id"]])


def test_fields_that_are_not_asked_for_are_never_read(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 3, CANVAS)
    for name in ("prob_mask", "thresh_map", "thresh_mask", "points", "ignore", "text"):
        shutil.rmtree(path / name)
    dataset = TensorDataset(path, fields=("image", "prob_map"))
    batch = dataset[:]
    assert set(batch) == {"images", "prob_maps", "sample_id"}
    assert set(dataset[0]) == {"image", "prob_map", "sample_id"}


def test_texts_and_the_forward_matrix_come_on_request(path: Path) -> None:
    batch = TensorDataset(path, fields=("text", "matrix"))[2:4]
    assert list(batch["text"]) == [["über 0", "über 1"], ["über 0", "über 1", "über 2"]]
    np.testing.assert_array_equal(batch["matrix"][1].numpy(), sample(3, *CANVAS)["matrix"])


@pytest.mark.parametrize(("dtype", "tensor"), [("float16", torch.float16), ("uint16", torch.bfloat16)])
def test_images_of_every_stored_type(tmp_path: Path, dtype: str, tensor: torch.dtype) -> None:
    values = torch.linspace(-2, 2, 3 * 64 * 64).view(3, 64, 64).to(tensor)
    stored = values.view(torch.uint16).numpy() if dtype == "uint16" else values.numpy()
    declared = (type(fields(*CANVAS)[0])("image", dtype, (3, *CANVAS), "none"),)
    path = write_store(tmp_path / "tensors.zarr", [{"image": stored}] * 3, declared)
    dataset = TensorDataset(path, fields=("image",))
    for batch in (dataset[:2], dataset.__getitems__([2, 0])):
        assert batch["images"].dtype == tensor
        assert torch.equal(batch["images"], torch.stack([values, values]))
