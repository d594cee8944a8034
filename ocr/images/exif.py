"""EXIF: the orientation in a block, and a block with its orientation set to 1.

An EXIF block is a TIFF file without pixels, so the directory reader here serves TIFF files too.
XMP may state the orientation as well; it counts where EXIF states none, as in Pillow's `exif_transpose`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

ORIENTATION = 0x0112
_HARMLESS = frozenset({ORIENTATION, 282, 283, 296, 531})
"""Orientation, X and Y resolution and its unit, YCbCr positioning: no person, place, time or device."""
_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I"}
"""TIFF's types of unsigned integers: BYTE, SHORT, LONG, and offsets of directories."""
_WIDE = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
"""Bytes a value of those of TIFF's types that take more than one."""
_MOST_VALUES = 2**18  # a colour map of 16 bits has three quarters of it
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


class CorruptError(ValueError):
    """A TIFF structure that points outside itself or is none at all."""


@dataclass(frozen=True)
class Entry:
    """One entry of a directory: its tag, its first value where that is an integer, and where that lies.

    `bytes` is what all its values take; where that is more than 4, they lie elsewhere.
    """

    tag: int
    value: int | None
    position: int
    format: str
    bytes: int


@dataclass(frozen=True)
class Orientation:
    """The value of the tag, 1 where there is none, and why that was not read plainly (else None)."""

    value: int = 1
    note: str | None = None


def byte_order(block: bytes) -> str:
    """Give `struct`'s sign for the order of bytes in a TIFF structure, or raise `CorruptError`."""
    try:
        return {b"II*\0": "<", b"MM\0*": ">"}[block[:4]]
    except KeyError:
        raise CorruptError("no TIFF structure") from None


def first_directory(block: bytes) -> int:
    """Give the offset of directory 0, or raise `CorruptError`."""
    if len(block) < 8:
        raise CorruptError("shorter than its own header")
    return int(struct.unpack_from(byte_order(block) + "I", block, 4)[0])


def entries(block: bytes, offset: int) -> Iterator[Entry]:
    """Give the entries of the directory at `offset`; raises `CorruptError` where it leaves the block."""
    order = byte_order(block)
    if not 8 <= offset <= len(block) - 2:
        raise CorruptError(f"a directory at byte {offset} of {len(block)}")
    (count,) = struct.unpack_from(order + "H", block, offset)
    for start in range(offset + 2, offset + 2 + 12 * count, 12):
        if start + 12 > len(block):
            raise CorruptError(f"{count} entries promised, and the block ends before the last")
        tag, kind, values = struct.unpack_from(order + "HHI", block, start)
        form = order + _INTEGERS[kind] if kind in _INTEGERS else ""
        value = struct.unpack_from(form, block, start + 8)[0] if form else None
        yield Entry(tag, value, start + 8, form, values * _WIDE.get(kind, 1))


def content(block: bytes, entry: Entry) -> bytes:
    """Give the bytes of all values of an entry; raises `CorruptError` where they leave the block."""
    start = entry.position
    if entry.bytes > 4:
        (start,) = struct.unpack_from(byte_order(block) + "I", block, start)
    if start + entry.bytes > len(block):
        raise CorruptError(f"the values of tag {entry.tag} lie behind the end")
    return block[start : start + entry.bytes]


def integers(block: bytes, entry: Entry) -> tuple[int, ...]:
    """Give all values of an entry, none where they are no unsigned integers; raises as `content` does."""
    if not entry.format:
        return ()
    if entry.bytes > _MOST_VALUES * struct.calcsize(entry.format):
        raise CorruptError(f"more than {_MOST_VALUES} values in tag {entry.tag}")
    return tuple(value for (value,) in struct.iter_unpack(entry.format, content(block, entry)))


def next_directory(block: bytes, offset: int) -> int:
    """Give the offset of the directory after the one at `offset`, 0 where there is none."""
    order = byte_order(block)
    (count,) = struct.unpack_from(order + "H", block, offset)
    end = offset + 2 + 12 * count
    return int(struct.unpack_from(order + "I", block, end)[0]) if end + 4 <= len(block) else 0


def read_orientation(blocks: list[bytes], xmp: bytes = b"") -> Orientation:
    """Find the orientation in the EXIF blocks of a file: the first one found wins, whatever follows.

    Where they have none, that of the XMP packet counts. Notes: `exif_corrupt` (a block cannot be read to
    its end), `exif_duplicate` (the tag is there more than once, with different values),
    `orientation_invalid` (not 1 to 8, taken as 1), `orientation_by_xmp` (and not 1),
    `orientation_contradicted` (by XMP).
    """
    found: list[int | None] = []
    note = None
    for block in blocks:
        try:
            for entry in entries(block, first_directory(block)):
                found += [entry.value] if entry.tag == ORIENTATION else []
        except CorruptError:  # what stands before the damage counts
            note = "exif_corrupt"
    stated = _XMP.search(xmp)
    by_xmp = int(stated[1]) if stated else None
    if not found and by_xmp in (None, 1):
        return Orientation(1, note)
    if not found:
        found, note = [by_xmp], note or "orientation_by_xmp"
    if len(set(found)) > 1:
        note = "exif_duplicate"
    value = found[0]
    if value is None or not 1 <= value <= 8:
        return Orientation(1, "orientation_invalid")
    if by_xmp not in (None, value):
        note = note or "orientation_contradicted"
    return Orientation(value, note)


def is_harmless(block: bytes) -> bool:
    """Tell whether an EXIF block may stay in an upright file: technical tags only, the orientation 1."""
    try:
        first = first_directory(block)
        found = list(entries(block, first))
    except CorruptError:
        return False
    upright = all(entry.value == 1 for entry in found if entry.tag == ORIENTATION)
    return upright and _HARMLESS.issuperset(e.tag for e in found) and not next_directory(block, first)


def set_upright(block: bytes) -> bytes:
    """Give a copy of an EXIF block whose orientation is 1 wherever the tag stands."""
    upright = bytearray(block)
    with suppress(CorruptError):  # no reader finds the tag behind the damage either
        for entry in entries(block, first_directory(block)):
            if entry.tag == ORIENTATION and entry.format:
                struct.pack_into(entry.format, upright, entry.position, 1)
    return bytes(upright)
