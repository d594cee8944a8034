"""Wrong usage is one sentence, and help is in one place."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from tests.support.shell import PROJECT, Shell
from warmstore.cli import cli
from warmstore.commands import PURPOSES


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (
            ("run", "canvas=650"),
            2,
            "650 is no multiple of 32, which the detector's coarsest stride asks for; take 672",
        ),
        (("run", 'canvas="640"'), 2, 'canvas: "640" does not do'),
        (("run", "canvas=false"), 2, "canvas: false does not do"),
        (("run", "stages.maps.shrink=0.5"), 2, "stages.maps.shrink: there is no such key (the command line)"),
        (("run", "stages.maps.shrink_ratio='0.5'"), 2, "stages.maps.shrink_ratio"),
        (("run", "stages.maps.canvas=64"), 2, "set canvas=…, which all stages share"),
        (("run", "executor.workers=0"), 2, "executor.workers: 0 does not do"),
        (
            ("run", "executor.kind=cloud"),
            2,
            "executor.kind: \"cloud\" does not do: input should be 'auto', 'serial'",
        ),
        (("run", "executor=cloud"), 2, "there is no executor named cloud; there are: auto, dask"),
        (("run", "colour"), 2, "there is no stage colour; there are canonicalize"),
        (("run", "--split", "dev"), 2, "there is no split dev; data.splits has train, val"),
        (("run", "--config", "nope"), 2, "there is no run nope"),
        (("run", "--nonsense"), 2, "No such option"),
        (("run", "data.root=elsewhere"), 2, "there is no data set at elsewhere"),
        (("run", "data.splits.val.images=../.."), 2, "leads out of the data set's root"),
        (("run", "data.splits.val.annotations=none.json", "--split", "val"), 2, "none.json"),
        (("maps",), 2, "No such command"),
        (("plan", "typo"), 2, "typo is no override"),
        (("explain", "nobody.jpg"), 2, "split train or val of tiny has no sample nobody.jpg"),
        (("explain", "00003"), 2, "no sample 00003, but receipt-00003.jpg; run `warmstore inspect --samples"),
        (("explain", "reciept-00003.jpg"), 2, "no sample reciept-00003.jpg, but receipt-00003.jpg"),
        (
            ("verify", "--sample", "00007"),
            2,
            "split train or val of tiny has no sample 00007, but receipt-00007.jpg;",
        ),
        (
            ("verify", "--sample", "nobody.jpg", "--split", "val"),
            2,
            "split val of tiny has no sample nobody.jpg",
        ),
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


CONTEXT = click.Context(cli)
COMMANDS = cli.list_commands(CONTEXT)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = cli.get_command(CONTEXT, name)
    assert command and command.name == name and command.help
    examples = [line.split() for line in command.help.splitlines() if f"warmstore {name}" in line]
    assert examples
    for words in examples:  # options and values that are there; nothing is run
        command.make_context(name, words[2:])
    told = [option.help for option in command.params if isinstance(option, click.Option)]
    assert [words for words in told if not (words and words.endswith("."))] == []


def test_help_is_in_one_place_by_purpose() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "warmstore", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=PROJECT,
        env={**os.environ, "COLUMNS": "110"},
    )
    lines = done.stdout.splitlines()
    for purpose, commands in PURPOSES.items():
        at = lines.index(f"{purpose}:")
        assert [line.split()[0] for line in lines[at + 1 : at + 1 + len(commands)]] == list(commands)
        assert all(told[0].isupper() and told.endswith(".") for _, told in commands.values())
