"""Pictures of arrays: images, maps laid over them, outlines, and sheets of several side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
MeanStd = tuple[Sequence[float], Sequence[float]]

OUTLINE, IGNORED, MAP = (0, 150, 60), (130, 130, 130), (230, 110, 0)
PAPER, INK = (250, 250, 250), (20, 20, 20)
GAP, CAPTION = 10, 18  # pixels between the pictures of a sheet, and for a line above each


def as_pixels(image: ArrayLike, mean_std: MeanStd | None = None) -> NDArray[np.uint8]:
    """Bring an image (3, H, W) of any type to uint8 (H, W, 3).

    Floating values are brought back by `mean_std`, and otherwise stretched from their least to their largest.
    """
    values = np.asarray(image)
    if values.dtype != np.uint8:
        values = values.astype(np.float32)
        if mean_std:
            mean, std = (np.reshape(part, (3, 1, 1)) for part in mean_std)
            values = (values * std + mean) * 255
        else:
            values = (values - values.min()) / max(float(np.ptp(values)), 1e-12) * 255
        values = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(values.transpose(1, 2, 0))


def overview(
    pictures: Mapping[str, Image.Image | NDArray[Any]],
    polygons: Sequence[ArrayLike] = (),
    ignore: Sequence[int] | NDArray[Any] = (),
    side: int = 480,
) -> list[tuple[str, Image.Image]]:
    """Draw pictures of one sample, each with its name, so that it just fits into a square of `side` pixels.

    `pictures` are images, and maps (H, W) of any number. Outlines of `polygons`, in pixels of the first
    image, are drawn over that, grey where `ignore` is not 0. Maps are laid over the first image, its colours
    taken out: the deeper the orange, the higher the value between the map's least and its greatest.
    """
    from PIL import ImageDraw

    panels: list[tuple[str, Image.Image]] = []
    base: Image.Image | None = None
    for name, picture in pictures.items():
        if isinstance(picture, np.ndarray):
            panels.append((name, _laid_over(base, picture, side)))
            continue
        scale = side / max(picture.size)
        panel = picture.convert("RGB").resize(_fitted(picture.size, side))
        if base is None:
            base, draw = panel.copy(), ImageDraw.Draw(panel)
            for index, polygon in enumerate(polygons):
                grey = index < len(ignore) and ignore[index]
                outline(draw, np.asarray(polygon, np.float64) * scale, IGNORED if grey else OUTLINE, 2)
        panels.append((name, panel))
    return panels


def outline(draw: ImageDraw.ImageDraw, points: NDArray[Any], colour: Colour, width: int) -> None:
    """Draw the outline of a polygon, points (P, 2) of x, y in pixels."""
    draw.polygon([(float(x), float(y)) for x, y in points], outline=colour, width=width)


def sheet(panels: Sequence[tuple[str, Image.Image]], columns: int, side: int, below: int = 0) -> Image.Image:
    """Put pictures side by side onto one, each in a square of `side` pixels under its caption.

    `below` pixels are left free at the bottom.
    """
    from PIL import Image, ImageDraw

    columns = max(1, min(columns, len(panels)))
    cell, lines = (side + GAP, side + GAP + CAPTION), max(1, -(-len(panels) // columns))
    paper = Image.new("RGB", (GAP + columns * cell[0], GAP + lines * cell[1] + below), PAPER)
    draw = ImageDraw.Draw(paper)
    for index, (caption, panel) in enumerate(panels):
        left, top = GAP + index % columns * cell[0], GAP + index // columns * cell[1]
        draw.text((left, top), caption.encode("ascii", "replace").decode(), fill=INK)
        paper.paste(panel, (left, top + CAPTION))
    return paper


def as_data_uri(picture: Image.Image) -> str:
    """Spell a picture as the address that it has in HTML."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def _laid_over(base: Image.Image | None, plane: NDArray[Any], side: int) -> Image.Image:
    from PIL import Image

    values = plane.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    risen = (values - low) / (high - low) if high > low else np.full_like(values, high > 0)
    height, width = values.shape
    share = Image.fromarray(np.rint(risen * 200).astype(np.uint8))
    share = share.resize(_fitted((width, height), side))
    below = base.convert("L").convert("RGB") if base and base.size == share.size else None
    below = below or Image.new("RGB", share.size)
    return Image.composite(Image.new("RGB", share.size, MAP), below, share)


def _fitted(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
