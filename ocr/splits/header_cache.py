"""Sizes and orientations of images, remembered by content: a file is parsed once, wherever it lies."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ocr.geometry import Size
from ocr.images import Limits, read_header
from pipeline.digest import digest as content_digest
from pipeline.errors import Quarantine, lost_input
from pipeline.files import write_aside

_RECORD = np.dtype([("digest", "V16"), ("height", "<i8"), ("width", "<i8"), ("orientation", "<i8")])
_KIND = b"headers 2\n"
"""What the file begins with; the number goes up when the reader finds other facts in the same images."""
# Facts, not verdicts: the stage that opens the image applies the limits of its configuration.
_NO_LIMITS = Limits(max_pixels=2**62, max_frames=2**31, max_scans=2**31)


class RawFrame(NamedTuple):
    """An image as stored: (height, width), and EXIF orientation 1 to 8."""

    size: Size
    orientation: int


class HeaderCache:
    """Facts by the digest of an image's content, kept in the file `memory` (in memory only if None).

    An entry never grows stale, since its key is the content. A damaged file is read as empty.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self._memory = memory
        self._known: dict[bytes, RawFrame] = {}
        self._fresh = False
        if memory is not None and memory.exists():
            self._load(memory)

    def read(self, path: Path, digest: bytes) -> RawFrame:
        """Give what an image file says of itself. Raises `Quarantine` where it says nothing sensible.

        Raises PipelineError where the file is no longer the one that has this digest.
        """
        if digest not in self._known:
            try:
                if path.stat().st_size > _NO_LIMITS.max_bytes:
                    raise Quarantine("too_many_bytes", f"{path.name} has over {_NO_LIMITS.max_bytes} bytes")
                data = path.read_bytes()
            except OSError as error:
                raise lost_input(path, f"cannot be read ({error.strerror})") from error
            if content_digest(data) != digest:
                raise lost_input(path, "has changed")
            header = read_header(data, _NO_LIMITS)
            self._known[digest] = RawFrame(header.size, header.orientation)
            self._fresh = True
        return self._known[digest]

    def save(self) -> None:
        """Write what is known, if anything is new; where there is no folder to write to it is read again."""
        if self._memory is None or not self._fresh or not self._memory.parent.is_dir():
            return
        rows = [(digest, *frame.size, frame.orientation) for digest, frame in sorted(self._known.items())]
        with suppress(OSError):  # one that cannot be written only costs reading headers again
            write_aside(self._memory, _KIND + np.array(rows, dtype=_RECORD).tobytes())
        self._fresh = False

    def _load(self, memory: Path) -> None:
        data = memory.read_bytes()
        records = data.removeprefix(_KIND)
        if records != data and len(records) % _RECORD.itemsize == 0:
            for digest, height, width, orientation in np.frombuffer(records, dtype=_RECORD).tolist():
                self._known[bytes(digest)] = RawFrame((height, width), orientation)
