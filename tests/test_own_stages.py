"""Stages of one's own: named by a configuration, found in installed packages, run like ours."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import Field as Parameter

from pipeline import entry_points
from pipeline.errors import ConfigError
from pipeline.execution import ExecutorConfig
from pipeline.runner import run_stages
from pipeline.stage import Field, Inputs, Row, Stage
from pipeline.store import open_store
from stages import find_stage, installed_stages
from stages.own import GROUP
from tests.support.shell import Shell
from warmstore.configuration import load_config


class Darkness(Stage):
    """How much of the canvas is darker than a level."""

    name: ClassVar[str] = "darkness"
    version: ClassVar[int] = 1
    store: ClassVar[str] = "darkness.zarr"
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {"decode": ("image",)}

    canvas: tuple[int, int] = (640, 640)
    level: int = Parameter(default=64, ge=0, le=255)
    label: str = "dark"

    def fields(self) -> tuple[Field, ...]:
        return (Row("darkness", "float32"), Row("shape", "int32", (2,)))

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        image = inputs.values["decode"]["image"]
        share = np.float32((image.mean(axis=0) < self.level).mean())
        return {"darkness": share, "shape": np.array(self.canvas, np.int32)}


class Doubled(Darkness):
    """Reads what another stage of one's own has stored."""

    name: ClassVar[str] = "doubled"
    store: ClassVar[str] = "doubled.zarr"
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {"darkness": ("darkness",)}

    def fields(self) -> tuple[Field, ...]:
        return (Row("doubled", "float32"),)

    def compute(self, inputs: Inputs) -> Mapping[str, Any]:
        return {"doubled": np.float32(2 * inputs.values["darkness"]["darkness"])}


def other(**changes: Any) -> type[Stage]:
    """Make a stage like Darkness that differs in class variables or methods."""
    return type("Other", (Darkness,), {"name": "other", "store": "other.zarr", **changes})


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stages of a package, and what is wrong with others."""
    names = {
        "darkness": f"{__name__}:Darkness",
        "doubled": f"{__name__}:Doubled",
        "gloom": f"{__name__}:Darkness",
        "number": f"{__name__}:GROUP",
        "plain": "pathlib:Path",
        "model": "pipeline.stage:Parameters",
    }
    every = EntryPoints(EntryPoint(name, value, GROUP) for name, value in names.items())
    installed = entry_points.entry_points
    monkeypatch.setattr(
        entry_points, "entry_points", lambda **asked: every.select(**asked) or installed(**asked)
    )


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("darkens", "no stage 'darkens' installed; there are: darkness, doubled.*; did you mean darkness"),
        ("gloom", "Darkness has the `name` 'darkness'; write what its entry point says"),
        ("number", r"stage number of .*:GROUP is str, no pipeline.stage.Stage"),
        ("plain", r"is type, no pipeline.stage.Stage"),
        ("model", "Parameters is no class below pipeline.stage.Stage"),
    ],
)
def test_what_is_no_stage_is_refused(name: str, words: str) -> None:
    assert find_stage("darkness") is Darkness and "gloom" in installed_stages()
    with pytest.raises(ConfigError, match=words):
        find_stage(name)


def no_fields(self: Stage) -> tuple[Field, ...]:
    raise NotImplementedError


def twice(self: Stage) -> tuple[Field, ...]:
    return (Row("a", "int8"), Row("a", "int8"))


def taken(self: Stage) -> tuple[Field, ...]:
    return (Row("checksum", "int8"),)


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ([other(reads={"ink": ("x",)})], r"other reads ink, which is not among .*; add stages.ink to the"),
        ([other(reads={"decode": ("pixels",)})], "reads pixels of decode, which has image, matrix, decoder"),
        ([other(reads={"other": ("darkness",)})], "stages other read each other in a circle"),
        ([other(store="maps.zarr")], "maps.zarr is the store of maps; give Other another `store`"),
        ([other(fields=no_fields)], r"Other declares no `fields\(\)`"),
        ([other(fields=twice)], "'a' can be no field's name"),
        ([other(fields=taken)], "'checksum' can be no field's name"),
        ([other(name="in_order")], "in_order cannot be the name of a stage"),
        ([other(name="o-ther")], "o-ther cannot be the name of a stage"),
    ],
)
def test_a_stage_that_cannot_run_is_refused_before_anything_runs(
    stages: list[type[Stage]], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config("tiny", [f"+stages.{stage.name}={{}}" for stage in stages], stages=stages)


@pytest.mark.usefixtures("packages")
def test_parameters_come_from_the_configuration_and_canvas_is_the_runs() -> None:
    typed = ["canvas=[96,64]", "stages.doubled={}", "stages.darkness.level=9", "stages.darkness.label=a, b"]
    config, composed = load_config("tiny", typed)
    *_, darkness, doubled = config.stages.in_order()
    assert (darkness, doubled) == (
        Darkness(canvas=(96, 64), level=9, label="a, b"),
        Doubled(canvas=(96, 64)),
    )
    assert composed.origin("stages.darkness.level") == "the command line"
    assert config.model_dump()["stages"]["darkness"]["level"] == 9
    assert [stage.name for stage in load_config("tiny")[0].stages.in_order()][-1] == "tensors"


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("stages.darkness.level=900", "stages.darkness.level: 900 does not do: .*less than or equal to 255"),
        (
            "stages.darkness.levle=9",
            "there is no such key .*; did you mean stages.darkness.level",
        ),
        ("stages.darkens.level=9", "stages.darkens: there is no such key .*; did you mean stages.darkness"),
        ("stages.darkness.canvas=9", "set canvas=…, which all stages share"),
        ("stages.darkness=9", "stages.darkness: 9 does not do"),
        ("stages.doubled={}", "doubled reads darkness, which is not among .*; add stages.darkness"),
        ("stages.gloom={}", "write what its entry point says"),
    ],
)
def test_wrong_keys_of_a_stage_of_ones_own_are_told_like_ours(typed: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config("tiny", [typed])


@pytest.mark.usefixtures("packages")
def test_it_is_planned_run_explained_verified_and_collected(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert shell("data").returncode == 0
    own = ("stages.darkness.level=9", "stages.doubled={}", "canvas=64")
    done = shell.json("run", "--split", "val", *own)["val"]
    assert [*done] == ["canonicalize", "decode", "maps", "tensors", "darkness", "doubled"]
    computed = {found["computed"] for found in done.values()}
    assert len(computed) == 1 and 0 not in computed
    with open_store(tmp_path / "work/tiny/val/darkness.zarr") as store:
        assert store.small("shape").tolist() == [[64, 64]] * len(store)

    changed = ("stages.darkness.level=99", *own[1:])
    told = shell("plan", "--split", "val", *changed).stdout
    assert "stages.darkness.level 9 → 99" in told
    again = shell.json("run", "darkness", "doubled", "--split", "val", *changed)["val"]
    assert again["darkness"]["computed"] == len(store)
    assert shell("verify", "--split", "val", "--against-source", *changed).returncode == 0
    assert shell.json("status", "--split", "val", *changed)["val"]["doubled"]["fresh"] is True
    collected = shell.json("gc", "--split", "val", *changed)["stores"]
    assert "darkness" in [row["stage"] for row in collected if row["removed"]]
    refused = shell("run", "gloom", *own)
    assert refused.returncode == 2 and "there is no stage gloom; there are canonicalize" in refused.stderr


def test_a_list_in_code_is_run_with_the_configurations_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Shell(tmp_path)("data").returncode == 0
    typed = ["canvas=64", "stages.darkness.level=9"]
    config, _ = load_config("tiny", typed, stages=[Darkness])
    results = dict(run_stages(config.pipeline("val"), ["canonicalize", "decode", "darkness"], SERIAL))
    assert results["darkness"].computed == results["decode"].accepted > 0
    recipe = open_store(tmp_path / "work/tiny/val/darkness.zarr").info.recipe
    assert recipe["parameters"] == {"canvas": [64, 64], "level": 9, "label": "dark"}


SERIAL = ExecutorConfig(kind="serial")
