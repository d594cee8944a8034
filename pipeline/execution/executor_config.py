"""What runs tasks: the configuration, and what `auto` makes of it."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.errors import PipelineError
from pipeline.stage import Parameters, Stage

Kind = Literal["serial", "threads", "processes", "dask"]

DIED = "the last run died while it computed"

_START = 1000.0  # milliseconds that processes take to start, beyond what threads load as well
_LOCKED = 4.0  # milliseconds of a sample, all stages together, in which one thread keeps the others waiting


class ExecutorConfig(Parameters):
    """Where and how wide stages run."""

    kind: Literal["auto", "serial", "threads", "processes", "dask"] = "auto"
    """`auto` takes threads for a few samples, and processes for many.

    `processes` isolates each task from crashes; `dask` uses a cluster, and isolates too.
    """
    workers: int | None = Field(default=None, ge=1)
    """Number of workers; by default all the processors that this process may use."""
    batch: int = Field(default=16, ge=1)
    """Samples a task, rounded up to whole chunks."""
    address: str | None = None
    """Of a running dask scheduler; without one, dask starts a cluster on this machine."""
    wait_workers: float = Field(default=60.0, gt=0)
    """Seconds without a worker that can be used after which a run on `dask` gives up."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds that a sample may take before its worker is ended (`processes`, `dask`)."""
    memory: int = Field(default=8 << 30, ge=1 << 28)
    """Bytes of address space that a worker may use beyond what it starts with (`processes`, `dask`).

    Libraries that it loads count.
    """

    @model_validator(mode="after")
    def _address_is_dasks(self) -> Self:
        if self.address is not None and self.kind != "dask":
            raise ValueError(
                f"address={self.address} is of a dask scheduler, and kind is {self.kind}: set kind=dask, or "
                "leave the address out"
            )
        return self

    @property
    def width(self) -> int:
        """Number of workers."""
        return self.workers or len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Choice:
    """What runs the tasks of a stage: never `auto`. `why` is empty where the configuration says so."""

    kind: Kind
    workers: int
    why: str = ""

    def __str__(self) -> str:
        workers = "one worker" if self.workers == 1 else f"{self.workers} workers"
        what = self.kind if self.kind == "serial" else f"{self.kind}, {workers}"
        return f"{what} ({self.why})" if self.why else what

    def as_json(self) -> dict[str, Any]:
        """Give the choice as JSON values."""
        return asdict(self)


def choose(
    config: ExecutorConfig, stage: Stage, samples: int, *, running: bool = False, died: bool = False
) -> Choice:
    """Choose what computes `samples` of a stage.

    Processes that are `running` cost no start any more. Where the last run `died` while it computed, threads
    make place for processes, which a sample may crash. Raises PipelineError where the configuration asks for
    processes, and those could not import the stage.
    """
    kind = config.kind
    if died and kind in ("auto", "threads") and not _in_program(stage):
        return Choice("processes", config.width, DIED)
    if kind == "auto":
        taken, why = _automatic(config, stage, samples, running)
        return Choice(taken, config.width, f"auto: {why}")
    if kind == "processes" and _in_program(stage):
        raise PipelineError(
            f"processes cannot import {stage.name} from the program that is running; move "
            f"{type(stage).__name__} into a module of its own, or run with executor.kind=threads"
        )
    return Choice(kind, 1 if kind == "serial" else config.width)


def _in_program(stage: Stage) -> bool:
    return type(stage).__module__ == "__main__"


def _automatic(config: ExecutorConfig, stage: Stage, samples: int, running: bool) -> tuple[Kind, str]:
    if _in_program(stage):
        return "threads", f"processes cannot import {stage.name} from the program that is running"
    for limit in ("timeout", "memory"):
        if getattr(config, limit) != ExecutorConfig.model_fields[limit].default:
            return "processes", f"threads cannot hold executor.{limit}"
    if config.width == 1:
        return "threads", "one worker gains nothing from a process"
    if running:
        return "processes", "they have started already"
    least = break_even(min(config.width, len(os.sched_getaffinity(0))))
    if math.isinf(least):
        return "threads", "there is one processor"
    return "processes" if samples >= least else "threads", f"processes pay from {least:.0f} samples on"


def break_even(cores: int) -> float:
    """Give the number of samples from which processes are faster than threads on so many cores.

    Of a sample's `work`, threads can do `_LOCKED` only one after another, for want of the interpreter's lock:

        threads:    samples · (_LOCKED + (work - _LOCKED) / cores)
        processes:  _START + samples · work / cores

    The rest cancels out. Both are of 209 receipts of 5.8 megapixels on average at 640 × 640 on two cores with
    nothing else to do: once workers have started, processes are up to 0.4 s ahead (`python -m
    benchmarks.throughput`), and start in 1.2 s.
    """
    return math.ceil(_START / (_LOCKED * (1 - 1 / cores))) if cores > 1 else math.inf
