"""What runs tasks: the configuration, and what `auto` makes of it."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pipeline.stage import Parameters, Stage

Kind = Literal["serial", "threads", "processes", "dask"]

# Milliseconds of one core for a sample in all four stages, of which threads wait for each other in
# `_LOCKED`; what the parent of processes does for it; and what processes take to start: see `break_even`.
_SAMPLE, _LOCKED, _PARENT, _START = 26.0, 9.0, 0.5, 600.0


class ExecutorConfig(Parameters):
    """Where and how wide stages run."""

    kind: Kind | Literal["auto"] = "auto"
    """`auto` takes threads or processes, by the number of samples and workers. `processes` isolates each
    task from crashes; `dask` uses a cluster, and isolates too."""
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

    def to_json(self) -> dict[str, Any]:
        """Give the choice as JSON values."""
        return asdict(self)


def choose(config: ExecutorConfig, stage: Stage, samples: int, running: bool) -> Choice:
    """Choose what computes `samples` of a stage; `running` processes cost no start any more."""
    if config.kind != "auto":
        return Choice(config.kind, 1 if config.kind == "serial" else config.width)
    taken, why = _automatic(config, stage, samples, running)
    return Choice(taken, config.width, f"auto: {why}")


def _automatic(config: ExecutorConfig, stage: Stage, samples: int, running: bool) -> tuple[Kind, str]:
    if type(stage).__module__ == "__main__":
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

    threads     samples · (L + (S - L) / cores)        L  under the interpreter's lock
    processes   start + samples · max(P, S / cores)    S  all of a sample; P  in their parent

    """
    threads = _LOCKED + (_SAMPLE - _LOCKED) / cores
    gain = threads - max(_PARENT, _SAMPLE / cores)
    return math.ceil(_START / gain) if gain > 0 else math.inf
