"""Box decoding against the common Python loop, on the same soft maps.

    OMP_NUM_THREADS=1 python -m benchmarks.postprocess [RECEIPTS]

Receipts with 45 to 55 lines are used, at 640 x 640. The loop is OpenOCR's `DBPostProcess` (PaddleOCR's), with
the same thresholds, so that both sides find the same regions.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from benchmarks.measure import arguments, compare_cases, note, parse, show
from benchmarks.receipts import RECEIPTS, kind_of, receipts_in
from ocr.detection import BoxDecoder
from ocr.params import BoxParams
from tests.support.receipt_labels import labelled_receipts, soft_map
from tests.support.referees import db_post_process


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("receipts", type=Path, nargs="?", help=RECEIPTS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--samples", type=int, default=24, help="receipts to draw where no folder is given")
    options = parse(parser)
    with receipts_in(options.receipts, options.samples) as folder:
        images = labelled_receipts(folder)
    cv2.setNumThreads(1)
    post_process = db_post_process()
    if post_process is None:
        note("the loop to compare with is missing; tests/referees.txt names it")
        return
    maps = [(soft_map(image),) for image in images if 45 <= len(image.polygons) <= 55]
    for shape, score_mode in (("box", "fast"), ("box", "slow"), ("polygon", "fast")):
        asked = {"unclip_ratio": 1.5, "min_size": 1.0, "shape": shape, "score_mode": score_mode}
        decoder = BoxDecoder(BoxParams.model_validate(asked))
        loop = post_process(thresh=0.3, box_thresh=0.6, unclip_ratio=1.5, score_mode=score_mode)
        loop.min_size = 1
        find = loop.boxes_from_bitmap if shape == "box" else loop.polygons_from_bitmap
        sides = {
            "warmstore": lambda soft, ours=decoder: ours.decode_one(soft, np.eye(3), soft.shape),
            "the common loop": lambda soft, find=find: find(soft, soft > 0.3, *soft.shape[::-1]),
        }
        found = compare_cases(sides, maps, options.rounds)
        told = {"shape": shape, "score": score_mode, "maps": len(maps), "data": kind_of(options.receipts)}
        show(f"{shape}, {score_mode} score, {len(maps)} maps", found, **told)


if __name__ == "__main__":
    main()
