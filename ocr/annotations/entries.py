"""An object of many entries in a JSON file: read one after another, and only those that have changed.

    {"images": {"a.jpg": …, "b.jpg": …}}
    │ head     │ entry    │ entry    │ tail

A file is remembered as its pieces: size and digest of the head, of each entry with what follows it up to the
next one's key, and of the tail. Where pieces stand as they did at the beginning and at the end of a file,
they are read as they were: what comes before the first piece that differs leads a parser to the same state.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ocr.annotations.documents import unique_keys
from pipeline.digest import DIGEST_BYTES

_space = re.compile(r"[ \t\n\r]*").match


class JsonCursor:
    """A place in a JSON text. Each method raises ValueError where the text is not as it is to be there."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self._decode = json.JSONDecoder(object_pairs_hook=unique_keys).raw_decode
        self.passes("")

    def passes(self, mark: str) -> bool:
        """Tell whether a mark stands here, and pass over it and the white space behind it."""
        found = self.text.startswith(mark, self.at)
        if found:
            self.at = _space(self.text, self.at + len(mark)).end()  # type: ignore[union-attr]
        return found

    def expect(self, mark: str) -> None:
        """Pass over a mark that has to stand here."""
        if not self.passes(mark):
            raise ValueError(f"no {mark} at {self.at}")

    def key(self) -> str:
        """Read a key, and pass over its colon."""
        if not self.text.startswith('"', self.at):
            raise ValueError(f"no key at {self.at}")
        key = str(self.value())
        self.expect(":")
        return key

    def value(self) -> Any:
        """Read a value."""
        value, self.at = self._decode(self.text, self.at)
        self.passes("")
        return value

    @property
    def at_end(self) -> bool:
        """Whether nothing follows."""
        return self.at == len(self.text)


@dataclass(frozen=True)
class Change:
    """What of a file differs: bytes [start, stop), in place of the entries [first, last).

    `to_end` tells that none of the entries before follows.
    """

    first: int
    last: int
    start: int
    stop: int
    to_end: bool


@dataclass(frozen=True)
class Pieces:
    """Sizes in bytes, int64 (E + 2), and digests, uint8 (E + 2, 16), of head, E entries and tail."""

    sizes: NDArray[np.int64]
    digests: NDArray[np.uint8]

    @classmethod
    def of(cls, text: str, edges: list[int]) -> Pieces:
        """Cut a text at the beginning of each entry, and behind the last."""
        starts = [0, *edges]
        parts = [text[a:b].encode() for a, b in zip(starts, [*edges, len(text)], strict=True)]
        found = b"".join(map(xxhash.xxh3_128_digest, parts))
        return cls(np.array(list(map(len, parts)), np.int64), _digests(found))

    def replaced(self, change: Change, middle: Pieces) -> Pieces:
        """Give the pieces of a file after a change; `middle` has those of the changed bytes alone."""

        def put(own: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
            return np.concatenate((own[: change.first + 1], new[1:-1], own[change.last + 1 :]))

        return Pieces(put(self.sizes, middle.sizes), put(self.digests, middle.digests))

    def change(self, data: bytes) -> Change | None:
        """Find what of a file differs; None where its head or its tail does, or nothing can be told."""
        sizes, view = self.sizes.tolist(), memoryview(data)
        flat = self.digests.tobytes()
        wanted = [flat[at : at + DIGEST_BYTES] for at in range(0, len(flat), DIGEST_BYTES)]
        first, last, start, stop = 0, len(sizes), 0, len(data)  # the last entry and the tail belong together
        same = xxhash.xxh3_128_digest
        while first < last - 2 and same(view[start : start + sizes[first]]) == wanted[first]:
            start += sizes[first]
            first += 1
        while last > first and stop - sizes[last - 1] >= start:
            if same(view[stop - sizes[last - 1] : stop]) != wanted[last - 1]:
                break
            stop -= sizes[last - 1]
            last -= 1
        if first == 0 or last == len(sizes):
            return None
        return Change(first - 1, last - 1, start, stop, to_end=last == len(sizes) - 1)


def _digests(found: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(found, np.uint8).reshape(-1, DIGEST_BYTES)
