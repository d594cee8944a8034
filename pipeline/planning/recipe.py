"""Recipes and fingerprints: what decides the bytes of a sample, and its name.

recipe       stage, version, parameters, libraries
fingerprint  recipe + the digests of the sample's inputs; the same fingerprint, the same bytes

Inputs are the *contents* of what a stage reads, field by field. So a change upstream that gives the
same bytes stops there (early cutoff), and one that touches only some fields reruns only the stages
that read those.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.digest import DIGEST_BYTES, canonical_json, digest
from pipeline.stage import Stage


def recipe_of(stage: Stage) -> dict[str, Any]:
    """Give the recipe of one stage in clear, as JSON values."""
    return {
        "stage": stage.name,
        "version": stage.version,
        "parameters": json.loads(stage.model_dump_json()),
        "libraries": dict(stage.libraries()),
    }


def full_recipe(stage: Stage, stages: Sequence[Stage]) -> dict[str, Any]:
    """Give the recipe of a stage with those that it stands on, which are among `stages`, under `upstream`."""
    above = [other for other in stages if other.name in stage.reads]
    return {**recipe_of(stage), "upstream": {other.name: full_recipe(other, stages) for other in above}}


def recipe_digest(recipe: Mapping[str, Any]) -> str:
    """Digest of a recipe as hexadecimal digits."""
    return digest(canonical_json(recipe)).hex()


def fingerprints(stage: Stage, inputs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fingerprints, uint8 (N, 16), from the digests of the inputs, uint8 (N, I, 16)."""
    own = digest(canonical_json(recipe_of(stage)))
    flat, size = inputs.tobytes(), DIGEST_BYTES * inputs.shape[1]
    found = b"".join(digest(own + flat[row * size : (row + 1) * size]) for row in range(len(inputs)))
    return np.frombuffer(found, dtype=np.uint8).reshape(len(inputs), DIGEST_BYTES)


def input_names(stage: Stage, source_inputs: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of a stage's inputs: the source's own, or `<stage>.<field>` for each field it reads."""
    if not stage.reads:
        return tuple(source_inputs)
    return tuple(f"{upstream}.{name}" for upstream, names in stage.reads.items() for name in names)


def recipe_changes(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Say what differs between two recipes of one stage: `stages.maps.shrink_ratio 0.4 → 0.5`."""
    stage = wanted["stage"]
    changes = []
    if stored.get("version") != wanted["version"]:
        changes.append(f"version of {stage} {stored.get('version')} → {wanted['version']}")
    for kind, prefix in (("parameters", f"stages.{stage}."), ("libraries", "")):
        old, new = stored.get(kind, {}), wanted[kind]
        changes += [
            f"{prefix}{name} {_show(old.get(name, 'unset'))} → {_show(new.get(name, 'unset'))}"
            for name in sorted({*old, *new})
            if old.get(name, _UNSET) != new.get(name, _UNSET)
        ]
    return changes


def full_recipe_changes(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Say what differs between two recipes of one stage, or in those that it stands on: each once."""
    changes = recipe_changes(stored, wanted)
    for name, recipe in wanted["upstream"].items():
        changes += full_recipe_changes(stored.get("upstream", {}).get(name, {}), recipe)
    return list(dict.fromkeys(changes))


_UNSET = object()


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
