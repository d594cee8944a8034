"""The command line as a user types it: the main job, and what scripts read."""

from __future__ import annotations

import json
from pathlib import Path

import xarray
import zarr

from pipeline.memory import store_residency
from pipeline.store import open_store
from tests.support.shell import Shell


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
    assert stale["tensors"]["why"] == ["maps is stale"]


def test_plan_and_run_say_what_computes_and_why(built: Shell) -> None:
    asked = ("canvas=64", "executor.workers=2", "work_dir=elsewhere")
    said = "executor: threads, 2 workers (auto: processes pay from "
    assert said in built("run", "canonicalize", "--split", "val", *asked).stdout
    assert said in built("plan", "--split", "val", *asked).stdout
    (run,) = (built.folder / "elsewhere/runs").iterdir()
    told = json.loads((run / "stages.json").read_text())["val"]["canonicalize"]["executor"]
    assert (told["kind"], told["workers"]) == ("threads", 2)
    assert told["why"].startswith("auto: processes pay from")
    limited = built("plan", "--split", "val", "executor.timeout=60", *asked).stdout
    assert "executor: processes, 2 workers (auto: threads cannot hold executor.timeout)" in limited


def test_plan_counts_and_changes_nothing(built: Shell) -> None:
    before = built.json("status")
    plan = built.json("plan", "--split", "train", "stages.maps.thresh_min=0.2")["train"]
    store = open_store(built.folder / "work/tiny/train/tensors.zarr")
    assert [stage["compute"] for stage in plan.values()] == [0, 0, 8, 8]
    assert plan["tensors"]["predicted_bytes"] == 8 * (store.manifest.size // 8)
    assert [bool(stage["executor"]) for stage in plan.values()] == [False, False, True, True]
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


def test_summary_and_validate(built: Shell) -> None:
    (summary,) = (built.folder / "work/tiny/runs").glob("*-train/summary.json")
    trained = json.loads(summary.read_text())
    stricter = {f"hmean@{threshold}" for threshold in (0.6, 0.7, 0.8, 0.9)}
    assert set(trained["val"]) == {"hmean", "precision", "recall", "samples", "quarantined", *stricter}
    assert trained["val"]["samples"] == 6
    for epoch in trained["epochs"]:
        assert {"epoch", "wall_s", "data_wait_s", "forward_s", "hits", "misses"} <= set(epoch)
        assert (epoch["hits"], epoch["misses"]) == (6, 0)
    again = built.json("validate")
    assert again["val"] == trained["val"]
    assert trained["checkpoint"] == f"{trained['folder']}/checkpoints/best.ckpt"
    words = built("validate", "--checkpoint", trained["checkpoint"]).stdout
    assert "on 6 samples, none quarantined" in words


def test_a_store_of_another_recipe_is_refused_with_each_difference_once(built: Shell) -> None:
    refused = built("train", "canvas=128")
    assert refused.returncode == 1 and "run `warmstore run --config tiny canvas=128`" in refused.stderr
    for stage in ("decode", "maps", "tensors"):
        assert refused.stderr.count(f"stages.{stage}.canvas [256, 256] → [128, 128]") == 1


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
    assert "receipt-00003.jpg by canonicalize" in shell("report", "--format", "md").stdout
