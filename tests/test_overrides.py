"""Overrides mean what was typed; keys that no run has are refused by every command; looking makes nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.shell import Shell

NAMES = (
    "发票",
    "café",
    "cafe\N{COMBINING ACUTE ACCENT}",
    "Receipts (2019)",
    "R&D",
    "2019",
    "007",
    "1e5",
    "1_000",
    "true",
    "null",
    "nan",
    "a,b",
    "a, b",
    "it's",
    "say 'when' twice",
    'the "best" ones',
    "[1,2]",
    "[draft",
    "{a:1}",
    "}",
    "a=b",
    "key: value",
    "# 1",
    "100%",
    "50 € & more",
    "back\\slash",
    "trailing\\",
    " in front",
    "behind ",
    "~draft",
    "-x",
    "a@b",
    "a:b",
    "*",
    "!",
    "US$",
    "$(x)",
    "???",
    "choice(a,b)",
    "a\tb",
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with the tiny data set in `receipts`."""
    shell = Shell(tmp_path_factory.mktemp("overrides"))
    assert shell("data", "data.root=receipts", "data.generate.train=1", "data.generate.val=1").returncode == 0
    return shell


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_taken_as_typed(drawn: Shell, name: str) -> None:
    (drawn.folder / name).symlink_to("receipts")
    found = drawn.json("plan", f"data.root={name}", "--split", "val")
    assert found["val"]["canonicalize"]["listed"] == 1
    (drawn.folder / name).unlink()
    (drawn.folder / "receipts" / name).symlink_to("val")
    key = "data.splits.val.images"
    assert drawn.json("config", f"{key}={name}")["data"]["splits"]["val"]["images"] == name
    assert drawn.json("plan", "data.root=receipts", f"{key}={name}")["val"]["canonicalize"]["listed"] == 1
    (drawn.folder / "receipts" / name).unlink()


@pytest.mark.parametrize(
    ("typed", "keys", "value"),
    [
        ("data.root='a b'", "data.root", "a b"),  # the parser's own quotes are taken off
        ('data.root="2019"', "data.root", "2019"),
        ("work_dir=2019", "work_dir", "2019"),
        ("data={root: elsewhere}", "data.root", "elsewhere"),
        ("data.splits.val.format=icdar", "data.splits.val.format", "icdar"),
        ("data.splits.val.part=[0,4]", "data.splits.val.part", [0, 4]),
        ("data.splits.val.part=null", "data.splits.val.part", None),
        ("canvas=[64,96]", "canvas", [64, 96]),
        ("canvas=64", "canvas", [64, 64]),
        ("cache=ram", "cache.mode", "ram"),
        ("cache.budget=20GB", "cache.budget", 20_000_000_000),
        ("cache.lock=true", "cache.lock", True),
        ("trainer.max_time=00:10:00:00", "trainer.max_time", "00:10:00:00"),
        ("trainer.max_epochs=null", "trainer.max_epochs", None),
        ("trainer.precision=32", "trainer.precision", "32-true"),
        ("trainer.devices=[0,1]", "trainer.devices", [0, 1]),
        ("model.optimizer={lr: 0.5}", "model.optimizer.lr", 0.5),
        ("stages.maps.shrink_ratio=0.6", "model.boxes.shrink_ratio", 0.6),
    ],
)
def test_other_values_are_read_by_the_grammar(tmp_path: Path, typed: str, keys: str, value: Any) -> None:
    found = Shell(tmp_path).json("config", typed)
    for key in keys.split("."):
        found = found[key]
    assert found == value


@pytest.mark.parametrize("command", ["config", "plan", "status", "report", "run", "verify", "gc", "train"])
@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("cache.moed=ram", "cache.moed: there is no such key (the command line); did you mean cache.mode?"),
        ("trainer.max_epoch=3", "did you mean trainer.max_epochs?"),
        ("model.optimiser.lr=1", "did you mean model.optimizer?"),
        ("model.boxes.treshold=1", "model.boxes.treshold: there is no such key"),
        ("shrink_ratio=0.5", "did you mean stages.maps.shrink_ratio or model.boxes.shrink_ratio?"),
        ("cach.mode=ram", "cach: there is no such key (the command line); did you mean cache?"),
        ("data.splits.val.imags=x", "did you mean data.splits.val.images?"),
        ("cache.mode=disk", 'cache.mode: "disk" does not do'),
        ("canvas=640,480", 'canvas: "640,480" does not do: it is one whole number, or [height, width]'),
        (
            "data={root: 2019}",
            'data.root: 2019 does not do: it is a text, which YAML wants in quotes: "2019"',
        ),
        ("work_dir=", "work_dir= has no value; write work_dir=VALUE"),
        ("data.root=${nothing}", "nothing"),
    ],
)
def test_what_no_run_has_is_refused_by_every_command(
    tmp_path: Path, command: str, typed: str, words: str
) -> None:
    done = Shell(tmp_path)(command, typed)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("plan",),
        ("report",),
        ("explain", "receipt-00000.jpg"),
        ("inspect",),
        ("inspect", "--frames"),
        ("inspect", "--annotations"),
        ("verify",),
        ("repair",),
        ("gc",),
    ],
)
def test_a_mistyped_work_folder_is_an_error_and_is_not_made(drawn: Shell, words: tuple[str, ...]) -> None:
    (drawn.folder / "work").mkdir(exist_ok=True)
    before = sorted(drawn.folder.rglob("*"))
    done = drawn(*words, "work_dir=wrok", "data.root=receipts")
    assert (done.returncode, "there is no work folder wrok; did you mean work?" in done.stderr) == (2, True)
    assert sorted(drawn.folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["status", "plan", "report --format md", "inspect", "verify", "config"])
def test_looking_at_what_was_never_built_makes_nothing(drawn: Shell, command: str) -> None:
    shutil.rmtree(drawn.folder / "work", ignore_errors=True)
    before = sorted(drawn.folder.rglob("*"))
    done = drawn(*command.split(), "data.root=receipts")
    assert done.returncode == (command == "verify"), done.stderr  # which has checked nothing
    assert sorted(drawn.folder.rglob("*")) == before
    assert json.loads(drawn("plan", "data.root=receipts", "--json").stdout)["val"]["maps"]["compute"] == 1
