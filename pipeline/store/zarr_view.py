"""A store as Zarr and xarray read it, with missing and damaged chunks as errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

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


def whole_store(
    generation: Path, entries: Mapping[str, tuple[int, str]], samples_in: Callable[[str], Sequence[str]]
) -> LocalStore:
    """Give a generation as a store of Zarr's, read-only; `samples_in` tells whose samples a file holds.

    Reading a chunk that is missing or damaged raises StoreError.
    """
    whole = _WholeStore(generation, read_only=True)
    whole.entries, whole.samples_in = entries, samples_in
    return whole
