"""CLEval against the published package and IoU H-mean against a public one.

    OMP_NUM_THREADS=1 python -m benchmarks.metrics [RECEIPTS]

Predictions are the receipts' own lines, a few pixels off, some split, some missed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import arguments, compare_cases, note, parse, show
from benchmarks.receipts import RECEIPTS, kind_of, receipts_in
from ocr.evaluation import LabelledImage
from ocr.metrics import CLEval, IouHmean
from tests.support import polygon_clipper
from tests.support.receipt_labels import labelled_receipts
from tests.support.referees import cleval_metric, iou_evaluator

Predictions = list[NDArray[np.float32]]
Sides = dict[str, Callable[[LabelledImage, Predictions], Any]]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("receipts", type=Path, nargs="?", help=RECEIPTS)
    rng = np.random.default_rng(0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--step", type=int, default=3, help="every so many receipts")
    parser.add_argument("--samples", type=int, default=24, help="receipts to draw where no folder is given")
    options = parse(parser)
    data = kind_of(options.receipts)
    with receipts_in(options.receipts, options.samples) as folder:
        cases = [(image, found(image, rng)) for image in labelled_receipts(folder, options.step)]
    regions = np.mean([len(image.polygons) for image, _ in cases])
    for name, theirs, sides in (("CLEval", cleval_metric(), cleval), ("IoU H-mean", iou_evaluator(), iou)):
        if theirs is None:
            note(f"{name}: what it is compared with is missing; tests/referees.txt names it")
        else:
            title = f"{name}, {len(cases)} images of {regions:.0f} regions"
            told = {"metric": name, "images": len(cases), "regions": round(regions), "data": data}
            show(title, compare_cases(sides(theirs()), cases, options.rounds), **told)


def found(image: LabelledImage, rng: np.random.Generator) -> Predictions:
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


def cleval(metric: Any) -> Sides:
    """Both `update`s."""
    ours = CLEval()

    def our_update(image: LabelledImage, predictions: Predictions) -> None:
        ours.update([predictions], [image.polygons], texts=[image.texts], ignore=[image.ignore])

    def their_update(image: LabelledImage, predictions: Predictions) -> None:
        corners = [np.array(polygons).reshape(-1, 8) for polygons in (predictions, image.polygons)]
        metric.update(*corners, [""] * len(predictions), image.texts, image.ignore)

    clipper = "shapely, Polygon3 is missing" if sys.modules["Polygon"] is polygon_clipper else "Polygon3"
    return {"warmstore": our_update, f"the published package (with {clipper})": their_update}


def iou(evaluator: Any) -> Sides:
    """Our `update` and the public evaluator."""
    ours = IouHmean()

    def our_update(image: LabelledImage, predictions: Predictions) -> None:
        ours.update([predictions], [image.polygons], ignore=[image.ignore])

    def their_update(image: LabelledImage, predictions: Predictions) -> None:
        true = [{"points": p, "ignore": flag} for p, flag in zip(image.polygons, image.ignore, strict=True)]
        evaluator.evaluate_image(true, [{"points": points} for points in predictions])

    return {"warmstore": our_update, "a public one": their_update}


if __name__ == "__main__":
    main()
