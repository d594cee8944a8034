"""A shell that types `warmstore` commands into this process."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from warmstore.cli import _run

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit code."""

    returncode: int
    stdout: str
    stderr: str


class Shell:
    """Runs `warmstore` in a folder, in this process, with the project's configurations or others."""

    def __init__(self, folder: Path, configs: Path = PROJECT / "configs") -> None:
        self.folder, self.configs = folder, configs

    def __call__(self, *arguments: str) -> Done:
        command, *rest = arguments
        return self.typed(command, "--config", "tiny", *rest)

    def typed(self, *arguments: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(self.folder),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setenv("WARMSTORE_CONFIGS", str(self.configs))
            patch.setenv("COLUMNS", "160")
            code = _run(list(arguments))
        done = Done(code, out.getvalue(), err.getvalue())
        for stream in (out, err):
            stream.truncate(0)  # click keeps all that it has printed to: its cache holds its own keys
        return done

    def json(self, *arguments: str) -> Any:
        done = self(*arguments, "--json")
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)
