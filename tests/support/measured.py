"""A plugin of pytest for `make coverage`: workers that are ended write down first what they have run."""

from __future__ import annotations

from multiprocessing.process import BaseProcess

import pytest

_WRITING = 2.0  # seconds that coverage may take to write, in a process that is not stopped


def pytest_configure(config: pytest.Config) -> None:
    """Let SIGTERM, at which coverage writes, go before each SIGKILL."""
    kill = BaseProcess.kill

    def kill_when_written(process: BaseProcess) -> None:
        process.terminate()
        process.join(_WRITING)
        kill(process)

    BaseProcess.kill = kill_when_written  # type: ignore[assignment, method-assign]
