"""Reading a store: metadata, small fields as arrays, samples verified, chunks as files or Zarr arrays."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.digest import digest
from pipeline.errors import REPAIR, RUN, Remedy, StoreError
from pipeline.files import linked_outside, read_file
from pipeline.stage import Chunked, Field, File, FileContent, Ragged, Row, Text
from pipeline.store.bucket import is_url
from pipeline.store.codecs import decode
from pipeline.store.index import Locate, StoreIndex
from pipeline.store.info import StoreInfo
from pipeline.store.locks import hold_current
from pipeline.store.manifest import Manifest, read_manifest
from pipeline.store.notebook import show, to_html, to_text, to_xarray
from pipeline.store.values import Parts, value_digest
from pipeline.store.zarr_metadata import chunk_key

if TYPE_CHECKING:
    from PIL import Image

_MADE_ANEW = Remedy("repair", rest=", or the stage that writes it")


def open_store(path: str | os.PathLike[str], *, hold: bool = True) -> Store:
    """Open a store by its name (`work/val/tensors.zarr`), a generation's directory, or its URL in a bucket.

    What is read of one in a bucket is fetched, and goes with it. The generation that is current
    now is held: publishing another one does not disturb the reader, and `gc` spares it while it is open
    (not with `hold=False`, for who is safe from `gc`).

    Raises StoreError where there is no store, or one of another format version.
    """
    if is_url(path):
        from pipeline.store.bucket_store import open_in_bucket

        return open_in_bucket(os.fspath(path))
    return Store(Path(path), hold)


class Store:
    """One generation of a store, read-only.

    Every value that is read is checked against its checksum; a missing or damaged chunk raises
    StoreError naming the sample and the command that repairs it.
    """

    def __init__(self, path: Path, hold: bool = True, name: str = "", locate: Locate | None = None) -> None:
        self.name: str | Path = name or path
        self._lock, self.path = hold_current(path)
        self.file: Locate = locate or self.path.joinpath
        """Give the path of a file of the generation."""
        if not hold:
            self.close()
        self.metadata = self._metadata()
        self.attributes: dict[str, Any] = self.metadata["attributes"]
        self.info = StoreInfo.read(self.attributes, self.name)
        self.declared: dict[str, Field] = {field.name: field for field in self.info.fields}
        self.samples_per_chunk = self.info.samples_per_chunk
        arrays = self.metadata["consolidated_metadata"]["metadata"]
        self.index = StoreIndex(self.name, self.file, arrays, self.manifest.files)
        self._last_chunk: dict[str, tuple[int, NDArray[Any]]] = {}

    def __len__(self) -> int:
        return self.info.counts.accepted

    def __repr__(self) -> str:
        return to_text(self)

    def _repr_html_(self) -> str:
        return to_html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and travel as the generation's place: each copy holds it, or fetches of it, by itself."""
        if is_url(self.name):
            return open_store, (f"{self.name}/{self.digest}",)
        return Store, (self.path, self._lock >= 0)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_lock", -1) >= 0:
            self.close()

    def close(self) -> None:
        """Let go of the generation; what has been mapped stays mapped."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def stage(self) -> str:
        """Name of the stage that wrote the store."""
        return self.info.stage

    @property
    def generation(self) -> int:
        """Number of the generation; 0 for a copy outside a work folder."""
        head = self.path.name.partition("-")[0]
        return int(head) if head.isdigit() else 0

    @cached_property
    def manifest(self) -> Manifest:
        """Every file with its size and checksum."""
        return read_manifest(self.path)

    @property
    def digest(self) -> str:
        """The store's digest, as hexadecimal digits: the same for the same bytes."""
        return self.manifest.digest

    @cached_property
    def sample_ids(self) -> tuple[str, ...]:
        """Accepted samples in dataset order; row i of every field belongs to the i-th."""
        return self.index.text("sample_id")

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each sample."""
        return {sample_id: row for row, sample_id in enumerate(self.sample_ids)}

    @cached_property
    def fingerprints(self) -> NDArray[np.uint8]:
        """Fingerprints, uint8 (N, 16)."""
        return self.index.array("fingerprint")

    @cached_property
    def inputs(self) -> NDArray[np.uint8]:
        """Digests of each sample's inputs, uint8 (N, I, 16), in the order of attribute `inputs`."""
        return self.index.array("input")

    def checksums(self, name: str) -> NDArray[np.uint8]:
        """Give xxh3-128 of one field's value for every sample, uint8 (N, 16)."""
        return self.all_checksums[:, list(self.declared).index(self._field(name).name)]

    def small(self, name: str) -> Any:
        """Read a small field whole, or the paths of a File field.

        Row: (N, *shape). Ragged: a list of N values, each an array or (levels=2) a tuple of arrays.
        Text, File: a list of N strings. Not verified sample by sample: `value` is.
        """
        field = self._field(name)
        if isinstance(field, Row):
            return self.index.array(name)
        if isinstance(field, Text | File):
            return list(self.index.text(name))
        return [self.stored(field, row) for row in range(len(self))]

    def value(self, name: str, row: int) -> Any:
        """Read one sample's value and check it; arrays are read-only.

        Raises StoreError naming the sample where it is missing or damaged.
        """
        return self.verified(name, row)[0]

    def verified(self, name: str, row: int) -> tuple[Any, bytes]:
        """Read one sample's value as `value` does; gives also its digest."""
        field = self._field(name)
        try:
            value = self.stored(field, row)
            found = value_digest(field, value)
        except (OSError, ValueError, IndexError) as error:
            raise self.damaged(row, f"{name} cannot be read ({error})") from error
        if found != self.checksums(name)[row].tobytes():
            if isinstance(field, File) and linked_outside(self.path, f"{field.directory}/{value.path}"):
                problem = f"the raw file linked to {name} was edited in place"
                raise self.damaged(row, problem, RUN)
            raise self.damaged(row, f"{name} does not match its checksum")
        return value, found

    def damaged(self, row: int, problem: str, remedy: Remedy = REPAIR) -> StoreError:
        """Build the error for a sample that the store no longer holds whole."""
        return StoreError(
            f"{self.stage} of {self.sample_ids[row]} in {self.name} is damaged: {problem}", remedy
        )

    def chunk_file(self, name: str, index: int) -> Path:
        """Path of one chunk of a Chunked field."""
        field = self._field(name)
        assert isinstance(field, Chunked)
        return self.file(f"{name}/{chunk_key(index, 1 + len(field.shape))}")

    def samples_in(self, file: str) -> tuple[str, ...]:
        """Give the samples that a file of the generation holds; none where it serves all of them.

        None also where the index is damaged that would tell.
        """
        folder, _, name = file.rpartition("/")
        if not (isinstance(self.declared.get(folder), Chunked) and name.startswith("c.")):
            return self.kept_files.get(file, ())
        first = int(name.split(".")[1]) * self.samples_per_chunk
        with suppress(StoreError):
            return self.sample_ids[first : first + self.samples_per_chunk]
        return ()

    @cached_property
    def kept_files(self) -> Mapping[str, tuple[str, ...]]:
        """Samples by the file that is kept of them for a File field."""
        kept: dict[str, tuple[str, ...]] = {}
        with suppress(StoreError):
            for field in self.info.fields:
                if isinstance(field, File):
                    for sample_id, path in zip(self.sample_ids, self.small(field.name), strict=True):
                        name = f"{field.directory}/{path}"
                        kept[name] = (*kept.get(name, ()), sample_id)
        return kept

    @cached_property
    def arrays(self) -> Mapping[str, Any]:
        """Fields as Zarr arrays by array name; reading a chunk that is not there raises StoreError."""
        import zarr

        from pipeline.store.zarr_view import whole_store

        return dict(zarr.open_group(whole_store(self), mode="r").arrays())

    def show(self, sample: int | str, *fields: str, side: int = 480) -> Image.Image:
        """Draw one sample, by position or name: its image with the polygons, and its maps over the image.

        `fields` chooses among the fields that are pictures; `side` is the longer side of each, in pixels.
        Text is outlined in green, don't-care regions in grey. Raises StoreError where there is no picture.
        """
        return show([self], sample, fields, side)

    def to_xarray(self) -> Any:
        """Give an `xarray.Dataset` with the coordinate `sample`: `.sel(sample="receipts/001.jpg")`.

        Nothing is read before it is asked for; a missing or damaged chunk raises StoreError.
        """
        return to_xarray(self)

    def _metadata(self) -> dict[str, Any]:
        try:
            data = (self.path / "zarr.json").read_bytes()
            if self.manifest.files["zarr.json"][1] != digest(data).hex():
                raise ValueError("it does not match its checksum")
            return dict(json.loads(data))
        except (OSError, ValueError, KeyError, StoreError) as error:
            self.close()
            what = error.problem if isinstance(error, StoreError) else getattr(error, "strerror", error)
            raise StoreError(f"{self.name} is no whole store (zarr.json: {what})", _MADE_ANEW) from None

    def _field(self, name: str) -> Field:
        try:
            return self.declared[name]
        except KeyError:
            raise StoreError(f"{self.name} has no field {name}; it has {', '.join(self.declared)}") from None

    @cached_property
    def all_checksums(self) -> NDArray[np.uint8]:
        """Checksums of all fields, uint8 (N, F, 16), in the order of `declared`."""
        return self.index.array("checksum")

    def chunk(self, field: Chunked, index: int) -> NDArray[Any]:
        """Read a chunk, not held against its checksum; the last one of each field is kept."""
        last = self._last_chunk.get(field.name)
        if last and last[0] == index:
            return last[1]
        data = read_file(self.chunk_file(field.name, index))
        chunk = decode(field.codec, data, field.dtype, (self.samples_per_chunk, *field.shape))
        if self.samples_per_chunk > 1:
            self._last_chunk[field.name] = (index, chunk)
        return chunk

    def stored(self, field: Field, row: int) -> Any:
        """Read one sample's value, not held against its checksum."""
        if isinstance(field, Chunked):
            return self.chunk(field, row // self.samples_per_chunk)[row % self.samples_per_chunk]
        if isinstance(field, File):
            path = self.index.text(field.name)[row]
            file = self.file(f"{field.directory}/{path}")
            return FileContent(path=path, data=file.read_bytes(), link=file)
        if isinstance(field, Text):
            return self.index.text(field.name)[row]
        values = self.index.array(field.name)
        if isinstance(field, Row):
            return values[row]
        first, last = self.index.array(f"{field.name}_offsets")[row : row + 2]
        if isinstance(field, Ragged) and field.levels == 2:
            edges = self.index.array(f"{field.name}_part_offsets")[first : last + 1]
            return Parts.of((values[a:b] for a, b in pairwise(edges)), values[edges[0] : edges[-1]])
        return values[first:last]
