"""Options that commands share: which run, which splits, how to print."""

from __future__ import annotations

import functools
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from pipeline.collector import collector_paused
from pipeline.errors import ConfigError, PipelineError, Remedy, StoreError
from pipeline.store import MANIFEST, Store
from warmstore import completion
from warmstore.configuration import COMMAND_LINE, DEFAULT_RUN, Composed, RunConfig, load_config


@dataclass(frozen=True)
class Invocation:
    """What a command was asked: its run, its splits, its words that are no override, how to print.

    `typed` is what of it decides the run, as it was typed: --config, --split, overrides; `overrides` are
    the last of these alone.
    """

    config: RunConfig
    composed: Composed
    splits: tuple[str, ...]
    words: tuple[str, ...]
    json: bool
    typed: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()

    def spell(self, remedy: Remedy) -> str:
        """Write a command that works as pasted: for the same run and splits, with the same overrides."""
        return spelled(remedy, *self.typed)

    def one_split(self) -> str:
        """Give the split where a command speaks of one: the one asked for, else `val`, else the first."""
        if len(self.splits) == 1:
            return self.splits[0]
        return "val" if "val" in self.splits else self.splits[0]

    def stores(self, split: str, *, told: bool = False) -> list[Store]:
        """Open a split's stores in the order of stages; says on standard error which cannot be opened.

        Says nothing where that has been `told`. The last store repeats the verdicts of those before it.
        """
        opened = []
        for stage in self.config.stages.in_order():
            try:
                opened.append(self.config.workspace(split).generations(stage).open())
            except StoreError as error:
                error.spell = self.spell
                if not told:
                    click.echo(f"{split} {stage.name}: {error}", err=True)
        return [store for store in opened if store is not None]


def run_options(
    *, words: str = "", looks: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the shared options; `words` names the command's own arguments (none are taken without it).

    To a command that `looks` into a work folder, one that was typed and is not there is an error.
    """

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
            try:
                if looks:
                    refuse_mistyped(invocation)
                return function(invocation, **options)
            except PipelineError as error:
                error.spell = invocation.spell
                raise

        metavar = f"[{words}]… [KEY=VALUE]…" if words else "[KEY=VALUE]…"
        for decorator in (
            click.argument(
                "arguments", nargs=-1, metavar=metavar, shell_complete=completion.arguments(words)
            ),
            click.option("--debug", is_flag=True, help="Show a traceback when something goes wrong."),
            click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
            click.option(
                "--split",
                "splits",
                multiple=True,
                metavar="NAME",
                shell_complete=completion.splits,
                help="Only this split; the option may be repeated. Without it, all splits.",
            ),
            click.option(
                "--config",
                "config_name",
                default=DEFAULT_RUN,
                show_default=True,
                metavar="RUN",
                shell_complete=completion.runs,
                help="The run: its name in configs/, or the path of its YAML file.",
            ),
        ):
            wrapped = decorator(wrapped)
        return wrapped

    return decorate


checkpoint_option = click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="A checkpoint; the newest training's best otherwise.",
)


def spelled(remedy: Remedy, *words: str) -> str:
    """Write a remedy's command, and further words of it, as this program was called."""
    return shlex.join((*_program(), remedy.command, *remedy.words, *words))


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


def typed_store(path: Path) -> Path:
    """Give the path of a store that a user typed. Raises ConfigError where there is none."""
    if not (path / "zarr.json").exists() and not (path / MANIFEST).exists():
        raise ConfigError(f"there is no store at {path}; give a store's folder, such as work/val/maps.zarr")
    return path


@collector_paused()
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
    typed = [] if name == DEFAULT_RUN else ["--config", name]
    typed += [word for split in splits for word in ("--split", split)] + overrides
    return Invocation(
        config,
        composed,
        tuple(splits) or tuple(config.data.splits),
        rest,
        as_json,
        tuple(typed),
        tuple(overrides),
    )


def refuse_mistyped(asked: Invocation) -> None:
    """Raise ConfigError for a work folder that a user typed and that is not there."""
    work_dir = asked.config.work_dir
    if not work_dir.is_dir() and asked.composed.origin("work_dir") == COMMAND_LINE:
        beside = [path.name for path in work_dir.parent.glob("*") if path.is_dir()]
        near = "".join(
            f"; did you mean {work_dir.with_name(name)}?"
            for name in get_close_matches(work_dir.name, beside, 1)
        )
        raise ConfigError(f"there is no work folder {work_dir}{near}", Remedy("run", rest=", which makes it"))


def _program() -> tuple[str, ...]:
    """Give the words that call this program again, as this call of it did."""
    called = Path(sys.argv[0])
    if called.parts[-2:] == ("warmstore", "__main__.py"):
        return (sys.orig_argv[0], "-m", "warmstore")
    return (sys.argv[0],) if called.name == "warmstore" and not shutil.which("warmstore") else ("warmstore",)
