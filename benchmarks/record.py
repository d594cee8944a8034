"""What a benchmark found, as `benchmarks/results/<benchmark>.json` holds it, and the machine that it ran on.

A row is one side under its conditions, with a value of every round. Values at the same place of two rows
that were shown together are of the same round, so that they can be divided.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import shutil
import sys
from collections import UserDict
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from pydantic import BaseModel, ConfigDict, Field, field_validator

SCHEMA = "schema.json"
"""The JSON schema of a result, beside the results."""
RESULTS = Path(__file__).parent / "results"
LIBRARIES = (
    *("torch", "numpy", "opencv-python-headless", "pillow", "PyTurboJPEG", "zarr", "numba", "dask", "cleval"),
    *("mindocr", "paddleocr", "openocr-python", "datasets", "h5py", "litdata", "lmdb", "mosaicml-streaming"),
    *("nvidia-dali-cuda120", "pylance", "tensordict", "tensorstore", "webdataset"),
)
"""Packages whose versions are told where they are installed."""


class Plain(BaseModel):
    """Has no other keys than those declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(Plain):
    """What one side gave: `Row(name="mmap", unit="samples/s", values=(71e3, 78e3))`."""

    name: str
    unit: str
    values: tuple[float, ...] = Field(min_length=1)
    """One a round; a count or a size that does not vary is there once."""
    conditions: Mapping[str, str | int | float] = {}
    """What else decides the values: the canvas, the batch, the data."""

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return median(self.values)

    @field_validator("values")
    @classmethod
    def _six_digits(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(float(f"{value:.6g}") for value in values)

    @property
    def rate(self) -> bool:
        """Whether more is faster: samples a second, not seconds a sample."""
        return self.unit.endswith("/s")

    def times_as_fast_as(self, other: Row) -> tuple[float, ...]:
        """How many times as fast this side was, round by round."""
        pairs = zip(self.values, other.values, strict=True)
        return tuple(mine / theirs if self.rate else theirs / mine for mine, theirs in pairs)


class Machine(Plain):
    """The machine in words that name no host."""

    processor: str
    cores: int
    memory_gb: int
    disk: str
    system: str
    python: str
    libraries: Mapping[str, str]

    def told(self) -> str:
        """In a line, without the libraries."""
        return f"{self.processor}, {self.cores} cores, {self.memory_gb} GB, {self.disk}, {self.system}"


class Result(Plain):
    """One run of a benchmark."""

    benchmark: str
    command: str
    """As it was typed, with FOLDER for every path."""
    quick: bool
    """Whether samples were fewer than the documentation's figures are made of."""
    measured: datetime.date
    seconds: float
    """How long the whole run took."""
    load: float
    """Processes that wanted to compute when it began (the average over a minute), of others."""
    machine: Machine
    notes: tuple[str, ...] = ()
    rows: tuple[Row, ...]

    def text(self) -> str:
        """As JSON, with a row on each line."""
        plain = self.model_dump(mode="json")
        rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in plain.pop("rows"))
        head = json.dumps(plain, ensure_ascii=False, indent=1).removesuffix("\n}")
        return f'{head},\n "rows": [\n  {rows}\n ]\n}}\n'

    def find(self, unit: str, **conditions: str | int | float) -> dict[str, Row]:
        """Rows with this unit under these conditions, by name. Raises KeyError where there is none."""
        asked = conditions.items()
        found = {row.name: row for row in self.rows if row.unit == unit and asked <= row.conditions.items()}
        if not found:
            raise KeyError(f"{self.benchmark} has no row in {unit} under {conditions}")
        return found


class AbsentError(LookupError):
    """There is no result of a benchmark; its name is the message."""


class Results(UserDict[str, Result]):
    """Results by benchmark."""

    def __missing__(self, benchmark: str) -> Result:
        raise AbsentError(benchmark)


def this_machine() -> Machine:
    """Describe the machine."""
    told = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.+)$", told, re.M)
    return Machine(
        processor=model[1] if model else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
        disk=_disk(Path.cwd()),
        system="Linux " + ".".join(platform.release().split(".")[:2]),
        python=platform.python_version(),
        libraries={name: found for name in LIBRARIES if (found := _version(name))},
    )


def typed() -> str:
    """The command line of this process, without paths and without what only concerns the record."""
    asked = re.sub(r"--json \S+|--quick", "", " ".join(sys.argv[1:]))
    words = ("FOLDER" if "/" in word else word for word in asked.split())
    threads = os.environ.get("OMP_NUM_THREADS")
    before = (f"OMP_NUM_THREADS={threads}",) if threads else ()
    return " ".join((*before, f"python -m benchmarks.{Path(sys.argv[0]).stem}", *words))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _disk(folder: Path) -> str:
    """The file system below a folder and its size: `ext4 of 252 GB`."""
    mounts = (line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines())
    within = [(where, kind) for where, kind in mounts if folder.is_relative_to(where)]
    return f"{max(within)[1]} of {shutil.disk_usage(folder).total / 1e9:.0f} GB"
