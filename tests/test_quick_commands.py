"""Commands that look, or that are mistaken, load nothing that takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.shell import PROJECT, Shell

HEAVY = {"torch", "transformers", "pytorch_lightning", "dask", "distributed", "zarr", "numba", "matplotlib"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder in which the tiny run has been preprocessed."""
    shell = Shell(tmp_path_factory.mktemp("quick"))
    assert shell("run").returncode == 0
    (shell.folder / "others.txt").write_text("elsewhere.jpg\t[]\n")
    (shell.folder / "any.ckpt").touch()
    return shell


@pytest.mark.parametrize("command", ["status", "config", "plan", "run"])
def test_looking_needs_no_torch(built: Shell, command: str) -> None:
    done = imports(built.folder, command)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_stages_need_no_torch(built: Shell, tmp_path: Path) -> None:
    done = imports(built.folder, "run", "executor=threads", f"work_dir={tmp_path}")
    assert done.returncode == 0, done.stderr
    loaded = done.stderr.splitlines()[-1]
    assert "'numba'" in loaded and "'torch'" not in loaded


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("validate --checkpoint none.ckpt", "there is no checkpoint none.ckpt"),
        ("precision --checkpoint none.ckpt", "there is no checkpoint none.ckpt"),
        ("bench epoch --checkpoint none.ckpt", "there is no checkpoint none.ckpt"),
        ("bench epoch work_dir=empty", "there is no checkpoint below empty/runs"),
        ("train work_dir=empty", "there is no store at empty/train/tensors.zarr"),
        ("train model.backbone=vgg", "model.backbone"),
        ("ceiling work_dir=empty", "there is no store at empty/val/canonical.zarr"),
        ("validate --checkpoint work", "work is a folder; give a checkpoint's file"),
        ("predict data --checkpoint none.ckpt", "there is no checkpoint none.ckpt"),
        ("export none.ckpt out.onnx", "there is no checkpoint none.ckpt"),
        ("score none.txt", "there are no detections at none.txt"),
        ("score others.txt", "others.txt names no image of split val"),
        ("score others.txt work_dir=empty", "there is no store at empty/val/tensors.zarr"),
        ("bench epoch --checkpoint any.ckpt data.root=none", "there is no data set at none"),
    ],
)
def test_a_mistake_is_told_before_torch_loads(built: Shell, command: str, words: str) -> None:
    done = imports(built.folder, *command.split())
    assert done.returncode in (1, 2) and words in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def imports(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own; heavy imports end up on standard error."""
    script = (
        "import sys\n"
        "from warmstore.cli import _run\n"
        "code = _run([*sys.argv[1:], '--config', 'tiny'])\n"
        f"loaded = sorted({HEAVY} & set(sys.modules))\n"
        "if loaded:\n"
        "    print(loaded, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    environment = {**os.environ, "WARMSTORE_CONFIGS": str(PROJECT / "configs"), "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, "-c", script, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
