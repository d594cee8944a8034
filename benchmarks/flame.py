"""A flame graph of stacks that py-spy has written (`--format raw`), small enough for a page.

What PyTorch and Lightning put between two functions that say something is left out, and what takes less than
one part in three hundred.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape

WIDTH, HEIGHT = 900, 17
LEAST = 1 / 300
FRAME = re.compile(r"(?P<name>.+) \((?P<file>[^()]+):\d+\)$")
COLOURS = {
    "ocr/model": "#80cbc4",
    "ocr/detection": "#ffcc80",
    "ocr/metrics": "#ce93d8",
    "ocr/training/losses": "#ef9a9a",
    "ocr/datasets": "#90caf9",
    "ocr/": "#c5e1a5",
    "torch": "#b2dfdb",
    "transformers": "#b2dfdb",
}
OTHERS = "#d7d7d7"
LIGHTNING = "Lightning"
MAIN = "main thread"
THREADS = {"MainThread": MAIN, "overlap": "pool: loss, boxes, metric", "batches": "next batch"}
# Frames that every call of a module or of a pool goes through.
BETWEEN = re.compile(
    r"_(wrapped_)?call_impl|Sequential|ModuleList|<listcomp>|<genexpr>|<lambda>|\.wrapper|_bootstrap"
)


class Call:
    """A function below another one: samples that saw it, and the calls within."""

    def __init__(self, name: str, colour: str = OTHERS) -> None:
        self.name, self.colour, self.samples = name, colour, 0
        self.within: dict[str, Call] = {}

    def add(self, calls: Iterable[tuple[str, str]], samples: int) -> None:
        """Count a stack."""
        call = self
        call.samples += samples
        for name, colour in calls:
            call = call.within.setdefault(name, Call(name, colour))
            call.samples += samples


def draw_flames(raw: str, below: str = "_EvaluationLoop.run") -> str:
    """Draw stacks as SVG: of the main thread those within a function, of others all that works.

    What the main thread has nothing below is Lightning.
    """
    root = Call("an epoch's threads")
    for line in raw.splitlines():
        stack, _, samples = line.rpartition(" ")
        thread, *frames = stack.split(";")
        name = thread.rpartition(": ")[2].rstrip("_0123456789")
        if name == "MainThread":
            places = [place for place, frame in enumerate(frames) if frame.startswith(below)]
            if not places:
                continue
            frames = frames[places[0] + 1 :]
        told = [*_told(frames)]
        if told or name == "MainThread":
            root.add([(THREADS.get(name, name), OTHERS), *told], int(samples))
    if not root.samples:
        return ""
    drawn = [*_rectangles(root, root.samples, 0.0, 0)]
    height = (1 + max(depth for depth, _ in drawn)) * HEIGHT
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    rectangles = "\n".join(rectangle for _, rectangle in drawn)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="font: 11px sans-serif">'
    return f"{head}\n{rectangles}\n</svg>\n"


def _told(frames: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name and colour of the frames that say something, Lightning's as one."""
    before = LIGHTNING
    for frame in frames:
        match = FRAME.match(frame)
        if not match or BETWEEN.search(match["name"]):
            continue
        name, file = match["name"].replace(".<locals>.", ".").removesuffix(".forward"), match["file"]
        if file.startswith(("threading", "concurrent", "contextlib", "torch/utils/_contextlib")):
            continue
        if file.startswith(("pytorch_lightning", "lightning_")):
            name = LIGHTNING
        colour = next((one for part, one in COLOURS.items() if file.startswith(part)), OTHERS)
        if name != before:
            yield name, colour
        before = name


def _rectangles(call: Call, all_samples: int, left: float, depth: int) -> Iterator[tuple[int, str]]:
    """A rectangle a call, with what is within below it, the longest first."""
    share = call.samples / all_samples
    if share < LEAST:
        return
    width, top = share * WIDTH, depth * HEIGHT
    letters = int(width / 6.2) - 1
    text = call.name if len(call.name) <= letters else call.name[: letters - 1] + "…" if letters > 3 else ""
    label = f'<text x="{left + 3:.1f}" y="{top + 12}" fill="#222">{escape(text)}</text>' if text else ""
    yield (
        depth,
        f'<g><title>{escape(call.name)}: {share:.1%}</title><rect x="{left:.1f}" y="{top}" '
        f'width="{max(0.4, width - 0.6):.1f}" height="{HEIGHT - 1}" fill="{call.colour}"/>{label}</g>',
    )
    for one in sorted(call.within.values(), key=lambda one: (one.name != MAIN, -one.samples)):
        yield from _rectangles(one, all_samples, left, depth + 1)
        left += one.samples / all_samples * WIDTH
