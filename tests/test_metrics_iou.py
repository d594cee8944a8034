"""IouHmean against the ICDAR 2015 protocol: an independent implementation, and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ocr.metrics import IouHmean
from tests.support.referees import iou_evaluator


def box(x0, y0, x1, y1):
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float32)


def scores(predictions, targets, ignore=None):
    metric = IouHmean()
    metric.update([predictions], [targets], ignore=None if ignore is None else [ignore])
    return metric.compute()


LINE = box(0, 0, 100, 10)
SPIKES = np.array([[0, 0], [100, 0], [100, 10], [0, 10], [0, -5], [0, 12]], dtype=np.float32)
DENT = np.array([[0, 0], [50, 40], [50, 40], [100, 0], [50, 50]], dtype=np.float32)

CASES = {
    # name: predictions, targets, ignore → matched, targets in use, predictions in use
    "same": ([LINE], [LINE], [0], (1, 1, 1)),
    "an IoU of exactly one half is no match": ([box(0, 0, 50, 10)], [LINE], [0], (0, 1, 1)),
    "just above one half": ([box(0, 0, 51, 10)], [LINE], [0], (1, 1, 1)),
    "one target, two halves": ([box(0, 0, 50, 10), box(50, 0, 100, 10)], [LINE], [0], (0, 1, 2)),
    "one target, found twice: the second is false": ([LINE, box(0, 0, 99, 10)], [LINE], [0], (1, 1, 2)),
    "one prediction over two targets": ([LINE], [box(0, 0, 50, 10), box(50, 0, 100, 10)], [0, 0], (0, 2, 1)),
    "one prediction, both targets would match": ([LINE], [LINE, box(0, 0, 90, 10)], [0, 0], (1, 2, 1)),
    "greedy in the order given, not optimal": (
        [box(0, 0, 100, 10), box(0, 0, 60, 10)],
        [box(0, 0, 80, 10), box(0, 0, 120, 10)],
        [0, 0],
        (1, 2, 2),
    ),
    "on a don't-care target": ([LINE], [LINE], [1], (0, 0, 0)),
    "exactly half on a don't-care target counts": ([LINE], [box(0, 0, 50, 10)], [1], (0, 0, 1)),
    "more than half on a don't-care target does not": ([LINE], [box(0, 0, 51, 10)], [1], (0, 0, 0)),
    "halves of two don't-care targets do not add up": (
        [LINE],
        [box(0, 0, 50, 10), box(50, 0, 100, 10)],
        [1, 1],
        (0, 0, 1),
    ),
    "don't care wins over a match": ([LINE], [LINE, box(0, 0, 100, 9)], [0, 1], (0, 1, 0)),
    "nothing found": ([], [LINE], [0], (0, 1, 0)),
    "nothing there": ([LINE], [], [], (0, 0, 1)),
    "nothing at all": ([], [], [], (0, 0, 0)),
    "all ignored, nothing found": ([], [LINE], [1], (0, 0, 0)),
    "a zero-area prediction is out of use": ([box(0, 0, 100, 0), LINE], [LINE], [0], (1, 1, 1)),
    "a self-intersecting target is out of use": ([LINE], [LINE[[0, 2, 1, 3]]], [0], (0, 0, 1)),
    "a target with spikes along a side is out of use": ([LINE], [SPIKES], [0], (0, 0, 1)),
    "the corner of a dent may be there twice": ([DENT], [DENT], [0], (1, 1, 1)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_protocol(case):
    predictions, targets, ignore, expected = case
    counts = IouHmean().measure(predictions, targets, ignore=ignore)
    assert (counts.matched, counts.targets, counts.predictions) == expected


def random_image(rng):
    """Quadrilaterals (some self-intersecting), predictions as jittered, split, merged or invented targets."""

    def quadrilateral():
        x, y = rng.uniform(0, 200, 2)
        corners = box(x, y, x + rng.uniform(5, 80), y + rng.uniform(5, 25))
        return corners + rng.normal(0, 4, (4, 2)).astype(np.float32)

    targets = [quadrilateral() for _ in range(rng.integers(0, 25))]
    predictions = [quadrilateral() for _ in range(rng.integers(0, 6))]
    for target in targets:
        kind = rng.integers(5)
        if kind == 0:
            predictions.append(target)
        elif kind == 1:
            predictions.append(target + rng.normal(0, 3, (4, 2)).astype(np.float32))
        elif kind == 2:
            middle = (target[[0, 3]] + target[[1, 2]]) / 2
            predictions.append(np.stack([target[0], middle[0], middle[1], target[3]]))
            predictions.append(np.stack([middle[0], target[1], target[2], middle[1]]))
        elif kind == 3:
            predictions.append((target - target.mean(axis=0)) * rng.uniform(0.5, 1.6) + target.mean(axis=0))
    order = rng.permutation(len(predictions))
    return [predictions[i] for i in order], targets, rng.random(len(targets)) < 0.2


@pytest.fixture(scope="module")
def evaluator_class():
    found = iou_evaluator()
    if found is None:
        pytest.skip("openocr-python is not installed: see tests/support/referees.py")
    return found


def test_equals_an_independent_implementation(evaluator_class):
    evaluator, metric, rng = evaluator_class(), IouHmean(), np.random.default_rng(7)
    results = []
    for _ in range(60):
        predictions, targets, ignore = random_image(rng)
        result = evaluator.evaluate_image(
            [{"points": points, "ignore": flag} for points, flag in zip(targets, ignore, strict=True)],
            [{"points": points} for points in predictions],
        )
        counts = IouHmean().measure(predictions, targets, ignore=ignore)
        assert (counts.matched, counts.targets, counts.predictions) == (
            result["detMatched"],
            result["gtCare"],
            result["detCare"],
        )
        results.append(result)
        metric.update([predictions], [targets], ignore=[ignore])
    expected, ours = evaluator.combine_results(results), metric.compute()
    assert expected["hmean"] > 0.1
    assert {key: ours[key] for key in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("threshold", [0.6, 0.9])
def test_stricter_thresholds_equal_an_independent_implementation(evaluator_class, threshold):
    evaluator, metric, rng = evaluator_class(iou_constraint=threshold), IouHmean(), np.random.default_rng(5)
    results = []
    for _ in range(12):
        predictions, targets, ignore = random_image(rng)
        truth = [{"points": points, "ignore": flag} for points, flag in zip(targets, ignore, strict=True)]
        results.append(evaluator.evaluate_image(truth, [{"points": points} for points in predictions]))
        metric.update([predictions], [targets], ignore=[ignore])
    expected = evaluator.combine_results(results)["hmean"]
    assert metric.compute()[f"hmean@{threshold}"] == pytest.approx(expected, abs=1e-12)
    assert 0.05 < expected < metric.compute()["hmean"]


def test_micro_and_mean_over_images():
    metric = IouHmean()
    metric.update([[LINE], [LINE, LINE + 500]], [[LINE], [LINE, LINE + 100, LINE + 200]])
    result = metric.compute()
    assert (result["precision"], result["recall"]) == (2 / 3, 2 / 4)
    assert result["image_recall"] == pytest.approx((1 + 1 / 3) / 2)
    assert result["image_hmean"] == pytest.approx((1 + 2 / 5) / 2)
    assert result["images"] == 2


@pytest.mark.parametrize(
    ("predictions", "image_rates"), [([], (1.0, 1.0, 1.0)), ([LINE], (0.0, 1.0, 0.0))], ids=["none", "some"]
)
def test_an_image_without_text(predictions, image_rates):
    result = scores(predictions, [])
    assert (result["precision"], result["recall"], result["hmean"]) == (0.0, 0.0, 0.0)
    assert tuple(result[f"image_{name}"] for name in ("precision", "recall", "hmean")) == image_rates


def test_splitting_the_set_over_ranks_changes_nothing():
    rng = np.random.default_rng(3)
    images = [random_image(rng) for _ in range(8)]
    whole, parts = IouHmean(), [IouHmean(), IouHmean()]
    for index, (predictions, targets, ignore) in enumerate(images):
        for metric in (whole, parts[index % 2]):
            metric.update([predictions], [targets], ignore=[ignore])
    for name in ("images", "totals", "image_sums"):
        setattr(parts[0], name, parts[0]._reductions[name](torch.stack([getattr(p, name) for p in parts])))
    assert parts[0].compute() == pytest.approx(whole.compute(), abs=1e-12)


def test_reset_starts_again():
    metric = IouHmean()
    metric.update([[LINE]], [[LINE]])
    metric.reset()
    metric.update([[]], [[LINE]])
    assert (metric.compute()["images"], metric.compute()["hmean"]) == (1, 0.0)


@pytest.mark.parametrize(
    ("predictions", "targets", "ignore", "message"),
    [
        ([[LINE]], [], None, "one entry per image"),
        ([[LINE]], [[LINE]], [[0, 1]], "2 ignore flags for 1 targets"),
        ([[LINE[:2]]], [[LINE]], None, "P >= 3"),
        ([[LINE.ravel()]], [[LINE]], None, "P >= 3"),
        ([[LINE * np.nan]], [[LINE]], None, "finite"),
    ],
)
def test_what_is_no_polygon_is_refused(predictions, targets, ignore, message):
    with pytest.raises(ValueError, match=message):
        IouHmean().update(predictions, targets, ignore=ignore)


def test_the_dtype_and_order_of_points_do_not_matter():
    for points in (LINE[::-1], LINE.tolist(), torch.from_numpy(LINE), LINE.astype(np.float64)):
        assert scores([points], [LINE])["hmean"] == 1.0
