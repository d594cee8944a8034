"""Log lines on standard error, which share the terminal with progress bars and tear none of them."""

from __future__ import annotations

import logging
import sys

_OURS = ("pipeline", "ocr", "warmstore")


class LogLines(logging.Handler):
    """Writes each record as a line above the bar that is being drawn, whoever draws it.

    rich's bars take what is written to the standard error of the moment, so that is looked up for each
    line; those of tqdm, which Lightning uses, are asked to make room.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            line = self.format(record)
            if (tqdm := sys.modules.get("tqdm")) is not None:
                tqdm.tqdm.write(line, file=sys.stderr)
            else:
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()
        except Exception:
            self.handleError(record)


def show_warnings() -> None:
    """Show what our own packages warn of; other libraries' chatter stays out."""
    for logger in map(logging.getLogger, _OURS):
        if not any(isinstance(handler, LogLines) for handler in logger.handlers):
            logger.addHandler(LogLines(logging.WARNING))
    cluster = logging.getLogger("pipeline.execution.dask_client")  # says which one, and where to watch it
    if not cluster.handlers:
        cluster.addHandler(LogLines(logging.INFO))
        cluster.setLevel(logging.INFO)


def show_everything() -> None:
    """Show how a training or a validation goes on, and what any library warns of."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[LogLines()])
