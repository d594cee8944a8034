"""CLEval against the authors' package, and by hand where the package has no answer."""

from __future__ import annotations

import numpy as np
import pytest

from ocr.metrics import CLEval, aspect_ratios, corners_of, estimated_lengths, place_centres
from tests.support.receipt_labels import labelled_receipts
from tests.support.referees import cleval_metric


def box(x0, y0, x1, y1, dtype=np.float32):
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=dtype)


def scores(predictions, targets, texts=None, ignore=None):
    metric = CLEval()
    metric.update(
        [predictions],
        [targets],
        texts=None if texts is None else [texts],
        ignore=None if ignore is None else [ignore],
    )
    return metric.compute()


@pytest.fixture(scope="module")
def referee():
    metric = cleval_metric()
    if metric is None:
        pytest.skip("cleval is not installed: see tests/support/referees.py")
    return metric


def assert_equal(referee, images):
    """Compare image by image, and all images together."""
    whole, ours = referee(), CLEval()
    for predictions, targets, texts, ignore in images:
        one = referee()
        for metric in (one, whole):
            metric.update(
                np.array(predictions).reshape(-1, 8),
                np.array(targets).reshape(-1, 8),
                [""] * len(predictions),
                texts,
                ignore,
            )
        ours.update([predictions], [targets], texts=[texts], ignore=None if ignore is None else [ignore])
        assert_same(one.compute(), scores(predictions, targets, texts, ignore))
    expected = whole.compute()
    assert expected["det_h"] > 0.1
    assert_same(expected, ours.compute())


def assert_same(expected, result):
    for theirs, name in {"det_p": "precision", "det_r": "recall", "det_h": "hmean"}.items():
        assert result[name] == pytest.approx(float(expected[theirs]), abs=1e-6)
    assert result["split_targets"] == expected["num_splitted"]
    assert result["merged_predictions"] == expected["num_merged"]


def disturbed(rng, targets):
    """Make predictions of targets: kept, jittered, split, resized, merged with another, missed."""
    predictions = []
    for target in targets:
        kind = rng.integers(6)
        middle = (target[[0, 3]] + target[[1, 2]]) / 2
        if kind == 0:
            predictions.append(target)
        elif kind == 1:
            predictions.append(target + rng.normal(0, 4, (4, 2)))
        elif kind == 2:
            predictions.append(np.stack([target[0], middle[0], middle[1], target[3]]))
            predictions.append(np.stack([middle[0], target[1], target[2], middle[1]]))
        elif kind == 3:
            predictions.append((target - target.mean(axis=0)) * rng.uniform(0.4, 2.5) + target.mean(axis=0))
        elif kind == 4:
            both = np.concatenate([target, targets[rng.integers(len(targets))]])
            predictions.append(box(*both.min(axis=0), *both.max(axis=0)))
    return [predictions[i].astype(targets[0].dtype) for i in rng.permutation(len(predictions))]


def random_images(rng, count, dtype):
    """Small, crowded images: slanted, upright, self-intersecting and whole-numbered quadrilaterals."""
    for _ in range(count):
        targets = []
        for _ in range(rng.integers(1, 9)):
            x, y, width, height = rng.integers((0, 0, 1, 1), (120, 120, 60, 30))
            target = box(x, y, x + width, y + height, dtype)
            if rng.random() < 0.5:
                target = (target + rng.normal(0, 3, (4, 2))).astype(dtype)
            if rng.random() < 0.1:
                target = target[rng.permutation(4)]
            targets.append(target)
        texts = ["x" * rng.integers(0, 14) if rng.random() < 0.9 else "###" for _ in targets]
        ignore = None if rng.random() < 0.3 else (rng.random(len(targets)) < 0.25).tolist()
        yield disturbed(rng, targets), targets, texts, ignore


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_published_package_on_random_cases(referee, dtype):
    assert_equal(referee, random_images(np.random.default_rng(5), 150, dtype))


@pytest.mark.slow
def test_equals_the_published_package_on_receipts(referee, receipts):
    rng = np.random.default_rng(11)
    images = []
    for image in labelled_receipts(receipts, step=4):
        ignore = (rng.random(len(image.polygons)) < 0.1).tolist()
        images.append((disturbed(rng, image.polygons), image.polygons, image.texts, ignore))
    assert_equal(referee, images)


LINE = box(0, 0, 100, 20)
LEFT, RIGHT = box(0, 0, 50, 20), box(50, 0, 100, 20)

BY_HAND = {
    # name: predictions, targets, texts, ignore → precision, recall
    "found": ([LINE], [LINE], ["total"], None, 1, 1),
    "found in two parts costs one character": ([LEFT, RIGHT], [LINE], ["x" * 10], None, 1, 9 / 10),
    "two found as one costs one character": ([LINE], [LEFT, RIGHT], ["x" * 5, "x" * 5], None, 9 / 10, 1),
    "half found": ([LEFT], [LINE], ["x" * 10], None, 1, 5 / 10),
    "missed": ([], [LINE], ["total"], None, 0, 0),
    "a false line claims one character": ([LINE, LINE + 500], [LINE], ["total"], None, 5 / 6, 1),
    "a false upright region claims more": ([LINE, box(500, 0, 520, 100)], [LINE], ["total"], None, 5 / 10, 1),
    "don't care is neither missed nor false": ([LINE], [LINE], ["total"], [True], 0, 0),
    "don't care by its text": ([LINE, LINE + 500], [LINE, LINE + 500], ["###", "total"], None, 1, 1),
    "don't care ends where a target begins": (
        [LEFT],
        [LINE, box(0, 0, 45, 20)],
        ["total", "tot"],
        [True, False],
        1,
        1,
    ),
    "too little of a large prediction": ([box(0, 0, 400, 100)], [LINE], ["total"], None, 0, 0),
    "no characters": ([LINE], [LINE], [""], None, 0, 0),
    "without texts, five by the shape": ([LEFT], [LINE], None, None, 1, 2 / 5),
    "a zero-area prediction claims by its shape": (
        [LINE, box(0, 0, 100, 0)],
        [LINE],
        ["total"],
        None,
        5 / 6,
        1,
    ),
}


@pytest.mark.parametrize("case", BY_HAND.values(), ids=BY_HAND.keys())
def test_by_hand(case):
    predictions, targets, texts, ignore, precision, recall = case
    result = scores(predictions, targets, texts, ignore)
    assert (result["precision"], result["recall"]) == pytest.approx((precision, recall))


def test_an_image_without_text():
    metric = CLEval()
    metric.update([[], [LINE]], [[], []])
    result = metric.compute()
    assert (result["precision"], result["recall"], result["hmean"]) == (0, 0, 0)
    assert (result["image_precision"], result["image_recall"], result["image_hmean"]) == (0.5, 1, 0.5)


def centres(polygon, length, vertical=0.5):
    polygons = [np.asarray(polygon, dtype=np.float64)]
    return place_centres(polygons, corners_of(polygons), np.array([length]), vertical).points


def test_centres_follow_the_direction_of_reading():
    assert centres(box(0, 0, 40, 10), 2).tolist() == [[10, 5], [30, 5]]
    assert sorted(centres(box(0, 0, 10, 40), 2).tolist()) == [[5, 10], [5, 30]]
    turned = np.roll(box(0, 0, 10, 40), -1, axis=0)  # the first character's top left is at (10, 0)
    assert centres(turned, 2).tolist() == [[5, 10], [5, 30]]


def test_centres_of_curved_text_lie_in_it():
    angles = np.linspace(np.pi, 0, 8)
    arc = np.stack([np.cos(angles), -np.sin(angles)], axis=1)
    curved = np.concatenate([100 * arc, 80 * arc[::-1]])
    radii = np.linalg.norm(centres(curved, 12), axis=1)
    assert radii.shape == (12,)
    assert ((radii > 80) & (radii < 100)).all()
    assert scores([curved], [curved], ["x" * 12])["hmean"] == 1.0


@pytest.mark.parametrize("points", [3, 5])
def test_other_polygons_are_read_like_the_rectangle_around_them(points):
    polygon = np.array([[0, 0], [100, 0], [100, 20], [50, 20], [0, 20]])[
        [0, 1, 2] if points == 3 else slice(None)
    ]
    assert centres(polygon, 2) == pytest.approx(np.array([[25, 10], [75, 10]]), abs=0.1)


def test_estimated_lengths():
    shapes = [box(0, 0, 100, 20), box(0, 0, 20, 100), box(0, 0, 10, 10), box(0, 0, 1000, 10), box(0, 0, 0, 0)]
    assert estimated_lengths(aspect_ratios(corners_of(shapes))).tolist() == [5, 5, 2, 10, 2]


@pytest.mark.parametrize(
    ("texts", "ignore", "message"),
    [(["a", "b"], None, "2 texts for 1 targets"), (["a"], [1, 0], "2 ignore flags for 1 targets")],
)
def test_wrong_lengths_are_refused(texts, ignore, message):
    with pytest.raises(ValueError, match=message):
        scores([LINE], [LINE], texts, ignore)
