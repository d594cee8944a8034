"""Box decoding against the common Python loop, on the same soft maps, in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.postprocess RECEIPTS [--json]

RECEIPTS is a folder with `img/NNN.jpg` and `box/NNN.csv`; those with 45 to 55 lines are used, at
640 × 640. The loop is OpenOCR's `DBPostProcess` (PaddleOCR's), with the same thresholds, so that both
sides find the same regions. Both decode every map in turn; of the rounds, the fastest counts for each
map. Times are CPU milliseconds of this thread.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.turns import fastest
from ocr.detection import BoxDecoder, BoxParams
from tests.support.receipt_labels import labelled_receipts, soft_map
from tests.support.referees import db_post_process

ROUNDS = 9
MODES = (("box", "fast"), ("box", "slow"), ("polygon", "fast"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("receipts", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    images = [image for image in labelled_receipts(arguments.receipts) if 45 <= len(image.polygons) <= 55]
    maps = [soft_map(image) for image in images]
    results = [compare(maps, shape, score_mode) for shape, score_mode in MODES]
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"{len(maps)} maps of 640 × 640, CPU ms a map")
    for result in results:
        print(
            "{shape:7} {score_mode}  ours {ours_ms:.2f} (slowest {slowest_ms:.2f}; {regions:.1f} regions)  "
            "the loop {loop_ms:.2f} ({loop_regions:.1f} regions)  ratio {ratio:.1f}".format(**result)
        )


def compare(maps: list[Any], shape: str, score_mode: str) -> dict[str, Any]:
    """Time both sides map by map."""
    params = BoxParams.model_validate(
        {"unclip_ratio": 1.5, "min_size": 1.0, "shape": shape, "score_mode": score_mode}
    )
    decoder, loop = BoxDecoder(params), common_loop(shape, score_mode)
    eye, times, regions = np.eye(3), [], []
    for prob_map in maps:
        decode = partial(decoder.decode_one, prob_map, eye, prob_map.shape)
        spent, given = fastest({"ours": decode, "loop": partial(loop, prob_map)}, ROUNDS)
        times.append((spent["ours"], spent["loop"]))
        regions.append((len(given["ours"].polygons), len(given["loop"])))
    (ours_ms, loop_ms), (found, loop_found) = np.mean(times, axis=0), np.mean(regions, axis=0)
    return {
        "shape": shape,
        "score_mode": score_mode,
        "regions": found,
        "loop_regions": loop_found,
        "ours_ms": ours_ms,
        "slowest_ms": max(times)[0],
        "loop_ms": loop_ms,
        "ratio": loop_ms / ours_ms,
    }


def common_loop(shape: str, score_mode: str) -> Callable[[Any], Any]:
    """The public implementation, from a map to its boxes."""
    post_process = db_post_process()
    if post_process is None:
        raise SystemExit("the loop to compare with is missing: pip install --no-deps openocr-python")
    loop = post_process(thresh=0.3, box_thresh=0.6, unclip_ratio=1.5, score_mode=score_mode)
    loop.min_size = 1
    find = loop.boxes_from_bitmap if shape == "box" else loop.polygons_from_bitmap
    return lambda prob_map: find(prob_map, prob_map > 0.3, *prob_map.shape[::-1])[0]


if __name__ == "__main__":
    main()
