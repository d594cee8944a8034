"""A stage that costs next to nothing, as its import does: what a run over it takes is the engine's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from pipeline.stage import Chunked, Field, Inputs, Stage


class Trivial(Stage):
    """A stage that does next to nothing, on a tiny canvas."""

    name = "trivial"
    version = 1
    store = "trivial.zarr"
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def fields(self) -> tuple[Field, ...]:
        return (Chunked("image", "uint8", (3, 8, 8), codec="none"),)

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        return {"image": np.full((3, 8, 8), inputs.source % 251, dtype=np.uint8)}
