"""A store as Zarr and xarray read it, with missing and damaged chunks as errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from pipeline.digest import digest
from pipeline.errors import REPAIR, StoreError

if TYPE_CHECKING:
    from pipeline.store.reader import Store


class _WholeStore(LocalStore):
    """A local store in which every chunk exists and is whole: Zarr would read a missing one as zeros."""

    store: Store

    def of(self, key: str) -> str:
        """Name the samples in a chunk."""
        samples = self.store.samples_in(key)
        return f" (of {', '.join(samples[:5])})" if samples else ""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a file as Zarr asks for it; StoreError where the manifest knows it and it is not whole."""
        entry = self.store.manifest.files.get(key)
        if entry is not None:
            self.store.file(key)
        value = await super().get(key, prototype, byte_range)
        if entry is None:
            return value
        if value is None:
            raise StoreError(f"{self.root / key}{self.of(key)} is missing", REPAIR)
        if byte_range is None and (len(value) != entry[0] or digest(value.to_bytes()).hex() != entry[1]):
            raise StoreError(f"{self.root / key}{self.of(key)} is damaged", REPAIR)
        return value


def whole_store(store: Store) -> LocalStore:
    """Give a store as Zarr's own code takes one, read-only; a chunk missing or damaged raises StoreError."""
    whole = _WholeStore(store.path, read_only=True)
    whole.store = store
    return whole
