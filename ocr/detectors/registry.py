"""Detectors by name: entry points of installed packages, loaded when one is named.

    [project.entry-points."warmstore.detectors"]
    psenet = "my_package:PSENET"                    # PSENET = Detector(PseParams, PseNet, decoder=…)

A file names a detector and gives its parameters; it never names code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pipeline import entry_points
from pipeline.stage import Parameters

GROUP = "warmstore.detectors"


@dataclass(frozen=True)
class Detector:
    """What an entry point gives. Importing it should load no torch: configurations are checked with it.

    - `params`: the model that `model.params` of a configuration is validated against.
    - `build`: makes the network of such parameters, an `nn.Module` from images to `DetectorOutput`.
    - `decoder`: makes its `Decoder` of the parameters and the configuration's `model.boxes`; a
      `BoxDecoder` where it is None.
    - `loss`: makes its `Loss` of the parameters and `model.loss`; DBNet's where it is None.
    - `reads`: images as the network wants them: `normalised` with the store's mean and std, or `pixels`,
      float32 RGB in 0…1, for a network that normalises by itself.
    - `ready`: its parameters name its weights, so that it is validated without a checkpoint.
    - `starts_from`: parameters that only say where a training starts; checkpoints do not keep them.
    """

    params: type[Parameters]
    build: Callable[[Any], Any]
    decoder: Callable[[Any, Any], Any] | None = None
    loss: Callable[[Any, Any], Any] | None = None
    reads: Literal["normalised", "pixels"] = "normalised"
    ready: bool = False
    starts_from: tuple[str, ...] = ()


def installed_detectors() -> list[str]:
    """Give the names of all detectors that are installed, sorted; none of them is loaded."""
    return entry_points.installed(GROUP)


def find_detector(name: str) -> Detector:
    """Load a detector.

    Raises ConfigError where no installed package registers the name, two do, or what they register
    cannot be loaded or is no `Detector`.
    """
    found: Detector = entry_points.find(GROUP, "detector", name, Detector, "ocr.detectors.Detector")
    return found
