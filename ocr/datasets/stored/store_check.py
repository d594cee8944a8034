"""Whether a store is what the configuration asks for, and several belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.errors import REBUILD, RUN, StoreError, shortened
from pipeline.planning import full_recipe_changes
from pipeline.stage import Chunked
from pipeline.store import Store


def check_together(stores: Sequence[Store]) -> None:
    """Refuse stores that do not hold the same samples, or were computed from other values of them.

    Raises StoreError that names the samples, or the inputs, in which a store differs from the first.
    """
    first, *others = stores
    for other in others:
        if other.sample_ids != first.sample_ids:
            raise _other_samples(first, other)
        for name in set(first.info.inputs).intersection(other.info.inputs):
            mine, theirs = (store.inputs[:, store.info.inputs.index(name)] for store in (first, other))
            changed = np.flatnonzero((mine != theirs).any(axis=1))
            if len(changed):
                names = shortened([first.sample_ids[row] for row in changed])
                raise StoreError(
                    f"{other.name} was computed from another {name} than {first.name} of {names}", RUN
                )


def _other_samples(first: Store, other: Store) -> StoreError:
    alone = sorted({*first.sample_ids} ^ {*other.sample_ids})
    refused = [name for name in alone if name in {**first.info.codes, **other.info.codes}]
    what = f"in one alone: {shortened(alone)}" if alone else "their order differs"
    problem = f"{first.name} and {other.name} do not hold the same samples ({what})"
    if refused:
        code = other.info.codes.get(refused[0]) or first.info.codes[refused[0]]
        return StoreError(
            f"{problem}; {refused[0]} was quarantined ({code}): a stage of your own gives an empty target "
            "instead of a verdict"
        )
    return StoreError(problem, RUN)


def check_expected(store: Store, expect: Mapping[str, Any]) -> None:
    """Refuse a store that is not what the configuration asks for.

    `recipe` is a stage's full recipe (`pipeline.planning.recipe.full_recipe`), `canvas` (height, width),
    `mean` and `std` what images are normalised with.
    """
    problems = []
    if "recipe" in expect:
        stored, wanted = store.info.recipe, expect["recipe"]
        problems += full_recipe_changes(stored, wanted)
    if "canvas" in expect:
        canvas = tuple(expect["canvas"])
        image = store.declared.get("image")
        found = tuple(image.shape[-2:]) if isinstance(image, Chunked) else canvas
        problems += [f"canvas {list(found)} → {list(canvas)}"] if found != canvas else []
    for name in ("mean", "std"):
        stated, asked = store.attributes.get(name), expect.get(name)
        if asked is not None and (stated is None or not np.allclose(stated, asked, atol=1e-6)):
            problems.append(f"{name} {stated} → {list(asked)}")
    if problems:
        raise StoreError(
            f"{store.name} is not what the configuration asks for: {'; '.join(problems)}", REBUILD
        )
