"""The data of a training or validation run, read the fastest way that its datasets allow."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytorch_lightning as pl
import torch

from ocr.datasets.batches import DEFAULT_FIELDS, Batch, Normaliser
from ocr.datasets.loader import BatchLoader
from ocr.datasets.online import OnlineDataset
from ocr.datasets.statistics import Statistics
from ocr.datasets.stored import CacheParams, TensorDataset, check_expected
from pipeline.errors import ConfigError

log = logging.getLogger(__name__)

Split = Literal["train", "val", "test"]
StoreOrDataset = str | os.PathLike[str] | TensorDataset | OnlineDataset
"""A store's path, or a dataset that is open already."""

_STAGES: dict[str | None, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    None: ("train", "val", "test"),
}


class OcrDataModule(pl.LightningDataModule):  # type: ignore[misc]  # Lightning is untyped here
    """Batches for training (shuffled), validation and testing (in dataset order).

    A store is read in the training process, without workers: its batches are views, and sending them
    through a queue is slower than using them. `setup` warms it, so before Lightning's sanity check.
    With several ranks each reads its share: all samples of a validation once, of a training epoch
    equally many.

    - `fields`, `train_fields`: what a batch holds; training that builds its maps anew reads no maps.
    - `expect`: what the configuration asks for; another store is refused (see `TensorDataset`).
    - `normalise`: splits whose images leave here normalised, with the store's mean and std, in the
      precision of the training, on its device.
    - `augment`: done to every training batch.
    - `limit`: samples of each split; `cache`: how they are kept in memory. A dataset that is open
      already keeps its own fields, limit and cache.
    """

    def __init__(
        self,
        train: StoreOrDataset | None = None,
        val: StoreOrDataset | None = None,
        test: StoreOrDataset | None = None,
        *,
        batch_size: int = 16,
        fields: Sequence[str] = DEFAULT_FIELDS,
        train_fields: Sequence[str] | None = None,
        cache: CacheParams | None = None,
        expect: Mapping[str, Any] | None = None,
        normalise: Sequence[Split] = ("val", "test"),
        augment: Callable[[Batch], Batch] | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"a batch has at least one sample, not {batch_size}")
        self.sources: dict[Split, StoreOrDataset | None] = {"train": train, "val": val, "test": test}
        self.batch_size, self.limit, self.seed = batch_size, limit, seed
        self.fields = {"train": train_fields or fields, "val": fields, "test": fields}
        self.cache, self.expect = cache or CacheParams(), expect
        self.normalise, self.augment = tuple(normalise), augment
        self.datasets: dict[Split, TensorDataset | OnlineDataset] = {}
        self.loaders: dict[Split, BatchLoader] = {}

    @property
    def trainer(self) -> Any:
        """The trainer that asked for the data. Raises ConfigError for one of the package `lightning`."""
        return self._trainer

    @trainer.setter
    def trainer(self, trainer: Any) -> None:
        if type(trainer).__module__.startswith("lightning."):
            raise ConfigError(
                "this trainer is one of the package lightning, which knows no class of pytorch_lightning, on "
                "which warmstore is built: write `import pytorch_lightning as pl` in your own code as well"
            )
        self._trainer = trainer

    def setup(self, stage: str | None = None) -> None:
        """Open the stage's datasets and warm them; later calls find them warm."""
        for split in (self._predicted,) if stage == "predict" else _STAGES[stage]:
            if self.sources[split] is not None and split not in self.datasets:
                self.datasets[split] = self._open(split)

    def train_dataloader(self) -> BatchLoader:
        """Shuffled batches of the train split, in another order each epoch."""
        return self._loader("train")

    def val_dataloader(self) -> BatchLoader | list[BatchLoader]:
        """Batches of the val split, in dataset order; a training without one validates nothing."""
        if self.sources["val"] is None and self.trainer and self.trainer.state.fn == "fit":
            return []
        return self._loader("val")

    def test_dataloader(self) -> BatchLoader:
        """Batches of the test split, in dataset order."""
        return self._loader("test")

    def predict_dataloader(self) -> BatchLoader:
        """Batches of the test split, or of the val split where there is none, in dataset order."""
        return self._loader(self._predicted)

    @property
    def _predicted(self) -> Split:
        return "val" if self.sources["test"] is None else "test"

    def last_epoch(self, split: Split) -> Statistics:
        """Hits, misses and waiting time of a split's last epoch, on this rank and its workers."""
        return self.loaders[split].last_epoch if split in self.loaders else Statistics()

    def _open(self, split: Split) -> TensorDataset | OnlineDataset:
        source = self.sources[split]
        if isinstance(source, str | os.PathLike):
            # One rank of a machine verifies what all of them read: any that comes first fills a shared copy.
            leave = self.cache.mode != "ram" and self.trainer is not None and self.trainer.local_rank > 0
            cache = self.cache.model_copy(update={"verify": False}) if leave else self.cache
            source = TensorDataset(
                source, self.fields[split], limit=self.limit, expect=self.expect, cache=cache
            )
        elif isinstance(source, TensorDataset):
            check_expected(source.store, self.expect or {})
        assert source is not None
        source.warm()
        return source

    def _loader(self, split: Split) -> BatchLoader:
        if split not in self.datasets:
            raise ConfigError(f"there is no {split} data: give OcrDataModule {split}=…, a store's path")
        dataset, trainer = self.datasets[split], self.trainer
        if trainer and len(dataset) < trainer.world_size > 1:  # one would have nothing, the others would wait
            raise ConfigError(
                f"{len(dataset)} samples of {split} are too few for {trainer.world_size} ranks, "
                "each of which needs one; set trainer.devices lower, or the limit higher"
            )
        device = trainer.strategy.root_device if trainer else None
        shuffle = split == "train" and not (
            trainer and trainer.overfit_batches
        )  # which asks for the same ones
        loader = BatchLoader(
            dataset,
            self.batch_size,
            "shuffled" if shuffle else "sequential",
            rank=trainer.global_rank if trainer else 0,
            ranks=trainer.world_size if trainer else 1,
            seed=self.seed,
            epoch=lambda: trainer.current_epoch if trainer else 0,
            device=device,
            prepare=self._normaliser(dataset) if split in self.normalise else None,
            change=self.augment if split == "train" else None,
        )
        self.loaders[split] = loader
        return loader

    def _normaliser(self, dataset: TensorDataset | OnlineDataset) -> Normaliser:
        precision = str(self.trainer.precision) if self.trainer else "32"
        dtype = torch.float32
        if precision.startswith("bf16"):
            dtype = torch.bfloat16
        elif precision.startswith("16"):
            dtype = torch.float16
        return Normaliser(*dataset.mean_std, dtype)
