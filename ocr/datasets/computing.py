"""A sample computed from its raw files: the same calls, in the same order, as the stages make."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr.canonical import CanonicalParams, RawSample, canonicalize
from ocr.decoding import DecodeParams, decode_upright
from ocr.geometry import letterbox, transform_points
from ocr.maps import MapParams, build_maps
from ocr.tensors import MAP_DTYPES, TensorParams, final_image
from pipeline.errors import PipelineError, Quarantine

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class OnlineParams:
    """The parameters of the stages that computing stands in for."""

    canonicalize: CanonicalParams = field(default_factory=CanonicalParams)
    decode: DecodeParams = field(default_factory=DecodeParams)
    maps: MapParams = field(default_factory=MapParams)
    tensors: TensorParams = field(default_factory=TensorParams)


@dataclass(frozen=True)
class Truth:
    """Ground truth in the upright frame, float32 points, and the sample's place on the canvas.

    `matrix`: float64 (3, 3), upright pixel → canvas pixel. `size`: upright height and width.
    """

    points: tuple[NDArray[np.float32], ...]
    ignore: NDArray[np.uint8]
    text: tuple[str, ...]
    size: tuple[int, int]
    matrix: NDArray[np.float64]


class SampleComputer:
    """Computes the parts of a sample. What cannot be used raises PipelineError with the verdict."""

    def __init__(self, params: OnlineParams) -> None:
        self.params = params

    def truth(self, sample_id: str, raw: RawSample) -> tuple[Truth, bytes]:
        """Give the ground truth, and the bytes of the upright image file."""
        with _verdict_as_error(sample_id):
            found = canonicalize(raw, self.params.canonicalize)
        decode = self.params.decode
        matrix = letterbox(found.size, decode.canvas, decode.padding).matrix
        return Truth(found.points, found.ignore, found.text, found.size, matrix), found.upright

    def image(self, sample_id: str, upright: bytes) -> Arrays:
        """Decode an upright file: (3, H, W) in the dtype that training reads."""
        with _verdict_as_error(sample_id):
            decoded = decode_upright(upright, self.params.decode)
        return {"image": final_image(decoded.image, self.params.tensors)}

    def maps(self, truth: Truth) -> Arrays:
        """Draw the maps, each (1, H, W)."""
        polygons = [transform_points(truth.matrix, points) for points in truth.points]
        maps = build_maps(polygons, truth.ignore, *self.params.decode.canvas, self.params.maps)
        return {name: getattr(maps, name).astype(dtype, copy=False) for name, dtype in MAP_DTYPES.items()}


@contextmanager
def _verdict_as_error(sample_id: str) -> Iterator[None]:
    try:
        yield
    except Quarantine as verdict:
        raise PipelineError(
            f"{sample_id} cannot be used ({verdict}); leave it out with samples=…, or read the store, "
            "which lists it as quarantined"
        ) from verdict
