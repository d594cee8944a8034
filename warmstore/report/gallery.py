"""Looking at every stored sample once: a card with pictures for the gallery, and a hash of how it looks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocr.geometry import transform_points
from pipeline.errors import StoreError
from pipeline.execution import MACHINE_CODES
from pipeline.store import Store
from warmstore.configuration import RunConfig
from warmstore.options import Invocation
from warmstore.report.duplicates import Hash, near_pairs, perceptual_hash
from warmstore.report.facts import NearPair, Report
from warmstore.report.pictures import MAPS, Content, map_pictures, picture, stored_image, thumbnail
from warmstore.report.trainings import store_split

MOST_CARDS = 1000
_MOST_PAIRS = 60
_BUDGET = 20e6  # bytes of pictures in the gallery, before base64 adds a third
_LARGE, _SMALL = 640, 240
_LEAST_BYTES, _MOST_BYTES = 4_000, 60_000

Progress = Callable[[str, str, int], Callable[[int], None]]


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


@dataclass(frozen=True)
class RefusedPicture:
    """What can be seen of a quarantined image, or why nothing can be."""

    image: bytes = b""
    problem: str = ""


@dataclass(frozen=True)
class Gallery:
    """The pictures of a report. `left_out` counts the samples that have no card for want of room.

    `looks` has a small picture of each sample in `near`, `refused` one of each quarantined sample, both by
    (split, sample_id). `unpaired` counts the pairs beyond those listed.
    """

    cards: Sequence[Card]
    left_out: int
    near: Sequence[NearPair]
    unpaired: int
    looks: Mapping[tuple[str, str], bytes]
    refused: Mapping[tuple[str, str], RefusedPicture]


def draw(asked: Invocation, report: Report, progress: Progress) -> Gallery:
    """Draw a report's pictures from the stores `tensors`, and pair what looks alike between splits."""
    name = asked.config.stages.tensors.name
    opened = {
        split: {store.stage: store for store in asked.stores(split, told=True)} for split in asked.splits
    }
    stores = {split: found[name] for split, found in opened.items() if name in found}
    flags = _flags(report)
    chosen = _chosen(stores, flags)
    most_bytes = max(_LEAST_BYTES, min(_MOST_BYTES, int(_BUDGET / max(1, len(chosen)))))
    worst = {}
    if report.last is not None:
        worst = {(store_split(report.last), found["sample_id"]): found for found in report.last.worst}
    cards: list[Card] = []
    hashes: dict[str, dict[str, Hash]] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for split, store in stores.items():
            artist = _Artist(split, store, asked.config, most_bytes)
            step = progress(split, "report", len(store))
            jobs = (
                (row, sample_id, (split, sample_id) in chosen, worst.get((split, sample_id)))
                for row, sample_id in enumerate(store.sample_ids)
            )
            hashes[split] = {}
            for card, hashed in _ahead(pool, artist.look, jobs):
                step(1)
                cards += [card] if card is not None else []
                hashes[split] |= hashed
    near = near_pairs(hashes, report.twins)
    alike = {sample for pair in near for sample in (pair.first, pair.second)}
    listed = near[:_MOST_PAIRS]
    shown = {sample for pair in listed for sample in (pair.first, pair.second)}
    return Gallery(
        cards=[_flagged(card, flags, alike) for card in cards],
        left_out=sum(map(len, stores.values())) - len(cards),
        near=listed,
        unpaired=len(near) - len(listed),
        looks={(split, i): _look(stores[split], stores[split].rows[i]) for split, i in shown},
        refused={
            (split, verdict["sample_id"]): _refused(asked.config, split, verdict)
            for split, verdicts in report.quarantined.items()
            for verdict in verdicts
        },
    )


class _Artist:
    """Draws the samples of one store, from several threads."""

    def __init__(self, split: str, store: Store, config: RunConfig, most_bytes: int) -> None:
        self.split, self.store, self.maps, self.most_bytes = split, store, config.stages.maps, most_bytes
        self.matrices, self.sizes = store.small("matrix"), store.small("size")

    def look(
        self, job: tuple[int, str, bool, Mapping[str, Any] | None]
    ) -> tuple[Card | None, dict[str, Hash]]:
        """Hash a sample, and draw its card where one is wanted; a damaged one has a card that says so."""
        row, sample_id, wanted, scored = job
        try:
            image, content = _content(self.store, row, self.matrices[row], self.sizes[row])
            card = self._card(row, sample_id, image, content, scored) if wanted else None
            return card, {sample_id: perceptual_hash(image)}
        except StoreError as error:
            return Card(self.split, sample_id, ("damaged",), problem=error.problem), {}

    def _card(
        self,
        row: int,
        sample_id: str,
        image: NDArray[Any],
        content: Content,
        scored: Mapping[str, Any] | None,
    ) -> Card:
        from ocr.maps import shape_polygons

        store = self.store
        names = {"kept": "kept", "ignored": "ignored"}
        placed = [transform_points(self.matrices[row], points) for points in store.value("points", row)]
        ignore, texts = store.value("ignore", row), store.value("text", row)
        verdicts = shape_polygons(placed, ignore, *self.maps.canvas, self.maps).verdicts
        found = list(scored["found"]) if scored else []
        missed = [not hit for hit in found] if len(found) == len(placed) else [False] * len(placed)
        regions = [
            Region(
                content.spell(points),
                names.get(verdict.value, "lost"),
                text.tobytes().decode(),
                lacks and verdict.value != "ignored",
            )
            for points, verdict, text, lacks in zip(placed, verdicts, texts, missed, strict=True)
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
            image=picture(image, _LARGE, self.most_bytes),
            maps=map_pictures({name: content.cut(store.value(name, row)) for name in MAPS}),
            regions=regions,
            predictions=predictions,
            hmean=scored["hmean"] if scored else None,
        )


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Any], Any], jobs: Iterable[Any], most: int = 16
) -> Iterator[Any]:
    """Map over jobs in their order, at most `most` of them ahead of the caller."""
    left = iter(jobs)
    pending = deque(pool.submit(work, job) for job in islice(left, most))
    while pending:
        yield pending.popleft().result()
        pending.extend(pool.submit(work, job) for job in islice(left, 1))


def _content(store: Store, row: int, matrix: Any, size: Any) -> tuple[NDArray[np.uint8], Content]:
    image = stored_image(store, row)
    content = Content.of(matrix, size, image.shape[1:])
    return content.cut(image), content


def _look(store: Store, row: int) -> bytes:
    image, _ = _content(store, row, store.small("matrix")[row], store.small("size")[row])
    return picture(image, _SMALL, _MOST_BYTES)


def _flags(report: Report) -> dict[tuple[str, str], list[str]]:
    """Say what is remarkable of each sample, as far as facts tell."""
    flags: dict[tuple[str, str], list[str]] = {}
    for one in report.turned:
        found = flags.setdefault((one.split, one.sample_id), [])
        found += ["repaired"] if one.repairs else []
        found += ["turned"] if one.orientation != 1 else []
    for split, names in report.lossy.items():
        for name in names:
            flags.setdefault((split, name), []).append("text lost")
    for twin in report.twins:
        for sample in twin.samples:
            flags.setdefault(sample, []).append("duplicate")
    if report.last is not None:
        for scored in report.last.worst:
            flags.setdefault((store_split(report.last), scored["sample_id"]), []).append("worst")
    return flags


def _flagged(card: Card, flags: Mapping[tuple[str, str], Sequence[str]], alike: set[tuple[str, str]]) -> Card:
    key = card.split, card.sample_id
    also = ["looks alike"] if key in alike else []
    return replace(card, flags=(*card.flags, *flags.get(key, ()), *also))


def _chosen(
    stores: Mapping[str, Store], flags: Mapping[tuple[str, str], Sequence[str]]
) -> set[tuple[str, str]]:
    """Choose the samples that have a card: the remarkable first, the others spread over the set."""
    every = [(split, sample_id) for split, store in stores.items() for sample_id in store.sample_ids]
    first = [
        sample for sample in every if {"worst", "duplicate", "repaired"}.intersection(flags.get(sample, ()))
    ]
    kept = first[:MOST_CARDS]
    others = [sample for sample in every if sample not in set(first)]
    room = MOST_CARDS - len(kept)
    step = max(1.0, len(others) / room) if room else 0.0
    return {*kept, *(others[int(place * step)] for place in range(min(room, len(others))))}


def _refused(config: RunConfig, split: str, verdict: Mapping[str, str]) -> RefusedPicture:
    """Look at a quarantined image; not at one that broke its decoder or asks for too much."""
    code = verdict["code"]
    if code in MACHINE_CODES or code.startswith("too_many"):
        return RefusedPicture(problem=f"not opened here, because of {code}")
    chosen, root = config.data.splits[split], config.data.root
    path = root / chosen.images / verdict["sample_id"]
    if not chosen.follow_links and not path.resolve().is_relative_to(root.resolve()):
        return RefusedPicture(problem="not opened here, since it leads out of the data set's root")
    try:
        return RefusedPicture(thumbnail(path, config.stages.canonicalize))
    except Exception as error:  # Pillow's plugins raise almost anything on damaged data
        return RefusedPicture(problem=f"nothing can be seen of it: {error}")
