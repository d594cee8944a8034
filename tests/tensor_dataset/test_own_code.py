"""TensorDataset in a loop of one's own: torch's loaders, samplers and wrappers, with no function of ours."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader, Dataset, SequentialSampler, Subset
from torch.utils.data import random_split as split_at_random
from torch.utils.data._utils.pin_memory import pin_memory

from ocr.datasets import TensorDataset
from ocr.datasets.batches import Batch, Sample, collate
from pipeline.errors import ConfigError, PipelineError
from tests.support.stores import tensors_store
from tests.support.tensor_batches import assert_batch

NAMES = [f"folder/{row:05}.jpg" for row in range(11)]


def rows_of(batch: dict[str, Any]) -> list[int]:
    return [int(name[7:12]) for name in batch["sample_id"]]


def part_at_random(dataset: TensorDataset) -> Subset[Sample]:
    return split_at_random(dataset, [0.5, 0.5], torch.Generator().manual_seed(1))[0]


WRAPPED = {
    "dataset": lambda dataset: dataset,
    "Subset": lambda dataset: Subset(dataset, [7, 1, 2, 5]),
    "random_split": part_at_random,
    "ConcatDataset": lambda dataset: ConcatDataset([dataset, Subset(dataset, [0, 3])]),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_loader_needs_no_collate_function(path: Path, wrapped: str, workers: int) -> None:
    samples = WRAPPED[wrapped](TensorDataset(path))
    context = "fork" if workers else None
    batches = list(DataLoader(samples, 4, num_workers=workers, multiprocessing_context=context))
    assert [len(batch["images"]) for batch in batches] == [4] * (len(samples) // 4) + (
        [len(samples) % 4] if len(samples) % 4 else []
    )
    for batch in batches:
        assert_batch(batch, rows_of(batch))
    order = [row for batch in batches for row in rows_of(batch)]
    assert order == [int(samples[i]["sample_id"][7:12]) for i in range(len(samples))]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_collate_function_of_ones_own_gets_samples(path: Path, workers: int) -> None:
    loader = DataLoader(
        TensorDataset(path), 4, num_workers=workers, collate_fn=names_and_sums, multiprocessing_context=None
    )
    found = [pair for batch in loader for pair in batch]
    assert found == names_and_sums([TensorDataset(path)[i] for i in range(11)])


def names_and_sums(samples: list[Sample]) -> list[tuple[str, int]]:
    return [(sample["sample_id"], int(sample["image"].sum())) for sample in samples]


def test_a_sampler_of_batches_chooses_them(path: Path) -> None:
    dataset = TensorDataset(path)
    sampler = BatchSampler(SequentialSampler(dataset), 4, drop_last=False)
    for loader in (DataLoader(dataset, batch_sampler=sampler), DataLoader(dataset, None, sampler=sampler)):
        assert [rows_of(batch) for batch in loader] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


class Halved(Dataset[Any]):
    """What wraps a dataset and gives dicts of its own."""

    def __init__(self, dataset: TensorDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.dataset[index]
        return {**sample, "image": sample["image"] // 2, "weight": 0.5}


def test_dicts_of_ones_own_are_collated_where_that_is_asked_for(path: Path) -> None:
    dataset = TensorDataset(path)
    batch = next(iter(DataLoader(Halved(dataset), 4, collate_fn=collate)))
    assert torch.equal(batch["images"], dataset[:4]["images"] // 2)
    assert batch["weight"] == [0.5] * 4
    assert [len(polygons) for polygons in batch["polygons"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("other", "fields", "words"),
    [
        ({}, ("image", "size", "text"), r"lacks text \(folder/00000.jpg beside folder/00001.jpg\)"),
        (
            {"canvas": (32, 64)},
            ("image", "size"),
            r"image of two samples .* \(3, 32, 64\) and uint8 \(3, 64, 64\)",
        ),
    ],
)
def test_samples_that_go_into_no_batch_are_told_apart(
    path: Path, tmp_path: Path, other: dict[str, Any], fields: tuple[str, ...], words: str
) -> None:
    here = Subset(TensorDataset(path, ("image", "size")), [1])
    there = TensorDataset(tensors_store(tmp_path, 1, **other), fields)
    with pytest.raises(PipelineError, match=words):
        next(iter(DataLoader(ConcatDataset([here, there]), 2)))


def test_raw_and_normalised_pixels_are_never_mixed(path: Path) -> None:
    samples = [TensorDataset(path)[0], TensorDataset(path)[1]]
    samples[1]["image"] = samples[1]["image"].float()
    with pytest.raises(PipelineError, match=r"image of two samples .* is float32 .* and uint8"):
        collate(samples)


def test_a_batch_stays_one_when_it_travels_or_is_pinned(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, device=None: self.clone())
    batch = TensorDataset(path)[2:5]
    for again in (copy.copy(batch), pickle.loads(pickle.dumps(batch)), pin_memory(batch, "cuda")):
        assert type(again) is Batch
        assert_batch(again, [2, 3, 4])


def test_batches_and_samples_print_what_they_hold_and_no_values(path: Path) -> None:
    dataset = TensorDataset(path, ("image", "size", "polygons"))
    assert repr(dataset[:4]).splitlines() == [
        "Batch of 4 samples (folder/00000.jpg, folder/00001.jpg, folder/00002.jpg, …)",
        "  images     uint8 (4, 3, 64, 64)",
        "  size       int32 (4, 2)",
        "  polygons   4 in a list",
    ]
    assert repr(dataset[3]).splitlines()[::3] == ["Sample folder/00003.jpg", "  polygons   3 in a list"]
    assert repr(dataset[:4]["polygons"]) == "[4 values, each read when it is looked at]"


# ------------------------------------------------------------------- between the brackets


@pytest.mark.parametrize(
    ("index", "rows"),
    [
        ([2, 0], [2, 0]),
        ([-1, 3], [10, 3]),
        (np.array([4, 5, 6], np.uint8), [4, 5, 6]),
        (torch.tensor([9, 1]), [9, 1]),
        ([torch.tensor(9), np.int64(1)], [9, 1]),
        (range(8, 2, -3), [8, 5]),
        ([NAMES[7], NAMES[2]], [7, 2]),
        (np.array(NAMES[:2]), [0, 1]),
        (np.arange(11) % 4 == 1, [1, 5, 9]),
        (torch.arange(11) > 8, [9, 10]),
        ([True] + [False] * 9 + [True], [0, 10]),
    ],
)
def test_lists_names_and_masks_are_batches(path: Path, index: Any, rows: list[int]) -> None:
    assert_batch(TensorDataset(path)[index], rows)
    chosen = TensorDataset(path, samples=NAMES[::-1])
    assert_batch(chosen[index], rows if "folder" in str(index) else [10 - row for row in rows])


@pytest.mark.parametrize("index", [3, -8, np.int64(3), torch.tensor(3), NAMES[3]])
def test_a_position_or_a_name_is_a_sample(path: Path, index: Any) -> None:
    assert_batch(collate([TensorDataset(path)[index]]), [3])


@pytest.mark.parametrize("index", [[], np.zeros(11, bool), slice(3, 3)])
def test_a_choice_of_nothing_is_an_empty_batch(path: Path, index: Any) -> None:
    batch = TensorDataset(path)[index]
    assert (len(batch["images"]), batch["sample_id"]) == (0, [])


@pytest.mark.parametrize(
    ("index", "error", "words"),
    [
        ([3, 11], IndexError, "sample 11 of 11"),
        ([True, False], IndexError, "a mask of 2 for 11 samples"),
        (1.5, TypeError, "not by 1.5"),
        (None, TypeError, "not by None"),
        ([[1, 2]], TypeError, "position, name, slice, list or mask"),
        ("folder/0003.jpg", ConfigError, "has no sample folder/0003.jpg, but folder/0"),
        (["folder/00003.jpg", "03"], ConfigError, "has no sample 03, but folder/00003.jpg"),
    ],
)
def test_what_chooses_no_sample_is_refused(
    path: Path, index: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        TensorDataset(path)[index]


def test_the_name_of_a_quarantined_sample_is_answered_with_its_verdict(tmp_path: Path) -> None:
    verdict = {"sample_id": "bad.jpg", "stage": "decode", "code": "truncated", "reason": "it ends early"}
    dataset = TensorDataset(tensors_store(tmp_path, 1, quarantined=[verdict]))
    with pytest.raises(ConfigError, match=r"bad.jpg is not in .*: quarantined by decode: truncated: it ends"):
        dataset["bad.jpg"]
