"""Whether a store is what the configuration asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.errors import StoreError
from pipeline.recipe import recipe_changes, upstream_changes
from pipeline.stage import Chunked
from pipeline.store import Store


def check_expected(store: Store, expect: Mapping[str, Any]) -> None:
    """Refuse a store that is not what the configuration asks for.

    `recipe` is a stage's full recipe (`pipeline.recipe.full_recipe`), `canvas` (height, width).
    """
    problems = []
    if "recipe" in expect:
        stored = store.attributes.get("recipe", {})
        problems += [*recipe_changes(stored, expect["recipe"]), *upstream_changes(stored, expect["recipe"])]
    if "canvas" in expect:
        wanted = tuple(expect["canvas"])
        image = store.declared.get("image")
        found = tuple(image.shape[-2:]) if isinstance(image, Chunked) else wanted
        problems += [f"canvas {list(found)} → {list(wanted)}"] if found != wanted else []
    if problems:
        raise StoreError(
            f"{store.name} is not what the configuration asks for: {'; '.join(problems)}; "
            "run `warmstore run` to rebuild it, or set the configuration back"
        )
