"""What a shell completes: runs, splits, stages and keys. A fault while completing completes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from pipeline.errors import PipelineError

_PATHS = ("STORE", "DETECTIONS", "IMAGES", "CHECKPOINT")
"""First words of commands that take paths; the shell knows how to complete those."""

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def runs(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete --config: names of runs, and YAML files here."""
    from warmstore.configuration import run_names

    files = [path.as_posix() for path in Path().glob(f"{begun}*.yaml")] if begun else []
    folders = [f"{path.as_posix()}/" for path in Path().glob(f"{begun}*") if begun and path.is_dir()]
    return _beginning(begun, [*_or_nothing(run_names), *files, *folders])


def splits(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Complete --split: the splits of the run that is named before it."""
    from warmstore.configuration import load_config

    return _beginning(begun, _or_nothing(lambda: load_config(context.params["config_name"])[0].data.splits))


def arguments(words: str) -> Complete:
    """Complete a command's own `words`, stages or paths, and, once a letter is typed, keys of overrides."""

    def complete(context: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        from stages import STAGES, installed_stages
        from warmstore.configuration import known_keys

        stages = [*(stage.name for stage in STAGES), *installed_stages()] if words == "STAGE" else []
        keys = [f"{key}=" for key in known_keys()] if begun else []
        found = _beginning(begun, [*stages, *keys])
        return found or [CompletionItem(begun, type="file")] if words.partition(" ")[0] in _PATHS else found

    return complete


def _beginning(begun: str, known: Iterable[Any]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in dict.fromkeys(map(str, known)) if name.startswith(begun)]


def _or_nothing(find: Callable[[], Iterable[Any]]) -> Iterable[Any]:
    try:
        return find()
    except PipelineError:
        return ()


class _Bash(BashComplete):
    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)", "COMPREPLY+=($value)\n            [[ $value == *= ]] && compopt -o nospace"
    )


def put_no_space_behind_keys() -> None:
    """Have bash complete `canvas=` without a space behind it, since its value follows."""
    add_completion_class(_Bash)
