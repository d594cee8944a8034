"""Weights that a backbone starts from: a folder, the hub's cache, and one sentence for all that is wrong."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import RepositoryNotFoundError
from transformers import ResNetBackbone, ResNetConfig

from ocr.model import Backbone, pretrained
from pipeline.errors import ConfigError

SENTENCE = 400
"""Characters that an error has at most; torch's own of two networks has 14,618."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder as `save_pretrained` writes it, of a tiny network, and what it holds."""
    torch.manual_seed(3)
    backbone = Backbone("tiny").network
    assert isinstance(backbone, ResNetBackbone)
    folder = tmp_path_factory.mktemp("weights")
    backbone.save_pretrained(folder)
    return folder, backbone.state_dict()


def test_pretrained_weights_come_from_a_folder(weights: tuple[Path, dict[str, Any]]) -> None:
    folder, saved = weights
    loaded = Backbone("tiny", str(folder)).network.state_dict()
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def refusal(name: Any, source: object) -> str:
    """What a backbone says of weights that it does not take."""
    with pytest.raises(ConfigError, match=r"^model\.pretrained: ") as told:
        Backbone(name, str(source))
    assert len(str(told.value)) < SENTENCE
    return str(told.value)


def test_weights_of_another_backbone_name_both(weights: tuple[Path, dict[str, Any]]) -> None:
    said = refusal("resnet18", weights[0])
    assert "are those of tiny, and model.backbone is resnet18; set model.backbone=tiny" in said


def test_weights_of_a_network_without_a_name_are_described(tmp_path: Path) -> None:
    config = ResNetConfig(hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], layer_type="basic")
    ResNetBackbone(config).save_pretrained(tmp_path)
    said = refusal("tiny", tmp_path)
    assert "those of a resnet with hidden_sizes [8, 8, 8, 8] and depths [1, 1, 1, 1]" in said


@pytest.fixture
def bare(tmp_path: Path, weights: tuple[Path, dict[str, Any]]) -> Path:
    """A folder with `model.safetensors` alone."""
    os.link(weights[0] / "model.safetensors", tmp_path / "model.safetensors")
    return tmp_path


def test_a_folder_may_hold_safetensors_alone(bare: Path, weights: tuple[Path, dict[str, Any]]) -> None:
    loaded = Backbone("tiny", str(bare)).network.state_dict()
    assert all(torch.equal(loaded[name], saved) for name, saved in weights[1].items())


def test_tensors_that_do_not_fit_are_told_in_a_sentence(bare: Path) -> None:
    said = refusal("resnet50", bare)
    assert "not those of resnet50: of its" in said and "have another shape, the first is embedder" in said


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    assert "no weights for tiny could be loaded" in refusal("tiny", tmp_path)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    assert "SafetensorError" in refusal("tiny", tmp_path)


@pytest.mark.parametrize("source", ["/no/such/folder", "./weights", "weights/resnet/18", "~/no such folder"])
def test_a_mistyped_folder_is_told_as_a_folder(source: str) -> None:
    assert f"there is no folder {source}; correct its name" in refusal("tiny", source)


def test_a_file_is_no_folder(bare: Path) -> None:
    assert "is a file; give the folder" in refusal("tiny", bare / "model.safetensors")


# --------------------------------------------------------------------------------------- the hub


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A hub that takes connections and never answers, and an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(pretrained, "HUB_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        yield address


def test_a_hub_that_does_not_answer_is_told_soon(silent_hub: str) -> None:
    began = time.monotonic()
    said = refusal("tiny", "owner/name")
    assert f"no folder owner/name here, and {silent_hub} cannot be reached over the network" in said
    assert time.monotonic() - began < 5  # 95 s once, of 40 attempts


def test_the_time_limit_is_below_ten_seconds() -> None:
    assert 2 * pretrained.HUB_SECONDS < 10  # to connect, and for the answer


def test_a_name_that_is_neither_a_folder_nor_a_model_is_told_as_both(
    silent_hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)  # its arguments differ by version

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unknown)
    assert "no folder weights/resnet18 here, and no model of that name" in refusal("tiny", "weights/resnet18")


def test_weights_in_the_cache_need_no_network(
    silent_hub: str, tmp_path: Path, weights: tuple[Path, dict[str, Any]]
) -> None:
    snapshot = tmp_path / "models--owner--name/snapshots/0123"
    snapshot.mkdir(parents=True)
    for file in weights[0].iterdir():
        os.link(file, snapshot / file.name)
    (tmp_path / "models--owner--name/refs").mkdir()
    (tmp_path / "models--owner--name/refs/main").write_text("0123")
    loaded = Backbone("tiny", "owner/name").network.state_dict()
    assert all(torch.equal(loaded[name], saved) for name, saved in weights[1].items())
