"""The configuration of a run: its models, wired into a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, create_model, field_validator

from ocr.annotations import LabelOptions
from ocr.datasets.online import OnlineParams
from ocr.datasets.stored import CacheParams
from ocr.detectors import DetectorIdentity
from ocr.params import DetectorSettings
from ocr.splits import AnnotatedSplit
from pipeline.errors import ConfigError, Remedy
from pipeline.execution import ExecutorConfig
from pipeline.planning import FileHashes, Pipeline
from pipeline.stage import Parameters, Stage, stage_named
from pipeline.store import is_url
from pipeline.workspace import Workspace
from stages import Canonicalize, Decode, Maps, Tensors, in_order
from warmstore.configuration.data_config import DataConfig, Folder
from warmstore.configuration.training_config import ModelConfig, TrainerConfig


class StagesConfig(OnlineParams):
    """The stages with their parameters; `canvas` is set once, for all of them that have one.

    A stage of one's own is a further key, which `with_own_stages` declares.
    """

    canonicalize: Canonicalize = Canonicalize()
    """Upright images and one frame."""
    decode: Decode = Decode()
    """Pixels on the canvas."""
    maps: Maps = Maps()
    """DBNet's ground truth."""
    tensors: Tensors = Tensors()
    """The layout that training reads."""

    def in_order(self) -> tuple[Stage, ...]:
        """Give the stages in the order in which they run, one's own last.

        Raises ConfigError where those cannot be put in order (see `stages.in_order`).
        """
        ours = (self.canonicalize, self.decode, self.maps, self.tensors)
        keys = [key for key in type(self).model_fields if key not in StagesConfig.model_fields]
        own = [getattr(self, key) for key in keys]
        return in_order(ours, own)

    def named(self, names: Sequence[str]) -> list[Stage]:
        """Find stages, or all where no name is given. Raises ConfigError where there is none of a name."""
        stages = self.in_order()
        return [stage_named(stages, name) for name in names] or list(stages)


class RunConfig(Parameters):
    """Everything that a run is made of."""

    work_dir: Folder = Path("work")
    """Where stores and runs are written."""
    runs_dir: Folder | None = None
    """Where new runs are written instead, for a work folder that is read-only."""
    stores: str | None = None
    """The URL that training and validation pull their stores from, instead of the work folder."""
    cache_dir: Folder = Path("~/.cache/warmstore")
    """Where stores that were pulled for training are kept."""
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

    @field_validator("stores")
    @classmethod
    def _in_a_bucket(cls, stores: str | None) -> str | None:
        if stores is not None and not is_url(stores):
            raise ValueError(
                "it is the URL of a bucket, such as s3://receipts/v3; set work_dir=… for a folder"
            )
        return stores

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
                    f"{side} is no multiple of 32, which the detector's coarsest stride asks for; take "
                    f"{32 * max(1, -(-side // 32))}"
                )
        return canvas

    def source(self, split: str) -> AnnotatedSplit:
        """Give a split of the data set. Raises ConfigError where there is none of that name."""
        if split not in self.data.splits:
            raise ConfigError(f"there is no split {split}; data.splits has {', '.join(self.data.splits)}")
        chosen, root = self.data.splits[split], self.data.root
        if not root.is_dir():
            problem = f"there is no data set at {root}"
            if self.data.generate:
                raise ConfigError(problem, Remedy("data", rest=", which draws it"))
            raise ConfigError(f"{problem}; set data.root=… to the folder of the data set")
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
            header_cache=self.work_dir / split / ".headers",
            part=chosen.part,
            options=LabelOptions(
                chosen.encoding, chosen.follow_links, chosen.subset, chosen.categories, split
            ),
            scale_labels=chosen.scale_labels,
            label_memory=self.work_dir / split / ".labels",
        )

    @property
    def detector_identity(self) -> DetectorIdentity:
        """What the weights of this run's detector belong to."""
        model, tensors = self.model, self.stages.tensors
        return DetectorIdentity(
            detector=model.detector,
            params=model.params,
            canvas=self.canvas,
            mean=tensors.mean,
            std=tensors.std,
        )

    @property
    def detector_settings(self) -> DetectorSettings:
        """How this run's detector learns and is validated."""
        model = self.model
        return DetectorSettings(
            loss=model.loss,
            optimizer=model.optimizer,
            augment=model.augment,
            boxes=model.boxes,
            overlap=model.overlap,
            maps=self.stages.maps,
            val_precision=self.trainer.own_val_precision(),
            seed=self.seed,
        )

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


def with_own_stages(own: Sequence[type[Stage]]) -> type[RunConfig]:
    """Give the model of a run that has stages of one's own as well, each under `stages` by its name.

    Raises ConfigError where a name cannot be a key there.
    """
    for stage in own:
        if hasattr(StagesConfig, stage.name) or not stage.name.isidentifier():
            raise ConfigError(f"{stage.name} cannot be the name of a stage; give {stage.__name__} another")
    if not own:
        return RunConfig
    keys: dict[str, Any] = {stage.name: (stage, ...) for stage in own}
    stages = create_model("StagesConfig", __base__=StagesConfig, **keys)
    return create_model("RunConfig", __base__=RunConfig, stages=(stages, ...))
