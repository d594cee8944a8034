"""Looking at what a detector can reach: precisions side by side, and the canvas's ceiling."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ocr.datasets import TensorDataset
from ocr.evaluation import Ceiling, Measured, compare_precisions, find_ceiling, labelled_images
from ocr.geometry import Size
from ocr.params import Precision
from pipeline.store import Store
from warmstore.configuration import RunConfig
from warmstore.workflows.inputs import ValidationInputs
from warmstore.workflows.train import VAL_FIELDS, trained_detector


def measure_precisions(
    inputs: ValidationInputs, precisions: Sequence[Precision] = ()
) -> tuple[list[Measured], dict[str, str]]:
    """Evaluate a checkpoint over a split's store in each precision, the first being the reference.

    Without `precisions`: float32 and bfloat16, and float16 on a GPU. Gives the measurements, and what
    they were made of, in words.
    """
    config, store = inputs.config, inputs.store
    gpu = config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    precisions = precisions or ("32-true", "bf16-mixed", *(("16-mixed",) if gpu else ()))
    module = trained_detector(config, inputs.checkpoint).to("cuda" if gpu else "cpu")
    data = TensorDataset(store.name, VAL_FIELDS, cache=config.cache)
    data.warm()
    measured = compare_precisions(module, data.batches(config.model.batch_size), precisions)
    device = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    return measured, {
        "checkpoint": inputs.judged,
        "store": str(store.name),
        "digest": store.digest,
        "device": device,
    }


def find_ceilings(config: RunConfig, store: Store, canvases: Sequence[Size]) -> list[Ceiling]:
    """Tell what each canvas allows on a canonical store, with the run's parameters of maps and of boxes."""
    images = list(labelled_images(store))
    stages, boxes = config.stages, config.model.boxes
    stages.maps.prepare()  # so that the first image is not timed with what it compiles
    return [
        find_ceiling(images, canvas, maps=stages.maps, boxes=boxes, padding=stages.decode.padding)
        for canvas in canvases
    ]
