"""What training and validation start from, checked before torch and Lightning load, which takes seconds."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from ocr.datasets.stored import check_expected
from ocr.detectors import find_detector
from ocr.training import existing_checkpoint
from pipeline.digest import digest
from pipeline.errors import REPAIR, RUN, PipelineError
from pipeline.maintenance import preview
from pipeline.planning import full_recipe
from pipeline.store import Bucket, BucketStore, Store, open_store
from pipeline.workspace import Generations, Workspace, exclusive
from warmstore.configuration import RunConfig
from warmstore.workflows.runs import newest_checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ValidationInputs:
    """A run's configuration, a checkpoint, and the store of `split` that it is validated on.

    There is no checkpoint of a detector whose parameters name its weights, unless one is given.
    """

    config: RunConfig
    split: str
    checkpoint: Path | None
    store: Store

    @property
    def judged(self) -> str:
        """What is validated, in words."""
        return str(self.checkpoint or f"detector {self.config.model.detector}")


def validation_inputs(config: RunConfig, split: str, checkpoint: Path | None) -> ValidationInputs:
    """Find what a checkpoint is validated with; without `checkpoint`, the best one of the newest training.

    Raises ConfigError where there is none, PipelineError as `checked_store`.
    """
    found = existing_checkpoint(checkpoint) if checkpoint else None
    if not found and not find_detector(config.model.detector).ready:
        found = newest_checkpoint(config.runs_dirs)
    return ValidationInputs(config, split, found, checked_store(config, split))


def checked_store(config: RunConfig, split: str) -> Store:
    """Open a split's tensors, held against the configuration and, where it is there, the data set.

    Where `stores` names a bucket, they are pulled from there once, and no data set is looked at. Raises
    PipelineError that says why where the store is missing, of another recipe, stale or damaged.
    """
    stage = config.stages.tensors
    generations = config.workspace(split).generations(stage)
    if config.stores is not None:
        generations = cached_copy(config, config.stores, split)
    store = open_store(generations.path)
    check_expected(store, {"recipe": full_recipe(stage, config.stages.in_order())})
    if config.stores is not None:
        return store
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


def cached_copy(config: RunConfig, url: str, split: str) -> Generations:
    """Bring a split's tensors from a bucket into the cache folder, unless they are there."""
    from pipeline.remote import pull

    stage, folder = config.stages.tensors, config.cache_dir.expanduser() / digest(url.encode()).hex()[:16]
    generations = Workspace(folder, split).generations(stage)
    log.info("stores of split %s: %s, kept in %s", split, url, folder)
    with exclusive(folder, "a pull"):
        pull(BucketStore(Bucket(url), f"{split}/{stage.store}"), generations, lambda files: lambda done: None)
    return generations
