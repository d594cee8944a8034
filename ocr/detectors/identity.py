"""Which detector, with which parameters; and what a checkpoint's weights belong to."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from ocr.detectors.registry import Detector, find_detector
from pipeline.stage import Parameters


class DetectorChoice(Parameters):
    """An installed detector by its name, and its parameters, of the model that it was registered with.

    Raises ConfigError where no detector of that name is installed.
    """

    detector: str = "dbnet"
    """The name of an installed detector."""
    params: SerializeAsAny[Parameters] = Field(default_factory=Parameters, validate_default=True)
    """The detector's own parameters."""

    @field_validator("params", mode="before")
    @classmethod
    def _of_the_detector(cls, params: Any, info: ValidationInfo) -> Any:
        """Validate plain values against the detector's own model; without any, take its defaults."""
        if "detector" not in info.data:  # it is no text, which is told
            return params
        name = info.data["detector"]
        model = cls._model_of(name)
        if type(params) is Parameters:
            params = {}
        if isinstance(params, dict):
            return model.model_validate_json(json.dumps(params))  # whose lists are a strict model's tuples
        if not isinstance(params, model):
            raise ValueError(f"detector {name} has {model.__name__}, not {type(params).__name__}")
        return params

    @staticmethod
    def _model_of(name: str) -> type[Parameters]:
        return find_detector(name).params


class DetectorIdentity(DetectorChoice):
    """What a checkpoint's weights belong to, and keep beside them.

    `detector` is a name of the registry's, or `package.module:Class` for a network of one's own, which
    has no `params`. `canvas` (height, width) is what it is trained for; `mean` and `std` are those of the
    store, of pixel values in 0…1, RGB. `model` is another name of DBNet's `params`, which older
    checkpoints use.
    """

    canvas: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        return {"params": values.pop("model"), **values} if "model" in values else values

    @staticmethod
    def _model_of(name: str) -> type[Parameters]:
        return Parameters if ":" in name else find_detector(name).params

    @classmethod
    def of_network(
        cls,
        network: object,
        canvas: tuple[int, int],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> DetectorIdentity:
        """Give the identity of a network of one's own, by its class."""
        kind = type(network)
        return cls(detector=f"{kind.__module__}:{kind.__qualname__}", canvas=canvas, mean=mean, std=std)

    @property
    def entry(self) -> Detector | None:
        """The registry's entry; None for a network of one's own."""
        return None if ":" in self.detector else find_detector(self.detector)

    def as_json(self) -> dict[str, Any]:
        """Plain values, to the digits that a module holds: it has mean and std in float32."""
        only_to_start = set(self.entry.starts_from) if self.entry else set()
        values = self.model_dump(mode="json", exclude={"params": only_to_start})
        for name in ("mean", "std"):
            values[name] = [round(float(np.float32(value)), 6) for value in values[name]]
        return values

    def differences(self, other: DetectorIdentity) -> list[str]:
        """Name each value that is another one in `other`, as `canvas [640, 640] → [960, 960]`."""
        mine, theirs = _flat(self.as_json()), _flat(other.as_json())
        pairs = [(key, mine.get(key), theirs.get(key)) for key in dict.fromkeys((*mine, *theirs))]
        return [f"{key} {one} → {another}" for key, one, another in pairs if one != another]


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    params = {f"params.{name}": value for name, value in values.pop("params").items()}
    return {"detector": values.pop("detector"), **params, **values}
