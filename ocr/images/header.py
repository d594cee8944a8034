"""What a file is, told by its content and before anything is decoded, within limits."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from ocr.geometry import Size, upright_size
from ocr.images import exif, jpeg, png, tiff
from ocr.images.jpeg import Damage, Jpeg
from ocr.images.libjpeg_warnings import harmless
from ocr.images.png import Png
from pipeline.errors import Quarantine
from pipeline.stage import Parameters

Format = Literal["jpeg", "png", "webp", "tiff", "bmp"]


class Limits(Parameters):
    """What an image may cost; each is checked on the header, before memory is taken."""

    max_bytes: Annotated[int, Field(ge=1)] = 256 * 2**20
    """Size of the file."""
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    """Height times width."""
    max_frames: Annotated[int, Field(ge=1)] = 100
    """Frames of an animation, pages of a TIFF."""
    max_scans: Annotated[int, Field(ge=1)] = 100
    """Scans of a progressive JPEG."""


@dataclass(frozen=True)
class Header:
    """What is known of an image without decoding it.

    `height`, `width`: as stored, before `orientation` (EXIF, 1 to 8) is applied. `metadata`: the file
    holds EXIF beyond technical tags, XMP or IPTC. `notes`: words on what was not plain (`exif_corrupt`
    …). `damage`: what is wrong with the file though it may decode. `structure`: the walked file, for
    JPEG and PNG.
    """

    format: Format
    height: int
    width: int
    orientation: int = 1
    frames: int = 1
    metadata: bool = False
    notes: tuple[str, ...] = ()
    damage: Damage | None = None
    structure: Jpeg | Png | None = field(default=None, repr=False)

    @property
    def size(self) -> Size:
        """Height and width as stored."""
        return self.height, self.width

    @property
    def upright_size(self) -> Size:
        """Height and width once the orientation is applied."""
        return upright_size(self.size, self.orientation)


def read_header(data: bytes, limits: Limits) -> Header:
    """Read what an image file says of itself, by its content whatever its name.

    Raises `Quarantine`: `empty`, `too_many_bytes`, `unsupported_format`, `too_many_pixels`,
    `too_many_frames`, `too_many_scans`, `corrupt`, `truncated`, `unsupported_jpeg`, `unsupported_pixels`.
    """
    if not data:
        raise Quarantine("empty", "the file has no bytes")
    if len(data) > limits.max_bytes:
        raise Quarantine("too_many_bytes", f"{len(data)} bytes; the limit is max_bytes={limits.max_bytes}")
    header = _reader(data)(data, limits)
    if header.height * header.width > limits.max_pixels:
        raise Quarantine(
            "too_many_pixels",
            f"{header.width} × {header.height} pixels; the limit is max_pixels={limits.max_pixels}",
        )
    if header.frames > limits.max_frames:
        raise Quarantine("too_many_frames", f"more frames than max_frames={limits.max_frames}")
    if header.format == "tiff":
        tiff.refuse_doubt(data)
    return header


def accepted(damage: Damage) -> str:
    """Give the word that records damage which was accepted: `accepted_corrupt@Premature-end-of-…`."""
    return f"accepted_{damage.code}@{'-'.join(damage.reason.split())}"


def _reader(data: bytes) -> Callable[[bytes, Limits], Header]:
    """Choose by the first bytes."""
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg
    if data.startswith(png.SIGNATURE):
        return _png
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp
    if data.startswith((b"II*\0", b"MM\0*")):
        return _tiff
    if data.startswith(b"BM"):
        return _bmp
    raise Quarantine(
        "unsupported_format",
        f"neither JPEG, PNG, WebP, TIFF nor BMP; the file begins with {data[:12]!r}",
    )


def _oriented(blocks: list[bytes], xmp: bytes) -> tuple[int, tuple[str, ...]]:
    found = exif.read_orientation(blocks, xmp)
    return found.value, (found.note,) if found.note else ()


def _jpeg(data: bytes, limits: Limits) -> Header:
    found = jpeg.parse(data, limits.max_scans)
    orientation, notes = _oriented(jpeg.exif_blocks(data, found), jpeg.xmp(data, found))
    notes += tuple(harmless(oddity.word) for oddity in found.oddities)
    metadata = jpeg.has_metadata(data, found)
    return Header("jpeg", found.height, found.width, orientation, 1, metadata, notes, found.damage, found)


def _png(data: bytes, limits: Limits) -> Header:
    found = png.parse(data)
    orientation, notes = _oriented(png.exif_blocks(data, found), png.xmp(data, found))
    notes += tuple(harmless(f"wrong checksum of {kind}") for kind in found.unsound)
    metadata = png.has_metadata(data, found)
    return Header(
        "png", found.height, found.width, orientation, found.frames, metadata, notes, found.damage, found
    )


def _webp(data: bytes, limits: Limits) -> Header:
    """Read the chunks of a WebP file (RFC 9649)."""
    size: tuple[int, int] | None = None
    canvas, blocks, xmp, frames, metadata, damage = b"", [], b"", 0, False, None
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        damage = Damage("truncated", f"{end} bytes promised, {len(data)} there")
    for kind, start, length in _webp_chunks(data, min(end, len(data))):
        size = size or _webp_size(kind, data[start : start + min(length, 10)])
        frames += kind == b"ANMF"
        canvas = data[start + 4 : start + 10] if kind == b"VP8X" else canvas
        if canvas and kind == b"ANMF" and frames == 1 and data[start : start + 12] != bytes(6) + canvas:
            raise Quarantine("unsupported_format", "an animation whose first frame is not the whole picture")
        if kind == b"XMP ":
            xmp, metadata = data[start : start + length], True
        if kind == b"EXIF":
            blocks.append(data[start : start + length].removeprefix(jpeg.EXIF))
            metadata |= not exif.is_harmless(blocks[-1])
    if size is None:
        raise Quarantine(*(damage or Damage("corrupt", "no image chunk (VP8X, VP8L or VP8)")))
    if 0 in size:
        raise Quarantine("corrupt", f"an image header of {size[0]} × {size[1]} pixels")
    orientation, notes = _oriented(blocks, xmp)
    return Header("webp", size[1], size[0], orientation, max(frames, 1), metadata, notes, damage)


def _webp_chunks(data: bytes, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give the kind of each chunk, where its content starts, and how long it says that is."""
    position = 12
    for _ in range(png.MAX_CHUNKS):
        if position + 8 > end:
            return
        kind, length = struct.unpack_from("<4sI", data, position)
        yield kind, position + 8, length
        position += 8 + length + length % 2
    raise Quarantine("corrupt", f"more than {png.MAX_CHUNKS} chunks")


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int] | None:
    """Give (width, height) from the chunk that begins with `body`, or None where it does not tell."""
    if len(body) < (5 if kind == b"VP8L" else 10):
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L" and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff(data: bytes, limits: Limits) -> Header:
    first, frames = tiff.parse(data, limits.max_frames)
    orientation, notes = _oriented([data], first.content(tiff.XMP))
    return Header("tiff", first.height, first.width, orientation, frames, first.private, notes)


def _bmp(data: bytes, limits: Limits) -> Header:
    """Read the size from the header of a BMP file; the height is negative where rows run downwards."""
    try:
        (length,) = struct.unpack_from("<I", data, 14)
        width, height = struct.unpack_from("<HH" if length == 12 else "<ii", data, 18)
        bits, compression, alpha = struct.unpack_from("<HI32xI", data, 28) if length >= 56 else (0, 0, 0)
    except struct.error:
        raise Quarantine("truncated", "BMP: the file ends inside its header") from None
    if width <= 0 or height == 0:
        raise Quarantine("corrupt", f"BMP: an image header of {width} × {height} pixels")
    if (bits, compression) == (16, 3) and alpha:
        raise Quarantine("unsupported_format", "BMP: alpha in 16 bits a pixel, which Pillow does not read")
    return Header("bmp", abs(height), width)
