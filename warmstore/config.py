"""The configuration of a run: composed from YAML, validated strictly, wired into a pipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator

from ocr.source import AnnotatedSplit
from pipeline.errors import ConfigError
from pipeline.executors import ExecutorConfig
from pipeline.runner import Pipeline
from pipeline.source import FileHashes
from pipeline.stage import Parameters, Stage
from pipeline.workspace import Workspace
from stages import Canonicalize, Decode, Maps, Tensors
from warmstore.compose import Composed, compose

Model = TypeVar("Model", bound=Parameters)

DEFAULT_RUN = "synthetic"


class SplitConfig(Parameters):
    """One split: paths below the data set's root, the annotations' format, and the frame they are in.

    `part` = [start, stop) takes the samples of those ranks only (see `AnnotatedSplit`), for sets that
    come as one folder.
    """

    images: Path
    annotations: Path
    format: str = "auto"
    label_frame: Literal["raw", "upright", "auto"] = "auto"
    part: tuple[int, int] | None = None

    @field_validator("part")
    @classmethod
    def _in_order(cls, part: tuple[int, int] | None) -> tuple[int, int] | None:
        if part is not None and not 0 <= part[0] < part[1]:
            raise ValueError("it is [start, stop) with 0 <= start < stop")
        return part


class GenerateConfig(Parameters):
    """How many synthetic receipts `warmstore data` draws into the data set's root."""

    train: int = Field(default=48, ge=0)
    val: int = Field(default=24, ge=0)
    seed: int = 0
    size: tuple[int, int] = (1152, 864)


class DataConfig(Parameters):
    """A data set: its root and its splits; `generate` where warmstore draws it itself."""

    root: Path
    splits: dict[str, SplitConfig] = Field(min_length=1)
    generate: GenerateConfig | None = None


class StagesConfig(Parameters):
    """The stages with their parameters; `canvas` is set once, for all of them."""

    canonicalize: Canonicalize = Canonicalize()
    decode: Decode = Decode()
    maps: Maps = Maps()
    tensors: Tensors = Tensors()

    def in_order(self) -> tuple[Stage, ...]:
        """Give the stages in the order in which they run."""
        return (self.canonicalize, self.decode, self.maps, self.tensors)


class RunConfig(Parameters):
    """Everything that a run is made of; `cache`, `trainer`, `model` are validated by who uses them."""

    work_dir: Path = Path("work")
    seed: int = Field(default=0, ge=0)
    canvas: tuple[int, int] = (640, 640)
    data: DataConfig
    stages: StagesConfig = StagesConfig()
    executor: ExecutorConfig = ExecutorConfig()
    cache: dict[str, Any] = Field(default_factory=dict)
    trainer: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)

    @field_validator("canvas", mode="before")
    @classmethod
    def _square(cls, canvas: Any) -> Any:
        sides = canvas if isinstance(canvas, list | tuple) else (canvas, canvas)
        if len(sides) != 2 or any(isinstance(side, bool) or not isinstance(side, int) for side in sides):
            raise ValueError("it is one whole number, or [height, width]")
        return tuple(sides)

    @field_validator("canvas")
    @classmethod
    def _whole_strides(cls, canvas: tuple[int, int]) -> tuple[int, int]:
        for side in canvas:
            if side < 32 or side % 32:
                raise ValueError(
                    f"{side} is no multiple of 32, which the detector's coarsest stride asks for"
                )
        return canvas

    def source(self, split: str) -> AnnotatedSplit:
        """Give a split of the data set. Raises ConfigError where there is none of that name."""
        if split not in self.data.splits:
            raise ConfigError(f"there is no split {split}; data.splits has {', '.join(self.data.splits)}")
        chosen, root = self.data.splits[split], self.data.root
        if not root.is_dir():
            how = "run `make data`" if self.data.generate else "set data.root=… to the folder of the data set"
            raise ConfigError(f"there is no data set at {root}; {how}")
        for path in (chosen.images, chosen.annotations):
            if not (root / path).resolve().is_relative_to(root.resolve()):
                raise ConfigError(
                    f"{path} leads out of the data set's root {root}; data.splits.{split} may not"
                )
        return AnnotatedSplit(
            root / chosen.images,
            root / chosen.annotations,
            chosen.format,
            chosen.label_frame,
            self.work_dir / split / ".headers",
            chosen.part,
        )

    def workspace(self, split: str) -> Workspace:
        """Give the folder of a split's stores."""
        return Workspace(self.work_dir, split)

    def pipeline(self, split: str, *, rehash: bool = False, retry: bool = False) -> Pipeline:
        """Wire the stages over a split."""
        workspace = self.workspace(split)
        hashes = FileHashes(workspace.folder / ".hashes", self.data.root, rehash)
        return Pipeline(workspace, self.stages.in_order(), self.source(split), hashes, retry)


def load_config(name: str = DEFAULT_RUN, overrides: Sequence[str] = ()) -> tuple[RunConfig, Composed]:
    """Compose and validate a run.

    Raises ConfigError that names every key at fault, its value, and the file that set it.
    """
    composed = compose(name, overrides)
    values = dict(composed.values)
    canvas = values.get("canvas", RunConfig.model_fields["canvas"].default)
    square = isinstance(canvas, int) and not isinstance(canvas, bool)
    stages = dict(values.get("stages") or {})
    for stage in (Decode, Maps, Tensors):
        own = dict(stages.get(stage.name) or {})
        if "canvas" in own:
            raise ConfigError(
                f"stages.{stage.name}.canvas is set by {composed.origin(f'stages.{stage.name}.canvas')}; "
                "set canvas=…, which all stages share"
            )
        stages[stage.name] = {**own, "canvas": [canvas, canvas] if square else canvas}
    return validate(RunConfig, {**values, "stages": stages}, composed), composed


def validate(model: type[Model], values: Any, composed: Composed, prefix: str = "") -> Model:
    """Validate a part of a configuration strictly; JSON's types are the ones that YAML may hold.

    Raises ConfigError naming for every problem the key, the value and where it came from.
    """
    try:
        return model.model_validate_json(json.dumps(values))
    except TypeError as error:
        raise ConfigError(
            f"run {composed.name} holds a value that is no plain number, text or list: {error}"
        ) from None
    except ValidationError as error:
        problems = []
        for found in error.errors():
            key = ".".join([*([prefix] if prefix else []), *map(str, found["loc"])])
            if any(key == f"stages.{name}.canvas" for name in ("decode", "maps", "tensors")):
                continue  # said of `canvas` itself
            key = key.removesuffix(".0") if key.startswith("canvas") else key
            problems.append(f"{key}: {_problem(found)} ({composed.origin(key)})")
        raise ConfigError(f"run {composed.name} is wrong: {'; '.join(dict.fromkeys(problems))}") from None


def _problem(found: Any) -> str:
    """Say one problem of validation in the field's terms."""
    if found["type"] == "extra_forbidden":
        return "there is no such key"
    if found["type"] == "missing":
        return "this key is missing"
    message = found["msg"].removeprefix("Value error, ")
    return f"{json.dumps(found['input'], default=str)} does not do: {message[0].lower()}{message[1:]}"
