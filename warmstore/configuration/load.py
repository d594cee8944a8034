"""Loading a run: composed from YAML, validated strictly, every problem told with where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import ValidationError

from ocr.detectors import find_detector
from ocr.params import DBNetParams
from pipeline.errors import ConfigError
from pipeline.stage import Parameters, Stage
from stages import find_stage, installed_stages
from warmstore.configuration.compose import COMMAND_LINE, Composed, compose
from warmstore.configuration.run_config import RunConfig, StagesConfig, with_own_stages
from warmstore.configuration.training_config import ModelConfig

DEFAULT_RUN = "synthetic"
_OURS = StagesConfig.model_fields


def load_config(
    name: str = DEFAULT_RUN, overrides: Sequence[str] = (), stages: Sequence[type[Stage]] = ()
) -> tuple[RunConfig, Composed]:
    """Compose and validate a run.

    Keys under `stages` that are not ours name stages of one's own: of `stages`, or those that installed
    packages bring. Box decoding grows regions by what the maps' `shrink_ratio` took, unless it is told
    another. Raises ConfigError that names every key at fault, its value, and the file that set it.
    """
    given = {stage.name: stage for stage in stages}
    composed = _with_detector_params(compose(name, overrides, lambda key: _is_text(key, given)))
    values = dict(composed.values)
    model = with_own_stages(_own_stages(values.get("stages"), given))
    canvas = values.get("canvas", RunConfig.model_fields["canvas"].default)
    square = isinstance(canvas, int) and not isinstance(canvas, bool)
    parameters = dict(values.get("stages") or {})
    for key in _with_canvas(model):
        own = parameters.get(key) or {}
        if not isinstance(own, dict):
            continue  # which validation tells
        if "canvas" in own:
            raise ConfigError(
                f"stages.{key}.canvas is set by {composed.origin(f'stages.{key}.canvas')}; "
                "set canvas=…, which all stages share"
            )
        parameters[key] = {**own, "canvas": [canvas, canvas] if square else canvas}
    # A stage of one's own that is given no parameters is a key with nothing behind it.
    parameters = {key: {} if value is None else value for key, value in parameters.items()}
    config = _validate({**values, "stages": parameters}, composed, model)
    config.stages.in_order()
    return _grown_as_shrunk(config), composed


def _own_stages(stages: Any, given: Mapping[str, type[Stage]]) -> list[type[Stage]]:
    """Find the classes behind keys under `stages` that are not ours; what nobody knows, validation tells."""
    own = [name for name in (stages if isinstance(stages, dict) else ()) if name not in _OURS]
    installed = installed_stages() if own else ()
    return [
        given[name] if name in given else find_stage(name)
        for name in own
        if name in given or name in installed
    ]


def _with_canvas(model: type[RunConfig]) -> list[str]:
    """Name the stages that are told the canvas."""
    stages: Any = model.model_fields["stages"].annotation
    return [key for key in stages.model_fields if _declared(("stages", key, "canvas"), model) != (None,)]


def _with_detector_params(composed: Composed) -> Composed:
    """Settle `model.params`: they are those of the detector that is named beside them.

    Where another detector was typed than files name, the parameters in files are not its own. Keys that stood
    under `model` itself, while DBNet was the only detector, are parameters that the user gave: they
    count more than those of `params` in files.
    """
    model = composed.values.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("params", {}), dict):
        return composed  # which validation tells
    params, origins = dict(model.get("params", {})), dict(composed.origins)
    named = (composed.in_files.get("model") or {}).get("detector", "dbnet")
    if model.get("detector", "dbnet") != named:
        params = {key: params[key] for key in params if _typed(composed, f"model.params.{key}")}
    old = DBNetParams.model_fields.keys() & model.keys()
    for key in old:
        here, there = f"model.{key}", f"model.params.{key}"
        if key not in params or _typed(composed, here) or not _typed(composed, there):
            params[key], origins[there] = model[key], composed.origin(here)
    model = {**{key: value for key, value in model.items() if key not in old}, "params": params}
    return replace(composed, values={**composed.values, "model": model}, origins=origins)


def _typed(composed: Composed, key: str) -> bool:
    return composed.origin(key) == COMMAND_LINE


def _grown_as_shrunk(config: RunConfig) -> RunConfig:
    """Let box decoding grow regions by what the maps took of them, unless it is told another ratio."""
    if "shrink_ratio" in config.model.boxes.model_fields_set:
        return config
    boxes = config.model.boxes.model_copy(update={"shrink_ratio": config.stages.maps.shrink_ratio})
    return config.model_copy(update={"model": config.model.model_copy(update={"boxes": boxes})})


def _declared(keys: Iterable[object], model: type[RunConfig] = RunConfig) -> tuple[Any, ...]:
    """Give the types, None aside, that a run takes at nested keys; nothing where it has no such key.

    A detector's parameters are taken for DBNet's, whose keys may stand under `model` itself.
    """
    kinds: tuple[Any, ...] = (model,)
    for key in keys:
        fields = getattr(kinds[0], "model_fields", {})
        if kinds[0] is ModelConfig and key in DBNetParams.model_fields:
            fields = DBNetParams.model_fields
        if get_origin(kinds[0]) is dict:
            found = get_args(kinds[0])[1]
        elif key in fields:
            found = fields[key].annotation
        else:
            return (None,)
        several = get_origin(found) in (Union, UnionType)
        kinds = tuple(kind for kind in get_args(found) if kind is not NoneType) if several else (found,)
        if kinds == (Parameters,):
            kinds = (DBNetParams,)
    return kinds


def _is_text(key: str, given: Mapping[str, type[Stage]]) -> bool:
    """Whether a run takes nothing but text at a dotted key: what is typed there means itself."""
    keys = key.split(".")
    own = _own_stages({keys[1]: {}}, given) if keys[0] == "stages" and len(keys) > 2 else []
    return {str, Path}.issuperset(_declared(keys, with_own_stages(own)))


def _validate(values: Any, composed: Composed, model: type[RunConfig]) -> RunConfig:
    """Validate a configuration strictly; JSON's types are the ones that YAML may hold.

    Raises ConfigError naming for every problem the key, the value and where it came from.
    """
    try:
        return model.model_validate_json(json.dumps(values))
    except TypeError as error:
        raise ConfigError(
            f"run {composed.name} holds a value that is no plain number, text or list: {error}"
        ) from None
    except ConfigError as error:
        where = composed.origin("model.detector")
        raise ConfigError(f"run {composed.name} is wrong: model.detector: {error} ({where})") from None
    except ValidationError as error:
        problems = []
        for found in error.errors():
            key = ".".join(map(str, found["loc"]))
            if any(key == f"stages.{name}.canvas" for name in _with_canvas(model)):
                continue  # said of `canvas` itself
            key = key.removesuffix(".0") if key.startswith("canvas") else key
            before = key.replace("model.params.", "model.")
            key = before if before in composed.origins else key  # as it was typed
            problems.append(
                f"{key}: {_problem(found)} ({composed.origin(key)}){_nearest(found, values, model)}"
            )
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


def _nearest(found: Any, values: Any, model: type[RunConfig]) -> str:
    """Name the key that was probably meant: one spelled like it beside it, or its namesake elsewhere."""
    *above, key = found["loc"]
    if found["type"] != "extra_forbidden":
        return ""
    if above == ["model", "params"]:
        name = values["model"].get("detector", "dbnet")
        return (
            f"; detector {name} has {', '.join(find_detector(name).params.model_fields) or 'no parameters'}"
        )
    prefix = "".join(f"{name}." for name in above)
    beside = [*getattr(_declared(above, model)[0], "model_fields", {})]
    beside += installed_stages() if above == ["stages"] else []
    near = [f"{prefix}{name}" for name in get_close_matches(key, beside, 1)]
    near = near or [name for name in _keys(RunConfig) if name.endswith(f".{key}")]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _keys(model: Any, prefix: str = "") -> Iterator[str]:
    """Give all dotted keys of a model."""
    for name in getattr(model, "model_fields", {}):
        yield f"{prefix}{name}"
        for kind in _declared(f"{prefix}{name}".split(".")):
            yield from _keys(kind, f"{prefix}{name}.")


def known_keys() -> list[str]:
    """Give the dotted keys that take a value, but those of splits, for the shell to complete."""
    keys = list(_keys(RunConfig))
    return [key for key, following in pairwise([*keys, ""]) if not following.startswith(f"{key}.")]
