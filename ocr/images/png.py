"""The structure of a PNG file: its chunks, walked without decoding (W3C PNG, third edition)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple

from ocr.images.exif import is_harmless, set_upright
from ocr.images.jpeg import EXIF, Damage
from pipeline.errors import Quarantine

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""The chunks that decide the pixels; no other kind that a decoder must know is defined."""
_TEXT = (b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp\0"
_RAW_EXIF = b"Raw profile type exif\0"
_PRIVATE_TEXT = (_XMP, b"Raw profile type ")
_GRAY, _PALETTE = 0, 3
_SAMPLES = {_GRAY: 1, 2: 3, _PALETTE: 1, 4: 2, 6: 4}
_AT_ONCE = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Where the passes of a picture begin (x, y), and how far apart their columns and rows are."""
_MOST_TEXT = 4 * 2**20
_MOST_ICC = 16 * 2**20
MAX_CHUNKS = 200_000
"""Chunks walked before a file is refused; 256 MiB in the usual chunks of 8 KiB are 32,768."""


class Chunk(NamedTuple):
    """A chunk: `data[start:end]` is the whole, `data[start + 8 : end - 4]` its content.

    `sound`: the checksum is right.
    """

    kind: bytes
    start: int
    end: int
    sound: bool


@dataclass(frozen=True)
class Png:
    """What the chunks say; `bits` per sample; `frames` is above 1 in an animation."""

    height: int
    width: int
    bits: int
    colour: int
    frames: int
    chunks: tuple[Chunk, ...]
    damage: Damage | None

    @property
    def unsound(self) -> tuple[str, ...]:
        """The kinds of chunks whose checksum is wrong, and which do not decide about pixels."""
        kinds = {c.kind for c in self.chunks if not c.sound and c.kind.isalpha() and not _decides(c.kind)}
        return tuple(sorted(kind.decode() for kind in kinds))


def parse(data: bytes) -> Png:
    """Walk the chunks of a PNG file.

    A wrong checksum of a chunk that decides the pixels is damage; any other chunk like that is not read.
    Raises `Quarantine`: `corrupt` or `truncated` without a usable header, `unsupported_format`.
    """
    chunks: list[Chunk] = []
    position, frames, damage = len(SIGNATURE), 1, None
    view = memoryview(data)
    while not chunks or chunks[-1].kind != b"IEND":
        if position + 12 > len(data):
            damage = Damage("truncated", f"the file ends after {len(data)} bytes with no IEND chunk")
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            damage = Damage("truncated", f"the file ends inside the {kind!r} chunk at byte {position}")
            break
        if len(chunks) == MAX_CHUNKS:
            raise Quarantine("corrupt", f"more than {MAX_CHUNKS} chunks")
        sound = zlib.crc32(view[position + 4 : end - 4]) == int.from_bytes(view[end - 4 : end])
        chunks.append(Chunk(kind, position, end, sound))
        if not kind.isalpha() or (not sound and _decides(kind)):
            damage = damage or Damage("corrupt", f"the {kind!r} chunk at byte {position} is damaged")
        if kind == b"acTL" and sound and length >= 4:
            (frames,) = struct.unpack_from(">I", data, position + 8)
        position = end
    return _with_header(data, chunks, frames, damage)


def _with_header(data: bytes, chunks: list[Chunk], frames: int, damage: Damage | None) -> Png:
    """Read the header, and refuse what no decoder here reads for certain."""
    kinds = {chunk.kind for chunk in chunks}
    foreign = [kind for kind in kinds if _decides(kind) and kind not in _PICTURE]
    if foreign and damage is None:
        raise Quarantine("unsupported_format", f"PNG with the chunk {foreign[0]!r}, which must be understood")
    if not chunks or chunks[0].kind != b"IHDR" or chunks[0].end - chunks[0].start != 25:
        raise Quarantine(*(damage or Damage("corrupt", "the first chunk is no image header (IHDR)")))
    width, height, bits, colour = struct.unpack_from(">IIBB", data, chunks[0].start + 8)
    if not width or not height:
        raise Quarantine("corrupt", f"an image header of {width} × {height} pixels")
    if colour == _PALETTE and b"PLTE" not in kinds:
        damage = damage or Damage("corrupt", "a palette image without a palette (PLTE)")
    if bits == 16 and b"tRNS" in kinds:
        raise Quarantine("unsupported_format", "PNG of 16 bits a sample with one colour transparent (tRNS)")
    return Png(height, width, bits, colour, frames, tuple(chunks), damage)


def exif_blocks(data: bytes, png: Png) -> list[bytes]:
    """Give the EXIF blocks, each a TIFF structure; where there is none, that in ImageMagick's text."""
    blocks = [data[c.start + 8 : c.end - 4] for c in png.chunks if c.kind == b"eXIf" and c.sound]
    raw = None if blocks else _text(data, png, _RAW_EXIF)
    if raw is None:
        return blocks
    try:  # an empty line, the name, the length, and then hexadecimal digits
        return [bytes.fromhex("".join(raw.decode("latin-1").split("\n")[3:])).removeprefix(EXIF)]
    except ValueError:
        return [b""]


def xmp(data: bytes, png: Png) -> bytes:
    """Give the XMP packet, or nothing."""
    return _text(data, png, _XMP) or b""


def icc_profile(data: bytes, png: Png) -> bytes | None:
    """Give the ICC profile, or None where there is none that can be read, of at most 16 MiB."""
    for chunk in png.chunks:
        if chunk.kind == b"iCCP" and chunk.sound:
            _, _, packed = data[chunk.start + 8 : chunk.end - 4].partition(b"\0")
            profile = _inflate(packed[1:], _MOST_ICC + 1)
            return profile if 0 < len(profile) <= _MOST_ICC else None
    return None


def picture(data: bytes, png: Png) -> bytes:
    """Give the file with nothing but what decides the pixels: metadata is none of a decoder's business.

    A transparent level of gray is given as one of eight bits, as which Pillow looks for it.
    """
    pieces = [SIGNATURE]
    for chunk in png.chunks:
        whole = data[chunk.start : chunk.end]
        if chunk.kind == b"tRNS" and png.colour == _GRAY and png.bits < 8 and len(whole) == 14:
            level = int.from_bytes(whole[8:10]) * 255 // ((1 << png.bits) - 1)
            whole = _chunk(b"tRNS", level.to_bytes(2))
        if chunk.kind in _PICTURE:
            pieces.append(whole)
    return b"".join(pieces)


def ends_early(data: bytes, png: Png) -> bool:
    """Tell whether fewer rows are coded than the picture has; Pillow leaves the others black."""
    needed = there = 0
    for left, top, across, down in _ADAM7 if data[png.chunks[0].start + 20] else _AT_ONCE:
        columns, rows = -(-(png.width - left) // across), -(-(png.height - top) // down)
        if columns > 0 and rows > 0:
            needed += rows * (1 + (columns * png.bits * _SAMPLES[png.colour] + 7) // 8)
    inflater = zlib.decompressobj()
    for chunk in png.chunks:
        if chunk.kind == b"IDAT" and there < needed:
            there += len(inflater.decompress(data[chunk.start + 8 : chunk.end - 4], needed - there))
    return there < needed


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
            pieces.append(_chunk(b"eXIf", set_upright(whole[8:-4])))
    return b"".join(pieces)


def _text(data: bytes, png: Png, keyword: bytes) -> bytes | None:
    """Give the first 4 MiB of the last text under a keyword, as Pillow does, which reads one MiB."""
    for chunk in reversed(png.chunks):
        if chunk.kind in _TEXT and chunk.sound and data.startswith(keyword, chunk.start + 8, chunk.end - 4):
            body = data[chunk.start + 8 + len(keyword) : chunk.end - 4]
            if chunk.kind == b"iTXt":
                # Compressed or not, the method, a language, the keyword in it, the text.
                text = body[2:].split(b"\0", 2)[-1]
                return _inflate(text, _MOST_TEXT) if body[:1] == b"\1" else text[:_MOST_TEXT]
            return _inflate(body[1:], _MOST_TEXT) if chunk.kind == b"zTXt" else body[:_MOST_TEXT]
    return None


def _decides(kind: bytes) -> bool:
    """Tell whether a chunk may decide the pixels: what is critical has a capital letter first."""
    return kind in _PICTURE or kind[:1].isupper()


def _inflate(packed: bytes, most: int) -> bytes:
    """Inflate up to so many bytes: a few kilobytes may hold gigabytes. Damage gives nothing."""
    try:
        return zlib.decompressobj().decompress(packed, most)
    except zlib.error:
        return b""


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _private(data: bytes, chunk: Chunk) -> bool:
    if chunk.kind == b"eXIf":
        return not is_harmless(data[chunk.start + 8 : chunk.end - 4])
    return chunk.kind in _TEXT and data.startswith(_PRIVATE_TEXT, chunk.start + 8, chunk.end)
