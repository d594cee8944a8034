"""Drawing the stored samples of a split: the card that the gallery shows of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr.geometry import transform_points
from pipeline.errors import StoreError
from pipeline.store import Store
from stages import Maps
from warmstore.report.duplicates import Hash, perceptual_hash
from warmstore.report.pictures import MAPS, Content, map_pictures, picture, stored_image

_LARGE, _SMALL = 640, 240  # longer sides of pictures
_SKETCH_BYTES = 10_000


@dataclass(frozen=True)
class Region:
    """A polygon on a card, as SVG's `points` in canvas pixels from the picture's corner.

    `kind`: what the maps make of it (`kept`, `lost`, `ignored`); of a prediction `right` or `false`.
    """

    points: str
    kind: str
    text: str = ""
    missed: bool = False


@dataclass(frozen=True)
class Card:
    """A stored sample in the gallery; `width` and `height` are canvas pixels, `flags` words to filter by.

    `problem` says why there are no pictures.
    """

    split: str
    sample_id: str
    flags: tuple[str, ...] = ()
    width: int = 1
    height: int = 1
    image: bytes = b""
    maps: Mapping[str, bytes] = field(default_factory=dict)
    regions: Sequence[Region] = ()
    predictions: Sequence[Region] = ()
    hmean: float | None = None
    problem: str = ""


class Artist:
    """Draws the samples of one store, from several threads. Raises StoreError where its index is damaged."""

    def __init__(self, split: str, store: Store, maps: Maps) -> None:
        self.split, self.store, self.maps = split, store, maps
        self.matrices, self.sizes = store.small("matrix"), store.small("size")
        self.samples = [(split, sample_id) for sample_id in store.sample_ids]

    def look(
        self, row: int, most_bytes: int, scored: Mapping[str, Any] | None
    ) -> tuple[Card | None, dict[str, Hash]]:
        """Hash a sample, and draw its card unless `most_bytes` is 0; that of a damaged one says so."""
        _, sample_id = self.samples[row]
        try:
            image, content = self._content(row)
            card = self._card(row, image, content, most_bytes, scored) if most_bytes else None
            return card, {sample_id: perceptual_hash(image)}
        except StoreError as error:
            return Card(self.split, sample_id, ("damaged",), problem=error.problem), {}

    def sketch(self, sample_id: str) -> bytes:
        """Draw a small picture of a sample that has been looked at."""
        return picture(self._content(self.store.rows[sample_id])[0], _SMALL, _SKETCH_BYTES)

    def _content(self, row: int) -> tuple[NDArray[np.uint8], Content]:
        image = stored_image(self.store, row)
        content = Content.of(self.matrices[row], self.sizes[row], image.shape[1:])
        return content.cut(image), content

    def _card(
        self,
        row: int,
        image: NDArray[np.uint8],
        content: Content,
        most_bytes: int,
        scored: Mapping[str, Any] | None,
    ) -> Card:
        from ocr.maps import shape_polygons

        store, (_, sample_id) = self.store, self.samples[row]
        names = {"kept": "kept", "ignored": "ignored"}
        placed = [transform_points(self.matrices[row], points) for points in store.value("points", row)]
        ignore, texts = store.value("ignore", row), store.value("text", row)
        fates = shape_polygons(placed, ignore, *self.maps.canvas, self.maps).fates
        found = list(scored["found"]) if scored else []
        missed = [not hit for hit in found] if len(found) == len(placed) else [False] * len(placed)
        regions = [
            Region(
                content.spell(points),
                names.get(fate.value, "lost"),
                text.tobytes().decode(),
                lacks and fate.value != "ignored",
            )
            for points, fate, text, lacks in zip(placed, fates, texts, missed, strict=True)
        ]
        predictions = [
            Region(content.spell(transform_points(self.matrices[row], points)), "right" if hit else "false")
            for points, hit in (zip(scored["predictions"], scored["right"], strict=True) if scored else ())
        ]
        return Card(
            split=self.split,
            sample_id=sample_id,
            width=content.right - content.left,
            height=content.bottom - content.top,
            image=picture(image, _LARGE, most_bytes),
            maps=map_pictures({name: content.cut(store.value(name, row)) for name in MAPS}),
            regions=regions,
            predictions=predictions,
            hmean=scored["hmean"] if scored else None,
        )
