"""The final layout of a sample: what training and validation read, with nothing left to do but normalise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ocr.geometry import Size, transform_points
from ocr.params import MapParams
from pipeline.stage import Codec, Parameters

Unit = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
ImageType = Literal["uint8", "float16", "bfloat16", "float32"]

IMAGE_DTYPES: dict[ImageType, str] = {
    "uint8": "uint8",
    "float16": "float16",
    "bfloat16": "uint16",
    "float32": "float32",
}

MAP_DTYPES = {
    "prob_map": "uint8",
    "prob_mask": "uint8",
    "thresh_map": "float16",
    "thresh_mask": "uint8",
}

BYTES_PER_PIXEL = 3 + sum(np.dtype(dtype).itemsize for dtype in MAP_DTYPES.values())
"""Of the canvas, in a store of uint8 images that is not compressed."""


class TensorParams(Parameters):
    """How images are stored for training."""

    dtype: ImageType = "uint8"
    """`uint8` keeps pixels, 0 to 255, which are normalised on the device.

    The others hold (x / 255 − mean) / std; `bfloat16` is stored as its bits in uint16.
    """
    mean: tuple[Unit, Unit, Unit] = (0.485, 0.456, 0.406)
    """Of R, G, B in 0…1 (ImageNet's by default); in the store's attributes, whatever `dtype` is."""
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    """As `mean`."""
    codec: Codec = "none"
    """`none` makes chunks that can be mapped; `lz4` and `zstd` are smaller, for `cache.mode=ram`."""


def final_maps(
    points: Sequence[NDArray[np.float32]],
    ignore: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    canvas: Size,
    params: MapParams,
) -> dict[str, NDArray[Any]]:
    """Draw the maps of a sample, each (1, H, W) in its stored dtype.

    `points` are polygons in the upright frame; `matrix`, upright pixel → canvas pixel, brings them onto
    the canvas of (height, width) in float64.
    """
    from ocr.maps import as_float16, build_maps

    edges = [0, *accumulate(map(len, points))]
    moved = transform_points(matrix, np.concatenate([np.empty((0, 2), np.float32), *points]))
    maps = build_maps([moved[a:b] for a, b in pairwise(edges)], ignore, *canvas, params)
    return {**vars(maps), "thresh_map": as_float16(maps.thresh_map)}


def final_image(image: NDArray[np.uint8], params: TensorParams) -> NDArray[Any]:
    """Bring a uint8 (3, H, W) image into the stored dtype: (x / 255 - mean) / std unless that is uint8.

    Computed in float32 and rounded once, to nearest even.
    """
    if params.dtype == "uint8":
        return image
    mean, std = (np.array(v, dtype=np.float32).reshape(3, 1, 1) for v in (params.mean, params.std))
    normalised = (image.astype(np.float32) / np.float32(255) - mean) / std
    if params.dtype == "bfloat16":
        bits = normalised.view(np.uint32)
        return ((bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return normalised.astype(IMAGE_DTYPES[params.dtype])
