"""Which parameters cost what: the ceiling of receipts by parameters, and box decoding of imperfect maps.

    OMP_NUM_THREADS=1 python -m benchmarks.ceiling RECEIPTS [--every 1]

RECEIPTS is a folder with `img/NNN.jpg` and `box/NNN.csv`; every N-th is used. The first table is what
`warmstore ceiling` tells, for several sets of parameters. The second decodes maps as a detector may
give them: with soft edges, or with regions that are a pixel too thick or too thin.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ocr.detection import BoxDecoder, BoxParams
from ocr.evaluation import LabelledImage, find_ceiling
from ocr.geometry import letterbox
from ocr.maps import MapParams, build_maps
from ocr.metrics import CLEval, IouHmean
from tests.support.receipt_labels import labelled_receipts, on_canvas

CANVASES = (640, 800, 1024, 1280)
REFERENCE = BoxParams(unclip_ratio=1.5, min_size=3.0)
PARAMETERS = {
    "the reference's": (MapParams(), REFERENCE),
    "our boxes": (MapParams(), BoxParams()),
    "min_text_size 3": (MapParams(min_text_size=3), BoxParams()),
    "and shrink_ratio 0.6": (MapParams(min_text_size=3, shrink_ratio=0.6), BoxParams(shrink_ratio=0.6)),
}
Map = NDArray[np.float32]
SQUARE = np.ones((2, 2), dtype=np.uint8)
KERNELS: dict[str, Callable[[Map], Any]] = {
    "exact": lambda prob_map: prob_map,
    "blurred, σ 0.7": lambda prob_map: cv2.GaussianBlur(prob_map, (0, 0), 0.7),
    "blurred, σ 1": lambda prob_map: cv2.GaussianBlur(prob_map, (0, 0), 1),
    "blurred, sharpened, wide": lambda prob_map: wide(cv2.GaussianBlur(prob_map, (0, 0), 1)),
    "1 pixel thicker": lambda prob_map: cv2.dilate(prob_map, SQUARE),
    "1 pixel thinner": lambda prob_map: cv2.erode(prob_map, SQUARE),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("receipts", type=Path)
    parser.add_argument("--every", type=int, default=1)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    images = labelled_receipts(arguments.receipts, arguments.every)
    for name, (maps, boxes) in PARAMETERS.items():
        for side in CANVASES:
            found = find_ceiling(images, (side, side), maps=maps, boxes=boxes)
            lost = ", ".join(f"{loss.value} {count}" for loss, count in found.lost.items() if count)
            print(
                f"{name:21} {side:5} IoU {found.iou['hmean']:.3f} CLEval {found.cleval['hmean']:.3f} "
                f"lost {sum(found.lost.values())} of {found.regions}: {lost} "
                f"[{found.bytes_per_image / 1e6:.1f} MB, {found.maps_ms:.1f} + {found.boxes_ms:.1f} ms]"
            )
    print("\nat 640: IoU H-mean at 0.5, at 0.7, CLEval; boxes by ratio 1.5 | solved")
    for shrink_ratio in (0.4, 0.6):
        for name, imperfect in KERNELS.items():
            boxes_of = (BoxParams(unclip_ratio=1.5), BoxParams(shrink_ratio=shrink_ratio))
            results = [decode_imperfect(images, shrink_ratio, imperfect, boxes) for boxes in boxes_of]
            print(f"shrink_ratio {shrink_ratio} {name:25}", " | ".join(results))


def wide(prob_map: Map) -> Map:
    """Edges as a detector with a bias for text draws them: steep, and outside the true ones."""
    return 1 / (1 + np.exp(8 * (0.35 - prob_map)))


def decode_imperfect(
    images: list[LabelledImage], shrink_ratio: float, imperfect: Callable[[Map], Any], boxes: BoxParams
) -> str:
    """The three H-means of boxes that were decoded from imperfect maps."""
    maps = MapParams(min_text_size=3, shrink_ratio=shrink_ratio)
    decoder, metrics = BoxDecoder(boxes), (IouHmean(), IouHmean(iou_threshold=0.7), CLEval())
    for image in images:
        polygons = on_canvas(image, (640, 640))
        prob_map = build_maps(polygons, image.ignore, 640, 640, maps).prob_map[0].astype(np.float32)
        inverse = np.linalg.inv(letterbox(image.size, (640, 640)).matrix)
        found = decoder.decode_one(np.float32(imperfect(prob_map)), inverse, image.size).polygons
        for metric in metrics:
            metric.update([found], [image.polygons], texts=[image.texts], ignore=[image.ignore])
    return " ".join(f"{metric.compute()['hmean']:.3f}" for metric in metrics)


if __name__ == "__main__":
    main()
