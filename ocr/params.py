"""The parameters of the detector: its maps, what its weights belong to, how it learns, how boxes are made.

They stand apart from what they configure because that loads torch and transformers, which takes
seconds, and a configuration is checked in a fraction of one.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.stage import Parameters

BackboneName = Literal["tiny", "resnet18", "resnet50"]

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
"""Names of Lightning's: float32, and float32 weights that compute in bfloat16 or float16."""


class MapParams(Parameters):
    """How the maps are drawn; the defaults are those of DBNet's authors."""

    shrink_ratio: float = Field(default=0.4, gt=0, lt=1)
    """The ratio r: a polygon of area A and perimeter L shrinks and grows by D = A (1 − r²) / L."""
    min_text_size: float = Field(default=8, ge=0)
    """In canvas pixels: a polygon whose bounding box is lower or narrower is masked."""
    thresh_min: float = Field(default=0.3, ge=0, le=1)
    """The threshold map's value at the distance D from an edge, and beyond."""
    thresh_max: float = Field(default=0.7, ge=0, le=1)
    """The threshold map's value on an edge."""
    parts: Literal["first", "all"] = "first"
    """Which parts of a polygon that falls apart when it shrinks become kernels."""
    distance: Literal["db", "euclidean"] = "db"
    """The distance to an edge as DBNet's authors compute it, or the true one."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.thresh_min >= self.thresh_max:
            raise ValueError(f"thresh_min {self.thresh_min} must be below thresh_max {self.thresh_max}")
        return self


class DBNetParams(Parameters):
    """DBNet's network: `model.params` where `model.detector` is `dbnet`."""

    backbone: BackboneName = "resnet18"
    """`tiny` has one block a stage and at most 128 channels."""
    pretrained: str | None = None
    """A folder with weights as transformers writes them, or a name on the Hugging Face hub."""
    neck_channels: int = Field(default=256, ge=16, multiple_of=16)
    """Width of the feature pyramid; the heads have a quarter of it."""
    adaptive_scale_fusion: bool = False
    """Weigh the levels of the pyramid for each pixel, as DBNet++ does."""


class OnnxParams(Parameters):
    """A detector in an ONNX file: `model.params` where `model.detector` is `onnx`.

    The model reads (channel · scale − mean) / std of channels in 0…255.
    """

    path: str
    """The model's file."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from each channel, in the model's order of channels."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Divided by, in the same order."""
    scale: float = Field(default=1 / 255, gt=0)
    """What channels in 0…255 are multiplied with first."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """The model's order of channels."""
    output: str | None = None
    """The name of the output that is the probability map; the first by default."""
    gives: Literal["probabilities", "logits"] = "probabilities"
    """Whether that output has been through a sigmoid."""


class LossParams(Parameters):
    """The three terms of the loss."""

    probability_weight: float = Field(default=5.0, ge=0)
    """Weight of the cross-entropy of the probability map."""
    binary_weight: float = Field(default=1.0, ge=0)
    """Weight of the Dice loss of the approximate binary map."""
    threshold_weight: float = Field(default=10.0, ge=0)
    """Weight of the absolute difference of the threshold map."""
    negative_ratio: float = Field(default=3.0, gt=0)
    """How many of the hardest negatives the cross-entropy keeps for each positive."""
    steepness: float = Field(default=50.0, gt=0)
    """The k of the step function 1 / (1 + exp(−k (P − T)))."""


class OptimizerParams(Parameters):
    """AdamW; its rate rises to `lr` during the first `warmup` of all steps, then falls as a cosine to 0."""

    lr: float = Field(default=1e-3, gt=0)
    """The highest learning rate."""
    beta2: float = Field(default=0.98, gt=0, lt=1)
    """How long squared gradients are remembered: 1 / (1 − beta2) steps.

    With the usual 0.999 the large ones of the start would outlast a training of a few hundred steps.
    """
    weight_decay: float = Field(default=1e-4, ge=0)
    """AdamW's weight decay."""
    warmup: float = Field(default=0.15, gt=0, lt=1)
    """The share of all steps during which the rate rises."""


class AugmentParams(Parameters):
    """What training changes at random."""

    enabled: bool = True
    """Without it, training sees the stored pixels and maps as they are."""
    crop: int | None = Field(default=None, ge=32, multiple_of=32)
    """Side of the square window to train on, in pixels; the whole canvas if null."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a mirror image, left to right."""
    rotation: float = Field(default=5.0, ge=0, le=180)
    """Largest turn to either side, in degrees."""
    scale_min: float = Field(default=0.75, gt=0)
    """The smallest scale; scales are drawn evenly in their logarithm."""
    scale_max: float = Field(default=1.33, gt=0)
    """The largest scale."""
    colour: float = Field(default=0.2, ge=0, lt=1)
    """Largest relative change of each channel's gain, and of the gamma of all."""

    @model_validator(mode="after")
    def _bounds_in_order(self) -> AugmentParams:
        if self.scale_min > self.scale_max:
            raise ValueError(f"scale_min {self.scale_min} is above scale_max {self.scale_max}")
        return self


class BoxParams(Parameters):
    """How regions are found in a probability map; lengths are in canvas pixels.

    The defaults differ from the reference's in two places, because with those even perfect maps of
    receipts lose a fifth of their lines at 640 × 640 (docs/explanation/evaluation.md has the figures):
    `min_size` 3 discards the thin kernels of small lines, and no `unclip_ratio` gives both short and
    long lines their height back.
    """

    threshold: float = Field(0.3, ge=0, le=1)
    """A pixel belongs to a region when its probability exceeds this."""
    box_threshold: float = Field(0.6, ge=0, le=1)
    """A region is kept when its score, the mean probability inside it, is at least this."""
    unclip_ratio: float | None = Field(None, ge=0)
    """Each side moves by unclip_ratio · area / perimeter; if None, by what undoes `shrink_ratio`."""
    shrink_ratio: float = Field(0.4, gt=0, lt=1)
    """The ratio by which the maps' regions were shrunk (`stages.maps.shrink_ratio`)."""
    min_size: float = Field(1.0, ge=0)
    """The shorter side that a region must have before it grows; grown, it must have 2 more."""
    max_candidates: int = Field(1000, ge=1)
    """At most this many contours of one map are looked at, in the order in which OpenCV finds them."""
    score_mode: Literal["fast", "slow"] = "fast"
    """Score a box inside its rectangle (fast) or inside its contour (slow). Polygons: their outline."""
    shape: Literal["box", "polygon"] = "box"
    """Give the rectangle of least area (4 points), or the outline (4 points or more)."""
    pixel_centres: bool = True
    """Take a contour for a line through the centres of pixels; if false, through their upper left corners,
    as the reference does, which puts every box half a canvas pixel up and left."""
    dilation: bool = False
    """Dilate what exceeds the threshold by a square of 2 × 2 before contours are traced, as RapidOCR does."""


class OverlapParams(Parameters):
    """Where the work on samples runs: in threads, since the libraries in it release Python's lock."""

    workers: int = Field(2, ge=0)
    """0 runs each sample at once in the caller, which is what a debugger wants."""
    most_pending: int = Field(64, ge=1)
    """How many calls (one a sample, one a batch) may be under way before the device waits."""


class DetectorSettings(Parameters):
    """How a detector learns and is validated: everything that its weights do not depend on.

    `overlap` decides where boxes are decoded and counted. `val_precision` is that of the forward pass in
    validation; the trainer's where it is None. `maps` and `seed` are for augmentation.
    """

    loss: LossParams = LossParams()
    optimizer: OptimizerParams = OptimizerParams()
    augment: AugmentParams = AugmentParams(enabled=False)
    boxes: BoxParams = BoxParams()
    overlap: OverlapParams = OverlapParams(workers=0)
    maps: MapParams = MapParams()
    val_precision: Precision | None = None
    seed: int = 0
