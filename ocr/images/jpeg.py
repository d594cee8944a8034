"""The structure of a JPEG file: its markers, walked without decoding (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ocr.images.exif import is_harmless, set_upright
from pipeline.errors import Quarantine

_SOI, _EOI, _SOS, _DHP = 0xD8, 0xD9, 0xDA, 0xDE
_APP0, _APP1, _APP2, _APP13, _APP14 = 0xE0, 0xE1, 0xE2, 0xED, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_METADATA = frozenset({*range(0xE0, 0xF0), 0xFE})
_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})

_MARKER = re.compile(rb"\xff[^\x00\xff]")
_PIECE = 1 << 16  # bytes of a scan that are searched at once
_MAX_MARKERS = 20_000

EXIF = b"Exif\0\0"
_ICC = b"ICC_PROFILE\0"
_MPF = b"MPF\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"


class Damage(NamedTuple):
    """What is wrong with a file that could perhaps still be decoded: a quarantine's code and reason."""

    code: str
    reason: str


class Segment(NamedTuple):
    """A marker with its parameters: `data[start:end]` is the whole, `data[body:end]` the parameters."""

    marker: int
    start: int
    body: int
    end: int


class Oddity(NamedTuple):
    """Bytes that libjpeg warns of though they cost no pixel, what it reads in their place, and a word."""

    start: int
    end: int
    instead: bytes
    word: str


@dataclass(frozen=True)
class Jpeg:
    """What the markers say. `end` is the offset after the last byte of the (first) image.

    `scan_ends`: where the coded data of each scan ends, and a marker begins.
    """

    height: int
    width: int
    components: int
    segments: tuple[Segment, ...]
    end: int
    scan_ends: tuple[int, ...]
    oddities: tuple[Oddity, ...]
    damage: Damage | None


@dataclass
class _Walk:
    """What a walk from marker to marker has met."""

    segments: list[Segment] = field(default_factory=list)
    scan_ends: list[int] = field(default_factory=list)
    stray: list[Oddity] = field(default_factory=list)
    end: int = 0
    damage: Damage | None = None


def parse(data: bytes, max_scans: int = 1000) -> Jpeg:
    """Walk the markers of a JPEG file.

    Damage that a decoder may work round is told in the result. Raises `Quarantine`: `corrupt`,
    `truncated` (before the first scan), `too_many_scans`, `unsupported_jpeg`.
    """
    walk = _walk(data, max_scans)
    segments = walk.segments
    frames = [segment for segment in segments if segment.marker in _FRAMES]
    if any(segment.marker == _DHP for segment in segments):
        raise Quarantine("unsupported_jpeg", "hierarchical JPEG is not supported")
    no_scan = all(segment.marker != _SOS for segment in segments)
    if not frames or no_scan or frames[0].end - frames[0].body < 6:
        raise Quarantine(*(walk.damage or Damage("corrupt", "no image header (SOF) or no scan (SOS)")))
    if len(frames) > 1:
        raise Quarantine("corrupt", f"a second image header (SOF) at byte {frames[1].start}")
    precision, height, width, components = struct.unpack_from(">BHHB", data, frames[0].body)
    if height == 0:
        raise Quarantine("unsupported_jpeg", "the height is given after the first scan (DNL)")
    if width == 0 or components == 0:
        raise Quarantine("corrupt", f"an image header of {width} columns and {components} components")
    if precision != 8:
        raise Quarantine("unsupported_jpeg", f"{precision} bits a sample; TurboJPEG and Pillow decode 8")
    oddities = walk.stray + _odd_parameters(data, segments, frames[0].marker, components)
    return Jpeg(
        height, width, components, tuple(segments), walk.end, tuple(walk.scan_ends), tuple(sorted(oddities)),
        walk.damage,
    )  # fmt: skip


def _walk(data: bytes, max_scans: int) -> _Walk:
    """Walk up to the end of the image, or to where that cannot go on."""
    walk = _Walk(end=len(data))
    position, find = 2, _find_marker
    for _ in range(_MAX_MARKERS):
        start = find(data, position)
        if start < 0:
            return _damaged(walk, "truncated", f"no EOI marker in {len(data)} bytes")
        if find is _find_end_of_scan:
            walk.scan_ends.append(start)
        elif data[position:start].strip(b"\xff"):
            stray = f"{start - position} stray bytes at byte {position}, where a marker belongs"
            if walk.scan_ends:  # perhaps what is left of a scan
                _damaged(walk, "corrupt", stray)
            else:
                walk.stray.append(Oddity(position, start, b"", stray))
        marker, position, find = data[start + 1], start + 2, _find_marker
        if marker == _EOI:
            walk.end = position
            return walk
        if marker in _ALONE:
            continue
        if marker == _SOI or marker < 0xC0:
            return _damaged(walk, "corrupt", f"unexpected marker {marker:#04x}")
        segment = Segment(marker, start, position + 2, position + _length(data, position))
        if segment.end > len(data):
            return _damaged(walk, "truncated", f"ends inside the marker {marker:#04x}")
        walk.segments.append(segment)
        position = segment.end
        if marker == _SOS:
            find = _find_end_of_scan
            if len(walk.scan_ends) >= max_scans:
                raise Quarantine("too_many_scans", f"more than {max_scans} scans; the limit is max_scans")
    return _damaged(walk, "corrupt", f"more than {_MAX_MARKERS} markers")


def _find_marker(data: bytes, position: int) -> int:
    """Find a marker from a position on; -1 where there is none."""
    found = _MARKER.search(data, position)
    return found.start() if found else -1


def _find_end_of_scan(data: bytes, position: int) -> int:
    """Find a marker that ends a scan: neither a stuffed zero, a fill byte nor a restart (0xd0 to 0xd7).

    By NumPy, which takes half as long as `re`, and lets other threads work meanwhile.
    """
    codes = np.frombuffer(data, np.uint8)
    for first in range(position, len(data) - 1, _PIECE):
        following = codes[first + 1 : first + 1 + _PIECE]
        ends = codes[first : first + len(following)] == 0xFF
        ends &= following - np.uint8(0xD0) > 7  # modulo 256, as all of this
        ends &= following + np.uint8(1) > 1
        at = int(ends.argmax())
        if ends[at]:
            return first + at
    return -1


def _damaged(walk: _Walk, code: str, reason: str) -> _Walk:
    """Record damage, the first one met."""
    walk.damage = walk.damage or Damage(code, reason)
    return walk


def _odd_parameters(data: bytes, segments: list[Segment], frame: int, components: int) -> list[Oddity]:
    """Find parameters that libjpeg warns of, and then does without, as everybody else."""
    odd = []
    jfif = any(s.marker == _APP0 and _tells_colours(data, s) for s in segments)
    for segment in segments:
        body, end = segment.body, segment.end
        tells = _tells_colours(data, segment)
        if tells and segment.marker == _APP0 and data[body + 5] != 1:
            odd.append(Oddity(body + 5, body + 6, b"\1", f"JFIF {data[body + 5]}.{data[body + 6]:02}"))
        if tells and segment.marker == _APP14:
            known = {3: (0, 1), 4: (0, 2)}.get(components)
            transform = data[body + 11]
            if known and transform not in known and not (jfif and components == 3):
                taken = bytes(known[1:])
                odd.append(Oddity(body + 11, body + 12, taken, f"unknown Adobe transform {transform}"))
        sequential = segment.marker == _SOS and frame in _SEQUENTIAL and end - body >= 6
        if sequential and data[end - 3 : end] != b"\0\x3f\0":
            first, last, bits = data[end - 3 : end]
            odd.append(Oddity(end - 3, end, b"\0\x3f\0", f"spectral range {first} to {last}, {bits:#04x}"))
    return odd


def plain(data: bytes, jpeg: Jpeg) -> bytes:
    """Give the file as libjpeg takes it, without what it would warn of: that may hide another warning."""
    return _replaced(data, jpeg.oddities)


def picture(data: bytes, jpeg: Jpeg) -> bytes:
    """Give the file as libjpeg takes it, without the markers that do not decide the pixels."""
    spare = [s for s in jpeg.segments if s.marker in _METADATA and not _tells_colours(data, s)]
    cuts = [Oddity(segment.start, segment.end, b"", "") for segment in spare]
    return _replaced(data, sorted([*jpeg.oddities, *cuts]))


def _tells_colours(data: bytes, segment: Segment) -> bool:
    """Tell whether libjpeg reads off a segment what the components mean."""
    length = segment.end - segment.body
    adobe = _is(data, segment, _APP14, b"Adobe") and length >= 12
    return adobe or (_is(data, segment, _APP0, b"JFIF\0") and length >= 14)


def _replaced(data: bytes, places: Iterable[Oddity]) -> bytes:
    """Give the file with other bytes in some places, which are in order; itself where there are none."""
    pieces, position = [], 0
    for place in places:
        pieces += [data[position : place.start], place.instead]
        position = place.end
    return b"".join([*pieces, data[position:]]) if pieces else data


def _length(data: bytes, position: int) -> int:
    """Give the length of the parameters at `position`, which counts its own two bytes."""
    return max(2, int.from_bytes(data[position : position + 2]))


def exif_blocks(data: bytes, jpeg: Jpeg) -> list[bytes]:
    """Give the EXIF blocks, each a TIFF structure."""
    return [data[s.body + len(EXIF) : s.end] for s in jpeg.segments if _is(data, s, _APP1, EXIF)]


def xmp(data: bytes, jpeg: Jpeg) -> bytes:
    """Give the XMP packet, the last if there are several, or nothing."""
    packets = [data[s.body + len(_XMP) : s.end] for s in jpeg.segments if _is(data, s, _APP1, _XMP)]
    return packets[-1] if packets else b""


def icc_profile(data: bytes, jpeg: Jpeg) -> bytes | None:
    """Give the ICC profile, whose pieces number themselves (ICC.1:2010, annex B.4), or None."""
    pieces = {
        data[s.body + len(_ICC)]: data[s.body + len(_ICC) + 2 : s.end]
        for s in jpeg.segments
        if _is(data, s, _APP2, _ICC) and s.end - s.body > len(_ICC) + 2
    }
    return b"".join(pieces[number] for number in sorted(pieces)) or None


def has_metadata(data: bytes, jpeg: Jpeg) -> bool:
    """Tell whether the file holds EXIF (beyond technical tags), XMP, IPTC or further pictures."""
    return any(_private(data, segment) for segment in jpeg.segments)


def clean(data: bytes, jpeg: Jpeg, keep_metadata: bool) -> bytes:
    """Drop EXIF, XMP, IPTC, further pictures (MPF) and what follows the image; not a scan changes.

    EXIF stays where it has only technical tags and an orientation of 1, so that most files need no copy.
    With `keep_metadata`, only set EXIF's orientation to 1, and drop XMP that names an orientation.
    Gives `data` itself where there is nothing to change.
    """
    change = _with_orientation_1 if keep_metadata else _without_private
    instead = [(segment, change(data, segment)) for segment in jpeg.segments]
    changed = [Oddity(segment.start, segment.end, new, "") for segment, new in instead if new is not None]
    return _replaced(data[: jpeg.end], changed) if changed else data


def _without_private(data: bytes, segment: Segment) -> bytes | None:
    """Give nothing in the place of a private segment, and None (as it is) for any other."""
    return b"" if _private(data, segment) else None


def _with_orientation_1(data: bytes, segment: Segment) -> bytes | None:
    """Give what shall stand in the place of a segment that tells another orientation, else None."""
    whole = data[segment.start : segment.end]
    if _is(data, segment, _APP1, EXIF):
        head = segment.body - segment.start + len(EXIF)
        upright = whole[:head] + set_upright(whole[head:])
        return upright if upright != whole else None
    return b"" if segment.marker == _APP1 and b"Orientation" in whole else None


def _private(data: bytes, segment: Segment) -> bool:
    if _is(data, segment, _APP1, EXIF):
        return not is_harmless(data[segment.body + len(EXIF) : segment.end])
    return segment.marker in (_APP1, _APP13) or _is(data, segment, _APP2, _MPF)


def _is(data: bytes, segment: Segment, marker: int, name: bytes) -> bool:
    return segment.marker == marker and data.startswith(name, segment.body, segment.end)
