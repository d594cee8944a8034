"""The chunk files of one field: where they are, how they are encoded, how one is read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.codec import codec_of, decode
from pipeline.errors import REPAIR, Remedy, StoreError
from pipeline.residency import read_direct
from pipeline.stage import Chunked, Codec
from pipeline.store import Store

Samples = NDArray[Any]


class ChunkFiles:
    """What a Chunked field's own metadata says of its chunks, whoever wrote them.

    `not_raw` is None where each file holds whole samples as they are in memory, and else says why not.

    Raises StoreError where the field is missing, or is not what the store declares.
    """

    def __init__(self, store: Store, name: str) -> None:
        field = store.declared.get(name)
        if not isinstance(field, Chunked):
            have = ", ".join(f.name for f in store.declared.values() if isinstance(f, Chunked))
            raise StoreError(f"{store.name} has no array field {name}; it has {have or 'none'}")
        self.store, self.name = store, name
        self.directory = store.path / name
        self._metadata = _read_metadata(store, name)
        self.dtype = np.dtype(field.dtype)
        self.shape = (len(store), *field.shape)
        stored = (self._metadata["data_type"], tuple(self._metadata["shape"]))
        if stored != (str(self.dtype), self.shape):
            raise StoreError(
                f"{name} in {store.name} is {stored[0]} {stored[1]} where the store declares "
                f"{field.dtype} {self.shape}",
                REPAIR,
            )
        self.sample_bytes: int = self.dtype.itemsize * math.prod(field.shape)
        self.samples_per_chunk, self._codec, self.not_raw = self._layout()
        self._affixes = _key_affixes(self._metadata["chunk_key_encoding"], len(self.shape))
        self.chunk_bytes = self.samples_per_chunk * self.sample_bytes
        self.chunk_shape = (self.samples_per_chunk, *field.shape)

    def __len__(self) -> int:
        return -(-self.shape[0] // self.samples_per_chunk)

    def path(self, chunk: int) -> Path:
        """Path of a chunk's file."""
        before, after = self._affixes
        return self.directory / f"{before}{chunk}{after}"

    def read(self, chunk: int, out: Samples) -> None:
        """Read a chunk's samples into `out`, (k, *shape).

        Raises StoreError naming the first of its samples where it is missing or damaged.
        """
        try:
            if self._codec is None:
                rows = self.store.fields[self.name][chunk * len(out) : (chunk + 1) * len(out)]
                out[: len(rows)] = rows
            elif self._codec == "none":
                self._read_raw(chunk, out)
            else:
                out[...] = decode(self._codec, self.path(chunk).read_bytes(), str(self.dtype), out.shape)
        except (OSError, ValueError) as error:
            raise self.problem(chunk, f"cannot be read ({error})") from error

    def read_once(self, chunk: int, out: Samples) -> None:
        """Like `read`, for whoever keeps the samples: what the page cache lacks is read past it.

        From a disk that takes a fraction of the CPU time, and holds nothing in memory twice.
        """
        if self.not_raw or not read_direct(self.path(chunk), _bytes(out)):
            self.read(chunk, out)

    def problem(self, chunk: int, what: str) -> StoreError:
        """Build the error for a chunk that is not as it was written."""
        return self.store.damaged(chunk * self.samples_per_chunk, f"{self.name} {what}")

    def _layout(self) -> tuple[int, Codec | None, str | None]:
        """Samples in a chunk, its codec (None for what only Zarr can read), and why its file is not raw."""
        count, *rest = self._metadata["chunk_grid"]["configuration"]["chunk_shape"]
        codecs = self._metadata["codecs"]
        names = [codec["name"] for codec in codecs]
        if tuple(rest) != self.shape[1:]:
            return 1, None, f"in chunks of {(count, *rest)}, parts of a sample"
        try:
            if codecs[0].get("configuration", {}).get("endian", "little") != "little":
                raise ValueError("big-endian")
            codec = codec_of(codecs)
        except ValueError:
            return count, None, f"encoded ({', '.join(names)})"
        return count, codec, None if codec == "none" else f"compressed ({names[1]})"

    def _read_raw(self, chunk: int, out: Samples) -> None:
        # Buffered: it asks again where one call does not give all, as for more than 2 GB.
        with self.path(chunk).open("rb") as file:
            if file.readinto(_bytes(out).data) != out.nbytes or file.read(1):
                raise ValueError(f"its file has not the {out.nbytes} bytes of its samples")


def _key_affixes(encoding: dict[str, Any], dimensions: int) -> tuple[str, str]:
    """What stands before and after a chunk's number in its key, as Zarr v3 defines it."""
    default = encoding["name"] == "default"
    separator: str = encoding.get("configuration", {}).get("separator", "/" if default else ".")
    return f"c{separator}" if default else "", f"{separator}0" * (dimensions - 1)


def _bytes(array: Samples) -> NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8)


def _read_metadata(store: Store, name: str) -> dict[str, Any]:
    """Read an array's own metadata; the group's copy of it has to agree."""
    path: Path = store.path / name / "zarr.json"
    try:
        own: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error})", REPAIR) from None
    group = (store.metadata.get("consolidated_metadata") or {}).get("metadata", {}).get(name, own)
    for key in ("shape", "data_type", "chunk_grid", "chunk_key_encoding", "codecs"):
        if own.get(key) != group.get(key):
            raise StoreError(
                f"{name} in {store.name} was rewritten: its {key} is not what the group's metadata says",
                Remedy("repair", otherwise=", or zarr.consolidate_metadata on the store"),
            )
    return own
