"""The small arrays of a store (names, checksums, rows, edges), each one chunk, read whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pipeline.digest import digest
from pipeline.errors import REPAIR, StoreError
from pipeline.store.codecs import decode
from pipeline.store.zarr_metadata import chunk_key, decode_text

Locate = Callable[[str], Path]
"""Gives the path of a file of a store, by its name in the manifest."""


class StoreIndex:
    """Arrays by name, held against the manifest when they are first read, and kept.

    `locate` gives the path of a file of the store. Every method raises StoreError where an array is missing
    or damaged.
    """

    def __init__(
        self,
        name: str | Path,
        locate: Locate,
        arrays: Mapping[str, Any],
        entries: Mapping[str, tuple[int, str]],
    ) -> None:
        self._name, self._locate, self._arrays, self._entries = name, locate, arrays, entries
        self._read: dict[str, Any] = {}

    @property
    def names(self) -> frozenset[str]:
        """Names of all arrays of the store, also of those that are no small ones."""
        return frozenset(self._arrays)

    def array(self, name: str) -> NDArray[Any]:
        """Read an array of numbers."""
        return self._parsed(name, _numbers)  # type: ignore[no-any-return]

    def text(self, name: str) -> tuple[str, ...]:
        """Read an array of strings."""
        return self._parsed(name, _strings)  # type: ignore[no-any-return]

    def check(self, name: str) -> None:
        """Read an array of either kind, and hold it against its checksum."""
        (self.text if self._arrays[name]["data_type"] == "string" else self.array)(name)

    def _parsed(self, name: str, parse: Callable[[bytes, Mapping[str, Any]], Any]) -> Any:
        if name not in self._read:
            if name not in self._arrays:
                raise StoreError(f"{self._name} has no array {name}", REPAIR)
            metadata = self._arrays[name]
            data = b"" if 0 in metadata["shape"] else self._data(name, len(metadata["shape"]))
            try:
                self._read[name] = parse(data, metadata)
            except ValueError as error:
                raise StoreError(f"{name} in {self._name} is damaged ({error})", REPAIR) from None
        return self._read[name]

    def _data(self, name: str, dimensions: int) -> bytes:
        file = f"{name}/{chunk_key(0, dimensions)}"
        path = self._locate(file)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path} cannot be read ({error.strerror})", REPAIR) from None
        if self._entries.get(file, (0, ""))[1] != digest(data).hex():
            raise StoreError(f"{path} does not match its checksum", REPAIR)
        return data


def _numbers(data: bytes, metadata: Mapping[str, Any]) -> NDArray[Any]:
    return decode("none", data, metadata["data_type"], tuple(metadata["shape"]))


def _strings(data: bytes, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    values = _decoded(data) if data else ()
    if [len(values)] != list(metadata["shape"]):
        raise ValueError(f"{len(values)} strings where {metadata['shape'][0]} belong")
    return values


@lru_cache(maxsize=4)  # the stores of a split hold the same names, mostly
def _decoded(data: bytes) -> tuple[str, ...]:
    return tuple(decode_text(data))
