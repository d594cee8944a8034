"""Charts: well-formed whatever is drawn, within their frame, and told in words."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmstore.report import Distribution, histogram, lines, stacked, ticks

numbers = st.lists(st.floats(0, 1e6) | st.integers(0, 50).map(float), max_size=30)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=8)


def within(drawn: str) -> ElementTree.Element:
    """Parse a chart whose every mark lies inside its view box."""
    root = ElementTree.fromstring(drawn)
    *_, width, height = map(float, root.attrib["viewBox"].split())
    for bar in root.iter("rect"):
        x, y, w, h = (float(bar.attrib[name]) for name in ("x", "y", "width", "height"))
        assert w >= 0 and h >= 0 and x >= 0 and y >= -0.1 and x + w <= width + 0.2 and y + h <= height + 0.1
    for dot in root.iter("circle"):
        assert 0 <= float(dot.attrib["cx"]) <= width and 0 <= float(dot.attrib["cy"]) <= height
    return root


@given(st.dictionaries(names, numbers, min_size=1, max_size=3), st.none() | st.floats(0, 100))
def test_histograms(values: dict[str, list[float]], mark: float | None) -> None:
    drawn = histogram(Distribution("<Height>", "pixels", values, mark, "limit"))
    if not any(values.values()):
        assert drawn == ""
        return
    root = within(drawn)
    label = root.attrib["aria-label"]
    assert label.startswith("<Height>, pixels.") and all(f"{split}: " in label for split in values)


def test_the_bars_of_a_split_are_its_shares() -> None:
    root = within(histogram(Distribution("Words", "per image", {"train": [1, 1, 1, 2], "val": [2]})))
    told = [title.text for title in root.iter("title")]
    assert told == [
        "train: 75.0% from 0.5 to 1.5 per image",
        "train: 25.0% from 1.5 to 2.5 per image",
        "val: 0.0% from 0.5 to 1.5 per image",
        "val: 100.0% from 1.5 to 2.5 per image",
    ]
    heights = [float(bar.attrib["height"]) for bar in root.iter("rect")]
    np.testing.assert_allclose(heights, np.array([0.75, 0.25, 0, 1]) * max(heights), atol=0.1)


curve = st.lists(st.tuples(st.integers(0, 200).map(float), st.floats(0, 1e4)), min_size=1, max_size=20)


@given(st.dictionaries(names, curve, min_size=1, max_size=3))
def test_lines(series: dict[str, list[tuple[float, float]]]) -> None:
    root = within(lines(series, "Loss"))
    assert len(list(root.iter("circle"))) == sum(map(len, series.values()))


@given(st.dictionaries(names, st.dictionaries(names, st.floats(0, 1e12), max_size=4), max_size=4))
def test_stacked_bars(rows: dict[str, dict[str, float]]) -> None:
    told = {name: {part: (value, "words") for part, value in parts.items()} for name, parts in rows.items()}
    root = within(stacked(told, "Bytes"))
    assert len(list(root.iter("rect"))) == sum(map(len, rows.values()))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.13, [0, 0.05, 0.1]),
        (3, 3, [3]),
        (950, 7100, [2000, 4000, 6000]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected
