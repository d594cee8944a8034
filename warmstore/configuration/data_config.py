"""The part of a run's configuration that says where its data set lies, and how its labels are read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from pipeline.stage import Parameters
from pipeline.store import is_url


def _local(folder: Any) -> Any:
    if isinstance(folder, str) and is_url(folder):
        raise ValueError(
            "it is a folder of this machine; mount or copy a bucket with images, and bring finished stores "
            "into one by `warmstore push URL`"
        )
    return folder


Folder = Annotated[Path, BeforeValidator(_local)]
"""A folder of this machine."""


class SplitConfig(Parameters):
    """One split: where its images and labels are, and how labels are read."""

    images: Path
    """The folder of images, below the data set's root."""
    annotations: Path
    """The label file, or the folder of label files, below the root."""
    format: str = "auto"
    """The labels' format; `auto` tells by content."""
    label_frame: Literal["raw", "upright", "auto"] = "auto"
    """The frame the labels were drawn in: pixels as stored, or as a viewer shows them that honours EXIF."""
    part: tuple[int, int | None] | None = None
    """[start, stop), or [start, null] for all from there: take the samples of those ranks only.

    It is for a set that comes as one folder. Samples are ranked by the digests of their names, so that
    each part is a fair share.
    """
    encoding: str | None = None
    """The encoding of label files, such as `gb18030`; UTF-8, and Latin-1 where that fails, by default."""
    follow_links: bool = False
    """Follow links that lead out of the data set's root."""
    subset: str | None = None
    """Which of the sets in a COCO file is read, `*` for all; the one called like the split by default."""
    categories: tuple[str, ...] | None = None
    """Which categories of a COCO file are words; all by default."""
    scale_labels: bool = False
    """Scale labels whose stated size is that of a larger or smaller copy of the image."""

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str | None) -> str | None:
        try:
            "".encode(encoding or "utf-8")
        except LookupError:
            raise ValueError("it is no encoding of text that Python knows, such as gb18030") from None
        return encoding

    @field_validator("part")
    @classmethod
    def _in_order(cls, part: tuple[int, int | None] | None) -> tuple[int, int | None] | None:
        if part is not None and not 0 <= part[0] < (math.inf if part[1] is None else part[1]):
            raise ValueError(
                "it is [start, stop) with 0 <= start < stop, or [start, null] for all from there"
            )
        return part


class GenerateConfig(Parameters):
    """How many synthetic receipts `warmstore data` draws into the data set's root."""

    train: int = Field(default=48, ge=0)
    """Images of split `train`."""
    val: int = Field(default=24, ge=0)
    """Images of split `val`."""
    seed: int = 0
    """The same seed gives the same images; `train` and `val` are drawn from different ones."""
    size: tuple[int, int] = (1152, 864)
    """Height and width of an image."""


class DataConfig(Parameters):
    """A data set."""

    root: Folder
    """The folder of the data set; a relative path starts where the command is run."""
    splits: dict[str, SplitConfig] = Field(min_length=1)
    """The splits by name; training reads `train` and `val`."""
    generate: GenerateConfig | None = None
    """Set where warmstore draws the data set itself."""
