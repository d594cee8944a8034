"""Stages of one's own, beside ours: entry points of installed packages, checked when they are named.

    [project.entry-points."warmstore.stages"]
    centres = "my_package:Centres"                  # class Centres(Stage): name = "centres"

A configuration names a stage and gives its parameters (`stages.centres.spread=0.3`); it never names code.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline import entry_points
from pipeline.errors import ConfigError
from pipeline.stage import Stage

GROUP = "warmstore.stages"
_TAKEN = {"sample_id", "fingerprint", "input", "checksum"}  # arrays that every store has


def installed_stages() -> list[str]:
    """Give the names of all stages that packages bring, sorted; none of them is loaded."""
    return entry_points.installed(GROUP)


def find_stage(name: str) -> type[Stage]:
    """Load a stage that a package brings.

    Raises ConfigError where no installed package registers the name, two do, or what they register
    cannot be loaded, is no `Stage`, or has another name.
    """
    found: type[Stage] = entry_points.find(GROUP, "stage", name, type(Stage), "pipeline.stage.Stage")
    if not issubclass(found, Stage):
        raise ConfigError(f"stage {name}: {found.__name__} is no class below pipeline.stage.Stage")
    own_name = getattr(found, "name", None)
    if own_name != name:
        raise ConfigError(
            f"stage {name}: {found.__name__} has the `name` {own_name!r}; write what its entry point says"
        )
    return found


def in_order(stages: Sequence[Stage], own: Sequence[Stage]) -> tuple[Stage, ...]:
    """Put stages of one's own behind `stages`, each after those that it reads.

    Raises ConfigError that names the stage where it reads what is not there, stands in a circle, takes
    another's store, or declares fields that no store can have.
    """
    ordered, waiting = list(stages), list(own)
    while waiting:
        names = {stage.name for stage in ordered}
        ready = [stage for stage in waiting if names.issuperset(stage.reads)]
        if not ready:
            raise ConfigError(_why_not(waiting, names))
        for stage in ready:
            _check(stage, ordered)
            ordered.append(stage)
            waiting.remove(stage)
    return tuple(ordered)


def _check(stage: Stage, above: Sequence[Stage]) -> None:
    kind = type(stage).__name__
    for missing in ("version", "store"):
        if not hasattr(stage, missing):
            raise ConfigError(f"stage {stage.name}: {kind} has no `{missing}`; write it beside `name`")
    if taken := [other.name for other in above if other.store == stage.store]:
        raise ConfigError(
            f"stage {stage.name}: {stage.store} is the store of {taken[0]}; give {kind} another `store`"
        )
    try:
        names = [field.name for field in stage.fields()]
    except NotImplementedError:
        raise ConfigError(f"stage {stage.name}: {kind} declares no `fields()`") from None
    if wrong := [n for n in names if not n.isidentifier() or n in _TAKEN or names.count(n) > 1]:
        raise ConfigError(
            f"stage {stage.name}: {wrong[0]!r} can be no field's name: each is one word, there once, and "
            f"none of {', '.join(sorted(_TAKEN))}"
        )
    for upstream, read in stage.reads.items():
        there = [field.name for other in above if other.name == upstream for field in other.fields()]
        if absent := [name for name in read if name not in there]:
            raise ConfigError(
                f"stage {stage.name} reads {', '.join(absent)} of {upstream}, which has {', '.join(there)}"
            )


def _why_not(waiting: Sequence[Stage], names: set[str]) -> str:
    known = names | {stage.name for stage in waiting}
    for stage in waiting:
        if unknown := [name for name in stage.reads if name not in known]:
            return (
                f"stage {stage.name} reads {', '.join(unknown)}, which is not among the run's stages "
                f"({', '.join(sorted(names))}); add stages.{unknown[0]} to the configuration"
            )
    return f"stages {' and '.join(stage.name for stage in waiting)} read each other in a circle"
