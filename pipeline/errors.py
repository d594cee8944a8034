"""The errors that a user meets: one sentence that says what, where and what to do next."""


class PipelineError(Exception):
    """The work failed, or a check found something: exit code 1."""


class ConfigError(PipelineError):
    """Wrong usage or configuration: exit code 2."""


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
    """The worker of a task died or was ended: `code` is `crashed` or `timed_out`."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
