"""Weights for a backbone: from a folder, or from the Hugging Face hub by way of its cache on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from torch import nn
from transformers import ResNetBackbone, ResNetConfig

from pipeline.errors import ConfigError

HUB_SECONDS = 4.0
"""How long the hub may take to answer (connecting, and again for the answer)."""
_ON_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")
_SHAPE_KEYS = ("layer_type", "embedding_size", "hidden_sizes", "depths")


def load_pretrained(
    name: str, source: str, config: ResNetConfig, architectures: Mapping[str, Mapping[str, Any]]
) -> nn.Module:
    """Build the backbone `name` of `config` with the weights of `source`, a folder or a name on the hub.

    `architectures` are all that a configuration can name. Raises ConfigError where there are no weights,
    or they are those of another network: it names both.
    """
    folder = _folder(source)
    theirs = _stored_config(folder)
    if theirs and not _same_shape(theirs, config):
        raise ConfigError(_of_another(name, source, theirs, architectures))
    try:
        network, loading = ResNetBackbone.from_pretrained(
            folder,
            config=config,
            output_loading_info=True,
            local_files_only=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:  # what safetensors, torch and transformers raise of a file that is damaged
        raise ConfigError(
            f"model.pretrained: no weights for {name} could be loaded from {source}: {_brief(error)}; give a "
            "folder or a name on the hub that holds them, or null to start from random weights"
        ) from error
    missing, others = loading["missing_keys"], loading["mismatched_keys"]
    if missing or others:
        first = sorted([*missing, *(key[0] for key in others)])[0]
        raise ConfigError(
            f"model.pretrained: the weights in {source} are not those of {name}: of its "
            f"{len(network.state_dict())} tensors {len(missing)} are missing and {len(others)} have another "
            f"shape, the first is {first}; set model.backbone to what they belong to"
        )
    return cast(nn.Module, network)


def _folder(source: str) -> Path:
    """Give the folder that holds the weights, downloading them where they come from the hub."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file():
        raise ConfigError(f"model.pretrained: {source} is a file; give the folder that it is in")
    if path.is_absolute() or source.startswith((".", "~")) or not _ON_HUB.fullmatch(source):
        raise ConfigError(
            f"model.pretrained: there is no folder {source}; correct its name, or name a model on the "
            "Hugging Face hub (owner/name)"
        )
    return _from_hub(source)


def _from_hub(source: str) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    wanted = ["config.json", "*.safetensors"]
    try:
        cached = Path(snapshot_download(source, local_files_only=True, allow_patterns=wanted))
        if any(cached.glob("*.safetensors")) or any(cached.glob("pytorch_model*.bin")):
            return cached
    except LocalEntryNotFoundError:
        pass
    try:
        # One question with a time limit: downloading would ask dozens of times before it gives up.
        names = [file.rfilename for file in HfApi().model_info(source, timeout=HUB_SECONDS).siblings or ()]
        if not any(name.endswith(".safetensors") for name in names):
            wanted.append("pytorch_model*.bin")
        return Path(snapshot_download(source, allow_patterns=wanted))
    except RepositoryNotFoundError:
        raise ConfigError(
            f"model.pretrained: there is no folder {source} here, and no model of that name on "
            f"{constants.ENDPOINT} (or it is private: log in with `hf auth login`)"
        ) from None
    except Exception as error:  # whatever the HTTP library raises
        raise ConfigError(
            f"model.pretrained: there is no folder {source} here, and {constants.ENDPOINT} cannot be reached "
            f"over the network ({_brief(error)}); mend the connection, or give a folder with the weights, or "
            "set HF_HOME to a cache that has them"
        ) from None


def _stored_config(folder: Path) -> dict[str, Any] | None:
    """Read what a folder says of its network; None where it says nothing."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "hidden_sizes" in found else None


def _same_shape(theirs: Mapping[str, Any], config: ResNetConfig) -> bool:
    return all(theirs.get(key, getattr(ResNetConfig(), key)) == getattr(config, key) for key in _SHAPE_KEYS)


def _of_another(
    name: str, source: str, theirs: Mapping[str, Any], architectures: Mapping[str, Mapping[str, Any]]
) -> str:
    said = f"model.pretrained: the weights in {source} are those of"
    for other, architecture in architectures.items():
        if _same_shape(theirs, ResNetConfig(**architecture)):
            return (
                f"{said} {other}, and model.backbone is {name}; set model.backbone={other}, or give weights "
                f"of {name}"
            )
    shape = f"hidden_sizes {theirs['hidden_sizes']} and depths {theirs.get('depths')}"
    kind = theirs.get("model_type", "network")
    return f"{said} a {kind} with {shape}, and model.backbone is {name}; give weights of {name}"


def _brief(error: BaseException) -> str:
    """Cut an error to one line of at most 200 characters, with its kind."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
