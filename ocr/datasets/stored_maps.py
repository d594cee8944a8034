"""Maps read from the store that the stage `maps` wrote."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr.tensors import MAP_DTYPES
from pipeline.errors import ConfigError, StoreError
from pipeline.store import Store, open_store


class StoredMaps:
    """The maps of samples, by index. Pickles as a path.

    Raises ConfigError where there is no such store, or it lacks one of the samples.
    """

    def __init__(self, path: Path, sample_ids: Sequence[str]) -> None:
        self.path = path
        try:
            rows = self._store.rows
        except StoreError as error:
            raise ConfigError(f"maps are to be loaded, and do not exist: {error}") from error
        missing = [sample_id for sample_id in sample_ids if sample_id not in rows]
        if missing:
            raise ConfigError(
                f"{path} has no maps of {missing[0]}; {len(missing)} are missing: run the stage maps"
            )
        self._rows = [rows[sample_id] for sample_id in sample_ids]

    def read(self, index: int) -> dict[str, NDArray[Any]]:
        """Read a copy of a sample's maps, verified."""
        return {name: np.array(self._store.value(name, self._rows[index])) for name in MAP_DTYPES}

    @cached_property
    def _store(self) -> Store:
        return open_store(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_rows": self._rows}
