"""What a stage is: a pure function of one sample, with frozen parameters and declared outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from pipeline.errors import ConfigError

Codec = Literal["none", "zstd", "lz4"]


@dataclass(frozen=True)
class Chunked:
    """A large array per sample, `shape` and `dtype` fixed: stored as (N, *shape), whole samples a chunk.

    `dims` names the axes of `shape` for readers that want names (xarray).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    codec: Codec = "zstd"
    dims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """A small array per sample (a matrix, a size): stored as (N, *shape) in one chunk."""

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    dims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ragged:
    """A small array per sample whose first axis varies: stored end to end with offsets (CSR).

    With `levels=1` a sample's value is one array (M, *shape). With `levels=2` it is a sequence of
    arrays (M_j, *shape), one per part (a polygon, a text), and parts have offsets of their own.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] = ()
    levels: int = 1


@dataclass(frozen=True)
class Text:
    """A string per sample. With `tally`, the store's attributes count its words (up to an `@`)."""

    name: str
    tally: bool = False


@dataclass(frozen=True)
class File:
    """A file per sample, kept under `directory` in the store; its content counts, not its name."""

    name: str
    directory: str


SmallField = Row | Ragged | Text
Field = Chunked | Row | Ragged | Text | File


_KINDS: dict[str, type[Field]] = {
    "chunked": Chunked,
    "row": Row,
    "ragged": Ragged,
    "text": Text,
    "file": File,
}


@dataclass(frozen=True)
class FileContent:
    """The value of a `File` field: `data`, or `link`, an existing file that holds exactly `data`.

    `path` is its name below the field's directory (POSIX, relative, no `..`).
    """

    path: str
    data: bytes
    link: Path | None = None


@dataclass(frozen=True)
class Inputs:
    """What a stage reads for one sample: the source's payload, and the declared fields upstream.

    `values["decode"]["image"]` is an array (Chunked, Row, Ragged level 1), a tuple of arrays
    (Ragged level 2), a string (Text) or a `FileContent` (File).
    """

    sample_id: str
    source: Any
    values: Mapping[str, Mapping[str, Any]]


def field_as_json(field: Field) -> dict[str, Any]:
    """Spell a field's declaration for the store's attributes."""
    return {"kind": type(field).__name__.lower(), **json.loads(json.dumps(asdict(field)))}


def field_from_json(spelled: Mapping[str, Any]) -> Field:
    """Read a field's declaration back."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in spelled.items()
    }
    del values["kind"]
    return _KINDS[spelled["kind"]](**values)


def describe_field(field: Field, samples: int) -> str:
    """Say for people what a store of so many samples holds of a field: dtype and shape, or its kind."""
    if isinstance(field, Chunked | Row):
        return f"{field.dtype} {(samples, *field.shape)}"
    if isinstance(field, Ragged):
        shape = ", ".join(["…"] * field.levels + [str(side) for side in field.shape])
        return f"{field.dtype} ({samples}, {shape}), ragged"
    return "text" if isinstance(field, Text) else f"files in {field.directory}/"


class Parameters(BaseModel):
    """Frozen, strict, closed: the base of everything that configuration can set."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Stage(Parameters):
    """One step of the pipeline; its pydantic fields are its parameters.

    `reads` names the upstream stages and the fields of theirs that it may see; an empty mapping
    means that it reads the source. `version` goes up whenever the same parameters give other bytes.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    store: ClassVar[str]
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    lazy_imports: ClassVar[tuple[str, ...]] = ()
    """Modules that the first sample imports, and that worker processes find loaded when they start."""

    def fields(self) -> tuple[Field, ...]:
        """Declare the outputs; what `compute` returns is checked against them."""
        raise NotImplementedError

    def libraries(self) -> Mapping[str, str]:
        """Name and version of every library that decides the bytes of the outputs."""
        return {}

    def attributes(self) -> Mapping[str, Any]:
        """Give JSON values for the store's attributes (mean and std, for one)."""
        return {}

    def prepare(self) -> None:
        """Do what the first sample would wait for, such as compiling; samples are timed from then on."""

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        """Compute one sample: a value for every declared field, or raise `Quarantine`.

        Values are the engine's once they are returned: the stage changes none of them afterwards.
        """
        raise NotImplementedError


def stage_named(stages: Sequence[Stage], name: str) -> Stage:
    """Find a stage by name. Raises ConfigError where there is none."""
    for stage in stages:
        if stage.name == name:
            return stage
    raise ConfigError(f"there is no stage {name}; there are {', '.join(stage.name for stage in stages)}")
