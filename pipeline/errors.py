"""The errors that a user meets: one sentence that says what, where and what to do next."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice


@dataclass(frozen=True)
class Remedy:
    """What mends it: a command, the stages or options that it is given, and how the sentence goes on.

    `str` spells the plain command, for whoever reads an error in a notebook. The command line spells it
    with the options that the user gave, so that it works as pasted. Nothing else spells commands here.
    """

    command: str
    words: tuple[str, ...] = ()
    rest: str = ""

    def __str__(self) -> str:
        return " ".join(("warmstore", self.command, *self.words))

    def told(self, spell: Callable[[Remedy], str] = str) -> str:
        """Say what to do, with the command as `spell` writes it."""
        return f"run `{spell(self)}`{self.rest}"


REPAIR = Remedy("repair")
RUN = Remedy("run")
BUILD = Remedy("run", rest=", or the stage that writes it")
REBUILD = Remedy("run", rest=" to rebuild it, or set the configuration back")


class PipelineError(Exception):
    """The work failed, or a check found something: exit code 1.

    `problem` says what and where, `remedy` what to do next where a command does it. `spell` writes
    that command in the error's text: the command line sets its own.
    """

    def __init__(self, problem: str, remedy: Remedy | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy
        self.spell: Callable[[Remedy], str] = str

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy.told(self.spell)}" if self.remedy else self.problem


class ConfigError(PipelineError):
    """Wrong usage or configuration: exit code 2."""


def host() -> str:
    """Name of the machine that this process runs on."""
    return os.uname().nodename


def shortened(names: Sequence[str], most: int = 5) -> str:
    """List some names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def lost_input(path: object, problem: str) -> PipelineError:
    """Build the error for a file that the run had read before and that this machine does not give as it was.

    That is a machine's fault (a folder that is not mounted, a file that is being edited), and no verdict.
    """
    return PipelineError(
        f"{path} {problem} on {host()}, and this run had read it before: that says nothing about the sample, "
        "and nothing is recorded of it; make the file available there as it was and run again, "
        "which continues from what is finished"
    )


class UnknownSampleError(ConfigError):
    """`where` (`split val`) does not have a sample; the text tells the names like it among those `known`."""

    def __init__(self, where: str, sample_id: str, known: Collection[str]) -> None:
        self.known = known
        near = list(islice((name for name in known if sample_id in name), 3))
        near = near or get_close_matches(sample_id, list(islice(known, 10_000)), 3)  # more would take seconds
        super().__init__(
            f"{where} has no sample {sample_id}{', but ' if near else ''}{', '.join(near)}",
            Remedy("inspect", ("--samples",), " for what is stored"),
        )


class Quarantine(Exception):  # noqa: N818 - a verdict on one sample, not a failure of the program
    """A verdict on one sample: it cannot be used, and everything else goes on without it.

    Raised by a stage (or by the functions that it calls). `code` is a short, stable word that is
    counted and searched for (`truncated`, `too_many_pixels`); `reason` is a sentence for a person.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class StoreError(PipelineError):
    """A store is missing, damaged, or not what the reader asked for."""


class WorkerLost(Exception):  # noqa: N818 - what happened to a task, named as the field names it
    """The worker of a task died or was ended: `code` is `crashed` or `timed_out`.

    `at` is the place in the task of the sample that it was at, -1 before the first; `fresh` says that this
    was the worker's first sample, and `machine` where it ran.
    """

    def __init__(self, code: str, reason: str, at: int, fresh: bool, machine: str = "") -> None:
        self.code, self.reason, self.at, self.fresh, self.machine = code, reason, at, fresh, machine or host()
        super().__init__(code, reason, at, fresh, self.machine)


class Interrupted(KeyboardInterrupt):
    """Somebody ended the run (`signum`), and what was under way has been finished first."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.exit_code = 128 + signum
