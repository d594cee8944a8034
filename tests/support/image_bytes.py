"""Image files as bytes, made for tests: each with one thing about it that matters."""

from __future__ import annotations

import base64
import ctypes
import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from ocr.images import turbo


def picture(height: int = 32, width: int = 48, seed: int = 0) -> NDArray[np.uint8]:
    """Colour patches of 8 × 8 pixels with a gradient, uint8 (H, W, 3): survives JPEG, shows any turn."""
    patches = np.random.default_rng(seed).integers(0, 200, (-(-height // 8), -(-width // 8), 3))
    pixels = np.kron(patches, np.ones((8, 8, 1), dtype=np.int64))[:height, :width]
    return (pixels + np.linspace(0, 55, width).astype(np.int64)[None, :, None]).astype(np.uint8)


def save(image: Image.Image, format: str, **options: Any) -> bytes:
    """What Pillow writes."""
    output = io.BytesIO()
    image.save(output, format, **options)
    return output.getvalue()


def jpeg(pixels: NDArray[np.uint8] | None = None, **options: Any) -> bytes:
    """A JPEG; `subsampling`, `progressive`, `exif`, `icc_profile` … are Pillow's options."""
    return save(Image.fromarray(picture() if pixels is None else pixels), "JPEG", **options)


def tiff_block(entries: list[tuple[int, int, int, int]], order: str = "<") -> bytes:
    """An EXIF block of directory entries (tag, type, count, value), SHORT values left-justified."""
    body = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        packed = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        body += struct.pack(order + "HHI", tag, kind, count) + packed
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "I", 8) + body + struct.pack(order + "I", 0)


def oriented(value: int, order: str = "<") -> bytes:
    """An EXIF block with nothing but an orientation."""
    return tiff_block([(0x0112, 3, 1, value)], order)


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(data: bytes, *segments: bytes) -> bytes:
    """The JPEG with segments put in right after SOI."""
    return data[:2] + b"".join(segments) + data[2:]


def with_exif(data: bytes, *blocks: bytes) -> bytes:
    """The JPEG with EXIF blocks."""
    return with_segments(data, *(segment(0xE1, b"Exif\0\0" + block) for block in blocks))


def without_segment(data: bytes, marker: int) -> bytes:
    """The JPEG without its first segment of a kind."""
    start = data.index(bytes([0xFF, marker]))
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4]) :]


def with_size(data: bytes, height: int, width: int) -> bytes:
    """The baseline JPEG with another size in its header, and the same few bytes of pixels."""
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + struct.pack(">HH", height, width) + data[start + 4 :]


def with_damaged_scan(data: bytes) -> bytes:
    """The JPEG with a stretch of its entropy-coded data overwritten, all markers in place."""
    start = data.index(b"\xff\xda") + 60
    return data[:start] + b"\x55" * 40 + data[start + 40 :]


def scan_bomb(scans: int) -> bytes:
    """A progressive JPEG whose last scan is there many times over."""
    data = jpeg(progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * scans + data[-2:]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(height: int, width: int) -> bytes:
    """A PNG that promises many pixels and has a few bytes of zeros."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [png_chunk(b"IHDR", header), png_chunk(b"IDAT", pixels), png_chunk(b"IEND", b"")]
    )


def png16(pixels: NDArray[np.uint16], *chunks: bytes) -> bytes:
    """A 16-bit PNG of gray (H, W) or RGB (H, W, 3) pixels, which Pillow cannot write in colour."""
    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if pixels.ndim == 3 else 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [
            png_chunk(b"IHDR", header),
            *chunks,
            png_chunk(b"IDAT", zlib.compress(rows)),
            png_chunk(b"IEND", b""),
        ]
    )


def tiff16(pixels: NDArray[np.uint16], orientation: int) -> bytes:
    """A 16-bit TIFF of RGB (H, W, 3) pixels, uncompressed."""
    height, width = pixels.shape[:2]
    start = 8 + 2 + 10 * 12 + 4
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, start), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, start + 6), (274, 3, 1, orientation), (277, 3, 1, 3), (278, 4, 1, height)]
    return tiff_block([*tags, (279, 4, 1, pixels.nbytes)]) + b"\x10\0" * 3 + pixels.astype("<u2").tobytes()


def ycck(pixels: NDArray[np.uint8]) -> bytes:
    """A YCCK JPEG with Adobe's inversion, from CMYK (H, W, 4), by libjpeg-turbo's own encoder."""
    dll = turbo.load()._dll
    dll.tjInitCompress.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(dll.tjInitCompress())
    output, length = ctypes.c_void_p(), ctypes.c_ulong()
    inverted = np.ascontiguousarray(255 - pixels)
    height, width = pixels.shape[:2]
    status = dll.tjCompress2(
        handle, ctypes.c_void_p(inverted.ctypes.data), width, 0, height, 11,
        ctypes.byref(output), ctypes.byref(length), 0, 95, 0,
    )  # fmt: skip
    assert status == 0
    data = ctypes.string_at(output, length.value)
    dll.tjFree(output)
    dll.tjDestroy(handle)
    return data


ARITHMETIC = base64.b85decode(
    b"|JeWF01!$>Nk#wx0RR9200961|JwjV01yid4h#wq4h;?x5fBp?C>j_R78o%jB^@X_Gd(;xGdMRuNL)@pL{~*OI8bd-"
    b"S6^ahXlFi6ad~iLcwA*?WB=O#Lje&I5*QU2FB%#zV?sDWV`F1uV`F1uV`F1uV`F1uV`F1uV`F1uV`F1uV`F1uV`F1uV`F1uV"
    b"`F1uV`F1uV`Klx01*fP5C9kh0TBQK5di}c0sqVZ3IGrg1pyEd1^?Or3<CiG0ucid06zfF(9v7n9@B=4>%7p1CVKe`9i2sOX#"
    b"d#"
)
"""`jpeg(picture(16, 24), quality=50, subsampling=0)` coded arithmetically, which Pillow cannot write."""


def twelve_bits(data: bytes) -> bytes:
    """The JPEG with a header that says 12 bits a sample."""
    start = data.index(b"\xff\xc0")
    return data[: start + 1] + b"\xc1" + data[start + 2 : start + 4] + b"\x0c" + data[start + 5 :]


def srgb_profile() -> bytes:
    """An ICC profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def linear_profile() -> bytes:
    """An ICC profile of RGB with the primaries of sRGB and a gamma of 1."""
    primaries = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
    tags = [(name, _xyz(value)) for name, value in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)]
    tags += [(name, b"curv" + bytes(8)) for name in (b"rTRC", b"gTRC", b"bTRC")]  # no entries: identity
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def gray_profile() -> bytes:
    """An ICC profile of gray with a gamma of 1."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", [(b"kTRC", b"curv" + bytes(8))])


def cmyk_profile() -> bytes:
    """An ICC profile of CMYK that knows two inks only: none is white, any is a dark red."""
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table += bytes(range(256)) * 4
    table += bytes([255, 128, 128]) + bytes([60, 170, 150]) * 15
    table += bytes(range(256)) * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", [(b"A2B0", table)])


def _profile(kind: bytes, space: bytes, connection: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    """An ICC profile of version 2.1 (ICC.1:1998-09, section 6), its white point D50."""
    tags = [(b"wtpt", _xyz(_D50)), *tags]
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags:
        table += struct.pack(">4sII", name, start + len(body), len(content))
        body += content
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(body), 0x02100000, kind, space, connection, b"acsp")
    return head + _xyz(_D50)[8:] + bytes(48) + table + body


_D50 = (0.9642, 1.0, 0.8249)


def _xyz(value: tuple[float, float, float]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(v * 65536) for v in value))


def lab_profile() -> bytes:
    """An ICC profile of a colour space that no image here has."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


GPS = tiff_block([(0x0112, 3, 1, 6), (0x010F, 2, 4, int.from_bytes(b"Acme", "little")), (0x8825, 4, 1, 0)])
"""An EXIF block with orientation 6, a maker, and a pointer to GPS positions."""
XMP = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'
