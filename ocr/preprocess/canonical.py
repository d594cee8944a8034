"""From a raw image and its annotation to an upright image with nothing lost, and polygons in its frame."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ocr.annotations import Word
from ocr.geometry import Size, upright_points
from ocr.images import Damage, Header, Limits, accepted, find_damage, make_upright, read_header
from ocr.preprocess.polygon_repair import PolygonParams, repair_polygons
from pipeline.digest import digest
from pipeline.errors import Quarantine, lost_input
from pipeline.files import checksum


@dataclass(frozen=True)
class RawSample:
    """A raw image with its polygons, as the data set has them.

    `frame` is the frame that the polygons were drawn in, `rule` what decided that: `declared`, or the
    rule of the frame audit that told it. `digest`: xxh3-128 of the image file when it was listed, where
    that is known; a file that has changed since is not used under its old name.
    """

    image: Path
    words: Sequence[Word] = ()
    frame: Literal["raw", "upright"] = "upright"
    rule: str = "declared"
    digest: bytes | None = None


class CanonicalParams(Limits, PolygonParams):
    """How a raw sample becomes a canonical one: limits, repairs of polygons, and these."""

    keep_metadata: bool = False
    """Keep EXIF (with its orientation set to 1), XMP and IPTC; otherwise they go, GPS positions with them."""
    integrity: Literal["structure", "full"] = "structure"
    """`structure` walks the file's markers; `full` also decodes every pixel, as stage `decode` does later."""
    on_corrupt: Literal["quarantine", "accept"] = "quarantine"
    """What becomes of a damaged file that still decodes; `accept` records the damage in field `transform`."""


@dataclass(frozen=True)
class Canonical:
    """A sample in its one frame.

    `upright`: the upright image file's bytes; `link`: the raw file, where it holds them. `size`: height
    and width. `points`: float32 (P, 2) a polygon, in the upright frame; `ignore`: uint8 (M,); `text`: M
    strings. `orientation`: the raw file's, 1 to 8. `transform`: how the file was made, and words on what
    was not plain. `frame`: the frame that the labels came in, and the rule that decided. `repairs`:
    words `code@index`.
    """

    upright: bytes
    link: Path | None
    size: Size
    points: tuple[NDArray[np.float32], ...]
    ignore: NDArray[np.uint8]
    text: tuple[str, ...]
    orientation: int
    transform: str
    frame: str
    repairs: str


def canonicalize(raw: RawSample, params: CanonicalParams) -> Canonical:
    """Make a raw sample canonical. Raises `Quarantine`; docs/reference/images.md lists the codes.

    Raises PipelineError where the digest is known and the file is no longer the one that has it.
    """
    data = _read(raw, params.max_bytes)
    header = read_header(data, params)
    damage = [header.damage] if header.damage else []
    upright = make_upright(data, header, params.keep_metadata)
    warning, notes = upright.warning, upright.notes
    if params.integrity == "full" and upright.transform in ("link", "cleaned"):
        warning, notes = find_damage(data, header)
    if warning:
        damage.append(Damage("corrupt", warning))
    if damage and params.on_corrupt == "quarantine":
        raise Quarantine(*damage[0])
    height, width = header.upright_size
    kept, repairs = repair_polygons(_upright_words(raw, header), height, width, params)
    return Canonical(
        upright=upright.data,
        # Where the raw file is a symbolic link, the file that it leads to: a link to a link would break.
        link=raw.image.resolve() if upright.transform == "link" else None,
        size=(height, width),
        points=tuple(polygon.points for polygon in kept),
        ignore=np.array([polygon.ignore for polygon in kept], dtype=np.uint8),
        text=tuple(polygon.text for polygon in kept),
        orientation=header.orientation,
        transform=" ".join([upright.transform, *header.notes, *notes, *map(accepted, damage)]),
        frame=f"{raw.frame} {raw.rule}",
        repairs=" ".join(repairs),
    )


def _upright_words(raw: RawSample, header: Header) -> Sequence[Word]:
    """Bring the words into the upright frame; where they are there already, they stay as they are."""
    if raw.frame == "upright" or header.orientation == 1:
        return raw.words
    with np.errstate(invalid="ignore"):  # infinite coordinates become NaN here, and are dropped by the repair
        return tuple(
            replace(word, points=upright_points(word.points, header.size, header.orientation))
            for word in raw.words
        )


def _read(raw: RawSample, max_bytes: int) -> bytes:
    """Read a regular file of at most `max_bytes`; a pipe or a device is refused, not waited for.

    No verdict is given on a file that was listed and is another one now, or none.
    """
    path = raw.image
    try:
        status = path.stat()
        regular, size = stat.S_ISREG(status.st_mode), status.st_size
        data = path.read_bytes() if regular and size <= max_bytes else None
        if raw.digest is not None and not (regular and _content(path, data) == raw.digest):
            raise lost_input(path, "has changed")
    except OSError as error:
        if raw.digest is not None:
            raise lost_input(path, f"cannot be read ({error.strerror})") from error
        if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError):
            raise Quarantine("unreadable_image", f"{path}: {error.strerror}") from None
        raise
    if not regular:
        raise Quarantine("unreadable_image", f"{path} is no regular file")
    if data is None:
        raise Quarantine("too_many_bytes", f"{size} bytes; the limit is max_bytes={max_bytes}")
    return data


def _content(path: Path, data: bytes | None) -> bytes:
    """Digest of a file, whose bytes are given where they were read."""
    return bytes.fromhex(checksum(path)[1]) if data is None else digest(data)
