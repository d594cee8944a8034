"""What the stages do to one sample: upright image, canvas, polygons, final tensors."""

from ocr.preprocess.canonical import Canonical, CanonicalParams, RawSample, canonicalize
from ocr.preprocess.decode import DecodeParams, decode_upright
from ocr.preprocess.polygon_repair import PolygonParams, repair_polygons
from ocr.preprocess.tensors import (
    BYTES_PER_PIXEL,
    IMAGE_DTYPES,
    MAP_DTYPES,
    TensorParams,
    final_image,
    final_maps,
)
