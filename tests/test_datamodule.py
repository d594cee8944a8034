"""OcrDataModule: batches in the trainer's process, warm before the first, shared out among ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from ocr.datasets import BatchLoader, OcrDataModule, TensorDataset
from ocr.datasets.batches import Normaliser
from ocr.datasets.stored import CacheParams
from pipeline.errors import ConfigError, StoreError
from tests.support.reads import evict
from tests.support.stores import sample, tensors_store

CANVAS = (64, 64)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*isinstance.treespec.*:DeprecationWarning", "ignore:.*LeafSpec.*:FutureWarning"
)


class Recorder(pl.LightningModule):  # type: ignore[misc]
    """Remembers what it is given, phase by phase."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[list[str]]] = {"train": [], "val": []}
        self.types: dict[str, torch.dtype] = {}

    def training_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
        self._record("train", batch)
        return self.weight * batch["images"].float().mean()

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        self._record("val", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def _record(self, phase: str, batch: dict[str, Any]) -> None:
        self.seen[phase].append(batch["sample_id"])
        self.types[phase] = batch["images"].dtype


def trainer(**arguments: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(accelerator="cpu", devices=1, enable_model_summary=False, **quiet, **arguments)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tensors_store(tmp_path_factory.mktemp("store"), 11, CANVAS)


def names(*rows: int) -> list[str]:
    return [f"folder/{row:05}.jpg" for row in rows]


def joined(batches: list[list[str]]) -> list[str]:
    return [name for batch in batches for name in batch]


def test_training_is_shuffled_anew_and_validation_is_in_order(path: Path) -> None:
    data = OcrDataModule(path, path, batch_size=4, seed=3)
    module = Recorder()
    trainer(max_epochs=2, num_sanity_val_steps=0).fit(module, data)
    assert module.seen["val"] == 2 * [names(0, 1, 2, 3), names(4, 5, 6, 7), names(8, 9, 10)]
    epochs = [joined(module.seen["train"][start : start + 3]) for start in (0, 3)]
    assert all(sorted(epoch) == names(*range(11)) for epoch in epochs)
    assert epochs[0] != epochs[1] != names(*range(11))
    again = Recorder()
    trainer(max_epochs=2, num_sanity_val_steps=0).fit(again, OcrDataModule(path, path, batch_size=4, seed=3))
    assert again.seen == module.seen


def test_the_cache_is_warm_before_the_sanity_check(tmp_path: Path) -> None:
    path = tensors_store(tmp_path, 6, CANVAS)
    evict(TensorDataset(path))
    data = OcrDataModule(path, path, batch_size=4)
    trainer(max_epochs=1, num_sanity_val_steps=1).fit(Recorder(), data)
    assert data.datasets["val"].stats().misses == 0
    last = data.last_epoch("val")
    assert (last.hits, last.misses) == (6, 0)
    assert last.wait_s > 0


@pytest.mark.parametrize(("precision", "dtype"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_images_leave_normalised_in_the_precision_of_the_training(
    path: Path, precision: Any, dtype: torch.dtype
) -> None:
    for normalise, train, val in ((True, dtype, dtype), (("val",), torch.uint8, dtype)):
        module = Recorder()
        trainer(max_epochs=1, precision=precision).fit(module, OcrDataModule(path, path, normalise=normalise))
        assert module.types == {"train": train, "val": val}


def test_augmentation_is_done_to_training_batches_only(path: Path) -> None:
    def mark(batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "sample_id": ["changed"] * len(batch["sample_id"])}

    module = Recorder()
    trainer(max_epochs=1, num_sanity_val_steps=0).fit(module, OcrDataModule(path, path, augment=mark))
    assert {name for batch in module.seen["train"] for name in batch} == {"changed"}
    assert module.seen["val"] == [names(*range(11))]


def test_training_need_not_read_the_maps(path: Path) -> None:
    data = OcrDataModule(path, path, train_fields=("image", "polygons"))
    data.setup("fit")
    assert set(next(iter(data.train_dataloader()))) == {"images", "polygons", "sample_id"}
    assert "thresh_maps" in next(iter(data.val_dataloader()))


def test_what_is_not_there_is_refused(path: Path) -> None:
    data = OcrDataModule(val=path)
    data.setup("validate")
    with pytest.raises(ConfigError, match="there is no train data"):
        data.train_dataloader()
    for source in (path, TensorDataset(path)):
        with pytest.raises(StoreError, match="canvas"):
            OcrDataModule(val=source, expect={"canvas": (32, 32)}).setup("validate")
    with pytest.raises(ConfigError, match="at least one sample"):
        OcrDataModule(val=path, batch_size=0)


# ---------------------------------------------------------------------------------- ranks


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_shares_are_everything_once_and_equally_long_in_training(
    path: Path, ranks: int, batch_size: int
) -> None:
    dataset = TensorDataset(path)
    for order in ("sequential", "shuffled"):
        loaders = [
            BatchLoader(dataset, batch_size, order, rank=rank, ranks=ranks)  # type: ignore[arg-type]
            for rank in range(ranks)
        ]
        shares = [[name for batch in loader for name in batch["sample_id"]] for loader in loaders]
        seen = sorted(name for share in shares for name in share)
        assert len(seen) == len(set(seen))
        for loader, share in zip(loaders, shares, strict=True):
            assert len(loader) == -(-len(share) // batch_size)
        if order == "sequential":
            assert seen == names(*range(11))
        else:
            assert {len(share) for share in shares} == {11 // ranks}


@pytest.mark.parametrize("split", ["train", "val"])
def test_fewer_samples_than_ranks_are_refused(path: Path, split: str) -> None:
    data = OcrDataModule(path, path, limit=2)
    data.setup("fit")
    data.trainer = SimpleNamespace(world_size=3)
    with pytest.raises(ConfigError, match=f"2 samples of {split} are too few for 3 ranks"):
        getattr(data, f"{split}_dataloader")()


@pytest.mark.parametrize("split", ["test", "val"])
def test_what_is_predicted_is_the_test_split_or_val_where_there_is_none(path: Path, split: str) -> None:
    data = OcrDataModule(**{"train": path, split: path}, limit=3)  # type: ignore[arg-type]
    data.setup("predict")
    assert list(data.datasets) == [split]
    assert joined([batch["sample_id"] for batch in data.predict_dataloader()]) == names(0, 1, 2)


def test_a_trainer_of_the_other_lightning_is_refused_with_what_to_write(path: Path) -> None:
    other = type("Trainer", (), {"__module__": "lightning.pytorch.trainer.trainer"})()
    with pytest.raises(ConfigError, match="write `import pytorch_lightning as pl`"):
        OcrDataModule(path).trainer = other


RANK = """
import json, os, sys
from pathlib import Path
import torch
from ocr.datasets.stored.ram_cache import CacheParams
from ocr.datasets import OcrDataModule
from tests.support.reads import copies
from tests.test_datamodule import Recorder, pl
out = Path(sys.argv[2])
data = OcrDataModule(sys.argv[1], sys.argv[1], batch_size=2, cache=CacheParams(mode="ram"))
module = Recorder()
trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, num_sanity_val_steps=1,
    logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer.fit(module, data)
found = {"seen": module.seen, "copies": sorted(copies()), "misses": data.last_epoch("val").misses}
(out / f"{trainer.global_rank}.json").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_two_ranks_see_every_validation_sample_once_from_one_copy(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(RANK)
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    run = subprocess.run(
        [sys.executable, script, path, tmp_path], env=environment, capture_output=True, text=True, timeout=170
    )
    assert run.returncode == 0, run.stderr
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    checked = [joined(rank["seen"]["val"][1:]) for rank in ranks]  # after the batch of the sanity check
    assert sorted(checked[0] + checked[1]) == names(*range(11))
    trained = [joined(rank["seen"]["train"]) for rank in ranks]
    assert len(trained[0]) == len(trained[1]) == 5
    assert not set(trained[0]) & set(trained[1])
    assert len(ranks[0]["copies"]) == 1
    assert ranks[0]["copies"] == ranks[1]["copies"]
    assert [rank["misses"] for rank in ranks] == [0, 0]


@pytest.mark.parametrize(("mode", "verifies"), [("ram", True), ("mmap", False)])
def test_whichever_rank_fills_a_shared_copy_verifies_it(tmp_path: Path, mode: Any, verifies: bool) -> None:
    path = tensors_store(tmp_path, 2, CANVAS)
    chunk = TensorDataset(path).store.chunk_file("image", 1)
    chunk.write_bytes(bytes(chunk.stat().st_size))
    data = OcrDataModule(val=path, cache=CacheParams(mode=mode))
    data.trainer = SimpleNamespace(local_rank=1)
    with pytest.raises(StoreError, match="does not match") if verifies else nullcontext():
        data.setup("validate")


# ---------------------------------------------------------------------------- normalising


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_normalising_is_the_formula_bit_for_bit(dtype: torch.dtype) -> None:
    images = torch.from_numpy(np.stack([sample(index, *CANVAS)["image"] for index in range(3)]))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    expected = ((images / 255 - mean) / std).to(dtype)
    normalise = Normaliser(MEAN, STD, dtype)
    assert torch.equal(normalise(images), expected)
    kept, other = normalise(images), normalise(255 - images)
    assert torch.equal(kept, expected)
    assert not torch.equal(other, expected)
    assert torch.equal(normalise(expected), expected)


@pytest.mark.parametrize(("shape", "dtype"), [((1, 4, 2, 2), torch.uint8), ((1, 3, 2, 2), torch.int64)])
def test_images_that_are_not_in_the_table_are_refused(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match="images are uint8"):
        Normaliser(MEAN, STD)(torch.full(shape, 100, dtype=dtype))


def test_normalising_elsewhere_is_the_formula_within_a_rounding_error() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    normalise = Normaliser(MEAN, STD)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    found = normalise.multiply_and_add(images)
    torch.testing.assert_close(found, (images / 255 - mean) / std, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("order", ["sequential", "shuffled"])
def test_the_next_batch_is_normalised_while_one_is_used(path: Path, order: Any) -> None:
    done: list[bool] = []

    def prepare(images: torch.Tensor) -> torch.Tensor:
        done.append(threading.current_thread() is threading.main_thread())
        return images

    for used, _ in enumerate(BatchLoader(TensorDataset(path), 4, order, prepare=prepare)):
        assert len(done) in (min(used + 1, 3), min(used + 2, 3))
    assert done == [False, False, False]


def test_the_statistics_of_a_shared_cache_are_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    data = OcrDataModule(val=path, batch_size=4, cache=CacheParams(log_statistics_every_n=5))
    trainer().validate(Recorder(), data, verbose=False)
    assert "cache statistics after 8 samples" in caplog.text
