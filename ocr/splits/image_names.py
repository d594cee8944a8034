"""Which names of images are safe to open: checked as text first, then where the file system leads.

Codes of the verdicts: `empty_path`, `absolute_path`, `parent_path`, `control_in_path`, `nul_in_path`,
`not_unicode`, `duplicate_path`, `colliding_path` from the names alone; `outside_root`, `missing_image`,
`not_a_file`, `unreadable_image` from the file system.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from ocr.annotations import walk_files
from pipeline.errors import PipelineError, Quarantine, host

_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_OF_THE_NAME = (errno.EACCES, errno.EILSEQ, errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG, errno.EPERM)
"""Errors that a name, or the rights of its file, bring about; others are the machine's."""
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*(?:/[A-Za-z0-9_][A-Za-z0-9_. -]*)*")
"""What nearly all names look like, and nothing is wrong with."""
_UNTIDY = re.compile(r"^\./|/\.?(?:/|$)")


def sample_id(name: str) -> str:
    """Give the sample's id for an image's name: `./a//b.jpg` is `a/b.jpg`; what is unprintable is escaped."""
    if _PLAIN.fullmatch(name):
        return name
    if _CONTROL.search(name) or _SURROGATE.search(name):
        return name.encode("unicode_escape").decode("ascii")
    return PurePosixPath(name).as_posix() if not name or _UNTIDY.search(name) else name


def with_separators(name: str, images: Path) -> str:
    """Read the backslashes of a name written on Windows as separators, unless a file is called so."""
    if "\\" not in name or _check_name(name) or os.path.lexists(images / name):
        return name
    return name.replace("\\", "/")


def check_names(names: Iterable[str]) -> dict[str, Quarantine]:
    """Give the verdict on each name, by its sample id, that must not be opened.

    `names` are all the names of a split: those that come twice, or that are one name where case or
    Unicode normalisation do not count, are all refused, since none of them can be the right one for
    certain.
    """
    verdicts: dict[str, Quarantine] = {}
    groups: dict[str, list[str]] = {}
    for name in names:
        identity = sample_id(name)
        groups.setdefault(_folded(identity), []).append(identity)
        if verdict := _check_name(name):
            verdicts.setdefault(identity, verdict)
    for group in groups.values():
        if len(group) > 1:
            _check_group(group, verdicts)
    return verdicts


class ImageRoot:
    """The folder of a split's images; links lead nowhere outside it, unless they are followed."""

    def __init__(self, root: Path, follow_links: bool = False) -> None:
        self._given = str(root)
        self._follow = follow_links
        self._alike: dict[str, str] | None = None
        self._real = os.path.realpath(root)
        self._within: dict[str, tuple[Path, frozenset[str]] | None] = {}
        self._folders = {self._given: _identity(self._given)}

    def locate(self, name: str) -> Path:
        """Give the path of an image whose name `check_names` let pass. Raises `Quarantine`."""
        path = f"{self._given}/{name}"  # text: pathlib would take ten times as long as the system calls
        folder, _, file = path.rpartition("/")
        if folder not in self._within:
            inside = self._is_inside(folder)
            self._within[folder] = (Path(folder), _regular_files(folder)) if inside else None
            self._folders[folder] = _identity(folder)
        within = self._within[folder]
        if within is None:
            raise _outside(name)
        if file in within[1]:  # a look at the folder tells that of all its files
            return within[0] / file
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                if not self._is_inside(path):
                    raise _outside(name)
                status = os.stat(path)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            raise Quarantine(
                "missing_image", f"{name} is not in the folder of images{self._hint(name)}"
            ) from None
        except OSError as error:
            if error.errno not in _OF_THE_NAME:
                raise
            raise Quarantine("unreadable_image", f"{name}: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            raise Quarantine("not_a_file", f"{name} is no regular file")
        return Path(path)

    def check_mounted(self) -> None:
        """Raise PipelineError where a folder is no longer the one that names were looked up in.

        Images that were not found there meanwhile are not missing: it was unmounted, or replaced.
        """
        for folder, before in self._folders.items():
            if before is not None and _identity(folder) != before:
                raise PipelineError(
                    f"{folder} was unmounted or replaced on {host()} while the images in it were listed; "
                    "mount it and run again"
                )

    def _hint(self, name: str) -> str:
        """Name a file that differs from one that is missing only in ways that a person does not see."""
        if self._alike is None:
            found = list(walk_files(Path(self._given), self._follow))
            # Text labels name no suffix.
            self._alike = {_folded(file.rpartition(".")[0]): file for file in found}
            self._alike |= {_folded(file): file for file in found}
        alike = self._alike.get(_folded(name))
        if alike == name:
            return ": the link of this name leads nowhere"
        return f"; {alike!a} is, which differs in case or Unicode normalisation: rename one" if alike else ""

    def _is_inside(self, path: str) -> bool:
        if self._follow:
            return True
        real = os.path.realpath(path)
        return real == self._real or real.startswith(self._real.rstrip(os.sep) + os.sep)


def _regular_files(folder: str) -> frozenset[str]:
    """Name the files in a folder, but no links or devices; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    except OSError:
        return frozenset()


def _identity(folder: str) -> tuple[int, int] | None:
    """Device and inode of a folder; None where there is none."""
    try:
        status = os.stat(folder)  # noqa: PTH116
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _outside(name: str) -> Quarantine:
    reason = f"{name} leads out of the folder of images through a link"
    return Quarantine("outside_root", f"{reason}; data.splits.<split>.follow_links=true follows such links")


def _check_name(name: str) -> Quarantine | None:
    if _PLAIN.fullmatch(name):
        return None
    if _SURROGATE.search(name):
        return Quarantine("not_unicode", f"{name!a} is no Unicode text")
    if "\0" in name:
        return Quarantine("nul_in_path", f"{name!a} holds a NUL")
    if _CONTROL.search(name):
        return Quarantine("control_in_path", f"{name!a} holds a control character")
    if not name.strip("./") and PurePosixPath(name) == PurePosixPath():
        return Quarantine("empty_path", f"{name!r} names no file")
    if _ABSOLUTE.match(name):
        return Quarantine(
            "absolute_path", f"{name!r} is absolute; names are relative to the folder of images"
        )
    if ".." in name and ".." in name.replace("\\", "/").split("/"):
        return Quarantine("parent_path", f"{name!r} leads out of a folder by '..'")
    return None


def _check_group(group: list[str], verdicts: dict[str, Quarantine]) -> None:
    for identity in group:
        others = sorted(set(group) - {identity})
        if others:
            reason = f"{identity} and {', '.join(others)} differ only in case or Unicode normalisation"
            verdicts.setdefault(identity, Quarantine("colliding_path", reason))
        else:
            reason = f"{identity} is listed {len(group)} times"
            verdicts.setdefault(identity, Quarantine("duplicate_path", reason))


def _folded(name: str) -> str:
    """Fold case and normalisation: canonical caseless matching, D145 of the Unicode Standard."""
    if name.isascii():
        return name.lower().replace("\\", "/")
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return folded.replace("\\", "/")
