"""Zarr arrays over a store: what `open_store(...).fields` gives, with missing chunks as errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import zarr
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from pipeline.errors import StoreError

if TYPE_CHECKING:
    from pipeline.store import Store


class _WholeStore(LocalStore):
    """A local store in which every chunk exists: Zarr would read a missing one as fill values."""

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        value = await super().get(key, prototype, byte_range)
        if value is None and key.rpartition("/")[2].startswith("c"):
            raise StoreError(f"chunk {self.root / key} is missing; run `warmstore repair`")
        return value


def open_arrays(store: Store) -> Mapping[str, Any]:
    """Open every array of a store's group, read-only."""
    group = zarr.open_group(_WholeStore(store.path, read_only=True), mode="r")
    return dict(group.arrays())
