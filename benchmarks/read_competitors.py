"""Array libraries reading the same images and maps, each as its documentation says is fastest.

A competitor prepares its own copy of the samples in a folder and gives a function that reads all of
them once, `"sequential"` or `"shuffled"`, batch by batch, as a list of arrays. Where a library can give a
batch as a view, it may; where it gives single samples, they are gathered into one reused buffer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ocr.datasets import TensorDataset

TOUCHED = ("images", "prob_maps", "prob_masks", "thresh_maps", "thresh_masks")

Arrays = list[Any]
Batches = Callable[[str], Iterator[Arrays]]
Competitor = Callable[[TensorDataset, Path, int], Batches]


def touch(arrays: Iterable[Any]) -> int:
    """Read one byte of every page."""
    return sum(int(np.asarray(array).reshape(-1).view(np.uint8)[::4096].sum()) for array in arrays)


def samples(dataset: TensorDataset) -> Iterator[dict[str, np.ndarray]]:
    """Give the images and maps of every sample, in order."""
    for batch in dataset.batches(1):
        yield {name: batch[name][0].numpy() for name in TOUCHED}


def _arrays(dataset: TensorDataset) -> dict[str, np.ndarray]:
    whole = dataset[:]
    return {name: whole[name].numpy() for name in TOUCHED}


def rows_of(count: int, batch: int, order: str) -> Iterator[list[int]]:
    """Give the rows of every batch."""
    rows = list(range(count))
    if order == "shuffled":
        random.shuffle(rows)
    return (rows[start : start + batch] for start in range(0, count, batch))


def _picks(count: int, batch: int, order: str) -> Iterator[Any]:
    """Slices in order, lists of rows shuffled."""
    for rows in rows_of(count, batch, order):
        yield slice(rows[0], rows[-1] + 1) if order == "sequential" else rows


class Buffers:
    """A batch in reused memory, sample by sample."""

    def __init__(self, dataset: TensorDataset, batch: int) -> None:
        self.out = {name: np.zeros((batch, *a.shape), a.dtype) for name, a in next(samples(dataset)).items()}

    def put(self, position: int, name: str, value: Any) -> None:
        """Copy a value, or the bytes of one, to its place in the batch."""
        out = self.out[name]
        flat = np.frombuffer(value, out.dtype) if not isinstance(value, np.ndarray) else value
        out[position] = flat.reshape(out.shape[1:])

    def filled(self, count: int) -> Arrays:
        """Give the first `count` samples of the batch."""
        return [out[:count] for out in self.out.values()]


def numpy_memmap(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """One `.npy` an array; views in order, fancy indexing shuffled."""
    for name, array in _arrays(dataset).items():
        np.save(folder / f"{name}.npy", array)
    arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in TOUCHED]

    def batches(order: str) -> Iterator[Arrays]:
        for pick in _picks(len(dataset), batch, order):
            yield [array[pick] for array in arrays]

    return batches


def zarr_python(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """The store itself, by zarr-python: slices in order, orthogonal selection shuffled."""
    fields = [dataset.store.arrays[name.removesuffix("s")] for name in TOUCHED]

    def batches(order: str) -> Iterator[Arrays]:
        for pick in _picks(len(dataset), batch, order):
            yield [field.oindex[pick] for field in fields]

    return batches


def tensorstore(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """The store itself, by tensorstore, all arrays of a batch read at once."""
    import tensorstore as ts

    def open_array(name: str) -> Any:
        path = str(dataset.store.path / name.removesuffix("s")) + "/"
        return ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}).result()

    arrays = [open_array(name) for name in TOUCHED]

    def batches(order: str) -> Iterator[Arrays]:
        for pick in _picks(len(dataset), batch, order):
            yield [pending.result() for pending in [array[pick].read() for array in arrays]]

    return batches


def h5py(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """Contiguous datasets, `read_direct` into reused buffers."""
    import h5py as library

    with library.File(folder / "samples.h5", "w") as file:
        for name, array in _arrays(dataset).items():
            file.create_dataset(name, data=array)
    file = library.File(folder / "samples.h5", "r")
    buffers = Buffers(dataset, batch)

    def batches(order: str) -> Iterator[Arrays]:
        for rows in rows_of(len(dataset), batch, order):
            for name, out in buffers.out.items():
                if order == "sequential":
                    file[name].read_direct(out, np.s_[rows[0] : rows[-1] + 1], np.s_[: len(rows)])
                else:
                    for position, row in enumerate(rows):
                        file[name].read_direct(out, np.s_[row], np.s_[position])
            yield buffers.filled(len(rows))

    return batches


def lmdb(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """A record a sample, read as buffers of the map without a lock or read-ahead."""
    import lmdb as library

    with library.open(str(folder), map_size=dataset.sample_bytes * len(dataset) * 2 + (1 << 24)) as writer:
        for row, sample in enumerate(samples(dataset)):
            with writer.begin(write=True) as write:
                write.put(b"%08d" % row, b"".join(a.tobytes() for a in sample.values()))
    environment = library.open(str(folder), readonly=True, lock=False, readahead=True, map_size=1 << 40)
    out = np.zeros((batch, dataset.sample_bytes), np.uint8)

    def batches(order: str) -> Iterator[Arrays]:
        for rows in rows_of(len(dataset), batch, order):
            with environment.begin(buffers=True) as transaction:
                for position, row in enumerate(rows):
                    out[position] = np.frombuffer(transaction.get(b"%08d" % row), np.uint8)
            yield [out[: len(rows)]]

    return batches


def tensordict(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """A memory-mapped TensorDict: slices are views, lists are gathered."""
    from tensordict import TensorDict

    whole = dataset[:]
    TensorDict({name: whole[name] for name in TOUCHED}, batch_size=[len(dataset)]).memmap(str(folder))
    stored = TensorDict.load_memmap(str(folder))

    def batches(order: str) -> Iterator[Arrays]:
        for pick in _picks(len(dataset), batch, order):
            picked = stored[pick if isinstance(pick, slice) else torch.tensor(pick)]
            yield [picked.get(name).numpy() for name in TOUCHED]

    return batches


def hf_datasets(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """Arrow on disk, memory-mapped, binary columns; batches by `iter` and by indices."""
    from datasets import Dataset, Features, Value, load_from_disk

    features = Features({name: Value("large_binary") for name in TOUCHED})
    columns = {name: [a.tobytes() for a in array] for name, array in _arrays(dataset).items()}
    Dataset.from_dict(columns, features=features).save_to_disk(folder / "arrow")
    stored = load_from_disk(str(folder / "arrow")).with_format("arrow")
    buffers = Buffers(dataset, batch)

    def batches(order: str) -> Iterator[Arrays]:
        for pick in _picks(len(dataset), batch, order):
            table = stored[pick]
            for name in TOUCHED:
                for position, value in enumerate(table[name]):
                    buffers.put(position, name, value.as_buffer())
            yield buffers.filled(len(table))

    return batches


ARRAY_LIBRARIES: dict[str, Competitor] = {
    "NumPy memmap": numpy_memmap,
    "zarr-python": zarr_python,
    "tensorstore": tensorstore,
    "h5py": h5py,
    "LMDB": lmdb,
    "TensorDict": tensordict,
    "HF datasets": hf_datasets,
}
