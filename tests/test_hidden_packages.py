"""A folder or file of a user's own that has the name of one of our packages is named, not stumbled over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = {"ocr/__init__.py": "", "ocr/model.py": ""}


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a folder of its own, which Python puts first on its path."""
    (folder / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, folder / "script.py"]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("files", "place", "script"),
    [
        (PACKAGE, "ocr", "from warmstore import open_store"),
        (PACKAGE, "ocr", "import ocr.model\nimport warmstore"),
        ({"pipeline.py": "x = 1"}, "pipeline.py", "import warmstore"),
        ({"stages/__init__.py": ""}, "stages", "from warmstore import TensorDataset"),
    ],
)
def test_what_hides_a_package_is_named(
    tmp_path: Path, files: dict[str, str], place: str, script: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    done = run(tmp_path, script)
    told = done.stderr.splitlines()[-1]
    name = place.removesuffix(".py")
    assert told.startswith(f"ImportError: {tmp_path / place} hides the package {name} of warmstore")
    assert done.returncode == 1


def test_a_folder_that_hides_nothing_disturbs_nobody(tmp_path: Path) -> None:
    (tmp_path / "ocr").mkdir()  # no package: ours comes later on the path, and is taken
    (tmp_path / "model").mkdir()
    done = run(tmp_path, "from warmstore import open_store; import ocr; print(ocr.__file__)")
    assert Path(done.stdout.strip()).parent == ROOT / "ocr", done.stderr
