"""What training and validation start from, checked before torch and Lightning load, which takes seconds."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from ocr.datasets.stored import check_expected
from ocr.detectors import find_detector
from ocr.training import existing_checkpoint
from pipeline.errors import REPAIR, RUN, PipelineError
from pipeline.maintenance import preview
from pipeline.planning import full_recipe
from pipeline.store import Store, open_store
from warmstore.configuration import RunConfig, TrainingConfig
from warmstore.workflows.runs import newest_checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ValidationInputs:
    """A checkpoint, the store that it is validated on, and the settings.

    There is no checkpoint of a detector whose parameters name its weights, unless one is given.
    """

    settings: TrainingConfig
    checkpoint: Path | None
    store: Store

    @property
    def judged(self) -> str:
        """What is validated, in words."""
        return str(self.checkpoint or f"detector {self.settings.model.detector}")


def validation_inputs(config: RunConfig, split: str, checkpoint: Path | None) -> ValidationInputs:
    """Find what a checkpoint is validated with; without `checkpoint`, the best one of the newest training.

    Raises ConfigError where there is none, PipelineError as `checked_store`.
    """
    found = existing_checkpoint(checkpoint) if checkpoint else None
    if not found and not find_detector(config.model.detector).ready:
        found = newest_checkpoint(config.runs_dirs)
    return ValidationInputs(config.training, found, checked_store(config, split))


def checked_store(config: RunConfig, split: str) -> Store:
    """Open a split's tensors, held against the configuration and, where it is there, the data set.

    Raises PipelineError that says why where the store is missing, of another recipe, stale or damaged.
    """
    stage = config.stages.tensors
    store = open_store(config.workspace(split).generations(stage).path)
    check_expected(store, {"recipe": full_recipe(stage, config.stages.in_order())})
    if not config.data.root.is_dir():
        log.warning(
            "the data set is not at %s: whether %s is fresh cannot be told", config.data.root, store.name
        )
        return store
    for name, found in preview(config.pipeline(split)):
        if not found.fresh:
            why = "; ".join(found.why)
            if found.state == "damaged":
                raise PipelineError(f"{name} of split {split} is damaged: {why}", REPAIR)
            raise PipelineError(f"{name} of split {split} is {found.state} ({why})", RUN)
    return store
