"""Stage maps: polygons on the canvas → DBNet's probability and threshold maps."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar

import cv2
import numpy as np

from ocr.params import MapParams
from ocr.preprocess import MAP_DTYPES, final_maps
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
    lazy_imports: ClassVar[tuple[str, ...]] = ("stages.maps_prepared",)

    canvas: tuple[int, int] = (640, 640)
    """Height and width."""

    def fields(self) -> tuple[Field, ...]:
        """Declare the four maps."""
        return tuple(Chunked(name, dtype, (1, *self.canvas)) for name, dtype in MAP_DTYPES.items())

    def libraries(self) -> Mapping[str, str]:
        """OpenCV fills outlines, Clipper offsets them."""
        return {"opencv": cv2.__version__, "pyclipper": version("pyclipper")}

    def prepare(self) -> None:
        """Compile the loops that draw: for an upright box, one that is turned, and an outline with a dent."""
        box, turned = [[8, 8], [48, 8], [48, 24], [8, 24]], [[8, 16], [40, 8], [48, 24], [16, 40]]
        dented = [[8, 8], [48, 8], [48, 40], [28, 16], [8, 40]]
        points = [np.array(outline, np.float32) for outline in (box, turned, dented)]
        final_maps(points, np.zeros(len(points), np.uint8), np.eye(3), (64, 64), self)

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        """Bring the sample's polygons onto the canvas, and draw their maps."""
        truth, matrix = inputs.values["canonicalize"], inputs.values["decode"]["matrix"]
        return final_maps(truth["points"], truth["ignore"], matrix, self.canvas, self)
