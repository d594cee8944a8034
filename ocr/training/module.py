"""A detector as a LightningModule: normalise on the device, train, validate, save what it is."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from typing import Any, cast, get_args

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ocr.detection import Decoder, Detections, as_float32, decode_batch
from ocr.detectors import DetectorIdentity, DetectorOutput, Loss
from ocr.metrics import CLEval, IouHmean
from ocr.params import DetectorSettings, Precision
from ocr.training.augmentation import augment
from ocr.training.autocast import computing_in
from ocr.training.batch_contract import check_batch
from ocr.training.checkpoints import check_identity, read_checkpoint, stored_identity
from ocr.training.compiling import leave_steps_alone, named_for, plain
from ocr.training.judges import Judges
from ocr.training.mean_losses import MeanLosses, named
from ocr.training.onnx_export import to_onnx
from ocr.training.optimizer import one_cycle_adamw
from ocr.training.output_contract import check_output, ran
from ocr.training.parts import IMAGENET, Triple, own_parts, registered_parts
from ocr.training.pixels import Pixels
from ocr.training.scoring import EndPool, ScoredSample, Scoring
from ocr.training.stopwatch import Stopwatch
from pipeline.errors import ConfigError, PipelineError

log = logging.getLogger(__name__)

_ON_DEVICE = ("images", "prob_maps", "prob_masks", "thresh_maps", "thresh_masks")
_NO_SETTINGS = DetectorSettings()


class DetectorModule(pl.LightningModule):  # type: ignore[misc]  # Lightning is untyped here
    """A detector with its loss, decoder and metrics; batches are dicts and may come from anywhere.

    `detector` is what the registry builds, or any network from images to `DetectorOutput`, of which `canvas`,
    `mean` and `std` say what it reads. `decoder`, `loss`, `metric` and `cleval` are attributes
    that may be replaced: an epoch takes those that there are when it begins.

    Per batch it reads `images` (uint8, or floating and then normalised already), the four maps,
    `inverse_matrix`, `size`, `polygons`, `ignore` and `sample_id`; augmented training needs no maps.
    `text`, where it is there, makes CLEval exact. A batch of validation is read until after the next one
    has been fetched, so a loader may not write over it. The first batch of training and of validation is
    held against `ocr.training.batch_contract`, the first output against `ocr.training.output_contract`.

    Logs `train/…` and `val/…` losses, `val/hmean`, `val/precision`, `val/recall`, the same with
    `val/cleval_…`, `val/hmean@0.6` to `@0.9`, and `val/samples`; a test logs them as `test/…`.
    `worst` gives the samples with the least H-mean, `stopwatch` is the clock of an epoch.
    """

    to_onnx = to_onnx
    identity: DetectorIdentity
    decoder: Decoder
    loss: Loss

    def __init__(
        self,
        detector: DetectorIdentity | nn.Module,
        settings: DetectorSettings = _NO_SETTINGS,
        *,
        canvas: tuple[int, int] = (640, 640),
        mean: Triple = IMAGENET[0],
        std: Triple = IMAGENET[1],
        decoder: Decoder | None = None,
        loss: Loss | None = None,
    ) -> None:
        super().__init__()
        if isinstance(detector, nn.Module):
            parts = own_parts(detector, settings, canvas, mean, std)
        else:
            parts = registered_parts(detector, settings)
        self.identity, self.settings, self.model = parts.identity, settings, parts.network
        self.decoder, self.loss = decoder or parts.decoder, loss or parts.loss
        self.metric, self.cleval, self.losses = IouHmean(), CLEval(), MeanLosses()
        self.pixels, self.scoring = Pixels(*self.mean_std, parts.reads_pixels), Scoring(settings.overlap)
        self._checked: set[str] = set()

    @property
    def mean_std(self) -> tuple[Triple, Triple]:
        """What images are normalised with, of pixel values in 0…1, RGB; `OcrDataModule` keeps to it."""
        return self.identity.mean, self.identity.std

    @property
    def worst(self) -> list[ScoredSample]:
        """The samples of the last validation epoch with the least H-mean, the worst first."""
        return self.scoring.worst

    @property
    def stopwatch(self) -> Stopwatch:
        """The clock of an epoch; it runs where a callback starts it."""
        return self.scoring.stopwatch

    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Hold the first batch of training, of validation and of prediction against the contract."""
        self.stopwatch.lap("fetch")
        trainer = self.trainer
        use = "train" if trainer.training else "predict" if trainer.predicting else "val"
        if use not in self._checked:
            self._checked.add(use)
            maps = use == "val" or (use == "train" and not self.settings.augment.enabled)
            check_batch(batch, self.identity, maps=maps, truth=use != "predict")
        return batch

    def transfer_batch_to_device(
        self, batch: dict[str, Any], device: torch.device, dataloader_idx: int
    ) -> dict[str, Any]:
        """Move pixels and maps; geometry and polygons stay on the host, where boxes are decoded."""
        moved = {
            name: batch[name].to(device, non_blocking=True)
            for name in _ON_DEVICE
            if name in batch and batch[name].device != device
        }
        return {**batch, **moved}

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Augment while training, and normalise, both on the device."""
        images: Tensor = batch["images"]
        if self.trainer.training and self.settings.augment.enabled:
            batch = augment(
                {**batch, "images": self.pixels.unit(images)},
                self.settings.augment,
                self.settings.maps,
                seed=self.settings.seed,
                epoch=self.current_epoch,
            )
            if not self.pixels.reads_pixels:
                batch["images"] = self.pixels.normalise(batch["images"])
        else:
            batch = {**batch, "images": self.prepared(images)}
        self.stopwatch.lap("transfer")
        return batch

    def prepared(self, images: Tensor) -> Tensor:
        """Bring images as they are stored, (B, 3, H, W), to what the network reads (`Pixels`)."""
        return cast(Tensor, self.pixels(images))

    def forward(self, images: Tensor) -> DetectorOutput:
        """Images as `prepared` gives them, floating (B, 3, H, W), to logits of as large maps."""
        if not torch.is_autocast_enabled(images.device.type):
            images = images.to(self.pixels.mean.dtype)  # that of the weights; images may be stored in half
        return cast(DetectorOutput, self.model(images))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Give the loss of a batch. Raises `PipelineError` when it is no longer a number."""
        losses = self.loss(self._output(batch), batch)
        total = losses["total"]
        if not torch.isfinite(total):
            raise PipelineError(
                f"the loss is {total.item()} in epoch {self.current_epoch}, batch {batch_idx} "
                f"({', '.join(batch['sample_id'])}); "
                "lower the learning rate, or train with trainer.precision=32-true"
            )
        logged, count = named("train", losses), len(batch["images"])
        self.log_dict(logged, on_step=False, on_epoch=True, batch_size=count, sync_dist=True)
        return total

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Have the last batch scored while the model looks at this one."""
        self.stopwatch.lap("other")
        self.scoring.hand_over()
        with computing_in(self.settings.val_precision, batch["images"].device.type):
            output = self._output(batch)
        self.stopwatch.lap("forward")
        self.scoring.keep(output, batch)

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Do what validation does."""
        self.validation_step(batch, batch_idx)

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> list[Detections]:
        """Find the regions of each image, in its upright frame."""
        maps = as_float32(self._output(batch).maps())
        return decode_batch(self.decoder, maps, batch["inverse_matrix"], batch["size"])

    def _output(self, batch: Mapping[str, Any]) -> DetectorOutput:
        """Run the network; its first output is held against the contract."""
        images, names, detector = batch["images"], batch["sample_id"], self.identity.detector
        output = ran(detector, self, images, names)
        if "output" not in self._checked:
            check_output(output, detector, images, names)
            self._checked.add("output")
        return cast(DetectorOutput, output)

    @property
    def judges(self) -> Judges:
        """What outputs are judged by, as it is now."""
        detector = self.identity.detector
        return Judges(detector, self.decoder, self.metric, self.cleval, self.loss, self.losses)

    def on_validation_epoch_start(self) -> None:
        """Forget what a sanity check or an interrupted epoch has counted."""
        self.scoring.begin(self.device, self.judges)

    def on_test_epoch_start(self) -> None:
        """Begin to count."""
        self.scoring.begin(self.device, self.judges)

    def on_validation_epoch_end(self) -> None:
        """Log losses and metrics over the whole set, with the number of samples they stand on."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the same as `test/…`."""
        self._log_scores("test")

    def _log_scores(self, stage: str) -> None:
        self.stopwatch.lap("other")
        self.scoring.end()
        iou, cleval = self.metric.compute(), self.cleval.compute()
        self.stopwatch.lap("metric")
        if not iou.get("targets", 1):
            log.warning(
                "there is no text to find in these %d samples, so the metric says nothing: its rates are 0 "
                "by convention; a set without labels is for `predict`",
                iou["images"],
            )
        rates = ("hmean", "precision", "recall")
        scores = {f"{stage}/{name}": iou[name] for name in rates}
        # All of these are the same on every rank already; `sync_dist` only says so.
        self.log_dict(scores, prog_bar=True, sync_dist=True)
        self.log_dict(named(stage, self.losses.compute()), sync_dist=True)
        self.log_dict({f"{stage}/cleval_{name}": cleval[name] for name in rates}, sync_dist=True)
        self.log_dict({f"{stage}/{name}": iou[name] for name in iou if "@" in name}, sync_dist=True)
        self.log(f"{stage}/samples", float(iou["images"]), sync_dist=True)

    def setup(self, stage: str) -> None:
        """Load what scoring compiles, before any epoch. Raises ConfigError for an unfit precision."""
        if str(self.trainer.precision) not in get_args(Precision):
            raise ConfigError(
                f"a trainer's precision of {self.trainer.precision} changes the type of weights and matrices,"
                f" and boxes would be misplaced; use one of {', '.join(get_args(Precision))}"
            )
        # Lightning tells everyone who has hooks of transfer here and a data module: they belong here.
        warnings.filterwarnings("ignore", "You have overridden .* in `LightningModule` but", UserWarning)
        leave_steps_alone(self)
        if stage != "predict":
            self.scoring.prepare(self.judges)

    def configure_callbacks(self) -> list[pl.Callback]:
        """End the pool of an epoch that fails; Lightning does not tear a module down then."""
        known = any(isinstance(callback, EndPool) for callback in self.trainer.callbacks)
        return [] if known else [EndPool()]

    def configure_optimizers(self) -> Any:
        """AdamW with its schedule. Raises ConfigError where training has no end."""
        return one_cycle_adamw(
            self.model.parameters(), self.settings.optimizer, self.trainer.estimated_stepping_batches
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the identity beside the weights."""
        checkpoint["detector"] = self.identity.as_json()
        checkpoint["state_dict"] = plain(checkpoint["state_dict"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another detector: `ConfigError` names what differs."""
        check_identity(stored_identity(checkpoint, network=self.model), self.identity)
        checkpoint["state_dict"] = named_for(self, checkpoint["state_dict"])

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike[str],
        settings: DetectorSettings = _NO_SETTINGS,
        network: nn.Module | None = None,
    ) -> DetectorModule:
        """Build the detector that a checkpoint holds, on the CPU, in evaluation mode.

        A `network` of one's own is given, since no name stands for it. The file is read without running
        any code in it. Raises `ConfigError` where there is no file, or it is no checkpoint of a detector.
        """
        checkpoint = read_checkpoint(path)
        identity = stored_identity(checkpoint, str(path), network)
        module = cls(network or identity, settings, **identity.model_dump(include={"canvas", "mean", "std"}))
        module.load_state_dict(named_for(module, checkpoint["state_dict"]))
        return cast(DetectorModule, module.eval())
