"""TIFF, BMP and PNG files written sample by sample, as no library writes them, and the pixels they mean."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tests.support.image_bytes import png_chunk

Samples = NDArray[np.int64]
"""(H, W, samples a pixel), each from 0 to 2**bits - 1."""
_FORMS = {1: "B", 3: "H", 4: "I", 13: "I"}


def packed(samples: Samples, bits: int, order: str) -> bytes:
    """The rows, each of them filled up to a whole byte."""
    rows = samples.reshape(len(samples), -1)
    if bits in (8, 16, 32):
        return rows.astype(f"{order}u{bits // 8}").tobytes()
    digits = (rows[..., None] >> np.arange(bits)[::-1] & 1).reshape(len(rows), -1)
    return np.packbits(digits.astype(np.uint8), axis=1).tobytes()


def meant(
    samples: Samples, bits: int, colours: int, palette: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """RGB from 0 to 255 of gray, RGB, CMYK or palette samples; what comes after them is not looked at."""
    if palette is not None:
        return palette[samples[..., 0]].astype(np.float64)
    levels = samples / ((1 << bits) - 1) * 255
    if colours == 4:
        return (255 - levels[..., :3]) * (255 - levels[..., 3:4]) / 255
    return np.repeat(levels[..., :1], 3, axis=2) if colours == 1 else levels[..., :3]


def over_white(rgb: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGB (H, W, 3) seen through alpha (H, W), from 0 to 1, over white."""
    return rgb * alpha[..., None] + 255 * (1 - alpha[..., None])


@dataclass
class Page:
    """A directory of a TIFF file: tags by number (type and values), chunks of pixels, and SubIFDs."""

    tags: dict[int, tuple[int, Sequence[int]]]
    chunks: list[bytes] = field(default_factory=list)
    inner: list[Page] = field(default_factory=list)


def tiff(*pages: Page, order: str = "<") -> bytes:
    """A TIFF file of pages, one after the other."""
    data = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    link = 4
    for page in pages:
        start, end = _write(data, page, order)
        struct.pack_into(order + "I", data, link, start)
        link = end
    return bytes(data)


def _write(data: bytearray, page: Page, order: str) -> tuple[int, int]:
    """Append a page; give where its directory starts, and where the offset of the next one belongs."""
    tags = dict(page.tags)
    if page.chunks:
        offsets, lengths = (324, 325) if 322 in tags else (273, 279)
        tags[offsets] = (4, [_append(data, chunk) for chunk in page.chunks])
        tags[lengths] = (4, [len(chunk) for chunk in page.chunks])
    if page.inner:
        tags[330] = (13, [_write(data, inner, order)[0] for inner in page.inner])
    entries = b""
    for tag, (kind, values) in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(values)}{_FORMS[kind]}", *values)
        raw = struct.pack(order + "I", _append(data, raw)) if len(raw) > 4 else raw
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    start = _append(data, struct.pack(order + "H", len(tags)) + entries + bytes(4))
    return start, start + 2 + len(entries)


def _append(data: bytearray, piece: bytes) -> int:
    data += bytes(len(data) % 2)
    data += piece
    return len(data) - len(piece)


def page(
    samples: Samples,
    bits: int,
    photometric: int,
    *,
    order: str = "<",
    planes: int = 1,
    tile: int | None = None,
    rows: int | None = None,
    compression: int = 1,
    predictor: int = 1,
    extra: Sequence[int] = (),
    fill_order: int = 1,
    palette: NDArray[np.int64] | None = None,
    more: dict[int, tuple[int, Sequence[int]]] | None = None,
) -> Page:
    """A page of pixels; compression is none (1), deflate (8) or PackBits (32773)."""
    height, width, count = samples.shape
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * count), 259: (3, [compression]),
        262: (3, [photometric]), 277: (3, [count]), 284: (3, [planes]), 317: (3, [predictor]),
    }  # fmt: skip
    if extra:
        tags[338] = (3, extra)
    if fill_order != 1:
        tags[266] = (3, [fill_order])
    if palette is not None:
        tags[320] = (3, (palette.T * 257).ravel().tolist())
    if tile:
        tags |= {322: (4, [tile]), 323: (4, [tile])}
    else:
        tags[278] = (4, [rows or height])
    chunks = []
    for plane in [samples] if planes == 1 else np.split(samples, count, axis=2):
        for block in _blocks(plane, tile, rows or height):
            if predictor == 2:
                block = np.diff(block, axis=1, prepend=0) % (1 << bits)
            raw = _compressed(packed(block, bits, order), compression)
            chunks.append(_reversed(raw) if fill_order == 2 else raw)
    return Page({**tags, **(more or {})}, chunks)


def _blocks(plane: Samples, tile: int | None, rows: int) -> list[Samples]:
    """Strips of so many rows, or square tiles, those at the edges filled with zeros."""
    height, width = plane.shape[:2]
    if tile is None:
        return [plane[top : top + rows] for top in range(0, height, rows)]
    wide = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
    return [
        wide[top : top + tile, left : left + tile]
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]


def _compressed(raw: bytes, compression: int) -> bytes:
    if compression == 8:
        return zlib.compress(raw)
    if compression == 32773:  # PackBits, literal runs only
        runs = [raw[start : start + 128] for start in range(0, len(raw), 128)]
        return b"".join(bytes([len(run) - 1]) + run for run in runs)
    return raw


def _reversed(raw: bytes) -> bytes:
    return np.packbits(np.unpackbits(np.frombuffer(raw, np.uint8)).reshape(-1, 8)[:, ::-1]).tobytes()


def bmp(
    pixels: Samples,
    bits: int,
    *,
    header: int = 40,
    compression: int = 0,
    palette: NDArray[np.int64] | None = None,
    used: int = 0,
    masks: Sequence[int] = (),
    downwards: bool = False,
) -> bytes:
    """A BMP file of palette indices, of pixels as one number, or of blue, green and red (24 bits)."""
    height, width = pixels.shape[:2]
    line = [packed(row[None], min(bits, 8) if bits == 24 else bits, "<") for row in pixels]
    body = b"".join(row + bytes(-len(row) % 4) for row in (line if downwards else line[::-1]))
    if header == 12:
        head = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        head = struct.pack(
            "<IiiHHIIiiII", header, width, -height if downwards else height, 1, bits, compression,
            len(body), 2835, 2835, used, 0,
        )  # fmt: skip
        head = (head + struct.pack(f"<{len(masks)}I", *masks)).ljust(header, b"\0")
    if palette is not None:
        colours = np.pad(palette[:, ::-1], ((0, 0), (0, 0 if header == 12 else 1)))
        head += colours.astype(np.uint8).tobytes()
    size, start = 14 + len(head) + len(body), 14 + len(head)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, start) + head + body


def png(
    samples: Samples,
    bits: int,
    colour: int,
    *,
    transparent: bytes | None = None,
    palette: NDArray[np.int64] | None = None,
    interlaced: bool = False,
    missing: int = 0,
) -> bytes:
    """A PNG file of any colour type, with a tRNS chunk if that is wanted; the last bytes may be missing."""
    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, colour, 0, 0, interlaced)
    passes = [samples]
    if interlaced:
        passes = [samples[::8, ::8], samples[::8, 4::8], samples[4::8, ::4], samples[::4, 2::4]]
        passes += [samples[2::4, ::2], samples[::2, 1::2], samples[1::2]]
    lines = [row[None] for part in passes if part.size for row in part]
    rows = b"".join(b"\0" + packed(line, bits, ">") for line in lines)
    rows = rows[: len(rows) - missing]
    chunks = [png_chunk(b"IHDR", head)]
    if palette is not None:
        chunks.append(png_chunk(b"PLTE", palette.astype(np.uint8).tobytes()))
    if transparent is not None:
        chunks.append(png_chunk(b"tRNS", transparent))
    chunks += [png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
