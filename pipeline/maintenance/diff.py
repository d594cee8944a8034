"""What differs between two stores of one stage: samples, fields, recipes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.planning import full_recipe_changes
from pipeline.store import Store


@dataclass(frozen=True)
class StoreDiff:
    """Samples by name; for each changed one the fields that differ; recipes in words."""

    added: list[str]
    removed: list[str]
    changed: dict[str, list[str]]
    recipe: list[str]
    reordered: bool

    @property
    def same(self) -> bool:
        """Whether the stores hold the same samples, made the same way."""
        return not (self.added or self.removed or self.changed or self.recipe or self.reordered)

    def as_json(self) -> dict[str, Any]:
        """Give the difference as JSON values."""
        return asdict(self)


def diff_stores(a: Store, b: Store) -> StoreDiff:
    """Compare two stores by the checksums they keep; no pixel is read.

    Raises ConfigError where they come from different stages.
    """
    if a.stage != b.stage:
        raise ConfigError(
            f"{a.name} is a store of {a.stage} and {b.name} one of {b.stage}; compare stores of one stage"
        )
    common = [sample_id for sample_id in a.sample_ids if sample_id in b.rows]
    rows_a = np.array([a.rows[i] for i in common], dtype=np.int64)
    rows_b = np.array([b.rows[i] for i in common], dtype=np.int64)
    changed: dict[str, list[str]] = {}
    for name in {**a.declared, **b.declared}:
        if name in a.declared and name in b.declared:
            differs = (a.checksums(name)[rows_a] != b.checksums(name)[rows_b]).any(axis=1)
        else:
            differs = np.ones(len(common), dtype=bool)
        for position in np.flatnonzero(differs):
            changed.setdefault(common[position], []).append(name)
    old, new = a.info.recipe, b.info.recipe
    return StoreDiff(
        added=[i for i in b.sample_ids if i not in a.rows],
        removed=[i for i in a.sample_ids if i not in b.rows],
        changed=changed,
        recipe=full_recipe_changes(old, new),
        reordered=common != [i for i in b.sample_ids if i in a.rows],
    )
