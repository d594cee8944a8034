"""Maps read from the store that the stage `maps` wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr.geometry import Size
from ocr.maps import MapParams
from pipeline.errors import ConfigError, Remedy, StoreError
from pipeline.store import Store, open_store


class StoredMaps:
    """The maps `names` of samples. Pickles as a path.

    Raises ConfigError where there is no such store, it lacks one of the samples or maps, or its maps are
    of another canvas (height, width) or were drawn with other parameters.
    """

    def __init__(
        self, path: Path, sample_ids: Sequence[str], names: Sequence[str], canvas: Size, params: MapParams
    ) -> None:
        self.path, self.names = path, tuple(names)
        try:
            missing = [sample_id for sample_id in sample_ids if sample_id not in self._store.rows]
        except StoreError as error:
            raise ConfigError(f"maps are to be loaded, and do not exist: {error}") from error
        problems = list(self._problems(canvas, params))
        if problems:
            raise ConfigError(
                f"the maps in {path} are not those that drawing gives: {'; '.join(problems)}",
                Remedy("run", ("maps",), ", or set the configuration back"),
            )
        if missing:
            raise ConfigError(
                f"{path} has no maps of {missing[0]}; {len(missing)} are missing", Remedy("run", ("maps",))
            )

    def read(self, sample_id: str) -> dict[str, NDArray[Any]]:
        """Read a copy of a sample's maps, verified."""
        row = self._store.rows[sample_id]
        return {name: np.array(self._store.value(name, row)) for name in self.names}

    def _problems(self, canvas: Size, params: MapParams) -> Iterator[str]:
        for name in self.names:
            if name not in self._store.declared:
                yield f"there is no {name}"
        drawn = self._store.info.recipe.get("parameters", {})
        wanted = {**params.model_dump(mode="json"), "canvas": list(canvas)}
        for key, value in wanted.items():
            if drawn.get(key, value) != value:
                yield f"stages.maps.{key} {drawn[key]} → {value}"

    @cached_property
    def _store(self) -> Store:
        return open_store(self.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "names": self.names}
