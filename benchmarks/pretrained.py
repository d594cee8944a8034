"""Public detectors, judged as warmstore judges its own: PP-OCRv4 and v6, which RapidOCR's packages carry.

    python -m benchmarks.pretrained [RECEIPTS] [--canvas 640 960 1280] [--step 1]

Needs `pip install onnxruntime colorlog six` and `pip install --no-deps rapidocr-onnxruntime rapidocr`. Each
model sees each receipt once on each canvas; its maps are decoded with warmstore's defaults and with the
package's own parameters. The last row of a model is its package end to end, which chooses a size by itself.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import Table, arguments, parse, show
from benchmarks.receipts import RECEIPTS, receipts_in
from ocr.datasets import DatasetConfig, OnlineDataset
from ocr.datasets.batches import Batch
from ocr.datasets.online import OnlineParams
from ocr.detection import BoxDecoder
from ocr.evaluation import DetectorScore, evaluate_detector
from ocr.model import OnnxNetwork
from ocr.params import BoxParams, OnnxParams, OverlapParams
from ocr.preprocess import DecodeParams

MODELS = {
    "PP-OCRv4": ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx"),
    "PP-OCRv6": ("rapidocr", "models/PP-OCRv6_det_small.onnx"),
}
RAPID = {"box_threshold": 0.5, "unclip_ratio": 1.6, "min_size": 3.0, "pixel_centres": False}
DECODERS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "defaults, dilated": {"dilation": True},
    "RapidOCR's, not dilated": RAPID,
    "RapidOCR's": {**RAPID, "dilation": True},
}
Rows = Iterator[tuple[str, dict[str, str]]]


class Remembering:
    """A model's maps, computed once for each sample and kept; `seconds` is what that took."""

    def __init__(self, network: OnnxNetwork) -> None:
        self.network, self.seconds, self.cpu = network, 0.0, 0.0
        self._maps: dict[str, np.ndarray[Any, Any]] = {}

    def __call__(self, batch: Batch) -> np.ndarray[Any, Any]:
        for name, image in zip(batch["sample_id"], batch["images"], strict=True):
            if name not in self._maps:
                began, used = time.perf_counter(), time.process_time()
                self._maps[name] = self.network(image[None].float() / 255).maps()[0].numpy()
                self.seconds += time.perf_counter() - began
                self.cpu += time.process_time() - used
        return np.stack([self._maps[name] for name in batch["sample_id"]])


def figures(score: DetectorScore, seconds: float, cpu: float) -> dict[str, str]:
    """One row: rates at an IoU of 0.5, H-mean at stricter ones, CLEval, and the time of an image."""
    strict = " / ".join(f"{score.iou[f'hmean@{threshold}']:.3f}" for threshold in (0.7, 0.8, 0.9))
    count = len(score.images)
    return {
        "H-mean": f"{score.iou['hmean']:.4f}",
        "precision": f"{score.iou['precision']:.3f}",
        "recall": f"{score.iou['recall']:.3f}",
        "@0.7 / 0.8 / 0.9": strict,
        "CLEval": f"{score.cleval['hmean']:.4f}",
        "s an image": f"{seconds / count:.2f}",
        "CPU s": f"{cpu / count:.2f}",
    }


def decoded(folder: Path, model: Path, side: int, step: int) -> Rows:
    """A model on a square canvas, by each decoder."""
    half = (0.5, 0.5, 0.5)
    network = OnnxNetwork(OnnxParams(path=str(model), mean=half, std=half, channels="bgr"))
    predict = Remembering(network)
    for name, params in DECODERS.items():
        decoder = BoxDecoder(BoxParams(**params))
        dataset = receipts(folder, side, step)
        score = evaluate_detector(dataset, predict, decoder=decoder, overlap=OverlapParams(workers=0))
        yield f"{side}, {name}", figures(score, predict.seconds, predict.cpu)


def end_to_end(folder: Path, package: str, step: int) -> Rows:
    """The package's own detection, from the file to boxes."""
    find, taken = reader(package), [0.0, 0.0]

    def predict(batch: Batch) -> list[Any]:
        found = []
        for name in batch["sample_id"]:
            began, used = time.perf_counter(), time.process_time()
            found.append(find(folder / "img" / name))
            taken[0] += time.perf_counter() - began
            taken[1] += time.process_time() - used
        return found

    dataset = receipts(folder, 640, step)  # for the labels; the package reads the files itself
    score = evaluate_detector(dataset, predict, overlap=OverlapParams(workers=0))
    yield "the package, end to end", figures(score, *taken)


def reader(package: str) -> Callable[[Path], Any]:
    """Give what finds the boxes of a file by a package of RapidOCR's."""
    if package == "rapidocr":
        from rapidocr import RapidOCR

        engine = RapidOCR(params={"EngineConfig.onnxruntime.intra_op_num_threads": torch.get_num_threads()})

        def find(path: Path) -> Any:
            boxes = engine(str(path), use_cls=False, use_rec=False).boxes
            return [] if boxes is None else list(boxes)

        return find
    from rapidocr_onnxruntime import RapidOCR as Earlier

    earlier = Earlier(intra_op_num_threads=torch.get_num_threads())
    return lambda path: earlier(str(path), use_cls=False, use_rec=False)[0] or []


def receipts(folder: Path, side: int, step: int) -> OnlineDataset:
    """Every `step`-th receipt, decoded onto a square canvas."""
    config = DatasetConfig(image_path=folder / "img", annotation_path=folder / "box")
    names = sorted(path.name for path in (folder / "img").iterdir())[::step]
    params = OnlineParams(decode=DecodeParams(canvas=(side, side)))
    return OnlineDataset(config, params, samples=names)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("receipts", type=Path, nargs="?", help=RECEIPTS)
    parser.add_argument("--canvas", type=int, nargs="+", default=[640, 960, 1280], help="sides of canvases")
    parser.add_argument("--step", type=int, default=1, help="take every n-th receipt")
    parser.add_argument("--model", choices=MODELS, nargs="+", default=list(MODELS), help="models to judge")
    options = parse(parser)
    with receipts_in(options.receipts) as folder:
        for name in options.model:
            package, file = MODELS[name]
            spec = importlib.util.find_spec(package)
            if spec is None or spec.origin is None:
                print(f"{name}: {package} is not installed")
                continue
            model = Path(spec.origin).parent / file
            for side in options.canvas:
                table: Table = dict(decoded(folder, model, side, options.step))
                show(name, table)
            show(name, dict(end_to_end(folder, package, options.step)))


if __name__ == "__main__":
    main()
