"""The data of a training or validation run, read the fastest way that its datasets allow."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_info

from ocr.datasets.batches import DEFAULT_FIELDS, Batch, Normaliser
from ocr.datasets.loader import BatchLoader
from ocr.datasets.online import OnlineDataset
from ocr.datasets.statistics import Statistics
from ocr.datasets.stored import CacheParams, Mode, TensorDataset, check_expected
from pipeline.errors import ConfigError, Remedy

Split = Literal["train", "val", "test"]
StoreOrDataset = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | TensorDataset | OnlineDataset
"""A store's path, those of several that hold the same samples, or a dataset that is open already."""
_SOURCES = (str, os.PathLike, list, tuple, TensorDataset, OnlineDataset)

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
    - `normalise`: whether images leave here normalised, with the store's mean and std, in the precision of
      the training, on its device; or the splits of which they do. Without it all splits leave as stored,
      which is uint8 unless `stages.tensors.dtype` says otherwise; the first log line says what leaves.
    - `augment`: done to every training batch.
    - `limit`: samples of each split; `cache`: how they are kept in memory (`"ram"`, or `CacheParams`). A
      dataset that is open already keeps its own fields, limit and cache.

    A module that has `mean_std` (two triples, of pixel values in 0…1, RGB) is given images normalised by
    these alone: where the store's are others, ConfigError names both.
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
        cache: CacheParams | Mode | None = None,
        expect: Mapping[str, Any] | None = None,
        normalise: bool | Sequence[Split] = False,
        augment: Callable[[Batch], Batch] | None = None,
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"a batch has at least one sample, not {batch_size}")
        self.sources: dict[Split, StoreOrDataset | None] = {"train": train, "val": val, "test": test}
        for split, source in self.sources.items():
            if source is not None and not isinstance(source, _SOURCES):
                raise ConfigError(
                    f"{split} is a {type(source).__name__}; give OcrDataModule a store's path, "
                    "a TensorDataset (samples=[…] chooses some of its samples) or an OnlineDataset"
                )
        splits = get_args(Split) if normalise is True else normalise or ()
        if unknown := set(splits).difference(get_args(Split)):
            raise ConfigError(f"normalise is True, False, or splits of train, val and test, not {unknown}")
        self.batch_size, self.limit, self.seed = batch_size, limit, seed
        self.fields = {"train": train_fields or fields, "val": fields, "test": fields}
        self.cache, self.expect = CacheParams.of(cache), expect
        self.normalise, self.augment = tuple(splits), augment
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
        """Open the stage's datasets, say what they hand out, and warm them; later calls find them warm."""
        wanted = (self._predicted,) if stage == "predict" else _STAGES[stage]
        opened = {
            split: self._open(split)
            for split in wanted
            if self.sources[split] is not None and split not in self.datasets
        }
        for split, dataset in opened.items():
            rank_zero_info(
                f"OcrDataModule hands out {split}: {len(dataset):,} samples, {self._images(split, dataset)}"
            )
        for split, dataset in opened.items():
            dataset.warm()
            self.datasets[split] = dataset

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
        if isinstance(source, TensorDataset):
            check_expected(source.store, self.expect or {})
        if isinstance(source, TensorDataset | OnlineDataset):
            return source
        assert source is not None
        # One rank of a machine verifies what all of them read: any that comes first fills a shared copy.
        leave = self.cache.mode != "ram" and self.trainer is not None and self.trainer.local_rank > 0
        cache = self.cache.model_copy(update={"verify": False}) if leave else self.cache
        return TensorDataset(source, self.fields[split], limit=self.limit, expect=self.expect, cache=cache)

    def _images(self, split: Split, dataset: TensorDataset | OnlineDataset) -> str:
        """Say in what form a split's images leave here."""
        if dataset.image_dtype is None:
            return "without images"
        stored = str(dataset.image_dtype).removeprefix("torch.")
        mean, std = map(_spelled, dataset.mean_std)
        if dataset.image_dtype.is_floating_point:
            return f"images {stored}, stored normalised with mean {mean} and std {std}"
        if split in self.normalise:
            dtype = str(self._dtype).removeprefix("torch.")
            return f"images {dtype}, normalised with the store's mean {mean} and std {std}"
        return f"images {stored} 0…255 as stored, not normalised (the store's mean is {mean}, its std {std})"

    def _loader(self, split: Split) -> BatchLoader:
        if split not in self.datasets:
            raise ConfigError(f"there is no {split} data: give OcrDataModule {split}=…, a store's path")
        dataset, trainer = self.datasets[split], self.trainer
        if trainer and len(dataset) < trainer.world_size > 1:  # one would have nothing, the others would wait
            raise ConfigError(
                f"{len(dataset)} samples of {split} are too few for {trainer.world_size} ranks, "
                "each of which needs one; set trainer.devices lower, or the limit higher"
            )
        if trainer:
            self._check_normalising(split, trainer.lightning_module)
        device = trainer.strategy.root_device if trainer else None
        the_same_ones = trainer is not None and trainer.overfit_batches
        shuffle = split == "train" and not the_same_ones
        loader = BatchLoader(
            dataset,
            self.batch_size,
            "shuffled" if shuffle else "sequential",
            rank=trainer.global_rank if trainer else 0,
            ranks=trainer.world_size if trainer else 1,
            seed=self.seed,
            epoch=lambda: trainer.current_epoch if trainer else 0,
            device=device,
            prepare=Normaliser(*dataset.mean_std, self._dtype) if split in self.normalise else None,
            change=self.augment if split == "train" else None,
        )
        self.loaders[split] = loader
        return loader

    def _check_normalising(self, split: Split, module: Any) -> None:
        """Raise ConfigError where images leave here normalised otherwise than a module expects."""
        dataset, expected = self.datasets[split], getattr(module, "mean_std", None)
        if expected is None or dataset.image_dtype is None:
            return
        stored = dataset.image_dtype.is_floating_point
        if not (stored or split in self.normalise) or np.allclose(dataset.mean_std, expected, atol=1e-6):
            return
        where = dataset.store.name if isinstance(dataset, TensorDataset) else dataset.config.image_path
        mean, std, own_mean, own_std = map(_spelled, (*dataset.mean_std, *expected))
        leave = "" if stored else "give OcrDataModule normalise=False and normalise in the module, or "
        raise ConfigError(
            f"images of {split} are normalised with the mean {mean} and std {std} of {where}, and "
            f"{type(module).__name__} expects mean {own_mean} and std {own_std}; {leave}write another store",
            Remedy("run", ("tensors", f"stages.tensors.mean={own_mean}", f"stages.tensors.std={own_std}")),
        )

    @property
    def _dtype(self) -> torch.dtype:
        """What images are normalised to: the type that the training computes in."""
        precision = str(self.trainer.precision) if self.trainer else "32"
        if precision.startswith("bf16"):
            return torch.bfloat16
        return torch.float16 if precision.startswith("16") else torch.float32


def _spelled(values: Sequence[float]) -> str:
    return f"[{','.join(f'{value:.6g}' for value in values)}]"
