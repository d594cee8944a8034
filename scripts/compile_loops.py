"""Compile the loops of stages and validation: numba keeps them beside the modules, and runs load them."""

from __future__ import annotations

import numpy as np
import torch

from ocr.datasets.batches import Normaliser
from ocr.detection import BoxDecoder
from ocr.images import resize
from ocr.maps import MapParams, as_float16, build_maps
from ocr.metrics import CLEval, IouHmean
from ocr.params import BoxParams


def main() -> None:
    """Call each of them once, with arguments of the types that runs give them."""
    resize(np.zeros((4, 4, 3), np.uint8), (2, 2))
    square = np.array([[8, 8], [24, 8], [24, 24], [8, 24]], np.float32)
    as_float16(build_maps([square], [False], 32, 32, MapParams()).thresh_map)
    prob_map = np.zeros((32, 32), np.float32)
    prob_map[8:24, 8:24] = 1
    for shape in ("box", "polygon"):
        BoxDecoder(BoxParams(shape=shape)).decode_one(prob_map, np.eye(3), (32, 32))
    for metric in (IouHmean(), CLEval()):
        metric.update([[square]], [[square]])
    for dtype in (torch.float32, torch.bfloat16):
        Normaliser((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), dtype)  # compiles when it is made


if __name__ == "__main__":
    main()
