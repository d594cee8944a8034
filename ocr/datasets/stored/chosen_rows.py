"""Which rows of a store a dataset has, and rows that adjoin spelled as ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, StoreError
from pipeline.store import Store

Rows = range | NDArray[np.int64]


def choose(
    store: Store,
    limit: int | None,
    samples: Iterable[str] | None,
    where: Callable[[Mapping[str, Any]], bool] | None,
) -> Rows:
    """Choose the rows of the store that a dataset has, in its order (see `TensorDataset`)."""
    rows: Rows = range(len(store))
    if samples is not None:
        wanted = list(samples)
        missing = [sample_id for sample_id in wanted if sample_id not in store.rows]
        if missing:
            raise StoreError(
                f"{store.name} has no sample {', '.join(missing[:5])}; {len(missing)} are missing"
            )
        rows = np.array([store.rows[sample_id] for sample_id in wanted], np.int64)
    if where is not None:
        columns: dict[str, Any] = {
            name: store.small(name) for name in ("size", "matrix") if name in store.declared
        }
        columns["sample_id"] = store.sample_ids
        kept = [row for row in rows if where({name: column[row] for name, column in columns.items()})]
        rows = np.array(kept, np.int64)
    if limit is not None:
        if limit < 0:
            raise ConfigError(f"limit is a number of samples, not {limit}")
        rows = rows[:limit]
    return as_run(rows)


def as_run(rows: Rows) -> Rows:
    """Spell consecutive rows as a range: those can be views."""
    if isinstance(rows, range):
        return rows if rows.step == 1 else np.array(rows, np.int64)
    start = int(rows[0]) if len(rows) else 0
    run = range(start, start + len(rows))
    return run if np.array_equal(rows, run) else rows
