"""Detectors under `torch.compile`: the whole module, as Lightning documents it, or its network alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ocr.training import DetectorModule
from tests.support.pages import LIGHTNING_WARNS, Batch, loader, module, trainer

pytestmark = [
    *LIGHTNING_WARNS,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's own, of what Dynamo imports
]


class Backend:
    """Runs what Dynamo traces as it is, and counts the graphs: compiling them takes a minute."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, _: Any) -> Any:
        self.graphs += 1
        return graph.forward


def test_a_compiled_module_is_trained_and_validated_like_any_other(
    tmp_path: Path, small: list[Batch]
) -> None:
    backend, found = Backend(), []
    for compiled in (False, True):
        detector = module()
        run = trainer(tmp_path, max_epochs=1, num_sanity_val_steps=0, deterministic=True)
        run.fit(
            torch.compile(detector, backend=backend) if compiled else detector, loader(small), loader(small)
        )
        found.append({name: float(value) for name, value in run.callback_metrics.items()})
        assert len(run.predict(detector, loader(small), weights_only=True)) == 2
    assert backend.graphs > 0
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_checkpoints_of_compiled_networks_load_into_any(tmp_path: Path, small: list[Batch]) -> None:
    compiled = module()
    compiled.model = torch.compile(compiled.model, backend=Backend())
    assert any("_orig_mod" in name for name in compiled.state_dict())
    run = trainer(tmp_path)
    run.validate(compiled, loader(small), verbose=False)
    run.save_checkpoint(tmp_path / "compiled.ckpt")

    loaded = DetectorModule.from_checkpoint(tmp_path / "compiled.ckpt")
    images = torch.rand(1, 3, 96, 96)
    with torch.no_grad():
        expected = compiled.eval()(images)
        assert torch.equal(loaded(images).prob_logits, expected.prob_logits)
    for compile_it in (False, True):
        other = module()
        torch.nn.init.zeros_(other.model.prob_head.logits.weight)
        if compile_it:
            other.model = torch.compile(other.model, backend=Backend())
        trainer(tmp_path).validate(
            other, loader(small), ckpt_path=tmp_path / "compiled.ckpt", weights_only=True, verbose=False
        )
        with torch.no_grad():
            assert torch.equal(other.eval()(images).prob_logits, expected.prob_logits)


def test_a_network_of_ones_own_goes_on_from_its_checkpoint(tmp_path: Path, small: list[Batch]) -> None:
    network = module().model
    detector = DetectorModule(torch.compile(network, backend=Backend()), canvas=(96, 96))
    run = trainer(tmp_path)
    run.validate(detector, loader(small), verbose=False)
    run.save_checkpoint(tmp_path / "own.ckpt")
    other = DetectorModule(module().model, canvas=(96, 96))
    name, weight = next(iter(network.named_parameters()))
    with torch.no_grad():
        other.model.get_parameter(name).add_(1)
    assert not torch.equal(other.model.get_parameter(name), weight)
    trainer(tmp_path).validate(
        other, loader(small), ckpt_path=tmp_path / "own.ckpt", weights_only=True, verbose=False
    )
    assert torch.equal(other.model.state_dict()[name], network.state_dict()[name])
