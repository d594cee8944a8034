"""What a detector is made of: its network, decoder and loss, as the registry or the user gives them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ocr.detection import BoxDecoder, Decoder
from ocr.detectors import DetectorIdentity, Loss
from ocr.params import DetectorSettings
from ocr.training.losses import dbnet_loss

Triple = tuple[float, float, float]
IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""A store's mean and std, unless its configuration says otherwise."""


@dataclass(frozen=True)
class Parts:
    """A detector's parts; `reads_pixels` where its network reads pixels in 0…1 and no normalised ones."""

    identity: DetectorIdentity
    network: nn.Module
    decoder: Decoder
    loss: Loss
    reads_pixels: bool


def registered_parts(identity: DetectorIdentity, settings: DetectorSettings) -> Parts:
    """Build a detector of the registry. Raises ConfigError where none of its name is installed."""
    entry, params = identity.entry, identity.params
    assert entry is not None
    return Parts(
        identity,
        entry.build(params),
        entry.decoder(params, settings.boxes) if entry.decoder else BoxDecoder(settings.boxes),
        entry.loss(params, settings.loss) if entry.loss else dbnet_loss(settings.loss),
        entry.reads == "pixels",
    )


def own_parts(
    network: nn.Module, settings: DetectorSettings, canvas: tuple[int, int], mean: Triple, std: Triple
) -> Parts:
    """Take a network of one's own, with DBNet's decoder and loss."""
    named = getattr(network, "_orig_mod", network)  # `torch.compile` wraps it
    identity = DetectorIdentity.of_network(named, canvas, mean, std)
    return Parts(identity, network, BoxDecoder(settings.boxes), dbnet_loss(settings.loss), False)
