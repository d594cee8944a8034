"""`warmstore predict` and `export`: a checkpoint at work on photographs, and as an ONNX model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ocr.annotations import read_annotations
from ocr.detectors import DetectorIdentity, DetectorOutput
from ocr.evaluation import READ_FIELDS
from ocr.params import DetectorSettings
from ocr.training import DetectorModule
from pipeline.errors import PipelineError
from tests.support.shell import Shell
from warmstore import TensorDataset

MEAN_STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, str]:
    """A folder in which the tiny run was trained, with boxes that show much; and the path of a checkpoint."""
    shell = Shell(tmp_path_factory.mktemp("predict"))
    assert shell("run").returncode == 0
    loose = ("model.boxes.box_threshold=0", "model.boxes.threshold=0.2", "model.boxes.min_size=0")
    done = shell("train", "trainer.precision=32-true", *loose, "--json")
    assert done.returncode == 0, done.stderr
    return shell, str(json.loads(done.stdout)["checkpoint"])


def predicted(trained: tuple[Shell, str], *words: str) -> Any:
    shell, checkpoint = trained
    done = shell.typed("predict", *words, "--checkpoint", checkpoint)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_images_give_what_their_stored_samples_give(trained: tuple[Shell, str]) -> None:
    shell, checkpoint = trained
    found = predicted(trained, "data/tiny/val")["images"]
    dataset = TensorDataset(shell.folder / "work/tiny/val/tensors.zarr", READ_FIELDS)
    boxes = json.loads((Path(shell.folder) / checkpoint).parents[1].joinpath("config.json").read_text())
    assert (boxes["model.boxes.box_threshold"], boxes["model.boxes.threshold"]) == (0, 0.2)
    settings = DetectorSettings.model_validate(
        {
            "boxes": {
                k.removeprefix("model.boxes."): v for k, v in boxes.items() if k.startswith("model.boxes.")
            }
        }
    )
    module = DetectorModule.from_checkpoint(shell.folder / checkpoint, settings)
    assert list(found) == sorted(dataset.sample_ids)
    for batch in dataset.batches(4):
        with torch.no_grad():
            wanted = module.predict_step({**batch, "images": module.prepared(batch["images"])}, 0)
        for name, one, size in zip(batch["sample_id"], wanted, batch["size"].tolist(), strict=True):
            words = found[name]["words"]
            assert [found[name]["img_h"], found[name]["img_w"]] == size
            assert len(words) == len(one.polygons) > 0
            for word, polygon, score in zip(words, one.polygons, one.scores.tolist(), strict=True):
                np.testing.assert_allclose(word["points"], polygon, atol=0.006)
                assert word["confidence"] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("format", ["native", "paddleocr", "labelme"])
def test_labels_are_read_back_as_they_were_found(trained: tuple[Shell, str], format: str) -> None:
    shell, checkpoint = trained
    found = predicted(trained, "data/tiny/val")["images"]
    output = shell.folder / f"{format}.labels"
    words = ("--format", format, "--output", str(output), "--overlays", "drawn")
    done = shell.typed("predict", "data/tiny/val", "--checkpoint", checkpoint, *words)
    assert (done.returncode, done.stderr) == (0, "")
    regions = sum(len(image["words"]) for image in found.values())
    assert done.stdout == f"{regions:,} regions on 6 images in {output}\n6 pictures of them in drawn\n"
    read = read_annotations(output, shell.folder / "data/tiny/val", "auto")
    assert read.format == format and not read.problems
    for image in read.images:
        points = [word["points"] for word in found[image.file]["words"]]
        assert [word.points.tolist() for word in image.words] == points


def test_json_says_what_was_written_where_it_was(trained: tuple[Shell, str]) -> None:
    count = sum(len(image["words"]) for image in predicted(trained, "data/tiny/val")["images"].values())
    words = ("--format", "paddleocr", "--output", "Label.txt", "--overlays", "drawn")
    told = predicted(trained, "data/tiny/val", *words, "--json")
    assert told == {"written": "Label.txt", "regions": count, "images": 6, "refused": {}}


def test_what_was_found_is_drawn_over_what_was_seen(trained: tuple[Shell, str]) -> None:
    predicted(trained, "data/tiny/val/receipt-00001.jpg", "--overlays", "found")
    with Image.open(trained[0].folder / "found/receipt-00001.jpg.jpg") as picture:
        pixels = np.asarray(picture).astype(int)
    assert picture.size == (256, 256)
    assert ((pixels[..., 2] - pixels[..., 0]) > 100).sum() > 20  # the blue of outlines


def test_images_of_several_folders_are_named_below_what_they_have_in_common(
    trained: tuple[Shell, str],
) -> None:
    found = predicted(trained, "work/../data/tiny/val/receipt-00001.jpg", "data/tiny/train/receipt-00000.jpg")
    assert list(found["images"]) == ["val/receipt-00001.jpg", "train/receipt-00000.jpg"]
    assert found["folder"] == str(trained[0].folder / "data/tiny")


def test_an_image_that_cannot_be_used_is_told_and_stops_no_other(trained: tuple[Shell, str]) -> None:
    shell, checkpoint = trained
    mixed = shell.folder / "mixed"
    mixed.mkdir()
    good = (shell.folder / "data/tiny/val/receipt-00002.jpg").read_bytes()
    for name, data in {"a.jpg": b"", "b.jpg": good, "c.jpg": good[: len(good) // 2]}.items():
        (mixed / name).write_bytes(data)
    done = shell.typed("predict", "mixed", "--checkpoint", checkpoint)
    assert done.returncode == 1
    assert [line.split(":")[:2] for line in done.stderr.splitlines()] == [
        ["refused a.jpg", " empty"],
        ["refused c.jpg", " truncated"],
    ]
    found = json.loads(done.stdout)
    assert list(found["images"]) == ["b.jpg"] and list(found["refused"]) == ["a.jpg", "c.jpg"]


def test_settings_come_from_the_training_unless_they_are_typed(trained: tuple[Shell, str]) -> None:
    name = "data/tiny/val/receipt-00001.jpg"
    kept = predicted(trained, name)["images"]["receipt-00001.jpg"]["words"]
    assert kept
    for words in (("model.boxes.box_threshold=1",), ("--config", "tiny", "model.boxes.box_threshold=1")):
        assert predicted(trained, name, *words)["images"]["receipt-00001.jpg"]["words"] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("predict",), "give images or folders of images"),
        (("predict", "none.jpg"), "there is no image or folder none.jpg"),
        (("predict", "work/tiny/val/maps.zarr"), "there is no image in work/tiny/val/maps.zarr"),
        (("predict", "data/tiny/val", "--checkpoint", "none.ckpt"), "there is no checkpoint none.ckpt"),
        (("predict", "data/tiny/val", "--format", "labelme"), "give --output FOLDER"),
        (("predict", "data/tiny/val", "--format", "paddleocr", "--json"), "give --output FILE for paddleocr"),
        (("predict", "data/tiny/val", "--output", "none/a.json"), "has no folder none"),
        (("export", "a.ckpt"), "export wants a checkpoint and the file to write"),
        (("export", "none.ckpt", "out.onnx"), "there is no checkpoint none.ckpt"),
        (("export", "none.ckpt", "none/out.onnx"), "has no folder none"),
    ],
)
def test_a_mistake_is_one_sentence(trained: tuple[Shell, str], words: tuple[str, ...], told: str) -> None:
    done = trained[0].typed(*words)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_exported_model_validates_as_its_checkpoint_does(trained: tuple[Shell, str]) -> None:
    pytest.importorskip("onnxruntime", reason="the extra [onnx] is not installed")
    shell, checkpoint = trained
    done = shell.typed("export", checkpoint, "out.onnx")
    assert done.returncode == 0, done.stderr
    assert "batch, height and width are free" in done.stdout
    assert "on 1 × 3 × 256 × 256 and 2 × 3 × 288 × 128" in done.stdout
    chosen = ("trainer.precision=32-true", "model.boxes.box_threshold=0", "model.boxes.threshold=0.2")
    torch_found = shell.json("validate", "--checkpoint", checkpoint, *chosen)["val"]
    onnx_found = shell.json(
        "validate", *chosen, "model.detector=onnx", f"model.params.path={shell.folder}/out.onnx"
    )["val"]
    for rate in ("hmean", "precision", "recall"):
        assert onnx_found[rate] == pytest.approx(torch_found[rate], abs=1e-3)


class Flat(nn.Module):
    """A network that is fooled by a trace: it remembers the height of the first image that it saw."""

    def __init__(self, fixed: bool) -> None:
        super().__init__()
        self.mix, self.fixed = nn.Conv2d(3, 1, 1), fixed

    def forward(self, images: Tensor) -> DetectorOutput:
        scale = float(images.shape[-2]) / 64 if self.fixed else 1.0
        return DetectorOutput(self.mix(images) * scale)


def module(network: nn.Module | None = None) -> DetectorModule:
    torch.manual_seed(0)
    settings = DetectorSettings.model_validate({"boxes": {"shrink_ratio": 0.6}})
    if network is not None:
        return DetectorModule(network, settings, canvas=(64, 96), mean=MEAN_STD[0], std=MEAN_STD[1])
    identity = DetectorIdentity.model_validate(
        {
            "params": {"backbone": "tiny", "neck_channels": 32},
            "canvas": (64, 96),
            "mean": MEAN_STD[0],
            "std": MEAN_STD[1],
        }
    )
    return DetectorModule(identity, settings)


@pytest.mark.parametrize("own", [False, True], ids=["dbnet", "own network"])
def test_a_module_writes_onnx_whose_metadata_suffice(tmp_path: Path, own: bool) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    detector = module(Flat(fixed=False) if own else None).train()
    written = detector.to_onnx(tmp_path / "out.onnx")
    assert written.difference < 1e-5 and written.bytes == (tmp_path / "out.onnx").stat().st_size
    assert detector.training and detector.model.training  # left as it was
    facts = {prop.key: json.loads(prop.value) for prop in onnx.load(tmp_path / "out.onnx").metadata_props}
    assert (facts["canvas"], facts["boxes"]["shrink_ratio"], facts["channels"]) == ([64, 96], 0.6, "rgb")
    pixels = np.random.default_rng(1).integers(0, 256, (3, 3, 128, 32), np.uint8)
    mean, std = (np.array(facts[name], np.float32).reshape(3, 1, 1) for name in ("mean", "std"))
    images = (pixels.astype(np.float32) / 255 - mean) / std
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    (maps,) = session.run(["maps"], {"images": images})
    detector.eval()
    with torch.no_grad():
        wanted = detector(detector.prepared(torch.from_numpy(pixels))).maps().numpy()
    np.testing.assert_allclose(maps, wanted, atol=1e-5)


def test_a_model_that_would_give_other_maps_is_not_written(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(
        PipelineError, match=r"maps of a batch of 2 images of 96 × 32 differ by up to .* from"
    ):
        module(Flat(fixed=True)).to_onnx(tmp_path / "out.onnx")
    assert list(tmp_path.iterdir()) == []
    buffer = io.BytesIO()
    assert module(Flat(fixed=False)).to_onnx(buffer, torch.zeros(1, 3, 32, 32)).bytes == len(
        buffer.getvalue()
    )
