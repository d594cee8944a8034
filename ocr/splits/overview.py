"""What a folder of images and its labels hold, told in seconds and before anything is configured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ocr.annotations import AnnotatedImage
from ocr.geometry import Size
from ocr.images import Header, Limits, read_header
from ocr.splits.annotated_split import AnnotatedSplit, LocatedImage, by_rank
from ocr.splits.label_frames import FrameEvidence, decide_frames
from pipeline.errors import Quarantine


@dataclass(frozen=True, eq=False)
class Overview:
    """What was found.

    `listed` counts the images that the labels list, `words` those of their words that count, `ignored`
    those that do not. `refused` gives for each sample that a run would refuse the verdict as text; the files
    of `looked_at` images were opened for that. `heights` float64 (N,): of each word in those, the shorter
    side of its bounding box as a share of its image's longer side, so that `heights * 640` are pixels on a
    canvas of 640 × 640. `doubtful` names images whose labels' frame cannot be told. `ranked` has the ids of
    all that is listed, in the order that a part of the set is taken from.
    """

    format: str
    listed: int
    words: int
    ignored: int
    looked_at: int
    refused: dict[str, str]
    doubtful: list[str]
    unlabelled: list[str]
    notes: tuple[str, ...]
    heights: NDArray[np.float64]
    ranked: list[str]

    @property
    def usable(self) -> int:
        """How many images are left, as far as was looked."""
        return self.usable_of(self.ranked)

    def usable_of(self, names: Iterable[str]) -> int:
        """How many are left of these, as far as was looked."""
        return sum(name not in self.refused for name in names)


def look_over(split: AnnotatedSplit, most: int = 400) -> Overview:
    """Look at all labels, at where all images are, and into `most` image files, spread over the set.

    Raises what `AnnotatedSplit.read` raises.
    """
    listed = split.locate(lambda path: b"")
    refused = {name: str(found) for name, found in listed.items() if isinstance(found, Quarantine)}
    found = [image for image in listed.values() if isinstance(image, LocatedImage)]
    opened: list[tuple[LocatedImage, Header]] = []
    for image in found[:: -(-len(found) // most) or 1]:
        try:
            opened.append((image, _header(image)))
        except Quarantine as verdict:
            refused[image.sample_id] = str(verdict)
        except OSError as error:
            refused[image.sample_id] = f"unreadable_image: {error.strerror}"
    evidence = [
        FrameEvidence(header.size, header.orientation, _polygons(image.labels), image.labels.size)
        for image, header in opened
    ]
    decided = zip(opened, decide_frames(evidence, split.label_frame), strict=True)
    flags = Counter(word.ignore for image in split.read.images for word in image.words if len(word.points))
    return Overview(
        format=split.read.format,
        listed=len(listed),
        words=flags[False],
        ignored=flags[True],
        looked_at=len(opened),
        refused=refused,
        doubtful=[image.sample_id for (image, _), decision in decided if decision.frame == "unknown"],
        unlabelled=split.unlabelled(),
        notes=split.notes,
        heights=np.concatenate([np.empty(0), *(_heights(image.labels, h.size) for image, h in opened)]),
        ranked=by_rank(listed),
    )


def _header(image: LocatedImage) -> Header:
    """Read an image's header within the limits that a run has by default. Raises `Quarantine` as it would."""
    limits = Limits()
    size = image.path.stat().st_size
    if size > limits.max_bytes:
        raise Quarantine("too_many_bytes", f"{size} bytes; the limit is max_bytes={limits.max_bytes}")
    header = read_header(image.path.read_bytes(), limits)
    if header.damage is not None:
        raise Quarantine(*header.damage)
    return header


def _polygons(labels: AnnotatedImage) -> Sequence[NDArray[np.floating]]:
    return [word.points for word in labels.words if len(word.points)]


def _heights(labels: AnnotatedImage, size: Size) -> NDArray[np.float64]:
    """Measure the words that count against the size that their labels were drawn on."""
    longer = max(labels.size or size)
    counted = [word.points for word in labels.words if len(word.points) and not word.ignore]
    sides = [float(np.ptp(points, axis=0).min()) for points in counted if np.isfinite(points).all()]
    return np.array(sides) / longer
