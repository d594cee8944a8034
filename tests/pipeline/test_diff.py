"""What differs between two stores is told by sample and field, without reading a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.maintenance import diff_stores
from pipeline.store import open_store
from tests.support.stores import fields, sample, write_store
from tests.support.toy import run, write


def test_equal_stores_do_not_differ(raw: Path, tmp_path: Path) -> None:
    for work in ("one", "other"):
        run(raw, tmp_path / work)
    with open_store(tmp_path / "one/val/pack.zarr") as a, open_store(tmp_path / "other/val/pack.zarr") as b:
        found = diff_stores(a, b)
    assert found.same
    nothing = {"added": [], "removed": [], "changed": {}, "recipe": [], "reordered": False}
    assert found.as_json() == nothing


def test_each_difference_is_told(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "one")
    (raw / "b.txt").unlink()
    write(raw, a="one\ntwo three", c="good luck", e="new")
    run(raw, tmp_path / "other", ink=2)
    with open_store(tmp_path / "one/val/paint.zarr") as a, open_store(tmp_path / "other/val/paint.zarr") as b:
        found = diff_stores(a, b)
        back = diff_stores(b, a)
    assert (found.added, found.removed) == (["c.txt", "e.txt"], ["b.txt"])
    assert found.changed == {"a.txt": ["picture", "shade"], "d.txt": ["picture", "shade"]}
    assert len(found.recipe) == 1 and "ink 1 → 2" in found.recipe[0]
    assert not found.same and not found.reordered
    assert (back.added, back.removed, back.changed) == (found.removed, found.added, found.changed)


def test_one_difference_is_enough(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "one")
    write(raw, a="one\ntwo three")
    run(raw, tmp_path / "other")
    with open_store(tmp_path / "one/val/read.zarr") as a, open_store(tmp_path / "other/val/read.zarr") as b:
        found = diff_stores(a, b)
    assert found.changed == {"a.txt": ["copy", "length", "lines", "words", "kind"]}
    assert not found.same and not (found.added or found.removed or found.recipe or found.reordered)


def test_a_field_that_one_of_them_has_differs_in_all_samples(tmp_path: Path) -> None:
    values = [sample(index, 4, 4) for index in range(2)]
    declared = fields(4, 4)
    a = open_store(write_store(tmp_path / "a.zarr", values, declared))
    b = open_store(write_store(tmp_path / "b.zarr", values, declared[:-1]))
    changed = {sample_id: ["text"] for sample_id in a.sample_ids}
    assert diff_stores(a, b).changed == diff_stores(b, a).changed == changed


def test_stores_of_two_stages_are_refused(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path / "one")
    with (
        open_store(tmp_path / "one/val/read.zarr") as a,
        open_store(tmp_path / "one/val/paint.zarr") as b,
        pytest.raises(ConfigError, match=r"is a store of read and .* one of paint; compare stores of one"),
    ):
        diff_stores(a, b)
