"""What libjpeg warns of: what costs pixels is damage, what does not is put out of its way and told.

libjpeg tells the first warning of a call only, which may hide a worse one. So a warning is taken for
harmless only where the file without its cause is read with no warning at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from ocr.images import jpeg, turbo
from ocr.images.jpeg import Jpeg

Result = TypeVar("Result")

_EXTRANEOUS = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker")
_BASELINE = (0xC0, 0xC1)
_EOI = b"\xff\xd9"


def attempt(
    action: Callable[[bytes], tuple[Result, str | None]], data: bytes, found: Jpeg
) -> tuple[Result, str | None, tuple[str, ...]]:
    """Call `action`, which gives a result and libjpeg's warning, on a JPEG file.

    Where bytes between the coded data and the next marker were all that it warned of, it is called again
    without them. Gives the result, the warning that is left, and a word for each place like that.
    """
    data = jpeg.plain(data, found)
    result, warning = action(data)
    words: list[str] = []
    while warning and _EXTRANEOUS.match(warning):
        place = _extraneous(data, found.components == 4)
        if place is None:
            break
        start, end = place
        words.append(harmless(f"{end - start} extraneous bytes before marker {data[end + 1]:#04x}"))
        data = data[:start] + data[end:]
        result, warning = action(data)
    return result, warning, tuple(words)


def harmless(what: str) -> str:
    """Give the word that records what was wrong with a file at the cost of no pixel: `harmless@JFIF-2.01`."""
    return f"harmless@{'-'.join(what.split())}"


def _extraneous(data: bytes, cmyk: bool) -> tuple[int, int] | None:
    """Find the first bytes after a scan that no code needs; None where the scan itself may be damaged."""
    library = turbo.load()
    found = jpeg.parse(data)
    size = (found.height, found.width)
    baseline = any(segment.marker in _BASELINE for segment in found.segments)
    for end in found.scan_ends:
        start = end
        while warning := library.decode(data[:start] + _EOI, size, min(library.eighths), cmyk).warning:
            match = _EXTRANEOUS.match(warning)
            if not match:
                return None
            start -= int(match[1])  # and some more the next time: what libjpeg took in advance
        if start < end:
            return (start, end) if not baseline or _filled_with_ones(data[:start]) else None
    return None


def _filled_with_ones(scans: bytes) -> bool:
    """Tell whether the last byte that a code needs is filled up with ones, as encoders do (T.81, F.1.2.3).

    In progressive scans, which may end in a run of empty blocks that is too long, this cannot be told.
    Damaged codes mostly lead to the last pixel too early, and in the middle of what was one code. Bits that
    can be flipped, and bytes that can be missing, without a change to any coefficient belong to no code.
    """
    whole = _coefficients(scans)
    if whole is None:
        return False
    rest, last = _split(scans)
    while _coefficients(rest) == whole:  # libjpeg takes some bytes in advance
        rest, last = _split(rest)
    for bit in range(7):
        flipped = bytes([last ^ 1 << bit]).replace(b"\xff", b"\xff\0")
        if _coefficients(rest + flipped) != whole:
            return True
        if not last >> bit & 1:
            return False
    return True


def _split(scans: bytes) -> tuple[bytes, int]:
    """Split off the last byte, which is followed by a zero where it is 255."""
    return (scans[:-2], 0xFF) if scans.endswith(b"\xff\0") else (scans[:-1], scans[-1])


def _coefficients(scans: bytes) -> bytes | None:
    """Give the coefficients, coded anew; None where libjpeg warns or fails."""
    try:
        data, warning = turbo.load().transform(scans + _EOI, orientation=1)
    except turbo.TurboError:
        return None
    return None if warning else data
