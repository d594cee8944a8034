"""Which samples are in memory, as the kernel says: never assumed, and cheap enough to ask always.

`mincore` looks at every page, which costs a tenth of reading one byte of each. So a sample that was
resident is asked about again only after this process had a page fault that waited for a disk: the
kernel counts those, and without one nothing can have been evicted and read again.
"""

from __future__ import annotations

import logging
import os
import resource

import numpy as np

from ocr.datasets.reading import Rows, StoreReader
from pipeline.store import Store

log = logging.getLogger(__name__)

Counts = tuple[int, int, int, int]


class Residency:
    """Tells hits from misses, before samples are read."""

    def __init__(self, reader: StoreReader) -> None:
        self._reader = reader
        self._size = reader.sample_bytes
        self._flags = bytearray(len(reader.store))
        self._known = np.frombuffer(self._flags, bool)
        self._faults = -1

    def ask(self, rows: Rows) -> Counts:
        """Hits, misses, bytes in memory and bytes on disk, of samples that are about to be read."""
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        if faults != self._faults:
            self._known[:] = False
            self._faults = faults
        size, count = self._size, len(rows)
        if self._all_known(rows):
            return count, 0, count * size, 0
        if isinstance(rows, range) and self._reader.resident(rows) == count * size:
            self._known[rows.start : rows.stop] = True
            return count, 0, count * size, 0
        each = np.array([self._reader.resident(range(row, row + 1)) for row in rows], np.int64)
        hits = each == size
        self._known[rows] = hits
        resident = int(each.sum())
        return int(hits.sum()), int(count - hits.sum()), resident, count * size - resident

    def _all_known(self, rows: Rows) -> bool:
        if isinstance(rows, range):
            return self._flags.find(0, rows.start, rows.stop) < 0
        return bool(self._known[rows].all())


def say_where_unknown(store: Store) -> None:
    """Log that the kernel tells nothing of a store's files to who neither owns nor may write to them.

    It calls all their pages resident then, since Linux 5.2 (`can_do_mincore` in mm/mincore.c).
    """
    file = store.path / "zarr.json"
    if os.geteuid() not in (0, file.stat().st_uid) and not os.access(file, os.W_OK):
        log.warning(
            "%s belongs to another user, so the kernel does not tell what of it is in memory: until it is "
            "read or warmed, hits and resident samples are only claimed",
            store.name,
        )
