"""Stage canonicalize: raw image and annotation → upright image file and polygons in its frame."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ocr.images import libraries
from ocr.preprocess import CanonicalParams, canonicalize
from pipeline.digest import digest
from pipeline.stage import Field, File, FileContent, Inputs, Ragged, Row, Stage, Text

_PNG = ".upright.png"
TRUTH = (
    Row("size", "int32", (2,)),
    Ragged("points", "float32", (2,), levels=2),
    Ragged("ignore", "uint8"),
    Ragged("text", "uint8", levels=2),
)
"""Ground truth in the upright frame, and the image's height and width there."""
_LONGEST = 255  # bytes of a file's name: ext4, XFS, NTFS, APFS
_SHORTENED = re.compile(r"~[0-9a-f]{32}$")


class Canonicalize(Stage, CanonicalParams):
    """Give every sample one frame, or a verdict."""

    name: ClassVar[str] = "canonicalize"
    version: ClassVar[int] = 1
    store: ClassVar[str] = "canonical.zarr"

    def fields(self) -> tuple[Field, ...]:
        """Declare the upright file, its size, the polygons, and what was done."""
        return (
            File("upright", "images"),
            *TRUTH,
            Row("orientation", "uint8"),
            Text("transform", tally=True),
            Text("frame", tally=True),
            Text("repairs", tally=True),
        )

    def libraries(self) -> Mapping[str, str]:
        """The lossless turn is libjpeg-turbo's, PNGs and the rest are Pillow's, repairs are GEOS's."""
        return {
            "libjpeg-turbo": libraries.libjpeg_turbo(),
            "Pillow": libraries.pillow(),
            "GEOS": libraries.geos(),
        }

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        """Make the sample canonical."""
        result = canonicalize(inputs.source, self)
        name = upright_name(inputs.sample_id, made_png=result.transform.startswith("png"))
        return {
            "upright": FileContent(name, result.upright, result.link),
            "size": np.array(result.size, dtype=np.int32),
            "points": result.points,
            "ignore": result.ignore,
            "text": tuple(np.frombuffer(text.encode(), dtype=np.uint8) for text in result.text),
            "orientation": np.uint8(result.orientation),
            "transform": result.transform,
            "frame": result.frame,
            "repairs": result.repairs,
        }


def upright_name(sample_id: str, made_png: bool) -> str:
    """Name the upright file: as the sample, with a suffix where a PNG was made of something else.

    A sample that has the suffix already gets it once more, so that no two samples share a name. Where
    the suffix makes the name too long for a file system, the end of the name becomes its digest; so it
    does in a name that looks like such a one.
    """
    if not made_png and not sample_id.endswith(_PNG):
        return sample_id
    folder, slash, name = sample_id.rpartition("/")
    if len(name.encode()) + len(_PNG) <= _LONGEST and not _SHORTENED.search(name):
        return sample_id + _PNG
    mark = f"~{digest(sample_id.encode()).hex()}"
    kept = name.encode()[: _LONGEST - len(_PNG) - len(mark)].decode(errors="ignore")
    return f"{folder}{slash}{kept}{mark}{_PNG}"
