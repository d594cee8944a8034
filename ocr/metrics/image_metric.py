"""A metric that counts image by image and adds up: the call shape and the state that both metrics share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torchmetrics import Metric

from ocr.geometry import Points

Regions = Sequence[ArrayLike]
"""The polygons of one image: (P, 2) each, x and y."""
Texts = Sequence[str] | None
"""The transcriptions of an image's targets, where they are known."""


class Rates(NamedTuple):
    """Precision, recall and their harmonic mean, each in 0..1."""

    precision: float
    recall: float
    hmean: float


def rates(right: float, claimed: float, true: float, *, found: float | None = None) -> Rates:
    """`right` of what was `claimed`, `found` (`right` where not given) of what is `true`; 0 of 0 is 0."""
    precision = max(0.0, right) / claimed if claimed else 0.0
    recall = max(0.0, right if found is None else found) / true if true else 0.0
    both = precision + recall
    return Rates(precision, recall, 2 * precision * recall / both if both else 0.0)


@dataclass(frozen=True)
class Counts:
    """What one image, or a sum of images, adds up to. Subclasses have one number per field."""

    def rates(self) -> Rates:
        """Precision, recall and H-mean of these counts."""
        raise NotImplementedError

    def is_empty(self) -> tuple[bool, bool]:
        """Whether there is nothing to find, and whether nothing was claimed."""
        raise NotImplementedError

    def image_rates(self) -> Rates:
        """Rates of a single image, by the ICDAR protocol's convention where there is nothing to find.

        Then recall is 1, and precision is 1 when nothing was claimed either, else 0.
        """
        nothing_to_find, nothing_claimed = self.is_empty()
        if not nothing_to_find:
            return self.rates()
        return Rates(1.0, 1.0, 1.0) if nothing_claimed else Rates(0.0, 1.0, 0.0)


C = TypeVar("C", bound=Counts)


class ImageMetric(Metric, Generic[C]):
    """Adds up `Counts` over images and over ranks; gives micro rates and the mean over images."""

    full_state_update = False
    higher_is_better = True
    counts_type: ClassVar[type[Counts]]

    images: Tensor
    totals: Tensor
    image_sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        width = len(self.counts_type.__dataclass_fields__)
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("totals", torch.zeros(width, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("image_sums", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self,
        predictions: Sequence[Regions],
        targets: Sequence[Regions],
        *,
        texts: Sequence[Sequence[str]] | None = None,
        ignore: Sequence[ArrayLike] | None = None,
    ) -> None:
        """Add a batch: a list per image of lists of (P, 2) polygons, x and y in one common frame.

        `texts` holds the targets' transcriptions, `ignore` is true for don't-care targets. Raises
        ValueError when lengths differ or a polygon is none.
        """
        given = {"predictions": predictions, "targets": targets, "texts": texts, "ignore": ignore}
        lengths = {name: len(lists) for name, lists in given.items() if lists is not None}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"every list must have one entry per image, not {lengths}")
        unknown = [None] * len(predictions)
        images = zip(
            predictions,
            targets,
            unknown if texts is None else texts,
            unknown if ignore is None else ignore,
            strict=True,
        )
        self.add(*(self.measure(found, true, texts=t, ignore=i) for found, true, t, i in images))

    def measure(
        self,
        predictions: Regions,
        targets: Regions,
        *,
        texts: Texts = None,
        ignore: ArrayLike | None = None,
    ) -> C:
        """Count one image, given as to `update`, and touch no state: what a pool runs beside the device."""
        return self._count(as_points(predictions), as_points(targets), texts, ignore)

    def _count(
        self, found: Sequence[Points], true: Sequence[Points], texts: Texts, ignore: ArrayLike | None
    ) -> C:
        raise NotImplementedError

    def add(self, *images: C) -> None:
        """Add what `measure` counted for some images; it counts as an update.

        All at once, because every addition to a state on a device costs a transfer.
        """
        self._computed = None
        self._update_count += 1
        totals = [tuple(vars(counts).values()) for counts in images]
        image_rates = [counts.image_rates() for counts in images]
        self.images += len(images)
        self.totals += self.totals.new_tensor(totals).reshape(-1, len(self.totals)).sum(dim=0)
        self.image_sums += self.image_sums.new_tensor(image_rates).reshape(-1, 3).sum(dim=0)

    def compute(self) -> dict[str, float]:
        """Give micro `precision`, `recall`, `hmean` (0 where there is nothing), and what they stand on.

        `image_precision`, `image_recall`, `image_hmean` are means over images; `images` and each
        field of the counts, by its name, follow.
        """
        images = int(self.images)
        counts = self.counts_type(*self.totals.tolist())
        means = Rates(*(self.image_sums / max(images, 1)).tolist())
        image_rates = {f"image_{name}": value for name, value in means._asdict().items()}
        return {**counts.rates()._asdict(), **image_rates, "images": images, **vars(counts)}


def as_points(polygons: Regions) -> list[Points]:
    """Give each polygon as (P, 2), float32 where it is that and float64 otherwise.

    Raises ValueError for another shape, fewer than 3 points, or a coordinate that is not finite.
    """
    arrays = [np.asarray(polygon) for polygon in polygons]
    for array in arrays:
        if array.ndim != 2 or array.shape[1] != 2 or len(array) < 3:
            raise ValueError(f"a polygon must have the shape (P, 2) with P >= 3, not {array.shape}")
    if arrays and not np.isfinite(np.concatenate(arrays)).all():
        raise ValueError("a polygon must have finite coordinates")
    return [array if array.dtype == np.float32 else array.astype(np.float64) for array in arrays]


def as_flags(ignore: ArrayLike | None, count: int) -> NDArray[np.bool_]:
    """Give one flag per target, all False by default. Raises ValueError when the count differs."""
    flags = np.zeros(count, dtype=np.bool_) if ignore is None else np.asarray(ignore, dtype=np.bool_).ravel()
    if len(flags) != count:
        raise ValueError(f"{len(flags)} ignore flags for {count} targets")
    return flags
