"""What was there and is not any more is told as such, never taken for a missing or an odd image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ocr.preprocess import CanonicalParams, RawSample, canonicalize
from pipeline.errors import PipelineError, host
from tests.support.split_data import TALL, Data, hash_file, jpeg


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_is_unmounted_while_it_is_listed(data: Data, tmp_path: Path, replaced: bool) -> None:
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        data.add(name, jpeg())

    def unmount_after(path: Path) -> bytes:
        found = hash_file(path)
        data.images.rename(tmp_path / "unmounted")
        if replaced:
            data.images.mkdir()
        return found

    with pytest.raises(PipelineError, match=rf"{data.images} was unmounted or replaced on {host()}"):
        data.split().samples(unmount_after)


@pytest.mark.parametrize("edit", [Path.unlink, lambda path: path.write_bytes(jpeg(3))])
def test_a_header_is_of_the_file_that_was_hashed(data: Data, edit: Callable[[Path], object]) -> None:
    """The frame of its labels would be decided without it, or by another picture."""
    data.add("a.jpg", jpeg(6), TALL)

    def edit_after(path: Path) -> bytes:
        found = hash_file(path)
        edit(path)
        return found

    with pytest.raises(PipelineError, match=rf"a\.jpg (cannot be read .*|has changed) on {host()}"):
        data.split("auto").samples(edit_after)


def test_payloads_hold_in_every_working_folder(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    data.add("a.jpg", jpeg())
    root = data.images.parent
    monkeypatch.chdir(root)
    data.images, data.annotations = Path("img"), Path("labels.json")
    assert data.samples()["a.jpg"].payload.image == root / "img/a.jpg"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Path.unlink, r"cannot be read \(No such file or directory\)"),
        (lambda path: path.write_bytes(b""), "has changed"),
        (lambda path: path.write_bytes(bytes(2000)), "has changed"),  # over the limit, too
        (lambda path: (path.unlink(), path.mkdir()), "has changed"),
    ],
)
def test_a_listed_file_that_is_another_now_gets_no_verdict(
    tmp_path: Path, change: Callable[[Path], object], told: str
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg())
    raw = RawSample(path, digest=hash_file(path))
    change(path)
    with pytest.raises(PipelineError, match=rf"{path} {told} on {host()}.*run again"):
        canonicalize(raw, CanonicalParams(max_bytes=1000))
