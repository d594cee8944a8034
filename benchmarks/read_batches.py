"""Batches of a warm store, in order and shuffled, beside what the machine itself can do."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.measure import Side, compare, show
from benchmarks.stores import MODES, TOUCHED, Reading, open_warm, read_epoch, touch
from ocr.datasets import TensorDataset
from ocr.datasets.batches import ARRAYS, DEFAULT_FIELDS


def sequential(asked: Reading) -> None:
    """Views in order, of images alone and of all fields, against views over a `.npy` memmap a field."""
    for what, fields in (("images", ("image",)), ("all fields", DEFAULT_FIELDS)):
        datasets = {mode: open_warm(asked.store, mode, fields) for mode in MODES}
        memmaps = [npy_memmap(asked.store, name, asked.folder) for name in fields if name in ARRAYS]
        for batch in asked.batches:
            sides: dict[str, Side] = {".npy memmap": partial(read_views, memmaps, batch)}
            sides |= {mode: partial(read_epoch, dataset, batch) for mode, dataset in datasets.items()}
            found = compare(sides, asked.rounds)
            show(f"in order, {what}, batch {batch}", found, order="in order", fields=what, batch=batch)


def shuffled(asked: Reading) -> None:
    """Gathered batches, against `index_select(out=)` over the same bytes in RAM; nobody looks at them."""
    datasets = {mode: open_warm(asked.store, mode) for mode in MODES}
    whole = datasets["mmap"][:]
    tensors = [whole[name].clone() for name in TOUCHED]
    for batch in asked.batches:
        outs = [torch.zeros((batch, *tensor.shape[1:]), dtype=tensor.dtype) for tensor in tensors]
        sides: dict[str, Side] = {"index_select(out=)": partial(select, tensors, outs)}
        sides |= {mode: partial(gather, dataset, batch) for mode, dataset in datasets.items()}
        found = compare(sides, asked.rounds)
        show(
            f"shuffled, all fields, batch {batch}", found, order="shuffled", fields="all fields", batch=batch
        )


def npy_memmap(store: Path, field: str, folder: Path) -> np.memmap:
    """One `.npy` file with a field of every sample, mapped."""
    file = folder / f"{field}.npy"
    if not file.exists():
        np.save(file, TensorDataset(store, (field,))[:][ARRAYS[field]].numpy())
    return np.load(file, mmap_mode="r")


def read_views(arrays: list[np.memmap], batch: int) -> int:
    """Touch slices of every array; gives the number of samples."""
    for start in range(0, len(arrays[0]), batch):
        touch(array[start : start + batch] for array in arrays)
    return len(arrays[0])


def select(tensors: list[torch.Tensor], outs: list[torch.Tensor]) -> int:
    """Copy full batches of shuffled rows; gives the number of samples."""
    count = len(tensors[0]) // len(outs[0]) * len(outs[0])
    for rows in torch.randperm(len(tensors[0]))[:count].split(len(outs[0])):
        for tensor, out in zip(tensors, outs, strict=True):
            torch.index_select(tensor, 0, rows, out=out)
    return count


def gather(dataset: TensorDataset, batch: int) -> int:
    """Take full batches of shuffled samples; gives the number of samples."""
    seed = int(torch.randint(2**31, ()))
    return sum(len(one["sample_id"]) for one in dataset.batches(batch, "shuffled", seed=seed, drop_last=True))
