"""What libjpeg warns of: what costs pixels is damage, what does not is put out of its way and told.

libjpeg tells the first warning of a call only, which may hide a worse one. So a warning is taken for
harmless only where the file without its cause is read with no warning at all.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ocr.images import jpeg, turbo
from ocr.images.jpeg import Jpeg

Result = TypeVar("Result")
Words = tuple[str, ...]

_EXTRANEOUS = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker")
_BASELINE = (0xC0, 0xC1)
_MOST_PLACES = 10  # in one file, since each costs some decoding
_EOI = b"\xff\xd9"


def decode(
    data: bytes,
    found: Jpeg,
    eighths: int | None = None,
    memory: Callable[[tuple[int, ...]], NDArray[np.uint8]] = turbo.fresh,
) -> tuple[NDArray[np.uint8], str | None, Words]:
    """Decode a JPEG file to RGB, or CMYK as it is, at a size of so many eighths or as small as can be.

    Gives the pixels (in what `memory` gives), libjpeg's warning if it costs pixels, and a word for each that
    does not. Raises `TurboError` and `TurboUnavailableError`.
    """
    library = turbo.load()
    size, at, cmyk = (found.height, found.width), eighths or min(library.eighths), found.components == 4
    return _attempt(lambda plain: library.decode(plain, size, at, cmyk, memory), data, found)


def turn(data: bytes, found: Jpeg, orientation: int) -> tuple[bytes | None, str | None, Words]:
    """Turn a JPEG file upright as `Library.transform` does; gives and raises what `decode` does."""
    library = turbo.load()
    return _attempt(lambda plain: library.transform(plain, orientation), data, found)


def _attempt(
    action: Callable[[bytes], tuple[Result, str | None]], data: bytes, found: Jpeg
) -> tuple[Result, str | None, Words]:
    """Call `action`; where it warns of bytes after a scan only, call it again without them."""
    data = jpeg.plain(data, found)
    result, warning = action(data)
    words: list[str] = []
    while warning and _EXTRANEOUS.match(warning) and len(words) < _MOST_PLACES:
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
    found = jpeg.parse(data, len(data))
    size = (found.height, found.width)

    def warning(end: int) -> str | None:
        return library.decode(data[:end] + _EOI, size, min(library.eighths), cmyk).warning

    with suppress(turbo.TurboError):
        first = bisect_left(found.scan_ends, True, key=lambda end: warning(end) is not None)
        start = end = found.scan_ends[min(first, len(found.scan_ends) - 1)]
        while text := warning(start):
            match = _EXTRANEOUS.match(text)
            if not match:
                return None
            start -= int(match[1])  # and some more the next time: what libjpeg took in advance
        baseline = any(segment.marker in _BASELINE for segment in found.segments)
        if not baseline or _filled_with_ones(data[:start]):
            return start, end
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
