"""Which TurboJPEG library is loaded, and what is said of why."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ocr.images import turbo

DESCRIBE = "from ocr.images.libraries import describe; print(describe()['TurboJPEG'])"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A copy of the library in a folder that no linker knows."""
    return Path(shutil.copy(turbo.load().path, tmp_path / "libturbojpeg.so.0"))


@pytest.fixture
def no_linker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turbo, "find_library", lambda name: None)
    monkeypatch.setattr("turbojpeg.DEFAULT_LIB_PATHS", {})
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)


def found() -> turbo.Library:
    """Search anew, whatever was loaded before."""
    library = turbo._load.__wrapped__()
    assert isinstance(library, turbo.Library), library
    return library


def test_ld_library_path_chooses_the_library_and_doctor_says_so(other: Path) -> None:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(other.parent)}
    told = subprocess.run(
        [sys.executable, "-c", DESCRIBE], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert f" {turbo.load().version} at {other}: " in told
    assert "LD_LIBRARY_PATH" in told


@pytest.mark.usefixtures("no_linker")
def test_without_a_linker_the_usual_places_come_first_and_then_ld_library_path(
    other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", f"/nowhere::{other.parent}")
    assert (found().path, found().version) == (other, turbo.load().version)
    assert found().found == "in LD_LIBRARY_PATH, unknown to the system's linker"
    usual = shutil.copy(other, other.with_name("usual.so"))
    monkeypatch.setattr("turbojpeg.DEFAULT_LIB_PATHS", {"Linux": ["/nowhere/at/all.so", str(usual)]})
    assert "usual places" in found().found


@pytest.mark.usefixtures("no_linker")
def test_a_library_that_does_not_serve_is_passed_over_and_named_where_none_does(
    other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert turbo._load.__wrapped__() == "no libturbojpeg on this system (Debian: apt install libturbojpeg0)"
    monkeypatch.setattr(turbo, "find_library", lambda name: "libc.so.6")  # a library, and not this one
    broken = other.with_name("broken.so")
    broken.write_bytes(b"no library")
    monkeypatch.setattr("turbojpeg.DEFAULT_LIB_PATHS", {"Linux": [str(broken)]})
    told = turbo._load.__wrapped__()
    assert isinstance(told, str)
    assert "libc.so.6 lacks what libjpeg-turbo has since 2.0" in told
    assert f"{broken} cannot be loaded" in told
    monkeypatch.setenv("LD_LIBRARY_PATH", str(other.parent))
    assert found().path == other
