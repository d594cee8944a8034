"""Whether a store is what the configuration asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.errors import REBUILD, StoreError
from pipeline.planning import full_recipe_changes
from pipeline.stage import Chunked
from pipeline.store import Store


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
