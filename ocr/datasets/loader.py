"""What a trainer iterates: a dataset's batches, epoch after epoch, in the training process itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ocr.datasets.batches import Batch, Prepare, ahead_on_device, one_ahead, prepared
from ocr.datasets.online import OnlineDataset
from ocr.datasets.statistics import Statistics
from ocr.datasets.stored import TensorDataset


class BatchLoader:
    """Batches of a rank's share of a dataset.

    Sequential shares are runs of samples, so that batches stay views; together they are all samples,
    each once. Shuffled shares are equally long, as training in step demands: of each epoch's order up
    to `ranks - 1` samples are left out. `epoch` gives the number that the order depends on, with `seed`.

    `prepare` is done to images (normalising), on the device if one is given, one batch ahead of its use;
    `change` to whole batches.
    """

    def __init__(
        self,
        dataset: TensorDataset | OnlineDataset,
        batch_size: int,
        order: Literal["sequential", "shuffled"] = "sequential",
        *,
        rank: int = 0,
        ranks: int = 1,
        seed: int = 0,
        epoch: Callable[[], int] = lambda: 0,
        device: torch.device | None = None,
        prepare: Prepare | None = None,
        change: Callable[[Batch], Batch] | None = None,
    ) -> None:
        self.dataset, self.batch_size, self.order = dataset, batch_size, order
        self.rank, self.ranks, self.seed, self.epoch = rank, ranks, seed, epoch
        self.device, self.prepare, self.change = device, prepare, change
        self.last_epoch = Statistics()

    def __len__(self) -> int:
        return -(-len(self._share()) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        before = self.dataset.stats()
        try:
            for batch in self._batches():
                yield self.change(batch) if self.change else batch
        finally:
            self.last_epoch = self.dataset.stats() - before

    def _batches(self) -> Iterator[Batch]:
        batches = self.dataset.batches(self.batch_size, self._share())
        if self.device is not None and self.device.type == "cuda":
            return ahead_on_device(batches, self.device, self.prepare)
        return one_ahead(lambda batch: prepared(batch, self.prepare), batches) if self.prepare else batches

    def _share(self) -> range | NDArray[np.int64]:
        count = len(self.dataset)
        if self.order == "sequential":
            return range(count * self.rank // self.ranks, count * (self.rank + 1) // self.ranks)
        shuffled = np.random.default_rng([self.seed, self.epoch()]).permutation(count)
        return shuffled[self.rank :: self.ranks][: count // self.ranks]
