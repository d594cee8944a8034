"""Libraries that store arrays, reading the same images and maps, each as its documentation says is fastest.

A library writes its own copy of the samples into a folder and gives a function that reads rows: a slice in
order, a list shuffled. Where it can give a batch as a view, it may; where it gives single samples, they are
copied into reused memory.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Side, compare, show
from benchmarks.read_batches import npy_memmap
from benchmarks.stores import MODES, TOUCHED, Reading, open_warm, read_epoch, touch
from ocr.datasets import TensorDataset

FIELDS = tuple(name.removesuffix("s") for name in TOUCHED)
Rows = Any
Pick = Callable[[Rows], list[Any]]


def competitors(asked: Reading) -> None:
    """Epochs in order and shuffled, against the store in RAM."""
    if not asked.libraries:
        return
    datasets, batch, picks = (
        {mode: open_warm(asked.store, mode) for mode in MODES[::-1]},
        asked.batches[0],
        {},
    )
    for name in asked.libraries:
        folder = asked.folder / name.replace(" ", "_")
        folder.mkdir(exist_ok=True)
        try:
            picks[name] = LIBRARIES[name](datasets["mmap"], folder, batch)
        except Exception as error:  # a library that is missing or does not run is a result
            print(f"{name} does not run here: {type(error).__name__}: {error}")
    for order in ("sequential", "shuffled"):
        sides: dict[str, Side] = {
            f"warmstore, {mode}": partial(read_epoch, dataset, batch, order)
            for mode, dataset in datasets.items()
        }
        for name, pick in picks.items():
            sides[name] = partial(read_rows, pick, len(datasets["ram"]), batch, order)
        show(f"{order}, batch {batch}", compare(sides, asked.rounds))


def read_rows(pick: Pick, count: int, batch: int, order: str) -> int:
    """Touch all samples; gives their number."""
    rows = list(range(count))
    if order == "shuffled":
        random.shuffle(rows)
    for start in range(0, count, batch):
        some = rows[start : start + batch]
        touch(pick(some if order == "shuffled" else slice(some[0], some[-1] + 1)))
    return count


def numpy_memmap(dataset: TensorDataset, folder: Path, batch: int) -> Pick:
    """One `.npy` an array; views in order, fancy indexing shuffled."""
    arrays = [npy_memmap(dataset.store.path, field, folder) for field in FIELDS]
    return lambda rows: [array[rows] for array in arrays]


def zarr_python(dataset: TensorDataset, folder: Path, batch: int) -> Pick:
    """The store itself, by zarr-python's orthogonal selection."""
    arrays = [dataset.store.arrays[field] for field in FIELDS]
    return lambda rows: [array.oindex[rows] for array in arrays]


def tensorstore(dataset: TensorDataset, folder: Path, batch: int) -> Pick:
    """The store itself, by tensorstore, all arrays of a batch read at once."""
    import tensorstore as ts

    stores = [{"driver": "file", "path": f"{dataset.store.path / field}/"} for field in FIELDS]
    arrays = [ts.open({"driver": "zarr3", "kvstore": store}).result() for store in stores]
    return lambda rows: [pending.result() for pending in [array[rows].read() for array in arrays]]


def tensordict(dataset: TensorDataset, folder: Path, batch: int) -> Pick:
    """A memory-mapped TensorDict: slices are views, lists are gathered."""
    from tensordict import TensorDict

    whole = dataset[:]
    TensorDict({name: whole[name] for name in TOUCHED}, batch_size=[len(dataset)]).memmap(str(folder))
    stored = TensorDict.load_memmap(str(folder))

    def pick(rows: Rows) -> list[Any]:
        picked = stored[rows if isinstance(rows, slice) else torch.tensor(rows)]
        return [picked.get(name).numpy() for name in TOUCHED]

    return pick


def h5py(dataset: TensorDataset, folder: Path, batch: int) -> Pick:
    """Contiguous datasets, `read_direct` into reused memory."""
    import h5py as library

    with library.File(folder / "samples.h5", "w") as writer:
        for name in TOUCHED:
            writer.create_dataset(name, data=dataset[:][name].numpy())
    file = library.File(folder / "samples.h5", "r")
    outs = {name: dataset[:batch][name].numpy().copy() for name in TOUCHED}

    def pick(rows: Rows) -> list[Any]:
        in_order = isinstance(rows, slice)
        runs = [(rows, slice(rows.stop - rows.start))] if in_order else [(r, i) for i, r in enumerate(rows)]
        for name, out in outs.items():
            for source, target in runs:
                file[name].read_direct(out, np.s_[source], np.s_[target])
        return list(outs.values())

    return pick


def lmdb(dataset: TensorDataset, folder: Path, batch: int) -> Pick:
    """A record a sample, read as buffers of the map without a lock, with read-ahead."""
    import lmdb as library

    with library.open(str(folder), map_size=dataset.sample_bytes * len(dataset) * 2 + (1 << 24)) as writer:
        for row, sample in enumerate(dataset.batches(1)):
            with writer.begin(write=True) as write:
                write.put(b"%08d" % row, b"".join(sample[name].numpy().tobytes() for name in TOUCHED))
    environment = library.open(str(folder), readonly=True, lock=False, readahead=True, map_size=1 << 40)
    out = np.zeros((batch, dataset.sample_bytes), np.uint8)

    def pick(rows: Rows) -> list[Any]:
        with environment.begin(buffers=True) as transaction:
            for position, row in enumerate(np.r_[rows]):
                out[position] = np.frombuffer(transaction.get(b"%08d" % row), np.uint8)
        return [out]

    return pick


LIBRARIES: dict[str, Callable[[TensorDataset, Path, int], Pick]] = {
    "NumPy memmap": numpy_memmap,
    "TensorDict": tensordict,
    "LMDB": lmdb,
    "h5py": h5py,
    "tensorstore": tensorstore,
    "zarr-python": zarr_python,
}
