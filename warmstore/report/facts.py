"""What a report says: plain values that are collected once, and rendered as Markdown, HTML or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.maintenance import Preview

Verdicts = Mapping[str, Sequence[Mapping[str, str]]]
Point = tuple[float, float]


@dataclass(frozen=True)
class Turned:
    """A sample whose image or labels were changed on the way: `repairs` are words `code@polygon`.

    `orientation` is EXIF's (1: the file was upright), `transform` says how the image was turned, `frame`
    by which rule the frame of the labels was settled.
    """

    split: str
    sample_id: str
    orientation: int
    transform: str
    frame: str
    repairs: str


@dataclass(frozen=True)
class TextFate:
    """What the maps make of a split's regions: `total` of them, by fate as `ocr.maps.PolygonFate` names it.

    Those that count for training are `used`: all but the ignored. Of these `lost` are masked or vanish.
    """

    total: int
    fates: Mapping[str, int]

    @property
    def used(self) -> int:
        """Regions that are to be learnt."""
        return self.total - self.fates.get("ignored", 0)

    @property
    def lost(self) -> int:
        """Regions to be learnt of which the maps show nothing."""
        return self.used - self.fates.get("kept", 0)

    @property
    def lost_share(self) -> float:
        """Share of the regions to be learnt that is lost, 0 to 1."""
        return self.lost / self.used if self.used else 0.0


@dataclass(frozen=True)
class Distribution:
    """One quantity over each split: `values` by split, in `unit`; `mark` is a limit worth a line."""

    name: str
    unit: str
    values: Mapping[str, Sequence[float]]
    mark: float | None = None
    mark_name: str = ""


@dataclass(frozen=True)
class Twins:
    """Samples that are one image: their files are equal byte for byte. Each is (split, sample_id)."""

    samples: tuple[tuple[str, str], ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that they are in; more than one means that validation sees what training saw."""
        return tuple(dict.fromkeys(split for split, _ in self.samples))


@dataclass(frozen=True)
class NearPair:
    """Two samples of different splits that look alike: `distance` of 256 bits of their hashes differ."""

    first: tuple[str, str]
    second: tuple[str, str]
    distance: int


@dataclass(frozen=True)
class RunFacts:
    """One training or validation that has a metric.

    `summary` is its `summary.json`. `losses` and `hmeans` are (epoch, value), by curve. `settings` are the
    flat keys of a training's configuration. `worst` as `ocr.evaluation.describe_worst` writes them.
    `stale` says why the store that the metric was computed on is not the one that is there now.
    """

    name: str
    summary: Mapping[str, Any]
    stale: str = ""
    losses: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    hmeans: Sequence[Point] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    worst: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Storage:
    """Bytes on disk: of each store's fields, of old generations and of runs, and what the disk has left."""

    fields: Mapping[str, Mapping[str, Mapping[str, int]]]
    old_generations: int
    runs: int
    free: int


@dataclass(frozen=True)
class Report:
    """All facts but the pictures. `runs` are those with a metric, the newest first.

    `stages`: previews by split and stage. `quarantined`, `remarks`, `text` by split, and `lossy`: samples of
    which the maps lose a region. `frees` and `shows_frames` are commands that work for this run as pasted.
    """

    name: str
    work_dir: str
    made: str
    canvas: tuple[int, int]
    stages: Mapping[str, Mapping[str, Preview]]
    quarantined: Verdicts
    remarks: Mapping[str, Sequence[str]]
    turned: Sequence[Turned]
    text: Mapping[str, TextFate]
    lossy: Mapping[str, frozenset[str]]
    distributions: Sequence[Distribution]
    twins: Sequence[Twins]
    runs: Sequence[RunFacts]
    storage: Storage
    frees: str
    shows_frames: str

    @property
    def last(self) -> RunFacts | None:
        """The newest run with a metric."""
        return self.runs[0] if self.runs else None

    @property
    def before(self) -> RunFacts | None:
        """The run before the newest one."""
        return self.runs[1] if len(self.runs) > 1 else None


def spread(values: Sequence[float]) -> str:
    """Say in words how values are spread."""
    if not len(values):
        return "none"
    low, middle, high = np.percentile(np.asarray(values, float), (5, 50, 95))
    return f"median {middle:.4g}, nine in ten from {low:.4g} to {high:.4g}"
