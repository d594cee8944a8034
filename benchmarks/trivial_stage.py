"""Stages that cost next to nothing, as their import does: what a run over them takes is the engine's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from pipeline.stage import Chunked, Field, Inputs, Row, Stage


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


class Sleeping(Stage):
    """A stage that takes time and no core."""

    name = "sleeping"
    version = 1
    store = "sleeping.zarr"
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    milliseconds: float

    def fields(self) -> tuple[Field, ...]:
        return (Row("number", "int64"),)

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        time.sleep(self.milliseconds / 1e3)
        return {"number": np.int64(inputs.source)}
