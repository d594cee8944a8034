"""Options that commands share: which run, which splits, how to print."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pipeline.errors import ConfigError
from pipeline.store import Store
from warmstore.compose import Composed
from warmstore.config import DEFAULT_RUN, RunConfig, load_config


@dataclass(frozen=True)
class Invocation:
    """What a command was asked: its run, its splits, its words that are no override, how to print."""

    config: RunConfig
    composed: Composed
    splits: tuple[str, ...]
    words: tuple[str, ...]
    json: bool

    def one_split(self) -> str:
        """Give the split where a command speaks of one: the one asked for, else `val`, else the first."""
        if len(self.splits) == 1:
            return self.splits[0]
        return "val" if "val" in self.splits else self.splits[0]

    def furthest_store(self, split: str) -> Store | None:
        """Open the last store in the order of stages that there is: it repeats the verdicts before it."""
        opened = map(self.config.workspace(split).open, reversed(self.config.stages.in_order()))
        return next((store for store in opened if store is not None), None)


def run_options(*, words: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the shared options; `words` names the command's own arguments (none are taken without it)."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(
            config_name: str,
            splits: tuple[str, ...],
            as_json: bool,
            debug: bool,
            arguments: tuple[str, ...],
            **options: Any,
        ) -> Any:
            invocation = _invocation(config_name, splits, as_json, arguments, takes_words=bool(words))
            return function(invocation, **options)

        metavar = f"[{words}]… [KEY=VALUE]…" if words else "[KEY=VALUE]…"
        for decorator in (
            click.argument("arguments", nargs=-1, metavar=metavar),
            click.option("--debug", is_flag=True, help="Show a traceback when something goes wrong."),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
            click.option(
                "--split",
                "splits",
                multiple=True,
                metavar="NAME",
                help="A split (repeatable); all of them otherwise.",
            ),
            click.option(
                "--config",
                "config_name",
                default=DEFAULT_RUN,
                show_default=True,
                metavar="NAME",
                help="A run in configs/.",
            ),
        ):
            wrapped = decorator(wrapped)
        return wrapped

    return decorate


def writable(path: Path, *suffixes: str) -> Path:
    """Give a file's path that a user typed, before any work is done for it.

    Raises ConfigError where its folder is not there, it is a folder itself, or its suffix is another.
    """
    if path.is_dir() or not path.parent.is_dir():
        problem = "is a folder" if path.is_dir() else f"has no folder {path.parent} to be written into"
        raise ConfigError(f"{path} {problem}; give the path of a file in a folder that is there")
    if suffixes and path.suffix.lower() not in suffixes:
        raise ConfigError(f"{path} is to be a picture; give it one of the suffixes {', '.join(suffixes)}")
    return path


def _invocation(
    name: str, splits: Sequence[str], as_json: bool, arguments: Sequence[str], takes_words: bool
) -> Invocation:
    overrides = [argument for argument in arguments if "=" in argument]
    rest = tuple(argument for argument in arguments if "=" not in argument)
    if rest and not takes_words:
        raise ConfigError(f"{rest[0]} is no override; write key=value, for instance canvas=1024")
    config, composed = load_config(name, overrides)
    for split in splits:
        if split not in config.data.splits:
            raise ConfigError(f"there is no split {split}; data.splits has {', '.join(config.data.splits)}")
    return Invocation(config, composed, tuple(splits) or tuple(config.data.splits), rest, as_json)
