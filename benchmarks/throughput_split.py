"""Where the time of a sample goes in the engine: CPU and waiting, by what is done, inside worker threads.

Waiting is time by the clock that is no CPU time of the thread: for the interpreter's lock, for the
kernel's locks, for the disk, or for a core.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

from benchmarks.record import Row
from pipeline import runner, workspace
from pipeline.execution import Executor, ExecutorConfig, assembly, task
from pipeline.planning import Pipeline
from pipeline.runner import run_stages
from pipeline.workspace import Generations

PARTS: dict[str, tuple[tuple[Any, str], ...]] = {
    "reading and verifying": ((task, "read_inputs"),),
    "the stage's function": ((task, "compute_sample"),),
    "checking values": ((task, "check_values"),),
    "digests": ((task, "value_digest"), (task, "digest")),
    "encoding": ((task, "encode"),),
    "writing": ((task, "write_aside"), (task, "_write_content")),
    "records": ((task, "sample_record"), (task, "write_records")),
    "the rest of a task": ((task, "run_task"),),
    "assembling": ((runner, "assemble"),),
    "flushing": ((assembly, "sync_all"), (workspace, "sync")),
    "publishing": ((Generations, "publish"), (Generations, "clear_staging")),
}


class Stopwatch:
    """Times functions without those that they call and that are timed themselves, in all threads."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = defaultdict(float)
        self.clock: dict[str, float] = defaultdict(float)
        self._own = threading.local()
        self._lock = threading.Lock()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Give the function, timed as a part."""

        @wraps(function)
        def measured(*given: Any, **named: Any) -> Any:
            stack = self._own.__dict__.setdefault("stack", [])
            stack.append([0.0, 0.0])
            began, used = time.perf_counter(), time.thread_time()
            try:
                return function(*given, **named)
            finally:
                cpu, clock = time.thread_time() - used, time.perf_counter() - began
                inner_cpu, inner_clock = stack.pop()
                if stack:
                    stack[-1][0] += cpu
                    stack[-1][1] += clock
                with self._lock:
                    self.cpu[part] += cpu - inner_cpu
                    self.clock[part] += clock - inner_clock

        return measured


@contextmanager
def watched(watch: Stopwatch) -> Iterator[None]:
    """Time the engine's functions."""
    with ExitStack() as stack:
        for part, functions in PARTS.items():
            for owner, name in functions:
                function = watch.timed(part, getattr(owner, name))
                stack.enter_context(patch.object(owner, name, function))
        stack.enter_context(patch("pipeline.execution.scheduler.run_task", task.run_task))
        yield


def split_times(pipeline: Pipeline, workers: int) -> list[Row]:
    """Run all stages on threads; gives milliseconds a sample, of CPU and waiting, by part and stage."""
    rows = []
    for stage in pipeline.stages:
        stage.prepare()
    for stage in pipeline.stages:
        watch = Stopwatch()
        with watched(watch), Executor(ExecutorConfig(kind="threads", workers=workers)) as executor:
            ((_, result),) = run_stages(pipeline, [stage.name], executor)
        for part in PARTS:
            cpu, clock = (1e3 * taken[part] / result.computed for taken in (watch.cpu, watch.clock))
            rows += [
                Row(name=part, unit=f"{stage.name}, {what}", values=(value,))
                for what, value in (("CPU", cpu), ("waiting", max(0.0, clock - cpu)))
            ]
    return rows
