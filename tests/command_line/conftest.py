from __future__ import annotations

import pytest

from tests.support.shell import Shell


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder in which the tiny run has been preprocessed and trained."""
    shell = Shell(tmp_path_factory.mktemp("a project with spaces"))
    for command in ("data", "run", "train"):
        done = shell(command)
        assert done.returncode == 0, done.stderr
    return shell
