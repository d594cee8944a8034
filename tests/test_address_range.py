"""Ranges of addresses: whole pages, and a system that refuses what is asked or does not know it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.memory import PAGE, AddressRange, MappedArray, address_range, whole_pages
from pipeline.store import open_store
from tests.support.stores import sample, tensors_store

CANVAS = (64, 64)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda region: AddressRange(1 << 60), "bytes of addresses"),
        (lambda region: region.place(0, -1, PAGE), "mapping"),
        (lambda region: region.resident(1 << 46, PAGE), "residency"),
        (lambda region: region.lock(1 << 46, PAGE), "locking"),
    ],
)
def test_what_the_system_refuses_is_an_error(ask: Callable[[AddressRange], object], told: str) -> None:
    with pytest.raises(OSError, match=rf"\[Errno (9|12|22)\] .*{told}"):
        ask(AddressRange(PAGE))


def test_an_older_kernel_reads_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = MappedArray(open_store(tensors_store(tmp_path, 2, CANVAS)), "image")
    looked: list[int] = []
    whole = AddressRange.bytes
    monkeypatch.setattr(AddressRange, "bytes", lambda self: looked.append(1) or whole(self))
    array.read_in(0)
    known = len(looked)
    for advice in ("_MADV_POPULATE_READ", "_MADV_COLLAPSE"):
        monkeypatch.setattr(address_range, advice, 12345)
    np.testing.assert_array_equal(array.read_in(1), sample(1, *CANVAS)["image"][None])
    assert len(looked) == 2 * known + 1
    assert not array.region.collapse(0, PAGE)


@given(size=st.integers(0, 10**12))
def test_whole_pages_are_the_fewest_that_hold_a_size(size: int) -> None:
    assert 0 <= whole_pages(size) - size < PAGE
    assert whole_pages(size) % PAGE == 0
