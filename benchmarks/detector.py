"""How much of an evaluation is the network's own time: `evaluate_detector` over a warm store.

    python -m benchmarks.detector                                 # 404 synthetic samples at 640 × 640
    python -m benchmarks.detector --store work/val/tensors.zarr --checkpoint best.ckpt

DBNet in the device's default precision, with the store in memory: each epoch's seconds by part, and the share
of the forward pass. Without a checkpoint its weights are random, and it finds little that
has to be decoded and counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.measure import arguments, parse, show
from benchmarks.stores import noise_store, open_warm
from ocr.datasets import TensorDataset
from ocr.datasets.batches import Batch
from ocr.detectors import DetectorIdentity, DetectorOutput
from ocr.evaluation import READ_FIELDS, evaluate_detector
from ocr.params import DBNetParams, OverlapParams
from ocr.training import PARTS, DetectorModule, computing_in, default_precision


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--store", type=Path, help="a tensors.zarr; synthetic samples otherwise")
    parser.add_argument("--samples", type=int, default=404, help="how many synthetic ones")
    parser.add_argument(
        "--checkpoint", type=Path, help="a trained detector's; DBNet of random weights otherwise"
    )
    parser.add_argument("--backbone", default="resnet18", choices=["tiny", "resnet18", "resnet50"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=4, help="threads that decode and count")
    parser.add_argument("--epochs", type=int, default=3)
    options = parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        dataset = open_warm(options.store or noise_store(Path(folder), options.samples), "ram", READ_FIELDS)
        network = detector(dataset, options.checkpoint, options.backbone)
        overlap = OverlapParams(workers=options.workers)
        epochs = (epoch(network, dataset, options.batch, overlap) for _ in range(options.epochs))
        network_is = "trained" if options.checkpoint else options.backbone
        table = {f"epoch {number}": row for number, row in enumerate(epochs)}
        show(f"{len(dataset)} samples", table, network=network_is)


def detector(dataset: TensorDataset, checkpoint: Path | None, backbone: str) -> DetectorModule:
    """A detector in evaluation mode, on the device that there is."""
    if checkpoint is not None:
        module = DetectorModule.from_checkpoint(checkpoint)
    else:
        canvas, (mean, std) = dataset[0]["image"].shape[1:], dataset.mean_std
        params = DBNetParams(backbone=backbone)  # type: ignore[arg-type]  # argparse checks it
        module = DetectorModule(DetectorIdentity(params=params, canvas=canvas, mean=mean, std=std)).eval()
    return module.to("cuda" if torch.cuda.is_available() else "cpu")


def epoch(
    module: DetectorModule, dataset: TensorDataset, batch_size: int, overlap: OverlapParams
) -> Mapping[str, float]:
    """One evaluation: seconds of each part, and the share of the forward pass."""

    def dbnet(batch: Batch) -> DetectorOutput:
        images = module.prepared(batch["images"].to(module.device, non_blocking=True))
        with computing_in(default_precision(module.device.type), module.device.type):
            output: DetectorOutput = module(images)
        return output

    profile = evaluate_detector(dataset, dbnet, overlap=overlap, batch_size=batch_size).profile
    parts = {
        f"{words}, s": round(profile[name], 4) for name, words in PARTS.items() if profile[name] >= 0.0005
    }
    share = round(100 * profile["forward_s"] / profile["wall_s"], 1)
    return {"s": round(profile["wall_s"], 3), **parts, "% forward": share}


if __name__ == "__main__":
    main()
