"""The command line as a user types it: the main job, what scripts read, errors in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xarray
import zarr

from pipeline.memory import store_residency
from pipeline.store import open_store
from tests.support.shell import PROJECT, Shell
from warmstore.cli import COMMANDS


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder in which the tiny run has been preprocessed and trained."""
    shell = Shell(tmp_path_factory.mktemp("a project with spaces"))
    for command in ("data", "run", "train"):
        done = shell(command)
        assert done.returncode == 0, done.stderr
    return shell


def test_plan_leaves_the_page_cache_alone(built: Shell) -> None:
    store = open_store(built.folder / "work/tiny/val/tensors.zarr")
    before = store_residency(store)["image"]
    assert before.resident > 0
    assert built("plan", "--split", "val").returncode == 0
    assert store_residency(store)["image"] == before


def test_inspect_tells_how_much_of_every_store_is_in_memory(built: Shell) -> None:
    for split in ("train", "val"):
        for store in (built.folder / "work" / split).glob("*.zarr"):
            for file in store.resolve().rglob("c.*"):
                file.read_bytes()
    found = built.json("inspect", "--residency", "--split", "val")
    assert list(found) == ["val"]
    assert list(found["val"]) == ["canonicalize", "decode", "maps", "tensors"]
    for stage in found["val"].values():  # two of them compressed
        assert 0.5 < stage["resident_bytes"] / stage["bytes"] <= 1
    assert "100.0%" in built("inspect", "--residency").stdout


def test_run_prints_what_scripts_read(built: Shell) -> None:
    found = built.json("run")
    assert set(found) == {"train", "val"}
    assert list(found["val"]) == ["canonicalize", "decode", "maps", "tensors"]
    keys = {"samples", "computed", "reused", "quarantined", "seconds", "bytes", "generation", "digest"}
    for stage in found["val"].values():
        assert keys <= set(stage)
        assert (stage["samples"], stage["computed"], stage["reused"], stage["quarantined"]) == (6, 0, 6, 0)


def test_every_store_opens_without_warmstore(built: Shell) -> None:
    fields = {
        "canonical": {"upright", "size", "points", "ignore", "text"},
        "decode": {"image", "matrix", "decoder"},
        "maps": {"prob_map", "prob_mask", "thresh_map", "thresh_mask"},
        "tensors": {"image", "prob_map", "thresh_map", "matrix", "size", "points", "ignore", "text"},
    }
    for name, expected in fields.items():
        path = built.folder / f"work/tiny/val/{name}.zarr"
        group = zarr.open_group(path, mode="r")
        assert expected | {"sample_id", "fingerprint", "checksum"} <= set(group.array_keys())
        assert list(group["sample_id"][:]) == [f"receipt-{i:05}.jpg" for i in range(6)]
        assert xarray.open_zarr(path).load().sizes["sample"] == 6
    for name in ("prob_map", "thresh_mask"):
        assert group[name][:].mean() > 0.01  # the maps show something
    assert group.attrs["mean"] == [0.485, 0.456, 0.406]
    images = built.folder / "work/tiny/val/images"
    assert len(list(images.iterdir())) == 6


def test_status_has_the_same_keys_and_says_why(built: Shell) -> None:
    fresh = built.json("status", "--split", "val")["val"]
    assert [stage["fresh"] for stage in fresh.values()] == [True] * 4
    stale = built.json("status", "--split", "val", "stages.maps.shrink_ratio=0.5")["val"]
    assert [stage["fresh"] for stage in stale.values()] == [True, True, False, False]
    assert stale["maps"]["why"] == ["stages.maps.shrink_ratio 0.4 → 0.5 (6)"]


def test_plan_counts_and_changes_nothing(built: Shell) -> None:
    before = built.json("status")
    plan = built.json("plan", "--split", "train", "stages.maps.thresh_min=0.2")["train"]
    store = open_store(built.folder / "work/tiny/train/tensors.zarr")
    assert [stage["compute"] for stage in plan.values()] == [0, 0, 8, 8]
    assert plan["tensors"]["predicted_bytes"] == 8 * (store.manifest.size // 8)
    larger = built.json("plan", "--split", "train", "canvas=512")["train"]
    assert larger["tensors"]["predicted_bytes"] == 4 * plan["tensors"]["predicted_bytes"]
    after = built.json("status")
    assert [s["generation"] for s in after["train"].values()] == [
        s["generation"] for s in before["train"].values()
    ]


def test_explain_names_the_part_that_differs(built: Shell) -> None:
    found = built.json("explain", "receipt-00001.jpg", "--split", "val", "stages.maps.shrink_ratio=0.5")
    stages = found["val"]
    assert stages["maps"]["why"] == ["maps is stale: stages.maps.shrink_ratio 0.4 → 0.5"]
    assert stages["decode"]["state"] == "fresh"
    assert stages["tensors"]["why"] == ["tensors is stale: maps is stale"]
    assert set(stages["canonicalize"]["inputs"]) == {"image", "annotation", "frame"}


def test_verify_finds_and_repair_mends(built: Shell) -> None:
    assert built("verify", "--against-source").returncode == 0
    digest = built.json("run", "--split", "val")["val"]["tensors"]["digest"]
    chunk = built.folder / "work/tiny/val/tensors.zarr/image/c.2.0.0.0"
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.write_bytes(data)
    found = built("verify", "--split", "val", "--json")
    assert found.returncode == 1
    (damage,) = json.loads(found.stdout)["val"]["tensors"]["damaged"]
    assert (damage["file"], damage["samples"]) == ("image/c.2.0.0.0", ["receipt-00002.jpg"])
    mended = built.json("repair", "--split", "val")["val"]["tensors"]
    assert (mended["repaired"], mended["digest"]) == (1, digest)
    assert built("verify", "--split", "val").returncode == 0


def test_a_lost_chunk_is_told_by_whoever_looks(built: Shell) -> None:
    chunk = built.folder / "work/tiny/val/decode.zarr/image/c.3.0.0.0"
    chunk.unlink()
    remedy = "run `warmstore repair --config tiny --split val`"
    why = f"1 file is missing or of another size (receipt-00003.jpg); {remedy}"
    status = built.json("status", "--split", "val")["val"]["decode"]
    assert (status["fresh"], status["state"], status["why"]) == (False, "damaged", [why])
    told = {
        command: " ".join(built(command, "--split", "val").stdout.split()) for command in ("plan", "report")
    }
    assert why in told["plan"] and f"damaged: {why}" in told["report"]
    refused = built("validate", "--split", "val")
    assert refused.returncode == 1 and f"decode of split val is damaged: {why}\n" in refused.stderr
    assert built.json("repair", "--split", "val")["val"]["decode"]["repaired"] == 1
    assert built.json("status", "--split", "val")["val"]["decode"]["fresh"]


def test_verify_needs_no_data_set_and_takes_paths(built: Shell, tmp_path: Path) -> None:
    copy = tmp_path / "copy.zarr"
    shutil.copytree(built.folder / "work/tiny/val/maps.zarr", copy)
    assert built.json("verify", str(copy))[str(copy)]["store"]["damaged"] == []
    (copy / "prob_map/c.1.0.0.0").unlink()
    (damage,) = built.json("verify", str(copy))[str(copy)]["store"]["damaged"]
    assert damage["samples"] == ["receipt-00001.jpg"]
    assert built("verify", "data.root=elsewhere").returncode == 0
    (tmp_path / "empty").mkdir()
    assert built.json("verify", f"work_dir={tmp_path / 'empty'}")["val"]["maps"]["built"] is False


def test_verify_of_a_sample_looks_in_every_split_that_has_it(built: Shell) -> None:
    only_train, both = "receipt-00007.jpg", "receipt-00002.jpg"
    assert list(built.json("verify", "--sample", only_train)) == ["train"]
    whole, found = built.json("verify"), built.json("verify", "--sample", both)
    assert list(found) == ["train", "val"]
    for split, stage in (("train", "decode"), ("val", "canonicalize")):
        assert found[split][stage]["checked"] < whole[split][stage]["checked"]
        assert found[split][stage]["recomputed"] == 0  # stored bytes are held against checksums alone
    assert built("verify", "--sample", both, "data.root=elsewhere").returncode == 0
    compared = built.json("verify", "--sample", only_train, "--against-source")
    assert {stage["recomputed"] for stage in compared["train"].values()} == {1}
    path = "work/tiny/val/tensors.zarr"
    assert set(built.json("verify", path, "--sample", both)) == {path}


def test_verify_of_a_sample_finds_its_damage_and_no_other(built: Shell) -> None:
    chunk = built.folder / "work/tiny/train/tensors.zarr/prob_map/c.3.0.0.0"
    data = chunk.read_bytes()
    chunk.write_bytes(data[:-1])
    try:
        assert built("verify", "--sample", "receipt-00002.jpg").returncode == 0
        found = built.json("verify", "--sample", "receipt-00003.jpg")
        (damage,) = found["train"]["tensors"]["damaged"]
        assert damage["file"] == "prob_map/c.3.0.0.0" and not found["val"]["tensors"]["damaged"]
    finally:
        chunk.write_bytes(data)


def test_gc_says_how_many_bytes_it_frees(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell("data")
    for ratio in (0.4, 0.5):
        shell("run", "--split", "val", f"stages.maps.shrink_ratio={ratio}")
    would = shell.json("gc", "--dry-run", "--split", "val")
    assert [store["freed"] > 0 for store in would["stores"]] == [False, False, True, True]
    assert shell("gc", "--dry-run").stdout.endswith(" MB would be freed\n")
    assert shell.json("gc", "--split", "val")["stores"] == would["stores"]
    assert shell("gc").stdout.endswith("\n0 B freed\n")


def test_removal_and_order_are_seen_downstream(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell("data")
    shell("run", "--split", "val")
    labels = tmp_path / "data/tiny/val.json"
    images = json.loads(labels.read_text())["images"]
    removed = list(images.items())[:-1]
    for listed in (removed, removed[::-1]):
        labels.write_text(json.dumps({"images": dict(listed)}))
        status = shell.json("status", "--split", "val")["val"]
        assert [stage["fresh"] for stage in status.values()] == [False] * 4
        assert status["tensors"]["why"]
        done = shell.json("run", "--split", "val")["val"]
        assert [stage["computed"] for stage in done.values()] == [0] * 4
        store = open_store(tmp_path / "work/tiny/val/tensors.zarr")
        assert list(store.sample_ids) == [name for name, _ in listed]


def test_a_lost_generation_is_told_and_built_again(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell("data")
    digest = shell.json("run", "--split", "val")["val"]["maps"]["digest"]
    shutil.rmtree(tmp_path / "work/tiny/val/.generations/maps")
    assert shell("verify", "--split", "val").returncode == 1
    assert (
        "is lost; run `warmstore run maps --config tiny --split val`\n"
        in shell("verify", "--split", "val").stdout
    )
    assert shell.json("status", "--split", "val")["val"]["maps"]["fresh"] is False
    again = shell.json("run", "--split", "val")["val"]
    assert (again["maps"]["computed"], again["maps"]["digest"]) == (6, digest)
    assert again["tensors"]["computed"] == 0


def test_summary_and_validate(built: Shell) -> None:
    (summary,) = (built.folder / "work/tiny/runs").glob("*-train/summary.json")
    trained = json.loads(summary.read_text())
    assert set(trained["val"]) == {"hmean", "precision", "recall", "samples", "quarantined"}
    assert trained["val"]["samples"] == 6
    for epoch in trained["epochs"]:
        assert {"epoch", "wall_s", "data_wait_s", "forward_s", "hits", "misses"} <= set(epoch)
        assert (epoch["hits"], epoch["misses"]) == (6, 0)
    again = built.json("validate")
    assert again["val"] == trained["val"]
    words = built("validate", "--checkpoint", trained["checkpoint"]).stdout
    assert "on 6 samples, none quarantined" in words


def test_results_go_where_runs_dir_says_and_nothing_into_the_work_folder(built: Shell) -> None:
    def written() -> dict[Path, tuple[int, int]]:
        files = (path for path in (built.folder / "work").rglob("[!.]*") if path.is_file())
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}

    before = written()
    found = built.json("validate", "runs_dir=away/runs")
    assert written() == before
    (folder,) = (built.folder / "away/runs").iterdir()
    assert found["folder"] == f"away/runs/{folder.name}"
    assert found["checkpoint"].startswith("work/tiny/runs/")
    assert {path.name for path in folder.iterdir()} >= {"summary.json", "profile.png"}
    assert built.json("report", "runs_dir=away/runs")["last_metric"]["folder"] == found["folder"]
    (built.folder / "file").touch()
    refused = built("validate", "runs_dir=file")
    assert refused.returncode == 2 and "set runs_dir=… to a folder that can be written" in refused.stderr


def test_training_refuses_a_store_of_another_recipe(built: Shell) -> None:
    done = built("train", "stages.decode.padding=center")
    assert done.returncode == 1
    assert "stages.decode.padding bottom_right → center" in done.stderr
    assert "warmstore run" in done.stderr


def test_quarantined_image_is_told_and_the_run_goes_on(built: Shell, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell("data")
    image = tmp_path / "data/tiny/val/receipt-00003.jpg"
    image.write_bytes(image.read_bytes()[:200])
    (tmp_path / "data/tiny/val/receipt-00004.jpg").unlink()
    done = shell("run", "--split", "val")
    assert done.returncode == 0
    assert "quarantined receipt-00003.jpg by canonicalize" in done.stdout
    assert "quarantined receipt-00004.jpg by source: missing_image" in done.stdout
    found = shell.json("status", "--split", "val")["val"]
    assert {(s["samples"], s["accepted"], s["quarantined"]) for s in found.values()} == {(6, 4, 2)}
    assert shell("run", "--split", "val", "--strict").returncode == 1
    listed = shell("inspect", "--samples").stdout.splitlines()
    assert [line for line in listed if "quarantined" not in line] == [
        f"val: receipt-{i:05}.jpg" for i in (0, 1, 2, 5)
    ]
    assert sum(line.startswith("val: quarantined receipt-0000") for line in listed) == 2
    assert set(shell.json("inspect", "--samples")) == {"val"}
    assert "receipt-00003.jpg by canonicalize" in shell("report").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "canvas=650"), 2, "canvas: 650 does not do: 650 is no multiple of 32"),
        (("run", 'canvas="640"'), 2, 'canvas: "640" does not do'),
        (("run", "canvas=false"), 2, "canvas: false does not do"),
        (("run", "stages.maps.shrink=0.5"), 2, "stages.maps.shrink: there is no such key (the command line)"),
        (("run", "stages.maps.shrink_ratio='0.5'"), 2, "stages.maps.shrink_ratio"),
        (("run", "stages.maps.canvas=64"), 2, "set canvas=…, which all stages share"),
        (("run", "executor.workers=0"), 2, "executor.workers: 0 does not do"),
        (("run", "executor=cloud"), 2, "there is no executor named cloud; there are: dask"),
        (("run", "colour"), 2, "there is no stage colour; there are canonicalize"),
        (("run", "--split", "dev"), 2, "there is no split dev; data.splits has train, val"),
        (("run", "--config", "nope"), 2, "there is no run nope"),
        (("run", "--nonsense"), 2, "No such option"),
        (("run", "data.root=elsewhere"), 2, "there is no data set at elsewhere"),
        (("run", "data.splits.val.images=../.."), 2, "leads out of the data set's root"),
        (("run", "data.splits.val.annotations=none.json", "--split", "val"), 2, "none.json"),
        (("maps",), 2, "No such command"),
        (("plan", "typo"), 2, "typo is no override"),
        (("explain", "nobody.jpg"), 2, "split train or val has no sample nobody.jpg"),
        (("explain", "00003"), 2, "no sample 00003, but receipt-00003.jpg; run `warmstore inspect --samples"),
        (("explain", "reciept-00003.jpg"), 2, "no sample reciept-00003.jpg, but receipt-00003.jpg"),
        (
            ("verify", "--sample", "00007"),
            2,
            "split train or val has no sample 00007, but receipt-00007.jpg;",
        ),
        (("verify", "--sample", "nobody.jpg", "--split", "val"), 2, "split val has no sample nobody.jpg"),
        (("verify", "none.zarr"), 2, "there is no store at none.zarr"),
        (("verify", "work/tiny/val/maps.zarr", "--against-source"), 2, "--against-source goes with splits"),
        (("inspect", "--annotations", "--output", "none/a.json"), 2, "has no folder none"),
        (("inspect", "--frames", "--output", "sheet.txt"), 2, "sheet.txt is to be a picture"),
        (("inspect", "--frames", "--output", "work"), 2, "work is a folder"),
        (("explain",), 2, "explain wants one sample"),
        (("train", "work_dir=empty"), 1, "there is no store at empty/train/tensors.zarr"),
        (("train", "model.backbone=vgg"), 2, "model.backbone"),
        (("train", "trainer.max_epoch=3"), 2, "trainer.max_epoch: there is no such key"),
        (("train", "trainer.strategy=none"), 2, "Lightning refuses"),
        (("validate", "--checkpoint", "none.ckpt"), 2, "there is no checkpoint none.ckpt"),
        (("validate", "work_dir=empty"), 2, "there is no checkpoint below empty/runs"),
    ],
)
def test_wrong_usage_is_one_sentence(built: Shell, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = built(*arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("diff", "work/tiny/val/maps.zarr", "none.zarr"), "there is no store at none.zarr"),
        (("diff", "work/tiny/val/maps.zarr", "work/tiny/val/decode.zarr"), "compare stores of one stage"),
    ],
)
def test_wrong_paths_are_wrong_usage(built: Shell, arguments: tuple[str, ...], words: str) -> None:
    done = built.typed(*arguments)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_config_says_where_each_value_came_from(built: Shell) -> None:
    done = built("config", "canvas=64")
    lines = {line.split()[0]: line.rstrip() for line in done.stdout.splitlines() if line.strip()}
    assert lines["canvas"].endswith("the command line")
    assert "configs/data/tiny.yaml" in lines["data.generate.train"]
    assert "configs/data/synthetic.yaml" in lines["data.splits.val.images"]
    assert lines["stages.maps.shrink_ratio"].endswith(" default")


def test_every_command_has_help_with_an_example() -> None:
    for command in COMMANDS:
        assert command.help
        assert f"warmstore {command.name}" in command.help


def test_help_is_in_one_place() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "warmstore", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
    )
    for name in (
        "run",
        "plan",
        "status",
        "explain",
        "verify",
        "repair",
        "diff",
        "gc",
        "inspect",
        "report",
        "doctor",
    ):
        assert name in done.stdout
