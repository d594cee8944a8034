"""TIFF files: the first picture, and whether Pillow is certain to read it right (TIFF 6.0, Supplement 1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from ocr.images import exif
from pipeline.errors import Quarantine

_MAX_DIRECTORIES = 65_536  # which may be chained in a circle
_LOOKED_AT = 100  # of the other directories, and of the tags in them, which are sorted
_KIND, _OLD_KIND, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 255, 256, 257, 258, 259, 262
_SAMPLES, _PLANES, _COLOURS, _PICTURES, _INKS, _EXTRA, _FORMAT, XMP = 277, 284, 320, 330, 332, 338, 339, 700
_FILL_ORDER, _STRIPS, _ROWS, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES = 266, 273, 278, 317, 322, 323, 324
_ICC = 34675
_PRIVATE = frozenset({XMP, 33723, 34377, 34665, 34853})  # XMP, IPTC, Photoshop, EXIF, GPS
_CANON = b"\x10\0\0\0CR\2\0"  # raw photographs whose pictures do not say that they are previews
_REDUCED, _PAGE, _MASK = 1, 2, 4  # bits of _KIND

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_JPEG, _FAX = 7, (2, 3, 4)
_COMPRESSIONS = (1, *_FAX, 5, _JPEG, 8, 32773, 32946, 34925, 50000)
_PREDICTED = (5, 8, 32946, 34925, 50000)
_READ_RIGHT = {
    _WHITE_IS_ZERO: (1, (1, 2, 4, 8), ()),
    _BLACK_IS_ZERO: (1, (1, 2, 4, 8, 16), ((0,), (2,))),
    _RGB: (3, (8, 16), ((0,), (2,), (1,), (0, 0), (1, 0), (2, 0), (0, 0, 0), (1, 0, 0), (2, 0, 0))),
    _PALETTE: (1, (1, 2, 4, 8), ((0,), (2,))),
    _CMYK: (4, (8, 16), ((0,), (0, 0))),
    _YCBCR: (3, (8,), ()),
}
"""By photometric interpretation: samples a pixel, bits a sample, and kinds of extra samples (of 8 bits).

Found by comparing what Pillow gives with what was written, for every combination of these, byte order,
planes, tiles, compression, predictor and fill order.
"""
_PICTURE = frozenset(
    {*range(256, 260), 262, 266, 273, *range(277, 280), 284, 292, 293, 317, 320, *range(322, 326)}
    | {332, 338, 339, 347, *range(529, 533)}
)
"""Tags that decide pixels: size, samples, strips and tiles, compression with its options, colours."""


def parse(data: bytes, max_frames: int) -> tuple[Directory, int]:
    """Read the first directory of a TIFF file, and count them all, up to a few more than `max_frames`.

    Raises `Quarantine` (`corrupt`).
    """
    with _reading():
        first = Directory(data, exif.first_directory(data))
        if not first.height or not first.width:
            raise exif.CorruptError("no width or height in the first directory")
        return first, sum(1 for _ in _chain(data, min(max_frames + 1, _MAX_DIRECTORIES)))


def refuse_doubt(data: bytes) -> None:
    """Refuse a file whose first picture is a small copy of another, or is not certain to be read right.

    Raises `Quarantine`: `unsupported_format`; `unsupported_pixels` where they have no fixed range; `corrupt`.
    """
    with _reading():
        offset, *others = _chain(data, _LOOKED_AT)
        first = Directory(data, offset)
        doubt = _thumbnail(data, first, others) or _doubt(first)
        formats, bits = first.all(_FORMAT, (1,)), first.all(_BITS, (1,))
    if 3 in formats or max(bits) >= 32:
        raise Quarantine(
            "unsupported_pixels", f"TIFF: {bits} bits, format {formats}: no fixed range of values"
        )
    if doubt:
        raise Quarantine("unsupported_format", f"TIFF: {doubt}; write it anew as 8-bit gray or RGB")


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (exif.CorruptError, struct.error, IndexError) as error:
        raise Quarantine("corrupt", f"TIFF: {error}") from None


def picture(data: bytes) -> bytes:
    """Give the file with a directory of nothing but what decides the pixels of the first picture."""
    entries = [entry for entry in exif.entries(data, exif.first_directory(data)) if entry.tag in _PICTURE]
    order = exif.byte_order(data)
    whole = data + bytes(len(data) % 2)
    directory = struct.pack(order + "H", len(entries)) + bytes(4)
    kept = b"".join(data[entry.position - 8 : entry.position + 4] for entry in entries)
    return whole[:4] + struct.pack(order + "I", len(whole)) + whole[8:] + directory[:2] + kept + directory[2:]


def icc_profile(data: bytes) -> bytes | None:
    """Give the ICC profile, or None where there is none that can be read."""
    return Directory(data, exif.first_directory(data)).content(_ICC) or None


class Directory:
    """The tags of a directory, or the first ones of them."""

    def __init__(self, data: bytes, offset: int, most: int | None = None) -> None:
        self._data = data
        self._entries = {entry.tag: entry for entry in islice(exif.entries(data, offset), most)}
        self.height, self.width = self.first(_HEIGHT, 0), self.first(_WIDTH, 0)
        self.kind = self.first(_KIND, _REDUCED if self.first(_OLD_KIND, 1) == 2 else 0)
        self.private = not _PRIVATE.isdisjoint(self._entries)

    def content(self, tag: int) -> bytes:
        """Give the bytes of a tag, nothing where they cannot be read."""
        with suppress(exif.CorruptError):
            return exif.content(self._data, self._entries[tag]) if tag in self._entries else b""
        return b""

    def all(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Give the values of a tag."""
        return exif.integers(self._data, self._entries[tag]) if tag in self._entries else default

    def first(self, tag: int, default: int) -> int:
        """Give the first value of a tag."""
        value = self._entries[tag].value if tag in self._entries else None
        return default if value is None else value


def _chain(data: bytes, most: int) -> Iterator[int]:
    """Give the offsets of at most so many directories."""
    offset = exif.first_directory(data)
    for _ in range(most):
        yield offset
        offset = exif.next_directory(data, offset)
        if not offset:
            return


def _thumbnail(data: bytes, first: Directory, others: list[int]) -> str | None:
    """Say where the picture is, of which the first is a small copy or a mask, as in raw photographs."""
    if first.kind & (_REDUCED | _MASK) or data[4:12] == _CANON:
        return "the first picture is a reduced copy or a mask"
    inner = [Directory(data, offset, _LOOKED_AT) for offset in first.all(_PICTURES)[:_LOOKED_AT]]
    if any(picture.height * picture.width > first.height * first.width for picture in inner):
        return "a larger picture than the first lies in SubIFDs"
    for page in (Directory(data, offset, _LOOKED_AT) for offset in others):
        scale = page.height / first.height
        alike = abs(page.width / first.width / scale - 1) < 0.02 if scale >= 2 else False
        if alike and not (first.kind | page.kind) & _PAGE:
            return "the first picture is a smaller copy of a later one"
    return None


def _doubt(tags: Directory) -> str | None:
    """Say what Pillow does not read, or reads as something else."""
    formats, bits = set(tags.all(_FORMAT, (1,))), tags.all(_BITS, (1,))
    compression = tags.first(_COMPRESSION, 1)
    photometric = tags.first(_PHOTOMETRIC, _WHITE_IS_ZERO if compression in _FAX else -1)
    if compression not in _COMPRESSIONS:
        return f"compression {compression}"
    if photometric not in _READ_RIGHT or (photometric == _YCBCR and compression != _JPEG):
        return f"photometric interpretation {photometric} with compression {compression}"
    colours, depths, extras = _READ_RIGHT[photometric]
    samples, extra = tags.first(_SAMPLES, 1), tags.all(_EXTRA)
    depth = bits[0]
    if set(bits) != {depth} or len(bits) not in (1, samples) or depth not in depths or formats != {1}:
        return f"{bits} bits a sample of formats {formats} with photometric interpretation {photometric}"
    known = not extra or (extra in extras and (depth == 8 or (photometric == _RGB and extra in ((0,), (2,)))))
    unsaid = photometric == _RGB and not extra and samples == 4  # alpha, as a rule
    if not known or (samples != colours + len(extra) and not unsaid):
        return f"{samples} samples a pixel, extra ones of kinds {extra}"
    if photometric == _PALETTE and (len(tags.all(_COLOURS)) != 3 << depth or max(tags.all(_COLOURS)) < 256):
        return "a palette of another length or of 8 bits"
    if tags.first(_INKS, 1) != 1:
        return "inks other than CMYK"
    if tags.first(_FILL_ORDER, 1) != 1 and (depth >= 8 or photometric == _PALETTE):
        return "bits in reverse order"
    if tags.first(_PREDICTOR, 1) != 1 and compression not in _PREDICTED:
        return f"a predictor with compression {compression}"
    planar = tags.first(_PLANES, 1) != 1 and (samples > 1 or compression == 1)
    if planar and (depth != 8 or extra or photometric not in (_BLACK_IS_ZERO, _RGB, _CMYK)):
        return f"{depth} bits a sample in planes"
    return _pieces(tags, samples if planar else 1)


def _pieces(tags: Directory, planes: int) -> str | None:
    """Say where there are more or fewer strips or tiles than the picture needs."""
    strips = tags.all(_STRIPS)
    rows = tags.first(_ROWS, tags.height) if strips else tags.first(_TILE_HEIGHT, 0)
    columns = tags.width if strips else tags.first(_TILE_WIDTH, 0)
    there = len(strips or tags.all(_TILES))
    needed = -(-tags.height // max(rows, 1)) * -(-tags.width // max(columns, 1)) * planes
    return None if there == needed else f"{there} strips or tiles where {needed} belong"
