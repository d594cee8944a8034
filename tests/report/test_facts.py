"""What a report says: each fact against the data that it was made of."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from ocr.geometry import letterbox, transform_points
from pipeline.store import open_store
from tests.support.shell import Shell


@pytest.fixture(scope="module")
def facts(reported: Shell) -> Any:
    return reported.json("report")


def test_what_was_quarantined_and_changed_is_listed(facts: Any) -> None:
    refused = {verdict["sample_id"]: verdict["code"] for verdict in facts["quarantined"]["val"]}
    assert refused == {"receipt-00000.jpg": "truncated", "receipt-00001.jpg": "missing_image"}
    changed = {one["sample_id"]: one["repairs"] for one in facts["changed"] if one["split"] == "val"}
    assert "clipped@0" in changed["receipt-00003.jpg"]


@pytest.mark.parametrize("command", ["report", "status"])
def test_without_the_data_set_what_is_stored_is_told_and_nothing_is_called_fresh(
    reported: Shell, command: str
) -> None:
    found, without = reported.json(command), reported.json(command, "data.root=gone")
    stores = [told["stores"] if command == "report" else told for told in (found, without)]
    for split, stages in stores[1].items():
        for name, stage in stages.items():
            why = ["there is no data set at gone"]
            assert (stage["state"], stage["fresh"], stage["why"]) == ("unknown", False, why)
            same = ("generation", "digest", "samples", "accepted", "quarantined", "bytes", "tallies")
            assert {key: stage[key] for key in same} == {key: stores[0][split][name][key] for key in same}
    if command == "report":
        facts = ("text", "quarantined", "changed", "duplicates", "distributions")
        assert {key: without[key] for key in facts} == {key: found[key] for key in facts}
    written = ("--output", "gone.html") if command == "report" else ()
    done = reported(command, "data.root=gone", *written)
    assert done.returncode == 0, done.stderr
    if command == "status":
        remedy = "run `warmstore data --config tiny data.root=gone`, which draws it"
        assert f"train, val: there is no data set at gone; {remedy}" in done.stdout
        assert done.stdout.count("gone") == 2  # in that line alone
    assert reported("run", "--split", "val", "work_dir=half", "executor=serial").returncode == 0
    assert "stale: never built" in reported("status", "data.root=gone", "work_dir=half").stdout
    nothing = reported(command, "data.root=gone", "work_dir=data")
    assert (nothing.returncode, "run `warmstore data" in nothing.stderr) == (2, True)


def test_an_image_of_two_splits_is_a_duplicate(facts: Any) -> None:
    assert facts["duplicates"] == [[["train", "receipt-00004.jpg"], ["val", "copy.jpg"]]]


def test_lost_text_is_what_the_stored_maps_do_not_show(reported: Shell) -> None:
    """By the maps themselves: each region that is learnt has a kernel, and no kernel is left over."""
    typed = ("stages.maps.min_text_size=6", "work_dir=small")
    assert reported("run", *typed).returncode == 0
    told = reported.json("report", *typed)["text"]
    shown, total = 0, 0
    for split in ("train", "val"):
        store = open_store(reported.folder / "small" / split / "tensors.zarr")
        for row in range(len(store)):
            kernels = store.value("prob_map", row)[0]
            matrix = store.small("matrix")[row]
            for points, ignore in zip(store.value("points", row), store.value("ignore", row), strict=True):
                x, y = transform_points(matrix, points).mean(axis=0).astype(int).clip(0, 255)
                total += not ignore
                shown += bool(kernels[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].any()) and not ignore
    used = sum(split["regions"] - split["fates"].get("ignored", 0) for split in told.values())
    assert used == total and 0 < sum(split["fates"]["kept"] for split in told.values()) == shown < total


def test_distributions_are_those_of_images_and_labels(reported: Shell) -> None:
    root, heights, words, sides, aspects = reported.folder / "data/tiny", [], [], [], []
    for name, image in json.loads((root / "train.json").read_text())["images"].items():
        with Image.open(root / "train" / name) as opened:
            width, height = ImageOps.exif_transpose(opened).size
        matrix = letterbox((height, width), (256, 256)).matrix
        heights += [
            np.ptp(transform_points(matrix, w["points"]), axis=0).min()
            for w in image["words"].values()
            if not w["ignore"]
        ]
        words.append(len(image["words"]))
        sides.append(max(height, width))
        aspects.append(height / width)
    text = reported("report", "--format", "md").stdout
    for name, values in (
        ("Longer side (pixels)", sides),
        ("Aspect (height ÷ width)", aspects),
        ("Words (per image)", words),
        ("Text height on the canvas (pixels)", heights),
    ):
        low, middle, high = np.percentile(values, (5, 50, 95))
        assert f"- {name}, train: median {middle:.4g}, nine in ten from {low:.4g} to {high:.4g}\n" in text


def test_markdown_and_json_say_the_same(reported: Shell, facts: Any) -> None:
    text = reported("report", "--format", "md").stdout
    assert f"H-mean {facts['last_metric']['val']['hmean']:.4f}" in text
    assert "val receipt-00000.jpg by canonicalize: truncated:" in text
    assert "- train receipt-00004.jpg, val copy.jpg" in text
    assert "stale" not in text


def test_bytes_are_those_of_the_stores(reported: Shell, facts: Any) -> None:
    for split, stages in facts["storage"]["fields"].items():
        for stage, fields in stages.items():
            assert sum(fields.values()) == facts["stores"][split][stage]["bytes"]
    runs = (reported.folder / "work/tiny/runs").rglob("*")
    assert facts["storage"]["runs"] == sum(path.stat().st_size for path in runs if path.is_file())


def test_a_metric_older_than_its_store_is_stale(reported: Shell, tmp_path: Path) -> None:
    shutil.copytree(reported.folder, tmp_path / "copy", symlinks=True)
    shell = Shell(tmp_path / "copy")
    labels = shell.folder / "data/tiny/val.json"
    document = json.loads(labels.read_text())
    document["images"]["receipt-00004.jpg"]["words"].popitem()
    labels.write_text(json.dumps(document))
    before = open_store(shell.folder / "work/tiny/val/tensors.zarr").digest
    assert shell("run", "--split", "val").returncode == 0
    now = open_store(shell.folder / "work/tiny/val/tensors.zarr").digest
    told = f"work/tiny/val/tensors.zarr has changed since: digest {before[:16]} then, {now[:16]} now"
    assert shell.json("report")["last_metric_stale"] == told
    assert f"**stale**: {told}" in shell("report", "--format", "md").stdout
    assert shell("report").returncode == 0
    assert f"does not belong to the stores that are here: {told}" in page_of(shell)
    assert shell("validate").returncode == 0
    assert shell.json("report")["last_metric_stale"] == ""
    again = shell("report", "--format", "md").stdout
    assert f"stale: {told}" in again and "The run before, " in again


def page_of(shell: Shell) -> str:
    return (shell.folder / "report.html").read_text()


def test_another_training_set_makes_a_metric_stale_too(reported: Shell, tmp_path: Path) -> None:
    shutil.copytree(reported.folder, tmp_path / "copy", symlinks=True)
    shell = Shell(tmp_path / "copy")
    assert shell("run", "--split", "train", "stages.maps.thresh_min=0.2").returncode == 0
    assert shell.json("report")["last_metric_stale"].startswith(
        "split train has changed since it was trained on"
    )


def test_settings_that_differ_from_the_run_before_are_named(reported: Shell, tmp_path: Path) -> None:
    shutil.copytree(reported.folder, tmp_path / "copy", symlinks=True)
    shell = Shell(tmp_path / "copy")
    (first,) = (shell.folder / "work/tiny/runs").glob("*-train")
    later = first.with_name("20990101-000000-train")
    shutil.copytree(first, later)
    settings = json.loads((later / "config.json").read_text())
    (later / "config.json").write_text(json.dumps(settings | {"model.optimizer.lr": 0.5}))
    summary = json.loads((later / "summary.json").read_text())
    summary["val"]["hmean"] = 0.75
    (later / "summary.json").write_text(json.dumps(summary))
    text = shell("report", "--format", "md").stdout
    assert f"- model.optimizer.lr: {settings['model.optimizer.lr']} → 0.5" in text
    assert f"The run before, {first.name}" in text and "H-mean 0.7500" in text


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("canonical", "points/c.0.0"),
        ("canonical", "checksum/c.0.0.0"),
        ("tensors", "image/c.1.0.0.0"),
        ("tensors", "matrix/c.0.0.0"),
        ("tensors", "manifest.json"),
    ],
)
def test_damage_is_told_and_the_rest_reported(reported: Shell, tmp_path: Path, stage: str, file: str) -> None:
    shutil.copytree(reported.folder, tmp_path / "copy", symlinks=True)
    shell = Shell(tmp_path / "copy")
    path = shell.folder / f"work/tiny/val/{stage}.zarr" / file
    path.write_bytes(b"\0" * path.stat().st_size)
    for form in ("md", "html"):
        done = shell("report", "--format", form)
        assert done.returncode == 0, done.stderr
    assert "receipt-00007.jpg" in page_of(shell)  # of the other split
    told = page_of(shell).partition("</style>")[2]
    assert re.search(r"damaged|does not match|no whole store", told)


def test_the_output_decides_the_form(reported: Shell, tmp_path: Path) -> None:
    assert reported("report", "--output", str(tmp_path / "a.md")).returncode == 0
    assert "stores" in reported.json("report", "--output", str(tmp_path / "b.md"))
    for name in ("a.md", "b.md"):
        assert (tmp_path / name).read_text().startswith("# warmstore: tiny\n")
    refused = reported("report", "--output", str(tmp_path / "none/a.html"))
    assert refused.returncode == 2 and "has no folder" in refused.stderr
