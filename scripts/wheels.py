"""Collects wheels for a machine that has torch and no network: warmstore, and what of its needs is not there.

    python3 -m pip freeze > there.txt                            # on that machine
    .venv/bin/python scripts/wheels.py there.txt wheels          # where there is a network
    python3 -m pip install --no-index --no-deps wheels/*.whl     # on that machine

Versions are those of this environment, unless that machine has one that will do. torch and what it brings
are left out: a build for a GPU is chosen for its driver.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ASKED = ("warmstore", "hypothesis", "pytest")
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("there", type=Path, help="what `pip freeze` says on that machine")
    parser.add_argument("folder", type=Path, help="for the wheels")
    parser.add_argument("--python", default="3.12", help="that machine's Python")
    asked = parser.parse_args()
    found = missing(versions(asked.there.read_text()), asked.python)
    for name, version in found.items():
        fetch(f"{name}=={version}", asked.folder, asked.python)
    pip("wheel", "--no-deps", "-w", asked.folder, ROOT)
    size = sum(file.stat().st_size for file in asked.folder.glob("*.whl")) / 1e6
    print(f"{len(found) + 1} wheels, {size:.0f} MB, in {asked.folder}")


def versions(freeze: str) -> dict[str, str]:
    """Packages of `pip freeze` by their normalised names; those of a path or an address have no version."""
    lines = (re.match(r"([\w.-]+)(?:==| @ )?(.*)", line) for line in freeze.splitlines())
    return {canonicalize_name(line[1]): line[2].split("+")[0] for line in lines if line}


def missing(there: dict[str, str], python: str) -> dict[str, str]:
    """What is asked for, and what that needs on such a Python: the versions that are here."""
    marks = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    todo, seen, found = [Requirement(name) for name in ASKED], set[str](), dict[str, str]()
    while todo:
        asked = todo.pop()
        name = canonicalize_name(asked.name)
        if name in seen or (asked.marker and not asked.marker.evaluate(marks)) or name == "torch":
            continue
        seen.add(name)
        try:
            here = distribution(name)
        except PackageNotFoundError:
            sys.exit(f"{name} is not installed here: run `make test` once, then this again")
        has = there.get(name)
        if name != "warmstore" and (has is None or (has[:1].isdigit() and has not in asked.specifier)):
            found[name] = here.version
        todo += map(Requirement, here.requires or [])
    return found


def fetch(package: str, folder: Path, python: str) -> None:
    """Download a wheel, or make one where there is none: then it is Python alone."""
    of = [part for platform in PLATFORMS for part in ("--platform", platform)]
    of += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    if pip("download", "--no-deps", "-d", folder, *of, package, fails=True):
        pip("wheel", "--no-deps", "-w", folder, package)


def pip(*words: str | Path, fails: bool = False) -> int:
    """Run pip quietly; its exit code. Ends the program where it fails and may not."""
    code = subprocess.run(
        [sys.executable, "-m", "pip", *words, "--quiet", "--disable-pip-version-check"]
    ).returncode
    return code if fails or not code else sys.exit(code)


if __name__ == "__main__":
    main()
