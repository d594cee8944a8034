"""What the entry point names. It loads no torch, because configurations are checked with it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from warmstore import Detector, Parameters


class PseParams(Parameters):
    """`model.params` where `model.detector` is `psenet`."""

    backbone: Literal["tiny", "resnet18", "resnet50"] = "tiny"
    width: int = Field(default=64, ge=16, multiple_of=16)
    text_threshold: float = Field(default=0.5, ge=0, le=1)
    """A pixel is text where the map of whole regions exceeds this."""


def _network(params: PseParams) -> Any:
    from psenet.network import PseNet

    return PseNet(params)


def _decoder(params: PseParams, boxes: Any) -> Any:
    from psenet.decoder import PseDecoder

    return PseDecoder(params.text_threshold, boxes.threshold, boxes.box_threshold)


def _loss(params: PseParams, loss: Any) -> Any:
    from psenet.loss import pse_loss

    return pse_loss


PSENET = Detector(PseParams, _network, decoder=_decoder, loss=_loss)
