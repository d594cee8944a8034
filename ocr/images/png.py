"""The structure of a PNG file: its chunks, walked without decoding (W3C PNG, third edition)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from ocr.images.exif import is_harmless, set_upright
from ocr.images.jpeg import Damage
from pipeline.errors import Quarantine

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_PRIVATE_TEXT = (b"XML:com.adobe.xmp\0", b"Raw profile type ")
MAX_CHUNKS = 200_000
"""Chunks walked before a file is refused; 256 MiB in the usual chunks of 8 KiB are 32,768."""


class Chunk(NamedTuple):
    """A chunk: `data[start:end]` is the whole, `data[start + 8 : end - 4]` its content."""

    kind: bytes
    start: int
    end: int


@dataclass(frozen=True)
class Png:
    """What the chunks say; `bits` per sample; `frames` is above 1 in an animation."""

    height: int
    width: int
    bits: int
    frames: int
    chunks: tuple[Chunk, ...]
    damage: Damage | None


def parse(data: bytes) -> Png:
    """Walk the chunks of a PNG file. Raises `Quarantine` (`corrupt`, `truncated`) without a usable header."""
    chunks: list[Chunk] = []
    position, frames, damage = len(SIGNATURE), 1, None
    while not chunks or chunks[-1].kind != b"IEND":
        if position + 12 > len(data):
            damage = Damage("truncated", f"the file ends after {len(data)} bytes with no IEND chunk")
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        if position + 12 + length > len(data):
            damage = Damage("truncated", f"the file ends inside the {kind!r} chunk at byte {position}")
            break
        if len(chunks) == MAX_CHUNKS:
            raise Quarantine("corrupt", f"more than {MAX_CHUNKS} chunks")
        chunks.append(Chunk(kind, position, position + 12 + length))
        if kind == b"acTL" and length >= 4:
            (frames,) = struct.unpack_from(">I", data, position + 8)
        position += 12 + length
    if not chunks or chunks[0].kind != b"IHDR" or chunks[0].end - chunks[0].start != 25:
        raise Quarantine(*(damage or Damage("corrupt", "the first chunk is no image header (IHDR)")))
    width, height, bits = struct.unpack_from(">IIB", data, chunks[0].start + 8)
    if not width or not height:
        raise Quarantine("corrupt", f"an image header of {width} × {height} pixels")
    return Png(height, width, bits, frames, tuple(chunks), damage)


def exif_blocks(data: bytes, png: Png) -> list[bytes]:
    """Give the EXIF blocks, each a TIFF structure."""
    return [data[c.start + 8 : c.end - 4] for c in png.chunks if c.kind == b"eXIf"]


def has_metadata(data: bytes, png: Png) -> bool:
    """Tell whether the file holds EXIF (beyond technical tags) or XMP."""
    return any(_private(data, chunk) for chunk in png.chunks)


def clean(data: bytes, png: Png, keep_metadata: bool) -> bytes:
    """Drop EXIF, XMP and what follows the image; no pixel changes.

    With `keep_metadata`, keep EXIF with its orientation set to 1 (and not XMP, which may name another).
    Gives `data` itself where there is nothing to change.
    """
    if not has_metadata(data, png):
        return data
    pieces = [SIGNATURE]
    for chunk in png.chunks:
        whole = data[chunk.start : chunk.end]
        if not _private(data, chunk):
            pieces.append(whole)
        elif keep_metadata and chunk.kind == b"eXIf":
            body = b"eXIf" + set_upright(whole[8:-4])
            pieces.append(whole[:4] + body + struct.pack(">I", zlib.crc32(body)))
    return b"".join(pieces)


def _private(data: bytes, chunk: Chunk) -> bool:
    if chunk.kind == b"eXIf":
        return not is_harmless(data[chunk.start + 8 : chunk.end - 4])
    return chunk.kind in _TEXT and data.startswith(_PRIVATE_TEXT, chunk.start + 8, chunk.end)
