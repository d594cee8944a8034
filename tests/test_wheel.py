"""What is handed out: a source archive with everything, and a wheel at work outside the clone."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from ocr.detectors import find_detector
from pipeline.errors import ConfigError
from pipeline.store import Bucket
from tests.support.shell import PROJECT, Shell

PACKAGES = ("ocr", "pipeline", "stages", "warmstore")
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())


def shell(*command: str | Path, **options: Any) -> str:
    """Run a command that must end well, without the clone on the path; gives what it prints."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WARMSTORE"))
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """The files of the project; skips where this is no clone."""
    if not (PROJECT / ".git").exists():
        pytest.skip("this is no git clone: nothing says which files belong to the project")
    listed = shell("git", "ls-files", "--cached", cwd=PROJECT).splitlines()
    return {name for name in listed if (PROJECT / name).exists()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive, and the wheel that is built of it."""
    folder = tmp_path_factory.mktemp("dist")
    shell(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, PROJECT)
    return next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel; its dependencies are those that the tests run with."""
    folder = tmp_path_factory.mktemp("environment")
    shell(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin/python"
    purelib = Path(shell(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # Files *.pth of a folder that is added this way are not read: the editable install stays out.
    (purelib / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    shell(*pip, "--no-deps", "--no-index", "--ignore-installed", built[1])
    return folder


def test_the_source_archive_is_complete(built: tuple[Path, Path], tracked: set[str]) -> None:
    with tarfile.open(built[0]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked - held == set()


def test_the_wheel_holds_the_packages_and_the_configurations(
    built: tuple[Path, Path], tracked: set[str]
) -> None:
    with ZipFile(built[1]) as wheel:
        held = set(wheel.namelist())
    assert {
        name for name in tracked if name.startswith(tuple(f"{name}/" for name in PACKAGES))
    } - held == set()
    assert {f"warmstore/{name}" for name in tracked if name.startswith("configs/")} - held == set()
    assert {f"{name}/py.typed" for name in PACKAGES} - held == set()
    assert {name.partition("/")[0] for name in held if ".dist-info" not in name} == set(PACKAGES)


def test_an_index_would_take_them(built: tuple[Path, Path]) -> None:
    assert (
        shell(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *built).count("PASSED") == 2
    )


def test_the_wheel_is_at_work_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    warmstore = installed / "bin/warmstore"
    printed = shell(warmstore, "run", "--config", "tiny", "--json", cwd=tmp_path)
    assert '"tensors"' in printed
    assert (tmp_path / "work/tiny/val/tensors.zarr/zarr.json").is_file()
    program = (
        "import ocr, pipeline, stages, warmstore\n"
        "print(len(warmstore.TensorDataset('work/tiny/val/tensors.zarr')))\n"
        "print(*(module.__file__ for module in (ocr, pipeline, stages, warmstore)))\n"
    )
    count, files = shell(installed / "bin/python", "-c", program, cwd=tmp_path).splitlines()
    assert int(count) == 6
    assert all(Path(file).is_relative_to(installed) for file in files.split())


def on_dask(folder: Path) -> None:
    """Run a stage on dask, by the command line."""
    done = Shell(folder)("run", "executor.kind=dask")
    assert done.returncode == 2
    raise ConfigError(done.stderr.splitlines()[-1].removeprefix("warmstore: "))


def from_a_bucket(folder: Path) -> None:
    """Read an object."""
    Bucket(f"file://{folder}").read("a")


def by_onnx(folder: Path) -> None:
    """Build the detector."""
    detector = find_detector("onnx")
    detector.build(detector.params(path=str(folder / "a.onnx")))


@pytest.mark.parametrize(
    ("name", "package", "what", "use"),
    [
        ("cluster", "distributed", "executor.kind=dask", on_dask),
        ("cloud", "obstore", "file://", from_a_bucket),
        ("onnx", "onnxruntime", "detector onnx", by_onnx),
    ],
)
def test_a_missing_extra_is_told_with_its_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    package: str,
    what: str,
    use: Callable[[Path], None],
) -> None:
    for module in (package, *(module for module in sys.modules if module.startswith(f"{package}."))):
        monkeypatch.setitem(sys.modules, module, None)
    install = re.escape(f"run `{shlex.quote(sys.executable)} -m pip install 'warmstore[{name}]'`")
    with pytest.raises(
        ConfigError, match=rf"^{what}\S* needs {package}\S*, which is not installed here; {install}$"
    ):
        use(tmp_path)


def test_extras_that_errors_name_are_there() -> None:
    sources = "".join(path.read_text() for name in PACKAGES for path in (PROJECT / name).rglob("*.py"))
    named = set(re.findall(r"\bextra\(\"(\w+)\"", sources))
    assert "cluster" in named <= PYPROJECT["project"]["optional-dependencies"].keys()
