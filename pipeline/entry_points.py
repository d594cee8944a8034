"""What installed packages bring under an entry point's group, loaded when it is named."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pipeline.errors import ConfigError


def installed(group: str) -> list[str]:
    """Give the names of all that is installed, sorted; none of it is loaded."""
    return sorted(entry_points(group=group).names)


def find(group: str, what: str, name: str, kind: type, kind_name: str) -> Any:
    """Load what a package registers by a name: a `kind`, or a class below it where that is a metaclass.

    Raises ConfigError where no installed package registers the name, two do, or what they register
    cannot be loaded or is something else; it says `what` was asked for, and `kind_name` what is wanted.
    """
    found = tuple(entry_points(group=group, name=name))
    if not found:
        names = installed(group)
        near = "".join(f"; did you mean {match}?" for match in get_close_matches(name, names, 1))
        raise ConfigError(
            f"there is no {what} {name!r} installed; there are: {', '.join(names) or 'none'}{near}"
        )
    if len(found) > 1:
        raise ConfigError(f"two packages register a {what} {name}: {' and '.join(map(_package, found))}")
    loaded = _load(found[0], what)
    if not isinstance(loaded, kind):
        raise ConfigError(
            f"{what} {name} of {_package(found[0])}: {found[0].value} is {type(loaded).__name__}, "
            f"no {kind_name}"
        )
    return loaded


@cache
def _load(entry: EntryPoint, what: str) -> Any:
    """Import what an entry point names, once."""
    try:
        return entry.load()
    except Exception as error:  # whatever the package's own code raises
        raise ConfigError(
            f"{what} {entry.name} of {_package(entry)} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value
