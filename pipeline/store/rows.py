"""Reading samples that lie side by side, in one array."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.digest import digest
from pipeline.stage import Chunked
from pipeline.store.reader import Store


def read_rows(store: Store, name: str, first: int, last: int) -> NDArray[Any]:
    """Read a Chunked field of samples [first, last), (last - first, *shape), each checked.

    Raises StoreError as `Store.value` does.
    """
    field, count = store.declared[name], store.samples_per_chunk
    assert isinstance(field, Chunked)
    with suppress(OSError, ValueError):
        starts = range(first // count * count, last, count)
        parts = [store.chunk(field, start // count)[max(0, first - start) : last - start] for start in starts]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if b"".join(map(digest, rows)) == store.checksums(name)[first:last].tobytes():
            return rows
    return np.stack([store.value(name, row) for row in range(first, last)])  # which tells what is wrong
