"""Calls that are with the workers of a dask cluster: what each has been sent, and what came of it.

A task goes by way of the run's folder, and dask carries where it lies: its scheduler keeps the last
thousand messages to each worker, with all that is in them.
"""

from __future__ import annotations

import pickle
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from pipeline.errors import PipelineError
from pipeline.execution.dask_worker import greet, left_in, work
from pipeline.execution.handshake import Handshake, answer
from pipeline.execution.process_pool import Function
from pipeline.execution.task import ON_ITS_WAY
from pipeline.files import write_new

PATIENCE = 10.0  # seconds that a scheduler may take to answer


@dataclass(frozen=True)
class Sent:
    """A call that is with a worker: a task, or the handshake where there is none."""

    address: str
    future: Any
    task: Any = None
    file: Path | None = None

    def forget(self) -> None:
        """Have dask forget it, and remove what it left in the run's folder."""
        self.future.release()
        if self.file is not None:
            with suppress(OSError):
                self.file.unlink()


@dataclass
class Calls:
    """The calls of one run over one stage, whose tasks `function` runs within `limits`."""

    client: Any
    function: Function
    limits: tuple[float, int]
    offered: Handshake
    _sent: dict[str, Sent] = field(default_factory=dict)
    _done: SimpleQueue[str] = field(default_factory=SimpleQueue)

    @property
    def tasks(self) -> bool:
        """Whether a worker has a task."""
        return any(sent.task is not None for sent in self._sent.values())

    @property
    def held(self) -> Counter[str]:
        """How many calls each worker has."""
        return Counter(sent.address for sent in self._sent.values())

    @property
    def scheduler(self) -> str:
        """Address of the scheduler."""
        return str(self.client.scheduler.address) if self.client.scheduler else "?"

    def greet(self, address: str) -> None:
        """Ask a worker for the handshake."""
        self._send(address, greet, answer, self.offered)

    def send(self, address: str, task: Any) -> None:
        """Have a worker run a task."""
        file = self.offered.folder / f"{uuid.uuid4().hex}{ON_ITS_WAY}"
        write_new(file, pickle.dumps((self.function, task)), "task")
        self._send(address, work, left_in, file, task, file)

    def _send(
        self,
        address: str,
        carrier: Callable[..., bytes],
        function: Function,
        argument: Any,
        task: Any = None,
        file: Path | None = None,
    ) -> None:
        """Have a worker make a call: it leaves as bytes that only the worker can, and need, understand."""
        key = f"{self.offered.stage.name}-{uuid.uuid4().hex}"
        call = _Call(carrier, (function, argument, self.limits, self.offered.nonce))
        future = self.client.submit(
            pickle.loads,
            pickle.dumps(call),
            key=key,
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
        self._sent[key] = Sent(address, future, task, file)
        future.add_done_callback(lambda done: self._done.put(done.key))

    def next_ended(self, timeout: float) -> tuple[Sent, bytes | None, str] | None:
        """Wait so many seconds for a call to end; gives it and what it gave, or None and why nothing."""
        try:
            sent = self._sent.pop(self._done.get(timeout=timeout), None)
        except Empty:
            return None
        if sent is None:  # it was taken back from a worker that is lost
            return None
        return sent, *self._fetch(sent)

    def _fetch(self, sent: Sent) -> tuple[bytes | None, str]:
        from distributed import CancelledError

        try:
            return sent.future.result(timeout=PATIENCE), ""
        except CancelledError as error:
            self.check_connection()
            return None, f"cancelled: {error}"
        except Exception as error:  # of dask: what a task raises is in the bytes
            return None, f"{type(error).__name__}: {error}"
        finally:
            sent.forget()

    def take_back(self, address: str) -> list[Any]:
        """Forget what a worker has that is gone; gives its tasks."""
        lost = [key for key, sent in self._sent.items() if sent.address == address]
        taken = [self._sent.pop(key) for key in lost]
        for sent in taken:
            sent.forget()
        return [sent.task for sent in taken if sent.task is not None]

    def forget(self) -> None:
        """Forget what has not ended."""
        for address in self.held:
            self.take_back(address)

    def check_connection(self) -> None:
        """Raise PipelineError where the scheduler is gone."""
        if self.client.status != "running":
            raise PipelineError(
                f"the dask scheduler at {self.scheduler} is gone; start it again with its workers, and run "
                "again, which continues from what is finished"
            )


class _Call:
    """Pickles as a call: whoever unpickles it makes it, so the scheduler need not know what it is."""

    def __init__(self, function: Callable[..., bytes], args: tuple[Any, ...]) -> None:
        self._made = function, args

    def __reduce__(self) -> tuple[Callable[..., bytes], tuple[Any, ...]]:
        return self._made
