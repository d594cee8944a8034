"""The command line and damage: verify finds it, repair mends it, whoever looks tells it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.support.shell import Shell


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
    plan, report = (
        " ".join(built(*c.split(), "--split", "val").stdout.split()) for c in ("plan", "report --format md")
    )
    assert why in plan and f"damaged: {why}" in report
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
