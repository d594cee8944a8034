"""Fills the reference of the documentation from the code: a hook of mkdocs (`hooks` in mkdocs.yml).

A page holds a mark, `<!-- every command -->`, that becomes what the code says today. Descriptions of
configuration keys are the strings below the fields of the models, read from the source.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

WORDS = {
    type(None): ("`null`",),
    str: ("text",),
    Path: ("path",),
    bool: ("`true`", "`false`"),
    int: ("whole number",),
    float: ("number",),
}
SHARED = {"config_name", "splits", "as_json", "debug", "arguments"}
"""Parameters that most commands have: told once."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page. Called by mkdocs with every page's Markdown."""
    for mark, page in MARKS.items():
        if mark in markdown:
            markdown = markdown.replace(mark, page())
    return markdown


def every_command() -> str:
    """Describe every command: what it does, an example, its arguments and options."""
    from warmstore.cli import cli

    commands = [(" ".join(path), command) for path, command in _commands(cli, ("warmstore",))]
    shared = _options(dict(commands)["warmstore run"], lambda name: name in SHARED)
    parts = ["## Options of most commands\n", shared]
    for name, command in commands:
        told, _, example = inspect.cleandoc(command.help or "").partition("\b\n")
        usage = command.get_usage(click.Context(command, info_name=name)).removeprefix("Usage: ")
        parts.append(f"## {name}\n\n{told.strip()}\n\n```text\n{' '.join(usage.split())}\n```\n")
        if example:
            lines = [line.strip() for line in example.splitlines() if line.startswith("  ")]
            parts.append("```bash\n" + "\n".join(lines) + "\n```\n")
        takes_shared = {param.name for param in command.params} >= SHARED
        parts.append(_options(command, lambda name, known=takes_shared: not (known and name in SHARED)))
        if takes_shared:
            parts.append("It takes the [options of most commands](#options-of-most-commands) as well.\n")
    return "\n".join(parts)


def _options(command: click.Command, wanted: Callable[[str], bool]) -> str:
    """Give a table of the options whose parameters are `wanted`."""
    context = click.Context(command)
    records = [
        param.get_help_record(context)
        for param in command.params
        if isinstance(param, click.Option) and wanted(str(param.name))
    ]
    rows = [f"| `{_cell(names)}` | {_cell(told)} |" for names, told in filter(None, records)]
    return "\n".join(("| option | |", "| --- | --- |", *rows)) + "\n" if rows else ""


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def every_key() -> str:
    """Describe every configuration key: type, bounds, default, meaning; a table for each group."""
    from warmstore.configuration import RunConfig

    return "\n".join(_group("", RunConfig))


def _group(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    inner = {name: found for name, field in model.model_fields.items() if (found := _model(field))}
    if "params" in inner:  # a detector's own: those of the default one
        inner["params"] = type(model().params), ""  # type: ignore[attr-defined]
    yield f"## `{prefix.rstrip('.')}`\n" if prefix else "## A run\n"
    yield f"{_summary(model)}\n"
    rows = []
    for name, field in model.model_fields.items():
        if name in inner or (name == "canvas" and prefix):  # set once, for all stages
            continue
        default = (
            "required" if field.is_required() else f"`{_value(field.get_default(call_default_factory=True))}`"
        )
        kind = _cell(" or ".join(_kinds(field.annotation)) + _bounds(field))
        rows.append(
            f"| `{name}`{{ #{prefix}{name} }} | {kind} | {_cell(default)} | {_cell(_told(model, name))} |"
        )
    if rows:
        yield "| key | value | default | |\n| --- | --- | --- | --- |"
        yield "\n".join(rows) + "\n"
    for name, (found, place) in inner.items():
        yield from _group(f"{prefix}{name}{place}.", found)


def _model(field: FieldInfo) -> tuple[type[BaseModel], str] | None:
    """Give the model that a field holds, and `.<split>` where it holds several by name."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            return kind, ".<split>" if get_origin(field.annotation) is dict else ""
    return None


def _kinds(kind: Any) -> list[str]:
    """Spell a type as a reader of YAML would: number, `null`, `tiny`; what is typed as it stands is code."""
    if get_origin(kind) in (Union, types.UnionType):
        return [word for part in get_args(kind) for word in _kinds(part)]
    if get_origin(kind) is Literal:
        return [f"`{value}`" for value in get_args(kind)]
    if hasattr(kind, "__metadata__"):
        return _kinds(kind.__origin__)
    if get_origin(kind) in (tuple, list):
        inner = [word for part in get_args(kind) for word in (["…"] if part is ... else _kinds(part))]
        return [f"[{', '.join(inner)}]"]
    return list(WORDS.get(kind, (getattr(kind, "__name__", str(kind)),)))


def _bounds(field: FieldInfo) -> str:
    signs = {
        "ge": "≥",
        "gt": ">",
        "le": "≤",
        "lt": "<",
        "multiple_of": "a multiple of",
        "min_length": "at least",
    }
    bounds = [
        f"{sign} {getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    return f", {', '.join(bounds)}" if bounds else ""


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_value, value))}]"
    return str(value.value if isinstance(value, Enum) else value)


def _told(model: type[BaseModel], name: str) -> str:
    """Give the string below a field, in the class that declares it. Raises ValueError where there is none."""
    for owner in model.__mro__:
        if name in inspect.get_annotations(owner):
            if told := _strings(owner).get(name):
                return told
            if owner.__name__ == "TrainerConfig":
                return "Lightning's."
    raise ValueError(f"{model.__name__}.{name} has no string that says what it is: write one below the field")


def _summary(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "").split("\n\n")[0]


@cache
def _strings(model: type) -> dict[str, str]:
    """Give the strings below the fields of a class, by the fields' names."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(below.value.value.split())
        for field, below in pairwise(body.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    }


def every_name() -> str:
    """Name the public objects for mkdocstrings, by where they are imported from."""
    import warmstore

    return "\n".join(f"::: warmstore.{name}\n" for name in warmstore.__all__)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


MARKS: dict[str, Callable[[], str]] = {
    "<!-- every command -->": every_command,
    "<!-- every configuration key -->": every_key,
    "<!-- every public name -->": every_name,
}
