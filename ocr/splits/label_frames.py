"""The frame audit: were labels drawn on the image as stored (raw), or on the upright one?

The rules, in this order; the first that tells decides:

| rule | what tells |
| --- | --- |
| | a stated size that neither frame has, not even scaled, refuses the image (`stated_size`) |
| `declared` | `label_frame` is `raw` or `upright` |
| `no_polygons` | there is nothing to place |
| `same_frame` | the orientation is 1: both frames are one |
| `stated_size` | the annotation states a size that only one of the frames has |
| `bounds` | some polygons fit into one frame only, and none fits into the other only |
| `majority` | at least `AGREEMENT` of the images that the two rules above decided say the same |

What none of them tells is `unknown`; it is quarantined, never guessed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ocr.geometry import Points, Size, upright_size
from pipeline.errors import Quarantine

Frame = Literal["raw", "upright", "unknown"]
LabelFrame = Literal["raw", "upright", "auto"]

AGREEMENT = 0.9
_TOLERANCE = 0.01, 2.0  # labels may pass a border by this share of the side, or by so many pixels


@dataclass(frozen=True, eq=False)
class FrameEvidence:
    """What is known of one image: its raw (height, width), EXIF orientation 1 to 8, and its labels.

    `stated` is the (height, width) that the annotation gives, if it does.
    """

    size: Size
    orientation: int
    polygons: Sequence[Points]
    stated: Size | None = None


@dataclass(frozen=True)
class FrameDecision:
    """The frame of one image's labels and the rule that decided; for `unknown`, a reason for a person."""

    frame: Frame
    rule: str

    @property
    def by_evidence(self) -> bool:
        """The image itself tells: it has a vote in the majority."""
        return self.rule in ("stated_size", "bounds")


def decide_frames(evidence: Sequence[FrameEvidence], declared: LabelFrame = "auto") -> list[FrameDecision]:
    """Decide the frame of every image of a set (the majority is the set's)."""
    if declared != "auto":
        return [FrameDecision(declared, "declared")] * len(evidence)
    alone = [_decide_alone(image) for image in evidence]
    votes = Counter(decision.frame for decision in alone if decision and decision.by_evidence)
    return [decision or _by_majority(votes) for decision in alone]


def compare_stated(evidence: FrameEvidence) -> tuple[Size, Size] | None:
    """Compare the stated size with the image: give it and the frame's size that it stands for.

    The two are equal (to a pixel), or one is the other scaled. None where nothing is stated.
    Raises `Quarantine`: then the labels were drawn on another picture, or on this one before it was turned.
    """
    stated, sizes = evidence.stated, (evidence.size, upright_size(evidence.size, evidence.orientation))
    if stated is None:
        return None
    for size in sizes:
        if max(abs(a - b) for a, b in zip(stated, size, strict=True)) <= 1:
            return size, size
    for size in sizes:
        if _is_scaled(stated, size):
            return stated, size
    turned = "; it was turned since, and its EXIF orientation is gone" if stated[::-1] in sizes else ""
    raise Quarantine(
        "stated_size",
        f"the labels state {stated[1]} x {stated[0]} pixels (width x height) and the image has "
        f"{evidence.size[1]} x {evidence.size[0]}{turned}: bring image and labels together again",
    )


def _is_scaled(stated: Size, size: Size) -> bool:
    """Whether one factor, and rounding to whole pixels, makes one size of the other."""
    sides = list(zip(size, stated, strict=True))
    return max((side - 1) / said for side, said in sides) <= min((side + 1) / said for side, said in sides)


def fits(evidence: FrameEvidence) -> tuple[int, int]:
    """Count the polygons that fit into the raw frame only, and those that fit into the upright one only."""
    sizes = evidence.size, upright_size(evidence.size, evidence.orientation)
    corners = [
        points.max(axis=0) for points in evidence.polygons if len(points) and np.isfinite(points).all()
    ]
    if not corners:
        return 0, 0
    raw, upright = (_inside(np.array(corners), size) for size in sizes)
    return int((raw & ~upright).sum()), int((upright & ~raw).sum())


def _inside(corners: Points, size: Size) -> NDArray[np.bool_]:
    share, pixels = _TOLERANCE
    height, width = (side + max(side * share, pixels) for side in size)
    return np.logical_and(corners[:, 0] <= width, corners[:, 1] <= height)


def _decide_alone(evidence: FrameEvidence) -> FrameDecision | None:
    """Decide by the image itself, if it tells."""
    if not any(len(points) for points in evidence.polygons):
        return FrameDecision("upright", "no_polygons")
    if evidence.orientation == 1:
        return FrameDecision("upright", "same_frame")
    upright = upright_size(evidence.size, evidence.orientation)
    if evidence.stated in (evidence.size, upright) and upright != evidence.size:
        return FrameDecision("upright" if evidence.stated == upright else "raw", "stated_size")
    raw_only, upright_only = fits(evidence)
    if bool(raw_only) != bool(upright_only):
        return FrameDecision("raw" if raw_only else "upright", "bounds")
    return None


def _by_majority(votes: Counter[Frame]) -> FrameDecision:
    if not votes:
        return FrameDecision("unknown", "no image of the split tells; set label_frame to raw or upright")
    frame, count = votes.most_common(1)[0]
    if count < AGREEMENT * votes.total():
        return FrameDecision("unknown", "the split is mixed, and this image does not tell")
    return FrameDecision(frame, "majority")
