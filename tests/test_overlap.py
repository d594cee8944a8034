"""The pool gives what no pool gives, in the same order, and names the sample that fails."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from ocr.params import OverlapParams
from ocr.training import OrderedPool
from pipeline.errors import PipelineError

POOLS = {
    "inline": OverlapParams(workers=0),
    "one thread": OverlapParams(workers=1),
    "threads": OverlapParams(workers=3),
    "threads, few pending": OverlapParams(workers=3, most_pending=2),
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


def test_results_come_in_the_order_of_submission(params):
    results = []
    with closing(OrderedPool(params)) as overlap:
        for number in range(40):
            overlap.submit(f"{number}.jpg", double, number)
            results += overlap.finished()
        results += overlap.drain()
        assert list(overlap.drain()) == list(overlap.finished()) == []
    assert results == [2 * number for number in range(40)]


def test_a_pool_serves_one_epoch_after_another(params):
    with closing(OrderedPool(params)) as overlap:
        for epoch in range(2):
            for number in range(5):
                overlap.submit("a.jpg", double, number + epoch)
            assert list(overlap.drain()) == [2 * (number + epoch) for number in range(5)]


def test_the_sample_that_fails_is_named(params):
    results = []
    overlap = OrderedPool(params)
    with (
        pytest.raises(PipelineError, match=r"sample receipts/3\.jpg: three is refused") as caught,
        closing(overlap),
    ):
        for number in range(8):
            overlap.submit(f"receipts/{number}.jpg", refuse_three, number)
            results += overlap.finished()
        for result in overlap.drain():
            results.append(result)
    assert isinstance(caught.value.__cause__, ValueError)
    assert results == [0, 1, 2][: len(results)]


def test_the_caller_goes_on_while_a_sample_is_worked_on():
    gate = threading.Event()
    with closing(OrderedPool(OverlapParams(workers=1))) as overlap:
        overlap.submit("a.jpg", gate.wait, 30)
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

    with closing(OrderedPool(OverlapParams(workers=2, most_pending=3))) as overlap:
        for _ in range(50):
            overlap.submit("a.jpg", count)
            with lock:
                running += 1
                most = max(most, running)
        list(overlap.drain())
    assert most <= 3
