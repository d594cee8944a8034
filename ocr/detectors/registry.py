"""Detectors by name: entry points of installed packages, loaded when one is named.

    [project.entry-points."warmstore.detectors"]
    psenet = "my_package:PSENET"                    # PSENET = Detector(PseParams, PseNet, decoder=…)

A file names a detector and gives its parameters; it never names code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from pipeline.errors import ConfigError
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
    return sorted(entry_points(group=GROUP).names)


def find_detector(name: str) -> Detector:
    """Load a detector.

    Raises ConfigError where no installed package registers the name, two do, or what they register
    cannot be loaded or is no `Detector`.
    """
    found = tuple(entry_points(group=GROUP, name=name))
    if not found:
        names = installed_detectors()
        near = "".join(f"; did you mean {match}?" for match in get_close_matches(name, names, 1))
        raise ConfigError(
            f"there is no detector {name!r} installed; there are: {', '.join(names) or 'none'}{near}"
        )
    if len(found) > 1:
        raise ConfigError(f"two packages register a detector {name}: {' and '.join(map(_package, found))}")
    return _load(found[0])


@cache
def _load(entry: EntryPoint) -> Detector:
    """Import what an entry point names, once."""
    try:
        detector = entry.load()
    except Exception as error:  # whatever the package's own code raises
        raise ConfigError(
            f"detector {entry.name} of {_package(entry)} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(detector, Detector):
        raise ConfigError(
            f"detector {entry.name} of {_package(entry)}: {entry.value} is {type(detector).__name__}, "
            "no ocr.detectors.Detector"
        )
    return detector


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else entry.value
