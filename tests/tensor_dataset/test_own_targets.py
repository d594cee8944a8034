"""TensorDataset over several stores of one split: whatever stages have stored, where it belongs together."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ocr.datasets import OcrDataModule, TensorDataset
from pipeline.errors import ConfigError, Quarantine, StoreError
from pipeline.execution import ExecutorConfig
from pipeline.pictures import CAPTION, GAP
from pipeline.planning import FileHashes, Pipeline
from pipeline.runner import run_stages
from pipeline.stage import Chunked, Field, Inputs, Row, Stage
from pipeline.workspace import Workspace
from tests.support.toy import SIDE, Pack, Paint, Read, TextSource, write

FIELDS = ("picture", "shade", "tile", "length", "share", "words", "lines", "kind", "copy")
TEXTS = {"a": "one\ntwo", "b": "12345", "d": "a longer line of text", "f": "more"}


class Count(Stage):
    """A target of one's own: arrays of other types than ours, and a number."""

    name = "count"
    version = 1
    store = "count.zarr"
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {"read": ("length",)}
    refuse: int = -1

    def fields(self) -> tuple[Field, ...]:
        return (Chunked("tile", "uint16", (4, 16, 16, 2), codec="none"), Row("share", "float32"))

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        length = int(inputs.values["read"]["length"])
        if length == self.refuse:
            raise Quarantine("uncounted", "it cannot be counted")
        return {
            "tile": np.full((4, 16, 16, 2), 60_000 + length, np.uint16),
            "share": np.float32(length / 8),
        }


def run(folder: Path, *names: str, **parameters: Any) -> None:
    stages = (Read(), Paint(), Pack(), Count(**parameters))
    workspace = Workspace(folder / "work", "val")
    hashes = FileHashes(workspace.folder / ".hashes", folder / "raw")
    pipeline = Pipeline(workspace, stages, TextSource(folder / "raw"), hashes)
    list(run_stages(pipeline, names or [s.name for s in stages], ExecutorConfig(kind="serial")))


@pytest.fixture
def stores(tmp_path: Path) -> list[Path]:
    write(tmp_path / "raw", **TEXTS)
    run(tmp_path)
    return [tmp_path / f"work/val/{name}.zarr" for name in ("pack", "count", "read")]


def assert_holds(batch: Mapping[str, Any], names: list[str]) -> None:
    """Compare a batch with the texts that it was made of."""
    texts = [TEXTS[name[0]] for name in names]
    lengths = torch.tensor([len(text) for text in texts])
    assert list(batch["sample_id"]) == names
    assert batch["tile"].dtype == torch.uint16 and batch["tile"].shape == (len(names), 4, 16, 16, 2)
    assert batch["tile"].int().flatten(1).unique(dim=1).flatten().tolist() == (60_000 + lengths).tolist()
    assert batch["picture"].shape == (len(names), 1, SIDE, SIDE) and batch["shade"].dtype == torch.float16
    assert torch.equal(batch["length"], lengths.int())
    assert torch.equal(batch["share"], lengths.float() / 8)
    assert [words.tolist() for words in batch["words"]] == [[*map(len, text.split())] for text in texts]
    lines = [[line.tobytes().decode() for line in lines] for lines in batch["lines"]]
    assert lines == [text.splitlines() for text in texts]
    assert [kind.startswith("digits") for kind in batch["kind"]] == [text.isdigit() for text in texts]
    assert list(batch["copy"]) == [text.encode() for text in texts]


@pytest.mark.parametrize("cache", ["mmap", "ram", "off"])
def test_every_kind_of_field_is_read_from_the_store_that_has_it(stores: list[Path], cache: Any) -> None:
    dataset = TensorDataset(stores, FIELDS, cache=cache)
    dataset.warm()
    assert_holds(dataset[:], ["a.txt", "b.txt", "d.txt", "f.txt"])
    assert_holds(dataset[["f.txt", "b.txt"]], ["f.txt", "b.txt"])
    for batch in (*dataset.batches(3), *dataset.batches(3, "shuffled", seed=1)):
        assert_holds(batch, batch["sample_id"])
    assert_holds(pickle.loads(pickle.dumps(dataset))[2:], ["d.txt", "f.txt"])
    alone = TensorDataset(stores[0], ("picture",), cache=cache)
    alone.warm()
    assert torch.equal(alone[:]["picture"], dataset[:]["picture"])
    assert dataset.sample_bytes == 3 * SIDE * SIDE + 4 * 16 * 16 * 2 * 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_workers_collate_them(stores: list[Path]) -> None:
    dataset = TensorDataset(stores, FIELDS)
    for batch in DataLoader(dataset, 3, num_workers=2, multiprocessing_context="fork"):
        assert_holds(batch, batch["sample_id"])
    sample = dataset["d.txt"]
    assert (sample["length"].item(), sample["kind"]) == (21, "letters long@3")
    assert sample["copy"] == b"a longer line of text"


def test_a_large_field_of_ones_own_is_a_view(stores: list[Path]) -> None:
    dataset = TensorDataset(stores[1], ("tile",))
    assert dataset[0:2]["tile"].data_ptr() == dataset[0]["tile"].data_ptr()
    assert repr(dataset).startswith(f"TensorDataset of {stores[1]}: 4 of 4")


def test_a_data_module_hands_them_out_and_show_draws_them(stores: list[Path]) -> None:
    data = OcrDataModule(val=stores, fields=FIELDS, batch_size=4)
    data.setup("validate")
    assert_holds(next(iter(data.val_dataloader())), ["a.txt", "b.txt", "d.txt", "f.txt"])
    drawn = TensorDataset(stores, ("length",)).show("b.txt", "picture", "shade", side=64)
    assert drawn.size == (GAP + 2 * (64 + GAP), GAP + 64 + GAP + CAPTION)


def test_names_that_no_store_has_are_refused_with_those_that_there_are(stores: list[Path]) -> None:
    with pytest.raises(ConfigError, match=r"title is no field .*, nor of .*count.zarr.*, which has picture"):
        TensorDataset(stores, ("title",))
    with pytest.raises(StoreError, match=r"pack.zarr and .*count.zarr.* has no field image"):
        TensorDataset(stores)


def test_stores_of_other_samples_are_refused(tmp_path: Path, stores: list[Path]) -> None:
    run(tmp_path, "count", refuse=5)
    with pytest.raises(StoreError, match=r"the same samples \(in one alone: b.txt\); .*\(uncounted\)"):
        TensorDataset(stores, FIELDS)
    write(tmp_path / "raw", g="new")
    run(tmp_path, "read", "paint", "pack", "count")
    assert len(TensorDataset(stores, ("length", "share"))) == 5
    (tmp_path / "raw" / "g.txt").unlink()
    run(tmp_path, "read", "paint", "pack")
    with pytest.raises(StoreError, match=r"\(in one alone: g.txt\); run `warmstore run`"):
        TensorDataset(stores, FIELDS)


def test_stores_that_were_computed_from_other_values_are_refused(tmp_path: Path, stores: list[Path]) -> None:
    write(tmp_path / "raw", b="123456")
    run(tmp_path, "read", "paint", "pack")
    told = r"count.zarr was computed from another read.length than .*pack.zarr of b.txt; run `warmstore run`"
    with pytest.raises(StoreError, match=told):
        TensorDataset(stores, FIELDS)
    run(tmp_path, "count")
    sample = TensorDataset(stores, FIELDS)["b.txt"]
    assert (sample["length"].item(), sample["share"].item()) == (6, 0.75)
