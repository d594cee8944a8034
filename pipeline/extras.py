"""Packages that only an extra of warmstore installs (`pip install 'warmstore[cluster]'`)."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import ConfigError


@contextmanager
def extra(name: str, what: str) -> Iterator[None]:
    """Import what the extra `name` installs, for `what` the user asked (`executor.kind=dask`).

    Raises ConfigError with the command that installs it where a package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        install = shlex.join([sys.executable, "-m", "pip", "install", f"warmstore[{name}]"])
        raise ConfigError(
            f"{what} needs {error.name}, which is not installed here; run `{install}`"
        ) from None
