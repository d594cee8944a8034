"""Charts as inline SVG; colours and fonts come from the page, so that they suit light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from warmstore.report.facts import Distribution, Point, spread

_WIDTH, _HEIGHT = 360, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 10, 14, 34
_NAMES, _STEP = 104, 22  # of stacked bars: room for their names, and from one to the next
_BINS = 24
_TAIL = 99  # percentile beyond which values share the last bin


def histogram(found: Distribution) -> Markup:
    """Draw the share of each split's values by bin, the splits side by side; the last bin holds the tail.

    Without any value it is empty.
    """
    every = np.concatenate([np.asarray(values, float) for values in found.values.values()])
    if not len(every):
        return Markup("")
    edges = _edges(every)
    shares = {
        split: np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(1, len(values))
        for split, values in found.values.items()
    }
    top = max(float(share.max()) for share in shares.values()) or 1.0
    axes = _Axes((float(edges[0]), float(edges[-1])), (0.0, top))
    wide = float(edges[1] - edges[0]) * 0.9 / len(shares)
    drawn = []
    for place, (split, share) in enumerate(shares.items()):
        for low, high, part in zip(edges[:-1].tolist(), edges[1:].tolist(), share.tolist(), strict=True):
            left, right = axes.x(low + place * wide), axes.x(low + (place + 1) * wide)
            words = f"{split}: {part:.1%} from {low:.4g} to {high:.4g} {found.unit}"
            drawn.append(_bar(place, left, axes.y(part), right - left, axes.y(0) - axes.y(part), words))
    if found.mark is not None and edges[0] <= found.mark <= edges[-1]:
        x = axes.x(found.mark)
        drawn.append(_tag("line", class_="mark", x1=x, x2=x, y1=_TOP, y2=axes.y(0)))
        drawn.append(_text(f"{found.mark_name} {found.mark:g}", x + 4, _TOP + 9))
    described = "; ".join(f"{split}: {spread(values)}" for split, values in found.values.items())
    return axes.svg(f"{found.name}, {found.unit}. {described}", drawn, found.unit, lambda tick: f"{tick:.0%}")


def lines(series: Mapping[str, Sequence[Point]], label: str, top: float | None = None) -> Markup:
    """Draw values by epoch as lines; `top` fixes the upper end of the axis."""
    xs, ys = zip(*(point for curve in series.values() for point in curve), strict=True)
    axes = _Axes((min(xs), max(max(xs), min(xs) + 1)), (0.0, top or max(ys) * 1.05 or 1.0))
    drawn = []
    for place, (name, curve) in enumerate(series.items()):
        way = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in curve)
        drawn.append(_tag("polyline", class_=f"c{place}", points=way))
        for x, y in curve:
            words = _tag("title", f"{name}, epoch {x:g}: {y:.4g}")
            drawn.append(_tag("circle", words, class_=f"c{place}", cx=axes.x(x), cy=axes.y(y), r=2.5))
    return axes.svg(label, drawn, "epoch", lambda tick: f"{tick:g}")


def stacked(rows: Mapping[str, Mapping[str, tuple[float, str]]], label: str) -> Markup:
    """Draw a horizontal bar of parts for each row; a part is its value, and that in words."""
    total = max((sum(value for value, _ in parts.values()) for parts in rows.values()), default=0.0) or 1.0
    drawn = []
    for place, (name, parts) in enumerate(rows.items()):
        y, x = 4.0 + place * _STEP, float(_NAMES)
        drawn.append(_text(name, _NAMES - 6, y + 13, "end"))
        for index, (part, (value, words)) in enumerate(parts.items()):
            width = (_WIDTH - _NAMES - 4) * value / total
            drawn.append(_bar(index, x, y, width, _STEP - 5, f"{name}: {part} {words}"))
            x += width
    return _svg(label, drawn, 6 + _STEP * len(rows))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Give round numbers within [low, high], at most `most` of them."""
    if high <= low:
        return [low]
    rough = (high - low) / (most - 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [float(round(place * step, 10)) + 0.0 for place in np.arange(first, last + 1)]  # -0.0 becomes 0.0


class _Axes:
    """Where values lie in a chart, and what is drawn around them."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self._x, self._y = x, y

    def x(self, value: float) -> float:
        """From the left, in the chart's units."""
        low, high = self._x
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """From the top, in the chart's units."""
        low, high = self._y
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    def svg(self, label: str, drawn: Iterable[Markup], unit: str, spell: Callable[[float], str]) -> Markup:
        """Draw the axes, `unit` below the lower one, and then what is `drawn`."""
        base, around = _HEIGHT - _BOTTOM, []
        for tick in ticks(*self._y, 5):
            y = self.y(tick)
            around.append(_tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y))
            around.append(_text(spell(tick), _LEFT - 5, y + 4, "end"))
        below = [tick for tick in ticks(*self._x) if unit != "epoch" or tick.is_integer()]
        around += [_text(f"{tick:g}", self.x(tick), base + 14, "middle") for tick in below]
        around.append(_text(unit, (_LEFT + _WIDTH - _RIGHT) / 2, base + 29, "middle"))
        return _svg(label, [*around, *drawn], _HEIGHT)


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Choose bins: one for each whole number where there are few of them."""
    low, high = float(values.min()), float(np.percentile(values, _TAIL))
    if np.array_equal(values, np.rint(values)) and high - low < _BINS:
        return np.arange(low, np.ceil(high) + 2) - 0.5
    return np.linspace(low, high if high > low else low + 1, _BINS + 1)


def _svg(label: str, drawn: Iterable[Markup], height: int) -> Markup:
    box = f"0 0 {_WIDTH} {height}"
    return _tag("svg", Markup("").join(drawn), viewBox=box, role="img", aria_label=label)


def _bar(colour: int, x: float, y: float, width: float, height: float, words: str) -> Markup:
    return _tag("rect", _tag("title", words), class_=f"c{colour}", x=x, y=y, width=width, height=height)


def _text(words: str, x: float, y: float, anchor: str = "start") -> Markup:
    return _tag("text", words, class_=anchor, x=x, y=y)


def _tag(name: str, content: str = "", **attributes: str | float) -> Markup:
    """Write an element, everything in it escaped; `class_` and `aria_label` as HTML spells them."""
    spelled = (
        Markup(' {}="{}"').format(
            key.strip("_").replace("_", "-"), f"{value:.1f}" if isinstance(value, float) else value
        )
        for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, Markup("").join(spelled), content)
