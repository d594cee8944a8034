"""Stage tensors: pixels, maps and ground truth side by side, in the layout that training reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ocr.preprocess import IMAGE_DTYPES, MAP_DTYPES, TensorParams, final_image
from pipeline.stage import Chunked, Field, Inputs, Row, Stage
from stages.canonicalize import TRUTH


class Tensors(Stage, TensorParams):
    """The one store that training and validation read."""

    name: ClassVar[str] = "tensors"
    version: ClassVar[int] = 1
    store: ClassVar[str] = "tensors.zarr"
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "canonicalize": tuple(field.name for field in TRUTH),
        "decode": ("image", "matrix"),
        "maps": tuple(MAP_DTYPES),
    }

    canvas: tuple[int, int] = (640, 640)
    """Height and width."""

    def fields(self) -> tuple[Field, ...]:
        """Declare the hot fields, which are mapped, and the ground truth in the upright frame."""
        image = Chunked(
            "image", IMAGE_DTYPES[self.dtype], (3, *self.canvas), self.codec, ("channel", "y", "x")
        )
        maps = [
            Chunked(name, dtype, (1, *self.canvas), self.codec, ("one", "y", "x"))
            for name, dtype in MAP_DTYPES.items()
        ]
        return (
            image,
            *maps,
            Row("matrix", "float64", (3, 3)),
            *TRUTH,
        )

    def attributes(self) -> Mapping[str, Any]:
        """Say what normalises the images, and whether that has been done."""
        return {
            "image_dtype": self.dtype,
            "normalised": self.dtype != "uint8",
            "mean": list(self.mean),
            "std": list(self.std),
        }

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        """Bring one sample's parts together."""
        truth, decoded, maps = (inputs.values[name] for name in self.reads)
        return {**truth, **maps, "image": final_image(decoded["image"], self), "matrix": decoded["matrix"]}
