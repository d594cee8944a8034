"""Detectors under `torch.compile`: what is compiled is the network, and checkpoints do not show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

_STEPS = ("training_step", "validation_step", "test_step", "predict_step")
_WRAPPED = "_orig_mod."
"""What `torch.compile(network)` puts before the names of the network's tensors."""


def leave_steps_alone(module: nn.Module) -> None:
    """Take back what Lightning compiles of a module beside `forward`.

    The steps hand work to threads, log and read a clock, which Dynamo cannot trace.
    """
    for step in _STEPS:
        if hasattr(vars(module).get(step), "_torchdynamo_orig_callable"):
            delattr(module, step)


def plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """Name tensors as an uncompiled network has them."""
    return {name.replace(_WRAPPED, ""): value for name, value in state.items()}


def named_for(module: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
    """Name tensors as `module` has them, compiled or not."""
    names = {name.replace(_WRAPPED, ""): name for name in module.state_dict()}
    return {names.get(name, name): value for name, value in plain(state).items()}
