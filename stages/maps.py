"""Stage maps: polygons on the canvas → DBNet's probability and threshold maps."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar

import cv2
import numpy as np

from ocr.geometry import transform_points
from ocr.params import MapParams
from ocr.tensors import MAP_DTYPES
from pipeline.stage import Chunked, Field, Inputs, Stage


class Maps(Stage, MapParams):
    """Draw a sample's maps on a canvas of height × width, which is the one that decode puts it on."""

    name: ClassVar[str] = "maps"
    version: ClassVar[int] = 1
    store: ClassVar[str] = "maps.zarr"
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "canonicalize": ("points", "ignore"),
        "decode": ("matrix",),
    }

    canvas: tuple[int, int] = (640, 640)

    def fields(self) -> tuple[Field, ...]:
        """Declare the four maps."""
        return tuple(Chunked(name, dtype, (1, *self.canvas)) for name, dtype in MAP_DTYPES.items())

    def libraries(self) -> Mapping[str, str]:
        """OpenCV fills outlines, Clipper offsets them."""
        return {"opencv": cv2.__version__, "pyclipper": version("pyclipper")}

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        """Bring the polygons onto the canvas, in float64, and draw their maps."""
        from ocr.maps import (
            build_maps,
        )  # here: numba takes longer to load than a command that only looks takes

        truth, matrix = inputs.values["canonicalize"], inputs.values["decode"]["matrix"]
        polygons = [transform_points(matrix, points) for points in truth["points"]]
        maps = build_maps(polygons, truth["ignore"], *self.canvas, self)
        return {
            "prob_map": maps.prob_map,
            "prob_mask": maps.prob_mask,
            "thresh_map": maps.thresh_map.astype(np.float16),
            "thresh_mask": maps.thresh_mask,
        }
