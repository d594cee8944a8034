"""Tasks on the workers of a dask cluster: which of them may be used, what each has, and when that is lost.

dask carries tasks and says which workers there are. Which worker does what is decided here: each has
twice as many tasks as threads, so neither the client nor the scheduler holds more, and what a lost worker
had goes to others, which may do it once more: a task writes the same files whoever does it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import PipelineError
from pipeline.execution.dask_calls import PATIENCE, Calls, Sent
from pipeline.execution.dask_worker import STRANGER, outcome
from pipeline.execution.handshake import Answer, Handshake, accept
from pipeline.execution.process_pool import Ended, Function

log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between looks at which workers there are
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


class DaskWorkers:
    """Runs tasks on the workers of a connected client; see `pipeline.execution.executors.Executor`."""

    def __init__(
        self,
        client: Any,
        timeout: float,
        memory: int,
        wait_workers: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._limits = client, (timeout, memory)
        self._wait, self._clock = wait_workers, clock

    def run(self, function: Function, tasks: deque[Any], offered: Handshake | None) -> Generator[Ended]:
        """Take tasks while there are any, and yield each when it has ended.

        Raises PipelineError where the scheduler is gone, or no worker can be used.
        """
        assert offered is not None, "workers elsewhere need a handshake"
        calls = Calls(self._client, function, self._limits, offered)
        crew = _Crew(calls, self._wait, self._clock)
        try:
            while tasks or calls.tasks:
                crew.look_around(tasks)
                crew.hand_out(tasks)
                ended = crew.next_ended(tasks)
                if ended is not None:
                    yield ended
        finally:
            calls.forget()


@dataclass
class _Crew:
    """The workers of one run over one stage, and what they have."""

    calls: Calls
    wait: float
    clock: Callable[[], float]
    workers: dict[str, _Worker] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    _failures: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._used_last = self._moved = self._told = self.clock()
        self._looked = self._used_last - _LOOK

    def look_around(self, tasks: deque[Any]) -> None:
        """Greet who has joined, take back what the lost had; raise PipelineError where nobody is left."""
        now = self.clock()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        try:
            present: dict[str, int] = self.calls.client.nthreads(callback_timeout=PATIENCE)
        except (OSError, TimeoutError) as error:
            self.calls.check_connection()
            why = str(error) or "timeout"
            log.warning("the dask scheduler %s does not answer (%s)", self.calls.scheduler, why)
            return
        for address in self.workers.keys() - present.keys():
            self._lose(address, tasks)
        for address, threads in present.items():
            if address not in self.workers:
                self.workers[address] = _Worker(threads)
                self.calls.greet(address)
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
            self.calls.send(address, task)

    def next_ended(self, tasks: deque[Any]) -> Ended | None:
        """Wait a moment for a call that has ended; gives the task, if it was one."""
        call = self.calls.next_ended(_LOOK)
        if call is None:
            self._say_if_silent()
            return None
        sent, data, problem = call
        worker = self.workers[sent.address]
        if sent.task is None:
            self._greeted(sent.address, data, problem)
            return None
        worker.tasks -= 1
        if data is None or data == STRANGER:
            if data is None:
                self._count_failure(sent, problem)
            else:  # another process under the same address
                worker.greeted = worker.used = False
                self.calls.greet(sent.address)
            tasks.appendleft(sent.task)
            return None
        self._moved = self._told = self.clock()
        self._failures.pop(id(sent.task), None)
        ended, machine = outcome(sent.task, data)
        if isinstance(ended.error, PipelineError) and machine not in str(ended.error):
            ended.error.problem = f"on {machine}: {ended.error.problem}"
        return ended

    def _greeted(self, address: str, data: bytes | None, problem: str) -> None:
        """Use a worker, or say why not, once it has answered the handshake."""
        worker = self.workers[address]
        worker.greeted = True
        if data is not None:
            ended, worker.host = outcome(None, data)
            answered = ended.value
            if isinstance(answered, Answer):
                problem = "; ".join(accept(self.calls.offered, answered))
            else:
                problem = str(ended.error)
        worker.used = not problem
        if problem:
            where = f"{worker.host} ({address})" if worker.host else address
            self.refused[address] = f"{where}: {problem}"
            log.warning("the dask worker on %s is not used: %s", where, problem)

    def _lose(self, address: str, tasks: deque[Any]) -> None:
        """Take back what a worker had that is gone."""
        tasks.extendleft(self.calls.take_back(address))
        worker = self.workers.pop(address)
        self.refused.pop(address, None)
        if worker.used:
            log.warning("the dask worker on %s (%s) is gone; others take its tasks", worker.host, address)

    def _count_failure(self, sent: Sent, problem: str) -> None:
        """Let dask fail a task a few times, as it does when a worker is lost; then it is an error."""
        self._failures[id(sent.task)] += 1
        if self._failures[id(sent.task)] >= _TRIES:
            raise PipelineError(
                f"dask failed one task of {self.calls.offered.stage.name} {_TRIES} times, last on "
                f"{sent.address} ({problem}); that is no verdict on its samples: see that worker's log, and "
                "run again, which continues from what is finished"
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
            problem = f"the dask scheduler at {self.calls.scheduler} has had no worker for {waited:.0f} s"
        raise PipelineError(
            f"{problem}: start some with `dask worker {self.calls.scheduler}`, wait longer with "
            "executor.wait_workers=SECONDS, and run again, which continues from what is finished"
        )

    def _say_if_silent(self) -> None:
        """Say on standard error that nothing moves, and whose turn it is."""
        self.calls.check_connection()
        now = self.clock()
        if now - self._told < _SILENCE:
            return
        self._told = now
        held = self.calls.held.most_common(5)
        whose = ", ".join(f"{self.workers[a].host or a} has {n}" for a, n in held)
        log.warning(
            "%s: no task has ended for %.0f s (%s)",
            self.calls.offered.stage.name,
            now - self._moved,
            whose or "no worker has any yet",
        )
