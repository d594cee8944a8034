"""Zarr arrays over a store: what `open_store(...).fields` gives, with missing chunks as errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from pipeline.digest import digest
from pipeline.errors import REPAIR, StoreError


class _WholeStore(LocalStore):
    """A local store in which every chunk exists and is whole: Zarr would read a missing one as zeros."""

    entries: Mapping[str, tuple[int, str]]
    samples_in: Callable[[str], Sequence[str]]

    def of(self, key: str) -> str:
        """Name the samples in a chunk."""
        samples = self.samples_in(key)
        return f" (of {', '.join(samples[:5])})" if samples else ""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file as Zarr asks for it; StoreError where the manifest knows it and it is not whole."""
        value = await super().get(key, prototype, byte_range)
        entry = self.entries.get(key)
        if entry is None:
            return value
        if value is None:
            raise StoreError(f"{self.root / key}{self.of(key)} is missing", REPAIR)
        if byte_range is None and (len(value) != entry[0] or digest(value.to_bytes()).hex() != entry[1]):
            raise StoreError(f"{self.root / key}{self.of(key)} is damaged", REPAIR)
        return value


def open_arrays(
    generation: Path, entries: Mapping[str, tuple[int, str]], samples_in: Callable[[str], Sequence[str]]
) -> Mapping[str, Any]:
    """Open every array of a generation's group, read-only; `samples_in` tells whose samples a file holds."""
    whole = _WholeStore(generation, read_only=True)
    whole.entries, whole.samples_in = entries, samples_in
    group = zarr.open_group(whole, mode="r")
    return dict(group.arrays())
