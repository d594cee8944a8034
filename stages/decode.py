"""Stage decode: upright image file → pixels on the canvas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ocr.images import libraries, resize
from ocr.preprocess import DecodeParams, decode_upright
from pipeline.stage import Chunked, Field, Inputs, Row, Stage, Text


class Decode(Stage, DecodeParams):
    """Decode, resize by the longest side, and place on the canvas."""

    name: ClassVar[str] = "decode"
    version: ClassVar[int] = 2
    store: ClassVar[str] = "decode.zarr"
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {"canonicalize": ("upright", "size")}
    lazy_imports: ClassVar[tuple[str, ...]] = ("stages.decode_prepared",)

    def fields(self) -> tuple[Field, ...]:
        """Declare the pixels, the matrix, and the decoder that was used."""
        return (
            Chunked("image", "uint8", (3, *self.canvas), codec="zstd"),
            Row("matrix", "float64", (3, 3)),
            Text("decoder", tally=True),
        )

    def libraries(self) -> Mapping[str, str]:
        """TurboJPEG decodes JPEG, Pillow the rest."""
        pillow = {"Pillow": libraries.pillow()}
        return {"libjpeg-turbo": libraries.libjpeg_turbo(), **pillow} if self.use_turbojpeg else pillow

    def prepare(self) -> None:
        """Load the loops that resize, or compile them."""
        resize(np.zeros((2, 2, 3), np.uint8), (1, 1))

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        """Decode the sample's upright file."""
        decoded = decode_upright(inputs.values["canonicalize"]["upright"].data, self)
        return {"image": decoded.image, "matrix": decoded.matrix, "decoder": decoded.decoder}
