"""Damage: found wherever it lies, mended with no more than it takes, told where it cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import REPAIR, RUN, PipelineError, Quarantine
from pipeline.maintenance import explain, preview, verify_store
from pipeline.stage import Inputs
from pipeline.store import open_store
from tests.support.toy import (
    STAGES,
    Pack,
    assert_published_is_whole,
    clean_digests,
    edit,
    make_pipeline,
    repair,
    run,
    tree,
    write,
)


@pytest.mark.parametrize("name", STAGES)
def test_one_flipped_bit_in_each_file_is_found_and_repaired(raw: Path, tmp_path: Path, name: str) -> None:
    work = tmp_path / "work"
    original = run(raw, work)[name].digest
    path = work / f"val/{name}.zarr"
    files = tree(path)
    assert len(files) > 15
    for file, data in files.items():
        target = path.resolve() / file
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 1
        target.unlink()  # the damage is this generation's alone, not the raw file's that is linked
        target.write_bytes(flipped)
        found = verify_store(path)
        assert [damage.file for damage in found.damaged] == [file]
        done = repair(raw, work, name)
        assert (done.damaged, done.repaired, done.digest) == (1, 1, original)
        assert tree(path) == files
    (path.resolve() / "stranger").write_bytes(b"?")
    assert [damage.file for damage in verify_store(path).damaged] == ["stranger"]
    repair(raw, work, name)
    assert tree(path) == files


def test_repair_of_a_chunk_recomputes_its_sample_alone(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    store = open_store(tmp_path / "work/val/pack.zarr")
    store.chunk_file("picture", 1).unlink()
    damaged = verify_store(tmp_path / "work/val/pack.zarr").damaged
    assert [damage.samples for damage in damaged] == [("b.txt",)]
    done = repair(raw, tmp_path / "work", "pack")
    assert (done.repaired, done.recomputed) == (1, 1)


@pytest.mark.parametrize("name", ["a", "b"])
def test_repair_of_one_of_two_equal_samples(raw: Path, tmp_path: Path, name: str) -> None:
    write(raw, b="one\ntwo")
    original = run(raw, tmp_path / "work")["pack"].digest
    store = open_store(tmp_path / "work/val/pack.zarr")
    for field in ("picture", "shade"):
        store.chunk_file(field, store.rows[f"{name}.txt"]).unlink()
    done = repair(raw, tmp_path / "work", "pack")
    assert (done.repaired, done.digest) == (2, original)


@pytest.mark.parametrize(
    ("file", "recomputed"),
    [
        ("picture/zarr.json", 0),
        ("picture/c.1.0.0.0", 1),
        ("sample_id/c.0", 4),
        ("checksum/c.0.0.0", 4),
        ("zarr.json", 4),  # it holds the verdict on the fourth sample
        ("words/c.0", 3),
    ],
)
def test_repair_computes_what_was_in_the_file_and_all_where_it_served_all(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, recomputed: int
) -> None:
    def refuse_bad(self: Pack, inputs: Inputs) -> Mapping[str, Any]:
        if inputs.sample_id == "d.txt":
            raise Quarantine("bad", "refused by this very stage")
        return compute(self, inputs)

    compute = Pack.compute
    monkeypatch.setattr(Pack, "compute", refuse_bad)
    write(raw, c="good luck")
    original = run(raw, tmp_path / "work")["pack"].digest
    (tmp_path / "work/val/pack.zarr" / file).unlink()
    done = repair(raw, tmp_path / "work", "pack")
    assert (done.damaged, done.repaired, done.recomputed, done.digest) == (1, 1, recomputed, original)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(
    ("name", "file", "computed", "named"),
    [
        ("read", "copies/b.txt", 1, "b.txt"),
        ("read", "words/c.0", 3, "words/c.0"),
        ("paint", "picture/c.1.0.0.0", 1, "b.txt"),  # compressed: no chunk's size follows from its shape
        ("pack", "shade/c.1.0.0.0", 1, "b.txt"),
        ("pack", "shade/zarr.json", 0, "shade/zarr.json"),
    ],
)
def test_a_store_that_lacks_a_file_is_not_fresh(
    raw: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    file: str,
    computed: int,
    named: str,
    cut: bool,
) -> None:
    work = tmp_path / "work"
    original = run(raw, work)
    target = open_store(work / f"val/{name}.zarr").path / file
    data = target.read_bytes()
    target.unlink()
    if cut:
        target.write_bytes(data[:-1])
    previews = dict(preview(make_pipeline(raw, work)))
    assert [found.state for found in previews.values() if not found.fresh] == ["damaged"]
    assert previews[name].why == [f"1 file is missing or of another size ({named})"]
    expected = [computed if stage == name else 0 for stage in STAGES]
    assert [found.compute for found in previews.values()] == expected
    healed = run(raw, work)
    assert [found.computed for found in healed.values()] == expected
    assert [s.digest for s in healed.values()] == [s.digest for s in original.values()]
    assert [named in message and "computed again" in message for message in caplog.messages] == [True]
    assert_published_is_whole(work)
    assert all(found.fresh for _, found in preview(make_pipeline(raw, work)))


def test_damage_to_what_is_stale_asks_for_no_repair(raw: Path, tmp_path: Path) -> None:
    """A repair gives back the bytes of old, and the source of old is gone."""
    work = tmp_path / "work"
    run(raw, work)
    store = open_store(work / "val/paint.zarr")
    for row in range(len(store)):
        store.chunk_file("picture", row).unlink()
    write(raw, a="edited\nlines", b="12345 6", bb="new")
    found = dict(preview(make_pipeline(raw, work)))["paint"]
    assert (found.state, found.compute) == ("stale", 4)
    assert found.why == ["read is stale", "1 file is missing or of another size (d.txt)"]


def test_explain_names_the_file_that_a_sample_lost(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work)
    (open_store(work / "val/pack.zarr").path / "shade/c.1.0.0.0").unlink()
    for sample_id, state, why in (
        ("b.txt", "damaged", ["pack is damaged: missing or of another size: shade/c.1.0.0.0"]),
        ("a.txt", "fresh", []),
    ):
        told = {stage["stage"]: stage for stage in explain(make_pipeline(raw, work), sample_id)}
        assert [told[name]["state"] for name in STAGES] == ["fresh", "fresh", state]
        assert told["pack"]["why"] == why


def test_explain_says_who_refused_a_sample_and_that_a_run_brings_it(raw: Path, tmp_path: Path) -> None:
    def told() -> dict[str, tuple[str, list[str]]]:
        found = explain(make_pipeline(raw, tmp_path / "work"), "c.txt")
        return {stage["stage"]: (stage["state"], stage["why"]) for stage in found}

    run(raw, tmp_path / "work")
    assert told() == dict.fromkeys(STAGES, ("quarantined", ["read: bad: c.txt starts with bad"]))
    write(raw, c="good luck")
    assert told() == {
        "read": ("stale", ["read is stale: quarantined before (bad)"]),
        "paint": ("stale", ["paint is stale: read is stale"]),
        "pack": ("stale", ["pack is stale: read is stale", "pack is stale: paint is stale"]),
    }


def test_a_store_that_cannot_be_opened_is_told_as_one_and_healed(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    original = run(raw, work)
    (open_store(work / "val/paint.zarr").path / "zarr.json").unlink()
    found = dict(preview(make_pipeline(raw, work)))
    assert [found[name].state for name in STAGES] == ["fresh", "damaged", "stale"]
    assert "zarr.json" in found["paint"].why[0] and found["pack"].why == ["paint is damaged"]
    assert {s["state"] for s in explain(make_pipeline(raw, work), "a.txt")} == {"fresh", "stale", "unknown"}
    assert [s.digest for s in run(raw, work).values()] == [s.digest for s in original.values()]


def test_repair_says_when_the_source_has_changed(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    (open_store(tmp_path / "work/val/read.zarr").path / "length/c.0").unlink()
    (raw / "a.txt").unlink()
    write(raw, a="other")
    with pytest.raises(PipelineError, match=r"has changed since then; run `warmstore run` "):
        repair(raw, tmp_path / "work", "read")


def test_repair_says_what_is_not_there_to_build_from(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "work")
    open_store(tmp_path / "work/val/paint.zarr").chunk_file("picture", 0).unlink()
    shutil.rmtree(tmp_path / "work/val/.generations/read")
    with pytest.raises(PipelineError, match=r"paint of split val cannot be repaired: read is not built; run"):
        repair(raw, tmp_path / "work", "paint")


def test_damage_and_an_edit_at_once_are_healed_by_a_run(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work)
    (open_store(work / "val/pack.zarr").path / "shade/c.1.0.0.0").unlink()
    (open_store(work / "val/read.zarr").path / "words/c.0").write_bytes(b"?")
    (open_store(work / "val/paint.zarr").path / "fingerprint/c.0.0").unlink()
    edit(raw)
    assert clean_digests(raw, work) == clean_digests(raw, tmp_path / "clean")
    assert_published_is_whole(work)


def test_damage_is_healed_by_a_run_that_leads_to_the_same_digest(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    original = run(raw, work)["read"].digest
    (open_store(work / "val/read.zarr").path / "copies/a.txt").unlink()
    result = run(raw, work, retry=True)["read"]  # the sample that is quarantined makes it stale
    assert (result.digest, result.computed) == (original, 2)
    assert_published_is_whole(work)


@pytest.mark.parametrize("generations", [1, 2])
def test_raw_file_edited_in_place_is_told_and_healed_by_a_run(
    raw: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, generations: int
) -> None:
    """The upright file is a link to the raw one: an edit in place reaches it, never unnoticed."""
    work = tmp_path / "work"
    run(raw, work)
    if generations == 2:  # they share the link
        write(raw, b="edited as a new file")
        run(raw, work)
    (raw / "a.txt").write_text("edited in place")
    (damage,) = verify_store(work / "val/read.zarr").damaged
    assert (damage.samples, damage.remedy) == (("a.txt",), RUN)
    with pytest.raises(PipelineError, match=r"copy was edited in place; run `warmstore run`"):
        open_store(work / "val/read.zarr").value("copy", 0)
    with pytest.raises(PipelineError, match=r"copies/a\.txt was edited in place; run `warmstore run`"):
        repair(raw, tmp_path / "work", "read")
    run(raw, work)
    assert_published_is_whole(work)
    assert "is damaged" not in caplog.text


def test_damage_of_a_file_that_is_no_link_to_a_raw_one_is_repaired(raw: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    run(raw, work)
    (raw / "a.txt").rename(tmp_path / "a.txt")  # replaced by an equal file: the store alone has the old one
    (tmp_path / "a.txt").unlink()
    write(raw, a="one\ntwo")
    write(raw, b="edited")
    run(raw, work)
    (work / "val/copies/a.txt").write_text("damaged")
    (damage,) = verify_store(work / "val/read.zarr").damaged
    assert damage.remedy == REPAIR
    repair(raw, tmp_path / "work", "read")
    assert_published_is_whole(work)
