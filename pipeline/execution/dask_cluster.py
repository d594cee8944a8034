"""Tasks on the workers of a dask cluster: which of them may be used, what each has, and when that is lost.

dask carries tasks and says which workers there are. Which worker does what is decided here: each has
twice as many tasks as threads, so neither the client nor the scheduler holds more, and what a lost worker
had goes to others, which may do it once more: a task writes the same files whoever does it.
"""

from __future__ import annotations

import logging
import pickle
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from pipeline.errors import PipelineError
from pipeline.execution.dask_worker import STRANGER, greet, outcome, work
from pipeline.execution.handshake import Answer, Handshake, accept, answer
from pipeline.execution.process_pool import Ended, Function

log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between looks at which workers there are
_PATIENCE = 10.0  # seconds that a scheduler may take to answer
_SILENCE = 30.0  # seconds without an outcome after which a line says so
_TRIES = 5  # times that dask may fail a task before the run ends


@dataclass
class _Worker:
    """One dask worker: its threads, and whether it may be used."""

    threads: int
    greeted: bool = False
    used: bool = False
    host: str = ""
    tasks: int = 0


@dataclass(frozen=True)
class _Sent:
    """A call that is with a worker: a task, or the handshake where there is none."""

    address: str
    future: Any
    task: Any = None


class DaskWorkers:
    """Runs tasks on the workers of a connected client; see `pipeline.execution.executors.Executor`."""

    def __init__(self, client: Any, timeout: float, memory: int, wait_workers: float) -> None:
        self._client = client
        self._limits = (timeout, memory)
        self._wait = wait_workers

    def run(self, function: Function, tasks: deque[Any], offered: Handshake | None) -> Generator[Ended]:
        """Take tasks while there are any, and yield each when it has ended.

        Raises PipelineError where the scheduler is gone, or no worker can be used.
        """
        assert offered is not None, "workers elsewhere need a handshake"
        crew = _Crew(self._client, self._limits, self._wait, function, offered)
        try:
            while tasks or crew.busy:
                crew.look_around(tasks)
                crew.hand_out(tasks)
                ended = crew.next_ended(tasks)
                if ended is not None:
                    yield ended
        finally:
            crew.let_go()


@dataclass
class _Crew:
    """The workers of one run over one stage, and what they have."""

    client: Any
    limits: tuple[float, int]
    wait: float
    function: Function
    offered: Handshake
    workers: dict[str, _Worker] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    sent: dict[str, _Sent] = field(default_factory=dict)
    _done: SimpleQueue[str] = field(default_factory=SimpleQueue)
    _failures: Counter[int] = field(default_factory=Counter)
    _looked: float = 0.0

    def __post_init__(self) -> None:
        self._used_last = self._moved = self._told = time.monotonic()

    @property
    def busy(self) -> bool:
        """Whether a worker has a task."""
        return any(sent.task is not None for sent in self.sent.values())

    def look_around(self, tasks: deque[Any]) -> None:
        """Greet who has joined, take back what the lost had; raise PipelineError where nobody is left."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        try:
            present: dict[str, int] = self.client.nthreads(callback_timeout=_PATIENCE)
        except (OSError, TimeoutError) as error:
            self._check_connection()
            log.warning("the dask scheduler %s does not answer (%s)", self._scheduler, error or "timeout")
            return
        for address in self.workers.keys() - present.keys():
            self._lose(address, tasks)
        for address, threads in present.items():
            if address not in self.workers:
                self.workers[address] = _Worker(threads)
                self._send(address, greet, answer, self.offered)
        if any(worker.used for worker in self.workers.values()):
            self._used_last = now
        else:
            self._check_hope(now - self._used_last)

    def hand_out(self, tasks: deque[Any]) -> None:
        """Give tasks to the workers with the most room."""
        room = {a: 2 * w.threads - w.tasks for a, w in self.workers.items() if w.used}
        while tasks and room:
            address = max(room, key=room.__getitem__)
            if not room[address]:
                return
            room[address] -= 1
            task = tasks.popleft()
            self.workers[address].tasks += 1
            self._send(address, work, self.function, task, task)

    def next_ended(self, tasks: deque[Any]) -> Ended | None:
        """Wait a moment for a call that has ended; gives the task, if it was one."""
        try:
            key = self._done.get(timeout=_LOOK)
        except Empty:
            self._say_if_silent()
            return None
        sent = self.sent.pop(key, None)
        if sent is None:  # it was taken from a worker that is lost
            return None
        worker = self.workers[sent.address]
        data, problem = self._fetch(sent)
        if sent.task is None:
            self._greeted(sent.address, data, problem)
            return None
        worker.tasks -= 1
        if data is None or data == STRANGER:
            if data is None:
                self._count_failure(sent, problem)
            else:  # another process under the same address
                worker.used = False
                self._send(sent.address, greet, answer, self.offered)
            tasks.appendleft(sent.task)
            return None
        self._moved = self._told = time.monotonic()
        self._failures.pop(id(sent.task), None)
        ended, machine = outcome(sent.task, data)
        if isinstance(ended.error, PipelineError) and machine not in str(ended.error):
            ended.error.problem = f"on {machine}: {ended.error.problem}"
        return ended

    def let_go(self) -> None:
        """Forget what has not ended."""
        for sent in self.sent.values():
            sent.future.release()
        self.sent.clear()

    def _send(
        self, address: str, carrier: Callable[..., bytes], function: Function, argument: Any, task: Any = None
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
        self.sent[key] = _Sent(address, future, task)
        future.add_done_callback(lambda done: self._done.put(done.key))

    def _fetch(self, sent: _Sent) -> tuple[bytes | None, str]:
        """Give what a call gave, or None and why it gave nothing; dask forgets it then."""
        from distributed import CancelledError

        try:
            return sent.future.result(timeout=_PATIENCE), ""
        except CancelledError as error:
            self._check_connection()
            return None, f"cancelled: {error}"
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"
        finally:
            sent.future.release()

    def _greeted(self, address: str, data: bytes | None, problem: str) -> None:
        """Use a worker, or say why not, once it has answered the handshake."""
        worker = self.workers[address]
        worker.greeted = True
        if data is not None:
            ended, worker.host = outcome(None, data)
            answered = ended.value
            if isinstance(answered, Answer):
                problem = "; ".join(accept(self.offered, answered))
            else:
                problem = str(ended.error)
        worker.used = not problem
        if problem:
            where = f"{worker.host} ({address})" if worker.host else address
            self.refused[address] = f"{where}: {problem}"
            log.warning("the dask worker on %s is not used: %s", where, problem)

    def _lose(self, address: str, tasks: deque[Any]) -> None:
        """Take back what a worker had that is gone."""
        lost = [key for key, sent in self.sent.items() if sent.address == address]
        for key in lost:
            sent = self.sent.pop(key)
            sent.future.release()
            if sent.task is not None:
                tasks.appendleft(sent.task)
        worker = self.workers.pop(address)
        self.refused.pop(address, None)
        if worker.used:
            log.warning("the dask worker on %s (%s) is gone; others take its tasks", worker.host, address)

    def _count_failure(self, sent: _Sent, problem: str) -> None:
        """Let dask fail a task a few times, as it does when a worker is lost; then it is an error."""
        self._failures[id(sent.task)] += 1
        if self._failures[id(sent.task)] >= _TRIES:
            raise PipelineError(
                f"dask failed one task of {self.offered.stage.name} {_TRIES} times, last on {sent.address} "
                f"({problem}); that is no verdict on its samples: see that worker's log, and run again, "
                "which continues from what is finished"
            )

    def _check_connection(self) -> None:
        if self.client.status != "running":
            raise PipelineError(
                f"the dask scheduler at {self._scheduler} is gone; start it again with its workers, and run "
                "again, which continues from what is finished"
            )

    def _check_hope(self, waited: float) -> None:
        """Raise PipelineError where no worker can be used, and none will."""
        if self.workers and len(self.refused) == len(self.workers):
            raise PipelineError(
                f"no dask worker can be used: {' | '.join(self.refused.values())}; give the workers the "
                "environment and the folders of the run, and run again"
            )
        if waited < self.wait:
            return
        if self.workers:
            silent = ", ".join(address for address, worker in self.workers.items() if not worker.greeted)
            problem = f"the dask workers {silent} have not answered for {waited:.0f} s; look into their logs"
        else:
            problem = f"the dask scheduler at {self._scheduler} has had no worker for {waited:.0f} s"
        raise PipelineError(
            f"{problem}: start some with `dask worker {self._scheduler}`, wait longer with "
            "executor.wait_workers=SECONDS, and run again, which continues from what is finished"
        )

    def _say_if_silent(self) -> None:
        """Say on standard error that nothing moves, and whose turn it is."""
        self._check_connection()
        now = time.monotonic()
        if now - self._told < _SILENCE:
            return
        self._told = now
        held = Counter(sent.address for sent in self.sent.values())
        whose = ", ".join(f"{self.workers[a].host or a} has {n}" for a, n in held.most_common(5))
        log.warning(
            "%s: no task has ended for %.0f s (%s)",
            self.offered.stage.name,
            now - self._moved,
            whose or "no worker has any yet",
        )

    @property
    def _scheduler(self) -> str:
        return str(self.client.scheduler.address) if self.client.scheduler else "?"


class _Call:
    """Pickles as a call: whoever unpickles it makes it, so the scheduler need not know what it is."""

    def __init__(self, function: Callable[..., bytes], args: tuple[Any, ...]) -> None:
        self._made = function, args

    def __reduce__(self) -> tuple[Callable[..., bytes], tuple[Any, ...]]:
        return self._made
