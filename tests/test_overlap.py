"""The pool gives what no pool gives, in the same order, and names the sample that fails."""

from __future__ import annotations

import os
import threading
from functools import partial

import numpy as np
import pytest

from ocr.metrics import CLEval, IouHmean
from ocr.overlap import Overlap, OverlapParams, evaluate
from ocr.postprocess import BoxDecoder
from pipeline.errors import PipelineError

POOLS = {
    "inline": OverlapParams(workers=0),
    "one thread": OverlapParams(workers=1),
    "threads": OverlapParams(workers=3),
    "threads, few pending": OverlapParams(workers=3, most_pending=2),
    "processes": OverlapParams(workers=2, kind="processes"),
}


@pytest.fixture(params=POOLS.values(), ids=POOLS.keys(), scope="module")
def params(request):
    return request.param


def double(number):
    return 2 * number


def refuse_three(number):
    if number == 3:
        raise ValueError("three is refused")
    return number


def die(number):
    os._exit(1)


def test_results_come_in_the_order_of_submission(params):
    results = []
    with Overlap(double, params) as overlap:
        for number in range(40):
            overlap.submit(f"{number}.jpg", number)
            results += overlap.finished()
        results += overlap.drain()
        assert list(overlap.drain()) == list(overlap.finished()) == []
    assert results == [2 * number for number in range(40)]


def test_a_pool_serves_one_epoch_after_another(params):
    with Overlap(double, params) as overlap:
        for epoch in range(2):
            for number in range(5):
                overlap.submit("a.jpg", number + epoch)
            assert list(overlap.drain()) == [2 * (number + epoch) for number in range(5)]


def test_the_sample_that_fails_is_named(params):
    results = []
    overlap = Overlap(refuse_three, params)
    with pytest.raises(PipelineError, match=r"sample receipts/3\.jpg: three is refused") as caught, overlap:
        for number in range(8):
            overlap.submit(f"receipts/{number}.jpg", number)
            results += overlap.finished()
        for result in overlap.drain():
            results.append(result)
    assert isinstance(caught.value.__cause__, ValueError)
    assert results == [0, 1, 2][: len(results)]


def test_a_process_that_dies_fails_the_epoch():
    overlap = Overlap(die, POOLS["processes"])
    with pytest.raises(PipelineError, match=r"sample a\.jpg: its worker process died"), overlap:
        overlap.submit("a.jpg", 0)
        list(overlap.drain())


def test_the_caller_goes_on_while_a_sample_is_worked_on():
    gate = threading.Event()
    with Overlap(lambda: gate.wait(30), OverlapParams(workers=1)) as overlap:
        overlap.submit("a.jpg")
        assert list(overlap.finished()) == []
        gate.set()
        assert list(overlap.drain()) == [True]


def test_no_more_samples_than_allowed_are_under_way():
    running, most = 0, 0
    lock = threading.Lock()

    def count():
        nonlocal running
        with lock:
            running -= 1

    with Overlap(count, OverlapParams(workers=2, most_pending=3)) as overlap:
        for _ in range(50):
            overlap.submit("a.jpg")
            with lock:
                running += 1
                most = max(most, running)
        list(overlap.drain())
    assert most <= 3


def samples(count):
    rng = np.random.default_rng(1)
    for number in range(count):
        prob_map, targets = np.zeros((160, 160), dtype=np.float32), []
        for _ in range(6):
            x, y = rng.integers(5, 100, 2)
            prob_map[y : y + 8, x : x + 40] = 1
            targets.append(np.float32([[x, y], [x + 40, y], [x + 40, y + 12], [x, y + 12]]))
        yield f"{number}.jpg", prob_map, np.eye(3), (160, 160), targets, ["total"] * 6, rng.random(6) < 0.2


def test_decoding_and_metrics_are_the_same_as_without_a_pool(params):
    decoder, pooled, alone = BoxDecoder(), (IouHmean(), CLEval()), (IouHmean(), CLEval())
    detections = []
    with Overlap(partial(evaluate, decoder, pooled), params) as overlap:
        for sample in samples(12):
            overlap.submit(*sample)
        for evaluation in overlap.drain():
            detections.append(evaluation.detections)
            for metric, counts in zip(pooled, evaluation.counts, strict=True):
                metric.add(counts)
    for (_, prob_map, matrix, size, targets, texts, ignore), pooled_detections in zip(
        samples(12), detections, strict=True
    ):
        (found,) = decoder.decode(prob_map[None, None], matrix[None], np.array([size]))
        assert np.array_equal(found.polygons, pooled_detections.polygons)
        for metric in alone:
            metric.update([found.polygons], [targets], texts=[texts], ignore=[ignore])
    assert [metric.compute() for metric in pooled] == [metric.compute() for metric in alone]
    assert alone[0].compute()["predictions"] > 0


def test_a_map_with_nan_names_its_sample(params):
    with (
        pytest.raises(PipelineError, match=r"sample b\.jpg: A probability map holds NaN"),
        Overlap(partial(evaluate, BoxDecoder(), ()), params) as overlap,
    ):
        overlap.submit("a.jpg", np.zeros((32, 32), dtype=np.float32), np.eye(3), (32, 32), [])
        overlap.submit("b.jpg", np.full((32, 32), np.nan, dtype=np.float32), np.eye(3), (32, 32), [])
        list(overlap.drain())
