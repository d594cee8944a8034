"""CLEval against the published package and IoU H-mean against a public one, in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.metrics RECEIPTS [--json]

RECEIPTS is a folder with `img/NNN.jpg` and `box/NNN.csv`. Predictions are the receipts' own lines, a few
pixels off, some split, some missed. Both sides take every image in turn; of the rounds, the fastest
counts for each image. Times are CPU milliseconds of this thread.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.turns import fastest
from ocr.evaluation import LabelledImage
from ocr.metrics import CLEval, IouHmean
from tests.support.receipt_labels import labelled_receipts
from tests.support.referees import cleval_metric, iou_evaluator

ROUNDS = 3
Case = tuple[LabelledImage, list[NDArray[np.float32]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("receipts", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    cases = [(image, found(image, rng)) for image in labelled_receipts(arguments.receipts, step=3)]
    results = [compare_cleval(cases), compare_iou(cases)]
    if arguments.json:
        print(json.dumps(results))
        return
    print(f"{len(cases)} images, {np.mean([len(image.polygons) for image, _ in cases]):.1f} regions each")
    for result in results:
        print(
            "{name:8} H-mean {hmean:.6f} (theirs {their_hmean:.6f})  ours {ours_ms:6.3f} ms  "
            "theirs {their_ms:6.2f} ms  ratio {ratio:5.1f}".format(**result)
        )


def found(image: LabelledImage, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    """Predictions of an image: one line in ten missed, one in ten in two parts, all a few pixels off."""
    predictions = []
    for polygon in image.polygons:
        kind, moved = rng.random(), (polygon + rng.normal(0, 2, (4, 2))).astype(np.float32)
        middle = (moved[[0, 3]] + moved[[1, 2]]) / 2
        if kind < 0.8:
            predictions.append(moved)
        elif kind < 0.9:
            predictions.append(np.stack([moved[0], middle[0], middle[1], moved[3]]))
            predictions.append(np.stack([middle[0], moved[1], moved[2], middle[1]]))
    return predictions


def compare_cleval(cases: list[Case]) -> dict[str, Any]:
    """Both `update`s, image by image."""
    metric_class = cleval_metric()
    if metric_class is None:
        raise SystemExit("the metric to compare with is missing: pip install --no-deps cleval Polygon3")
    ours, theirs = CLEval(), metric_class()

    def our_update(image: LabelledImage, predictions: list[NDArray[np.float32]]) -> None:
        ours.update([predictions], [image.polygons], texts=[image.texts], ignore=[image.ignore])

    def their_update(image: LabelledImage, predictions: list[NDArray[np.float32]]) -> None:
        theirs.update(
            np.array(predictions).reshape(-1, 8),
            np.array(image.polygons).reshape(-1, 8),
            [""] * len(predictions),
            image.texts,
            image.ignore,
        )

    ours_ms, their_ms = alternate(our_update, their_update, cases)
    return report("CLEval", ours.compute()["hmean"], float(theirs.compute()["det_h"]), ours_ms, their_ms)


def compare_iou(cases: list[Case]) -> dict[str, Any]:
    """Our `update` against the public evaluator, image by image."""
    evaluator_class = iou_evaluator()
    if evaluator_class is None:
        raise SystemExit("the metric to compare with is missing: pip install --no-deps openocr-python")
    ours, theirs, results = IouHmean(), evaluator_class(), []

    def our_update(image: LabelledImage, predictions: list[NDArray[np.float32]]) -> None:
        ours.update([predictions], [image.polygons], ignore=[image.ignore])

    def their_update(image: LabelledImage, predictions: list[NDArray[np.float32]]) -> None:
        true = [{"points": p, "ignore": flag} for p, flag in zip(image.polygons, image.ignore, strict=True)]
        results.append(theirs.evaluate_image(true, [{"points": points} for points in predictions]))

    ours_ms, their_ms = alternate(our_update, their_update, cases)
    return report("IoU", ours.compute()["hmean"], theirs.combine_results(results)["hmean"], ours_ms, their_ms)


def alternate(
    ours: Callable[..., None], theirs: Callable[..., None], cases: list[Case]
) -> tuple[float, float]:
    """CPU milliseconds per image of both sides; every image is updated equally often on both."""
    times = []
    for case in cases:
        spent, _ = fastest({"ours": partial(ours, *case), "theirs": partial(theirs, *case)}, ROUNDS)
        times.append((spent["ours"], spent["theirs"]))
    ours_ms, their_ms = np.mean(times, axis=0)
    return float(ours_ms), float(their_ms)


def report(name: str, hmean: float, their_hmean: float, ours_ms: float, their_ms: float) -> dict[str, Any]:
    """One line of the result."""
    return {
        "name": name,
        "hmean": hmean,
        "their_hmean": their_hmean,
        "ours_ms": ours_ms,
        "their_ms": their_ms,
        "ratio": their_ms / ours_ms,
    }


if __name__ == "__main__":
    main()
