"""Libraries that stream samples, each as its documentation says is fastest; see `read_competitors`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks.read_competitors import (
    TOUCHED,
    Arrays,
    Batches,
    Buffers,
    Competitor,
    rows_of,
    samples,
)
from ocr.datasets import TensorDataset


def webdataset(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """Tar shards of raw bytes; shuffled by a buffer, as streaming allows."""
    import webdataset as library

    with library.ShardWriter(str(folder / "%04d.tar"), maxsize=200_000_000, verbose=0) as writer:
        for row, sample in enumerate(samples(dataset)):
            writer.write({"__key__": f"{row:08}", **{f"{n}.bin": a.tobytes() for n, a in sample.items()}})
    shards = sorted(map(str, folder.glob("*.tar")))
    buffers = Buffers(dataset, batch)

    def batches(order: str) -> Iterator[Arrays]:
        shuffled = order == "shuffled"
        stored = library.WebDataset(shards, shardshuffle=len(shards) if shuffled else False)
        found = iter(stored.shuffle(64) if shuffled else stored)
        for rows in rows_of(len(dataset), batch, "sequential"):
            for position, sample in enumerate(next(found) for _ in rows):
                for name in TOUCHED:
                    buffers.put(position, name, sample[f"{name}.bin"])
            yield buffers.filled(len(rows))

    return batches


def litdata(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """Chunks of 64 MB written by its writer, read by `StreamingDataset`."""
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=64 << 20)
    for row, sample in enumerate(samples(dataset)):
        writer.add_item(row, {name: torch.from_numpy(array) for name, array in sample.items()})
    writer.done()
    writer.merge()

    def batches(order: str) -> Iterator[Arrays]:
        stored = StreamingDataset(str(folder), shuffle=order == "shuffled")
        for found in StreamingDataLoader(stored, batch_size=batch, num_workers=0):
            yield [found[name] for name in TOUCHED]

    return batches


def mosaicml_streaming(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """MDS shards with typed arrays, local, in a DataLoader."""
    from streaming import MDSWriter, StreamingDataset

    first = next(samples(dataset))
    columns = {n: f"ndarray:{a.dtype}:{','.join(map(str, a.shape))}" for n, a in first.items()}
    with MDSWriter(out=str(folder / "mds"), columns=columns) as writer:
        for sample in samples(dataset):
            writer.write({name: np.ascontiguousarray(array) for name, array in sample.items()})

    def batches(order: str) -> Iterator[Arrays]:
        stored = StreamingDataset(local=str(folder / "mds"), shuffle=order == "shuffled", batch_size=batch)
        for found in DataLoader(stored, batch_size=batch):
            yield [found[name] for name in TOUCHED]

    return batches


def dali(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
    """CPU pipelines of `readers.numpy`, a file an array and sample."""
    from nvidia.dali import fn, pipeline_def

    for row, sample in enumerate(samples(dataset)):
        for name, array in sample.items():
            (folder / name).mkdir(exist_ok=True)
            np.save(folder / name / f"{row:08}.npy", array)

    def build(order: str) -> Any:
        @pipeline_def(batch_size=batch, num_threads=2, device_id=None)
        def pipeline() -> Any:
            shuffle = {"random_shuffle": order == "shuffled", "seed": 7, "dont_use_mmap": False}
            return tuple(fn.readers.numpy(file_root=str(folder / name), **shuffle) for name in TOUCHED)

        built = pipeline()
        built.build()
        return built

    built = {order: build(order) for order in ("sequential", "shuffled")}

    def batches(order: str) -> Iterator[Arrays]:
        for _ in range(len(dataset) // batch):
            outputs = built[order].run()
            yield [found.at(position) for found in outputs for position in range(batch)]

    return batches


def ffcv(dataset: TensorDataset, folder: Path, batch: int) -> Batches:
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

    first = next(samples(dataset))
    fields = {name: NDArrayField(bits(array).dtype, array.shape) for name, array in first.items()}
    beton = str(folder / "samples.beton")
    DatasetWriter(beton, fields, num_workers=1).from_indexed_dataset(Indexed())
    loaders = {
        order: Loader(
            beton,
            batch_size=batch,
            num_workers=2,
            os_cache=True,
            order=option,
            pipelines={name: [NDArrayDecoder()] for name in TOUCHED},
        )
        for order, option in (("sequential", OrderOption.SEQUENTIAL), ("shuffled", OrderOption.RANDOM))
    }

    def batches(order: str) -> Iterator[Arrays]:
        return map(list, loaders[order])

    return batches


STREAMING_LIBRARIES: dict[str, Competitor] = {
    "WebDataset": webdataset,
    "LitData": litdata,
    "MosaicML Streaming": mosaicml_streaming,
    "DALI (CPU)": dali,
    "FFCV": ffcv,
}
