"""Looking at every stored sample once: a card with pictures for the gallery, and a hash of how it looks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TypeVar

import numpy as np

from pipeline.errors import StoreError
from pipeline.execution import MACHINE_CODES
from warmstore.configuration import RunConfig
from warmstore.options import Invocation
from warmstore.report.artist import Artist, Card
from warmstore.report.duplicates import Hash, near_pairs
from warmstore.report.facts import NearPair, Report
from warmstore.report.pictures import thumbnail
from warmstore.report.trainings import store_split

MOST_CARDS = 1000
_MOST_PAIRS, _MOST_REFUSED = 60, 100  # of refused ones in each split
_BUDGET = 13e6  # bytes of images in the gallery: base64, maps and polygons double that
_LEAST_BYTES, _MOST_BYTES = 4_000, 60_000

T = TypeVar("T")
Progress = Callable[[str, str, int], Callable[[int], None]]


@dataclass(frozen=True)
class RefusedPicture:
    """What can be seen of a quarantined image, or why nothing can be."""

    image: bytes = b""
    problem: str = ""


@dataclass(frozen=True)
class Gallery:
    """The pictures of a report. `left_out` counts the samples that have no card for want of room.

    `problems` says which stores could not be looked at.

    `looks` has a small picture of each sample in `near`, `refused` one of each quarantined sample, both by
    (split, sample_id). `unpaired` counts the pairs beyond those listed.
    """

    cards: Sequence[Card]
    problems: Sequence[str]
    left_out: int
    near: Sequence[NearPair]
    unpaired: int
    looks: Mapping[tuple[str, str], bytes]
    refused: Mapping[tuple[str, str], RefusedPicture]


def draw(asked: Invocation, report: Report, progress: Progress) -> Gallery:
    """Draw a report's pictures from the stores `tensors`, and pair what looks alike between splits."""
    artists, problems = _artists(asked)
    flags = _flags(report)
    chosen = _chosen([sample for artist in artists.values() for sample in artist.samples], flags)
    most_bytes = max(_LEAST_BYTES, min(_MOST_BYTES, int(_BUDGET / max(1, len(chosen)))))
    worst = {}
    if report.last is not None:
        worst = {(store_split(report.last), found["sample_id"]): found for found in report.last.worst}
    cards: list[Card] = []
    hashes: dict[str, dict[str, Hash]] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for split, artist in artists.items():
            step = progress(split, "report", len(artist.samples))
            jobs = (
                partial(artist.look, row, most_bytes if sample in chosen else 0, worst.get(sample))
                for row, sample in enumerate(artist.samples)
            )
            hashes[split] = {}
            for card, hashed in _ahead(pool, jobs):
                step(1)
                cards += [card] if card is not None else []
                hashes[split] |= hashed
    near = near_pairs(hashes, report.twins)
    alike = {sample for pair in near for sample in (pair.first, pair.second)}
    listed = near[:_MOST_PAIRS]
    shown = {sample for pair in listed for sample in (pair.first, pair.second)}
    return Gallery(
        cards=[_flagged(card, flags, alike) for card in cards],
        problems=problems,
        left_out=sum(len(artist.samples) for artist in artists.values()) - len(cards),
        near=listed,
        unpaired=len(near) - len(listed),
        looks={sample: artists[sample[0]].sketch(sample[1]) for sample in shown},
        refused={
            (split, verdict["sample_id"]): _refused(asked.config, split, verdict)
            for split, verdicts in report.quarantined.items()
            for verdict in verdicts[:_MOST_REFUSED]
        },
    )


def _artists(asked: Invocation) -> tuple[dict[str, Artist], list[str]]:
    """Open each split's tensors; what cannot be drawn at all is told in words."""
    found, problems = {}, []
    for split in asked.splits:
        for store in asked.stores(split, told=True):
            if store.stage == asked.config.stages.tensors.name:
                try:
                    found[split] = Artist(split, store, asked.config.stages.maps)
                except StoreError as error:
                    error.spell = asked.spell
                    problems.append(f"{split}: {error}")
    return found, problems


def _ahead(pool: ThreadPoolExecutor, jobs: Iterable[Callable[[], T]], most: int = 16) -> Iterator[T]:
    """Run jobs, at most `most` of them ahead of the caller, and give their results in order."""
    left = iter(jobs)
    pending = deque(pool.submit(job) for job in islice(left, most))
    while pending:
        yield pending.popleft().result()
        pending.extend(pool.submit(job) for job in islice(left, 1))


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
    every: Sequence[tuple[str, str]], flags: Mapping[tuple[str, str], Sequence[str]]
) -> set[tuple[str, str]]:
    """Choose the samples that have a card: the remarkable first, the others spread over the set."""
    remarkable = {"worst", "duplicate", "repaired"}
    first = [sample for sample in every if remarkable.intersection(flags.get(sample, ()))][:MOST_CARDS]
    kept = set(first)
    others = [sample for sample in every if sample not in kept]
    places = np.linspace(0, len(others), min(MOST_CARDS - len(kept), len(others)), endpoint=False)
    return kept | {others[int(place)] for place in places}


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
