"""Opening a generation that has lost its index: what a plan knows takes the place of what is lost.

Nothing here is trusted: a repair ends with the digest that the generation has in its name, or fails.
"""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path

import numpy as np

from pipeline.digest import DIGEST_BYTES
from pipeline.errors import StoreError
from pipeline.plan import StagePlan
from pipeline.store import Store
from pipeline.values import value_digest
from pipeline.zarr_format import group_metadata, samples_per_chunk

_ROOT = "zarr.json"
_INDEX = ("sample_id", "fingerprint", "input", "checksum")


def salvage(generation: Path, lost: Set[str], plan: StagePlan) -> Store | None:
    """Open a generation without the files `lost`, given a plan that computes all; None where they are needed.

    Without the group's metadata its verdicts are lost: their samples are computed again. Arrays of the
    index are what the plan would write, and checksums those of what is stored.
    """
    if lost == {_ROOT}:
        return _without_metadata(generation, plan)
    arrays = {name.partition("/")[0] for name in lost}
    if not arrays or not arrays <= set(_INDEX):
        return None
    try:
        store = Store(generation)
        ids = plan.candidates.sample_ids
        kept = [index for index, sample_id in enumerate(ids) if sample_id not in store.info.codes]
        if len(kept) != len(store):
            return None
        known = {
            "sample_id": [ids[index] for index in kept],
            "fingerprint": plan.fingerprints[kept],
            "input": plan.candidates.inputs[kept],
        }
        for name in arrays & set(known):
            store.assume(name, known[name])
        if "checksum" in arrays:
            fields = store.declared.values()
            found = [value_digest(f, store.stored(f, row)) for row in range(len(store)) for f in fields]
            flat = np.frombuffer(b"".join(found), dtype=np.uint8)
            store.assume("checksum", flat.reshape(len(store), len(fields), DIGEST_BYTES))
    except (StoreError, OSError, ValueError):
        return None
    return store


def _without_metadata(generation: Path, plan: StagePlan) -> Store | None:
    try:
        arrays = {path.parent.name: json.loads(path.read_bytes()) for path in generation.glob("*/zarr.json")}
        accepted = arrays["sample_id"]["shape"][0]
        guessed = {"samples_per_chunk": samples_per_chunk(accepted), "counts": {"accepted": accepted}}
        attributes = plan.attributes([], {}) | guessed
        return Store(generation, metadata=group_metadata(attributes, arrays))
    except (StoreError, OSError, ValueError, LookupError):
        return None
