"""Libraries that store arrays, reading the same images and maps, each as its documentation says is fastest.

A library writes its own copy of the samples into a folder and gives a function that reads rows: a slice in
order, a list shuffled. Where it can give a batch as a view, it may; where it gives single samples, they are
copied into reused memory. `benchmarks.streaming_libraries` has those that stream. Before it is measured, each
library is read once in order, and must give the bytes of the store.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Side, compare, note, show
from benchmarks.read_batches import npy_memmap
from benchmarks.stores import MODES, TOUCHED, Reading, open_warm, read_epoch, touch
from benchmarks.streaming_libraries import STREAMING
from ocr.datasets import TensorDataset

FIELDS = tuple(name.removesuffix("s") for name in TOUCHED)
Rows = Any
Pick = Callable[[Rows], list[Any]]
Batches = Callable[[str], Iterable[list[Any]]]


def competitors(asked: Reading) -> None:
    """Epochs in order and shuffled, against the store in RAM."""
    if not asked.libraries:
        return
    datasets = {mode: open_warm(asked.store, mode) for mode in MODES[::-1]}
    batch, libraries = asked.batches[0], {}
    for name in asked.libraries:
        folder = asked.folder / name.replace(" ", "_")
        folder.mkdir(exist_ok=True)
        try:
            libraries[name] = open_library(name, datasets["mmap"], folder, batch)
        except Exception as error:  # a library that is missing or does not run is a result
            note(f"{name} does not run here: {type(error).__name__}: {error}")
    for order in ("sequential", "shuffled"):
        sides: dict[str, Side] = {
            f"warmstore, {mode}": partial(read_epoch, dataset, batch, order)
            for mode, dataset in datasets.items()
        }
        sides |= {name: partial(read_batches, batches, order) for name, batches in libraries.items()}
        found = compare(sides, asked.rounds, partial(time.sleep, asked.rest))
        show(f"{order}, batch {batch}", found, order=order, batch=batch)


def open_library(name: str, dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """Write the samples by a library, and give its batches once they are those of the store."""
    if name in STREAMING:
        epoch = STREAMING[name](dataset, folder, batch)

        def batches(order: str) -> Iterator[list[Any]]:
            return ([found[field] for field in TOUCHED] for found in epoch(order))

    else:
        batches = partial(pick_batches, LIBRARIES[name](dataset, folder, batch), len(dataset), batch)
    same = [
        np.array_equal(as_bytes(found), as_bytes([stored[field] for field in TOUCHED]))
        for found, stored in zip(batches("sequential"), dataset.batches(batch), strict=False)
    ]
    if not all(same) or len(same) < max(1, len(dataset) // batch):
        raise ValueError(f"it gives other samples than the store; remove {folder} and run again")
    return batches


def as_bytes(arrays: Iterable[Any]) -> np.ndarray:
    """All arrays of a batch side by side, a row a sample."""
    return np.hstack([np.asarray(array).reshape(len(array), -1).view(np.uint8) for array in arrays])


def read_batches(batches: Batches, order: str) -> int:
    """Touch all samples; gives their number."""
    count = 0
    for arrays in batches(order):
        touch(arrays)
        count += len(arrays[0])
    return count


def pick_batches(pick: Pick, count: int, batch: int, order: str) -> Iterator[list[Any]]:
    """Slices in order, lists of rows shuffled."""
    rows = list(range(count))
    if order == "shuffled":
        random.shuffle(rows)
    for start in range(0, count, batch):
        some = rows[start : start + batch]
        yield pick(some if order == "shuffled" else slice(some[0], some[-1] + 1))


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
        return [out[: len(np.r_[rows])] for out in outs.values()]

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
        return [out[: position + 1]]

    return pick


def hf_datasets(dataset: TensorDataset, folder: Path, batch: int) -> Pick:
    """Arrow on disk, memory-mapped, a binary column an array; batches by slices and by indices."""
    from datasets import Dataset, Features, Value, load_from_disk

    features = Features({name: Value("large_binary") for name in TOUCHED})
    columns = {name: [array.tobytes() for array in dataset[:][name].numpy()] for name in TOUCHED}
    Dataset.from_dict(columns, features=features).save_to_disk(folder)
    stored = load_from_disk(str(folder)).with_format("arrow")
    outs = {name: dataset[:batch][name].numpy().copy() for name in TOUCHED}

    def pick(rows: Rows) -> list[Any]:
        table = stored[rows]
        for name, out in outs.items():
            for position, value in enumerate(table[name]):
                out[position] = np.frombuffer(value.as_buffer(), out.dtype).reshape(out.shape[1:])
        return [out[: len(table)] for out in outs.values()]

    return pick


def torch_save(dataset: TensorDataset, folder: Path, batch: int) -> Pick:
    """One file of `torch.save`, loaded with `mmap=True`: views in order, `index_select(out=)` shuffled."""
    whole = dataset[:]
    torch.save({name: whole[name] for name in TOUCHED}, folder / "samples.pt")
    stored = torch.load(folder / "samples.pt", mmap=True, weights_only=True)
    outs = {name: torch.empty_like(whole[name][:batch]) for name in TOUCHED}

    def pick(rows: Rows) -> list[Any]:
        if isinstance(rows, slice):
            return [stored[name][rows].numpy() for name in TOUCHED]
        picked = torch.tensor(rows)
        for name, out in outs.items():
            torch.index_select(stored[name], 0, picked, out=out[: len(rows)])
        return [out[: len(rows)].numpy() for out in outs.values()]

    return pick


def torch_save_each(dataset: TensorDataset, folder: Path, batch: int) -> Pick:
    """A file of `torch.save` a sample, as caches of samples often are; copied into reused memory."""
    for row, sample in enumerate(dataset.batches(1)):
        torch.save({name: sample[name][0].clone() for name in TOUCHED}, folder / f"{row}.pt")
    outs = {name: torch.empty_like(dataset[:batch][name]) for name in TOUCHED}

    def pick(rows: Rows) -> list[Any]:
        for position, row in enumerate(np.r_[rows]):
            found = torch.load(folder / f"{row}.pt", weights_only=True)
            for name, out in outs.items():
                out[position] = found[name]
        return [out[: position + 1].numpy() for out in outs.values()]

    return pick


def lance(dataset: TensorDataset, folder: Path, batch: int) -> Pick:
    """A column of fixed-size lists an array; batches by a scan of rows in order, by `take` shuffled."""
    import lance as library
    import pyarrow as pa

    shapes = {name: dataset[:1][name].numpy() for name in TOUCHED}
    kinds = {name: pa.list_(pa.from_numpy_dtype(one.dtype), one.size) for name, one in shapes.items()}
    schema = pa.schema(kinds)

    def written() -> Iterator[Any]:
        for found in dataset.batches(batch):
            flat = (pa.array(found[name].numpy().reshape(-1)) for name in TOUCHED)
            columns = [
                pa.FixedSizeListArray.from_arrays(values, type=kind)
                for values, kind in zip(flat, kinds.values(), strict=True)
            ]
            yield pa.record_batch(columns, schema=schema)

    stored = library.write_dataset(written(), folder / "samples.lance", schema=schema, mode="overwrite")

    def pick(rows: Rows) -> list[Any]:
        in_order = isinstance(rows, slice)
        table = (
            stored.to_table(offset=rows.start, limit=rows.stop - rows.start)
            if in_order
            else stored.take(rows)
        )
        columns = (table[name].combine_chunks() for name in TOUCHED)
        return [
            column.flatten().to_numpy().reshape(-1, *one.shape[1:])
            for column, one in zip(columns, shapes.values(), strict=True)
        ]

    return pick


LIBRARIES: dict[str, Callable[[TensorDataset, Path, int], Pick]] = {
    "NumPy memmap": numpy_memmap,
    "TensorDict": tensordict,
    "LMDB": lmdb,
    "h5py": h5py,
    "HF datasets": hf_datasets,
    "tensorstore": tensorstore,
    "zarr-python": zarr_python,
    "Lance": lance,
    "torch.save, one file": torch_save,
    "torch.save, a file each": torch_save_each,
}
