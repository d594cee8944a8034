"""The configuration of a run: composed from YAML, validated strictly, wired into a pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import Field, ValidationError, field_validator

from ocr.annotations import LabelOptions
from ocr.datasets.online import OnlineParams
from ocr.datasets.stored import CacheParams
from ocr.splits import AnnotatedSplit
from pipeline.errors import ConfigError
from pipeline.execution import ExecutorConfig
from pipeline.planning import FileHashes, Pipeline
from pipeline.stage import Parameters, Stage
from pipeline.workspace import Workspace
from stages import Canonicalize, Decode, Maps, Tensors
from warmstore.configuration.compose import Composed, compose
from warmstore.configuration.data_config import DataConfig
from warmstore.configuration.training_config import ModelConfig, TrainerConfig, TrainingConfig

DEFAULT_RUN = "synthetic"


class StagesConfig(OnlineParams):
    """The stages with their parameters; `canvas` is set once, for all of them."""

    canonicalize: Canonicalize = Canonicalize()
    """Upright images and one frame."""
    decode: Decode = Decode()
    """Pixels on the canvas."""
    maps: Maps = Maps()
    """DBNet's ground truth."""
    tensors: Tensors = Tensors()
    """The layout that training reads."""

    def in_order(self) -> tuple[Stage, ...]:
        """Give the stages in the order in which they run."""
        return (self.canonicalize, self.decode, self.maps, self.tensors)


class RunConfig(Parameters):
    """Everything that a run is made of."""

    work_dir: Path = Path("work")
    """Where stores and runs are written."""
    runs_dir: Path | None = None
    """Where new runs are written instead, for a work folder that is read-only."""
    seed: int = Field(default=0, ge=0)
    """Decides weights, the order of training and its augmentation."""
    canvas: tuple[int, int] = (640, 640)
    """One number for a square, or [height, width]; multiples of 32."""
    data: DataConfig
    """The data set."""
    stages: StagesConfig = StagesConfig()
    """Parameters of the stages."""
    executor: ExecutorConfig = ExecutorConfig()
    """What runs the stages."""
    cache: CacheParams = CacheParams()
    """How samples are kept in memory."""
    trainer: TrainerConfig = TrainerConfig()
    """Arguments of Lightning's Trainer."""
    model: ModelConfig = ModelConfig()
    """The detector, its training and its boxes."""

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
            if not chosen.follow_links and not (root / path).resolve().is_relative_to(root.resolve()):
                raise ConfigError(
                    f"{path} leads out of the data set's root {root}; data.splits.{split} may not, unless "
                    f"data.splits.{split}.follow_links=true follows links"
                )
        return AnnotatedSplit(
            root / chosen.images,
            root / chosen.annotations,
            chosen.format,
            chosen.label_frame,
            self.work_dir / split / ".headers",
            chosen.part,
            LabelOptions(chosen.encoding, chosen.follow_links, chosen.subset, chosen.categories, split),
            chosen.scale_labels,
        )

    @property
    def training(self) -> TrainingConfig:
        """What training and validation read."""
        return TrainingConfig(cache=self.cache, trainer=self.trainer, model=self.model)

    @property
    def runs_dirs(self) -> tuple[Path, ...]:
        """Folders of runs: that of new ones, `runs_dir`, and the work folder's own where this is another."""
        own = self.work_dir / "runs"
        return tuple(dict.fromkeys((self.runs_dir or own, own)))

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

    Box decoding grows regions by what the maps' `shrink_ratio` took, unless it is told another.
    Raises ConfigError that names every key at fault, its value, and the file that set it.
    """
    composed = compose(name, overrides, _is_text)
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
    config = _validate({**values, "stages": stages}, composed)
    return _grown_as_shrunk(config), composed


def _grown_as_shrunk(config: RunConfig) -> RunConfig:
    """Let box decoding grow regions by what the maps took of them, unless it is told another ratio."""
    if "shrink_ratio" in config.model.boxes.model_fields_set:
        return config
    boxes = config.model.boxes.model_copy(update={"shrink_ratio": config.stages.maps.shrink_ratio})
    return config.model_copy(update={"model": config.model.model_copy(update={"boxes": boxes})})


def _declared(keys: Iterable[object]) -> tuple[Any, ...]:
    """Give the types, None aside, that a run takes at nested keys; nothing where it has no such key."""
    kinds: tuple[Any, ...] = (RunConfig,)
    for key in keys:
        fields = getattr(kinds[0], "model_fields", {})
        if get_origin(kinds[0]) is dict:
            found = get_args(kinds[0])[1]
        elif key in fields:
            found = fields[key].annotation
        else:
            return (None,)
        several = get_origin(found) in (Union, UnionType)
        kinds = tuple(kind for kind in get_args(found) if kind is not NoneType) if several else (found,)
    return kinds


def _is_text(key: str) -> bool:
    """Whether a run takes nothing but text at a dotted key: what is typed there means itself."""
    return {str, Path}.issuperset(_declared(key.split(".")))


def _validate(values: Any, composed: Composed) -> RunConfig:
    """Validate a configuration strictly; JSON's types are the ones that YAML may hold.

    Raises ConfigError naming for every problem the key, the value and where it came from.
    """
    try:
        return RunConfig.model_validate_json(json.dumps(values))
    except TypeError as error:
        raise ConfigError(
            f"run {composed.name} holds a value that is no plain number, text or list: {error}"
        ) from None
    except ValidationError as error:
        problems = []
        for found in error.errors():
            key = ".".join(map(str, found["loc"]))
            if any(key == f"stages.{name}.canvas" for name in ("decode", "maps", "tensors")):
                continue  # said of `canvas` itself
            key = key.removesuffix(".0") if key.startswith("canvas") else key
            problems.append(f"{key}: {_problem(found)} ({composed.origin(key)}){_nearest(found)}")
        raise ConfigError(f"run {composed.name} is wrong: {'; '.join(dict.fromkeys(problems))}") from None


def _problem(found: Any) -> str:
    """Say one problem of validation in the field's terms."""
    if found["type"] == "extra_forbidden":
        return "there is no such key"
    if found["type"] == "missing":
        return "this key is missing"
    told = json.dumps(found["input"], default=str)
    if found["type"] in ("string_type", "path_type"):
        return f'{told} does not do: it is a text, which YAML wants in quotes: "{told}"'
    message = found["msg"].removeprefix("Value error, ")
    return f"{told} does not do: {message[0].lower()}{message[1:]}"


def _nearest(found: Any) -> str:
    """Name the key that was probably meant: one spelled like it beside it, or its namesake elsewhere."""
    *above, key = found["loc"]
    if found["type"] != "extra_forbidden":
        return ""
    prefix = "".join(f"{name}." for name in above)
    beside = getattr(_declared(above)[0], "model_fields", {})
    near = [f"{prefix}{name}" for name in get_close_matches(key, beside, 1)]
    near = near or [name for name in _keys(RunConfig) if name.endswith(f".{key}")]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _keys(model: Any, prefix: str = "") -> Iterator[str]:
    """Give all dotted keys of a model."""
    for name in getattr(model, "model_fields", {}):
        yield f"{prefix}{name}"
        for kind in _declared(f"{prefix}{name}".split(".")):
            yield from _keys(kind, f"{prefix}{name}.")
