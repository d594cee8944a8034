"""The command that an error names works as pasted: for the same run and splits, with the same overrides."""

from __future__ import annotations

import logging
import pickle
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import REPAIR, PipelineError, Remedy, StoreError
from pipeline.store import open_store
from tests.support.shell import Done, Shell
from warmstore.options import _program
from warmstore.workflows import quiet


def lose_a_chunk(folder: Path) -> None:
    open_store(folder / "work/tiny/val/decode.zarr").chunk_file("image", 3).unlink()


def damage_the_index(folder: Path) -> None:
    (folder / "work/tiny/val/tensors.zarr/checksum/c.0.0.0").write_bytes(b"damaged")


def lose_a_store(folder: Path) -> None:
    shutil.rmtree(folder / "work/tiny/val/.generations/maps")


def nothing(folder: Path) -> None:
    del folder


def paste(shell: Shell, said: Done) -> Done:
    """Run the command that an error or a table names."""
    (command,) = set(re.findall(r"run `(.+?)`", " ".join((said.stdout + said.stderr).split())))
    program, *words = shlex.split(command)
    assert program == "warmstore"
    return shell.typed(*words)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder in which the validation split is preprocessed, from a root with a name of its own."""
    shell = Shell(tmp_path_factory.mktemp("remedies"))
    for words in (("data", f"data.root={ROOT}"), ("run", "--split", "val", f"data.root={ROOT}")):
        done = shell(*words)
        assert done.returncode == 0, done.stderr
    return shell


ROOT = "my receipts"
WORDS = ("--split", "val", f"data.root={ROOT}")


@pytest.mark.parametrize(
    ("harm", "said", "mended"),
    [
        (lose_a_chunk, ("status",), ("verify",)),
        (lose_a_chunk, ("plan",), ("verify",)),
        (lose_a_chunk, ("verify",), ("verify",)),
        (damage_the_index, ("verify",), ("verify",)),
        (lose_a_store, ("verify",), ("verify",)),
        (lose_a_store, ("run", "tensors"), ("verify",)),
        (nothing, ("run", "tensors", "canvas=160"), ("run", "tensors", "canvas=160")),
        (nothing, ("validate", "--checkpoint", __file__, "stages.maps.shrink_ratio=0.5"), ("verify",)),
        (nothing, ("explain", "00003"), ("verify",)),
    ],
)
def test_the_command_that_is_named_works_as_pasted(
    built: Shell,
    tmp_path: Path,
    harm: Callable[[Path], None],
    said: tuple[str, ...],
    mended: tuple[str, ...],
) -> None:
    shell = Shell(tmp_path / "copy")
    shutil.copytree(built.folder, shell.folder, symlinks=True)
    harm(shell.folder)
    pasted = paste(shell, shell(*said, *WORDS))
    assert pasted.returncode == 0, pasted.stderr
    done = shell(*mended, *WORDS)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nothing.zarr", "there is no store at nothing.zarr"),
        (ROOT, f"there is no store at {ROOT}"),
        ("copy.zarr", "is missing: this is no complete store; mend it with the run that makes it"),
        (
            "damaged.zarr",
            "7 bytes where 608 were written; mend it with the run that makes it, or copy it again",
        ),
    ],
)
def test_a_folder_that_the_run_does_not_make_is_not_repaired(
    built: Shell, tmp_path: Path, path: str, words: str
) -> None:
    shell = Shell(tmp_path)
    (tmp_path / ROOT).mkdir()
    for name in ("copy.zarr", "damaged.zarr"):
        shutil.copytree((built.folder / "work/tiny/val/maps.zarr").resolve(), tmp_path / name)
    (tmp_path / "copy.zarr/manifest.json").unlink()
    (tmp_path / "damaged.zarr/prob_map/c.0.0.0.0").write_bytes(b"damaged")
    done = shell("verify", path)
    assert done.returncode > 0
    told = " ".join((done.stdout + done.stderr).split())
    assert words in told
    assert "repair" not in told


@pytest.mark.parametrize(
    ("called", "on_the_path", "program"),
    [
        ("/home/me/.local/bin/warmstore", True, ("warmstore",)),
        (".venv/bin/warmstore", False, (".venv/bin/warmstore",)),
        ("/project/warmstore/__main__.py", True, ("python3", "-m", "warmstore")),
        ("/usr/bin/jupyter", False, ("warmstore",)),
    ],
)
def test_a_command_calls_the_program_as_it_was_called(
    monkeypatch: pytest.MonkeyPatch, called: str, on_the_path: bool, program: tuple[str, ...]
) -> None:
    monkeypatch.setattr(sys, "argv", [called, "status"])
    monkeypatch.setattr(sys, "orig_argv", ["python3", called, "status"])
    monkeypatch.setattr(shutil, "which", lambda name: name if on_the_path else None)
    assert _program() == program


def test_an_error_in_a_notebook_names_the_plain_command() -> None:
    error = StoreError("maps.zarr is damaged", REPAIR)
    assert str(error) == "maps.zarr is damaged; run `warmstore repair`"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # as it comes from a worker
    assert str(PipelineError("stopped", Remedy("run", ("maps",), ", or wait"))) == (
        "stopped; run `warmstore run maps`, or wait"
    )
    assert str(PipelineError("stopped")) == "stopped"


def test_the_engine_and_the_domain_spell_no_command() -> None:
    project = Path(__file__).parents[1]
    files = [path for room in ("pipeline", "ocr", "stages") for path in (project / room).rglob("*.py")]
    spelled = re.compile(r"warmstore (run|repair|gc|inspect|status|plan|verify|train|validate|data)\b")
    assert [str(path) for path in files if spelled.search(path.read_text())] == []


def test_what_is_silenced_for_a_training_speaks_again() -> None:
    logger = logging.getLogger("lightning_fabric")
    before = logger.level
    with pytest.raises(ZeroDivisionError), quiet():
        assert logger.level == logging.WARNING
        raise ZeroDivisionError
    assert logger.level == before
