"""Other libraries reading the same images and maps, each as its documentation says is fastest.

A competitor prepares its own copy of the samples in a folder and gives a function that reads all of
them once, `"sequential"` or `"shuffled"`, touching every page of each batch. Where a library can give
a batch as a view, it may; where it gives single samples, they are gathered into one reused buffer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ocr.datasets import TensorDataset

TOUCHED = ("images", "prob_maps", "prob_masks", "thresh_maps", "thresh_masks")

Reader = Callable[[str], int]
Competitor = Callable[[TensorDataset, Path, int], Reader]


def _touch(array: Any) -> int:
    return int(np.asarray(array).reshape(-1).view(np.uint8)[::4096].sum())


def _samples(dataset: TensorDataset) -> Iterator[dict[str, np.ndarray]]:
    for batch in dataset.batches(1):
        yield {name: batch[name][0].numpy() for name in TOUCHED}


def _arrays(dataset: TensorDataset) -> dict[str, np.ndarray]:
    whole = dataset[:]
    return {name: whole[name].numpy() for name in TOUCHED}


def _rows(count: int, batch: int, order: str) -> list[list[int]]:
    rows = list(range(count))
    if order == "shuffled":
        random.shuffle(rows)
    return [rows[start : start + batch] for start in range(0, count, batch)]


class _Buffers:
    """A batch in reused memory, sample by sample."""

    def __init__(self, dataset: TensorDataset, batch: int) -> None:
        first = next(_samples(dataset))
        self.out = {name: np.zeros((batch, *a.shape), a.dtype) for name, a in first.items()}

    def put(self, position: int, sample: dict[str, Any]) -> None:
        for name, out in self.out.items():
            out[position] = np.asarray(sample[name]).reshape(out.shape[1:])

    def touch(self, count: int) -> int:
        for out in self.out.values():
            _touch(out[:count])
        return count


def numpy_memmap(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """One `.npy` an array; views in order, fancy indexing shuffled."""
    for name, array in _arrays(dataset).items():
        np.save(folder / f"{name}.npy", array)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in TOUCHED}

    def read(order: str) -> int:
        for rows in _rows(len(dataset), batch, order):
            pick: Any = slice(rows[0], rows[-1] + 1) if order == "sequential" else rows
            for array in arrays.values():
                _touch(array[pick])
        return len(dataset)

    return read


def zarr_python(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """The store itself, by zarr-python: slices in order, orthogonal selection shuffled."""
    fields = {name: dataset.store.fields[name.removesuffix("s")] for name in TOUCHED}

    def read(order: str) -> int:
        for rows in _rows(len(dataset), batch, order):
            for field in fields.values():
                _touch(field[rows[0] : rows[-1] + 1] if order == "sequential" else field.oindex[rows])
        return len(dataset)

    return read


def tensorstore(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """The store itself, by tensorstore, all arrays of a batch read at once."""
    import tensorstore as ts

    def open_array(name: str) -> Any:
        path = str(dataset.store.path / name.removesuffix("s")) + "/"
        return ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}).result()

    arrays = [open_array(name) for name in TOUCHED]

    def read(order: str) -> int:
        for rows in _rows(len(dataset), batch, order):
            pick: Any = slice(rows[0], rows[-1] + 1) if order == "sequential" else rows
            for pending in [array[pick].read() for array in arrays]:
                _touch(pending.result())
        return len(dataset)

    return read


def h5py(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """Contiguous datasets, `read_direct` into reused buffers."""
    import h5py as library

    with library.File(folder / "samples.h5", "w") as file:
        for name, array in _arrays(dataset).items():
            file.create_dataset(name, data=array)
    file = library.File(folder / "samples.h5", "r")
    buffers = _Buffers(dataset, batch)

    def read(order: str) -> int:
        for rows in _rows(len(dataset), batch, order):
            for name, out in buffers.out.items():
                if order == "sequential":
                    file[name].read_direct(out, np.s_[rows[0] : rows[-1] + 1], np.s_[: len(rows)])
                else:
                    for position, row in enumerate(rows):
                        file[name].read_direct(out, np.s_[row], np.s_[position])
            buffers.touch(len(rows))
        return len(dataset)

    return read


def lmdb(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """A record a sample, read as buffers of the map without a lock or read-ahead."""
    import lmdb as library

    with library.open(str(folder), map_size=dataset.sample_bytes * len(dataset) * 2 + (1 << 24)) as writer:
        for row, sample in enumerate(_samples(dataset)):
            with writer.begin(write=True) as write:
                write.put(b"%08d" % row, b"".join(a.tobytes() for a in sample.values()))
    environment = library.open(str(folder), readonly=True, lock=False, readahead=True, map_size=1 << 40)
    out = np.zeros((batch, dataset.sample_bytes), np.uint8)

    def read(order: str) -> int:
        for rows in _rows(len(dataset), batch, order):
            with environment.begin(buffers=True) as transaction:
                for position, row in enumerate(rows):
                    out[position] = np.frombuffer(transaction.get(b"%08d" % row), np.uint8)
            _touch(out[: len(rows)])
        return len(dataset)

    return read


def tensordict(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """A memory-mapped TensorDict: slices are views, lists are gathered."""
    from tensordict import TensorDict

    whole = dataset[:]
    TensorDict({name: whole[name] for name in TOUCHED}, batch_size=[len(dataset)]).memmap(str(folder))
    stored = TensorDict.load_memmap(str(folder))

    def read(order: str) -> int:
        for rows in _rows(len(dataset), batch, order):
            picked = stored[rows[0] : rows[-1] + 1] if order == "sequential" else stored[torch.tensor(rows)]
            for name in TOUCHED:
                _touch(picked.get(name).numpy())
        return len(dataset)

    return read


def hf_datasets(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """Arrow on disk, memory-mapped, binary columns; batches by `iter` and by indices."""
    from datasets import Dataset, Features, Value, load_from_disk

    features = Features({name: Value("large_binary") for name in TOUCHED})
    columns = {name: [a.tobytes() for a in array] for name, array in _arrays(dataset).items()}
    Dataset.from_dict(columns, features=features).save_to_disk(folder / "arrow")
    stored = load_from_disk(str(folder / "arrow")).with_format("arrow")
    buffers = _Buffers(dataset, batch)

    def read(order: str) -> int:
        for rows in _rows(len(dataset), batch, order):
            table = stored[rows[0] : rows[-1] + 1] if order == "sequential" else stored[rows]
            for name, out in buffers.out.items():
                for position, value in enumerate(table[name]):
                    flat = np.frombuffer(value.as_buffer(), out.dtype)
                    out[position] = flat.reshape(out.shape[1:])
            buffers.touch(len(rows))
        return len(dataset)

    return read


def webdataset(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """Tar shards of raw bytes; shuffled by a buffer, as streaming allows."""
    import webdataset as library

    with library.ShardWriter(str(folder / "%04d.tar"), maxsize=200_000_000, verbose=0) as writer:
        for row, sample in enumerate(_samples(dataset)):
            writer.write({"__key__": f"{row:08}", **{f"{n}.bin": a.tobytes() for n, a in sample.items()}})
    shards = sorted(map(str, folder.glob("*.tar")))
    buffers = _Buffers(dataset, batch)

    def read(order: str) -> int:
        shuffled = order == "shuffled"
        stored = library.WebDataset(shards, shardshuffle=len(shards) if shuffled else False)
        count = 0
        for position, sample in enumerate(stored.shuffle(64) if shuffled else stored):
            for name, out in buffers.out.items():
                out[position % batch] = np.frombuffer(sample[f"{name}.bin"], out.dtype).reshape(out.shape[1:])
            count += 1
            if count % batch == 0:
                buffers.touch(batch)
        buffers.touch(count % batch)
        return count

    return read


def litdata(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """Chunks of 64 MB written by its writer, read by `StreamingDataset`."""
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=64 << 20)
    for row, sample in enumerate(_samples(dataset)):
        writer.add_item(row, {name: torch.from_numpy(array) for name, array in sample.items()})
    writer.done()
    writer.merge()

    def read(order: str) -> int:
        stored = StreamingDataset(str(folder), shuffle=order == "shuffled")
        count = 0
        for found in StreamingDataLoader(stored, batch_size=batch, num_workers=0):
            for name in TOUCHED:
                _touch(found[name])
            count += len(found["images"])
        return count

    return read


def mosaicml_streaming(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """MDS shards with typed arrays, local, in a DataLoader."""
    from streaming import MDSWriter, StreamingDataset

    first = next(_samples(dataset))
    columns = {n: f"ndarray:{a.dtype}:{','.join(map(str, a.shape))}" for n, a in first.items()}
    with MDSWriter(out=str(folder / "mds"), columns=columns) as writer:
        for sample in _samples(dataset):
            writer.write({name: np.ascontiguousarray(array) for name, array in sample.items()})

    def read(order: str) -> int:
        stored = StreamingDataset(local=str(folder / "mds"), shuffle=order == "shuffled", batch_size=batch)
        count = 0
        for found in DataLoader(stored, batch_size=batch):
            for name in TOUCHED:
                _touch(found[name])
            count += len(found["images"])
        return count

    return read


def dali(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """CPU pipelines of `readers.numpy`, a file an array and sample."""
    from nvidia.dali import fn, pipeline_def

    for row, sample in enumerate(_samples(dataset)):
        for name, array in sample.items():
            (folder / name).mkdir(exist_ok=True)
            np.save(folder / name / f"{row:08}.npy", array)

    def build(order: str) -> Any:
        @pipeline_def(batch_size=batch, num_threads=2, device_id=None)
        def pipeline() -> Any:
            return tuple(
                fn.readers.numpy(
                    file_root=str(folder / name),
                    random_shuffle=order == "shuffled",
                    seed=7,
                    dont_use_mmap=False,
                )
                for name in TOUCHED
            )

        built = pipeline()
        built.build()
        return built

    built = {order: build(order) for order in ("sequential", "shuffled")}

    def read(order: str) -> int:
        for _ in range(len(dataset) // batch):
            for found in built[order].run():
                for position in range(batch):
                    _touch(found.at(position))
        return len(dataset) // batch * batch

    return read


def ffcv(dataset: TensorDataset, folder: Path, batch: int) -> Reader:
    """A beton with array fields, cached by the operating system, decoded by compiled threads."""
    from ffcv.fields import NDArrayField
    from ffcv.fields.decoders import NDArrayDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.writer import DatasetWriter

    # Its pipelines are compiled by Numba, which knows no float16: its bits travel as integers.
    def bits(array: np.ndarray) -> np.ndarray:
        return array.view(np.int16) if array.dtype == np.float16 else array

    class Indexed:
        def __len__(self) -> int:
            return len(dataset)

        def __getitem__(self, row: int) -> tuple[np.ndarray, ...]:
            sample = dataset[row]
            return tuple(bits(sample[name.removesuffix("s")].numpy()) for name in TOUCHED)

    first = next(_samples(dataset))
    fields = {name: NDArrayField(bits(array).dtype, array.shape) for name, array in first.items()}
    beton = str(folder / "samples.beton")
    DatasetWriter(beton, fields, num_workers=1).from_indexed_dataset(Indexed())
    loaders = {
        order: Loader(
            beton,
            batch_size=batch,
            num_workers=2,
            os_cache=True,
            order=OrderOption.SEQUENTIAL if order == "sequential" else OrderOption.RANDOM,
            pipelines={name: [NDArrayDecoder()] for name in TOUCHED},
        )
        for order in ("sequential", "shuffled")
    }

    def read(order: str) -> int:
        count = 0
        for found in loaders[order]:
            for array in found:
                _touch(array)
            count += len(found[0])
        return count

    return read


COMPETITORS: dict[str, Competitor] = {
    "NumPy memmap": numpy_memmap,
    "zarr-python": zarr_python,
    "tensorstore": tensorstore,
    "h5py": h5py,
    "LMDB": lmdb,
    "TensorDict": tensordict,
    "HF datasets": hf_datasets,
    "WebDataset": webdataset,
    "LitData": litdata,
    "MosaicML Streaming": mosaicml_streaming,
    "DALI (CPU)": dali,
    "FFCV": ffcv,
}
