"""A shared folder as a bucket: whatever lies there in pieces is told, and a push or a pull goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.remote import collect_in_bucket, origin, pull, push, verify_in_bucket
from pipeline.store import MANIFEST, Bucket, BucketStore, ObjectMissing, open_store
from pipeline.workspace import Generations, Workspace
from tests.support.toy import Pack, run, tree, write

pytest.importorskip("obstore", reason="buckets are reached through obstore")


@pytest.fixture
def there(tmp_path: Path) -> BucketStore:
    (tmp_path / "mounted").mkdir()
    return BucketStore(Bucket(f"file://{tmp_path}/mounted"), "val/pack.zarr")


@pytest.fixture
def sent(raw: Path, tmp_path: Path, there: BucketStore) -> Path:
    """Send a store; gives the folder that it lies in."""
    run(raw, tmp_path / "work")
    send(tmp_path, there)
    return tmp_path / "mounted" / there.name


def send(folder: Path, there: BucketStore) -> tuple[int, int]:
    with open_store(folder / "work" / there.name) as store:
        done = push(store, there, lambda _: None)
    return done.sent, done.copied


def fetch(folder: Path, there: BucketStore) -> tuple[int, int]:
    done = pull(there, place(folder), lambda _: lambda _: None)
    return done.fetched, done.linked


def place(folder: Path) -> Generations:
    return Workspace(folder / "other", "val").generations(Pack())


def test_a_folder_serves_as_a_bucket(raw: Path, tmp_path: Path, there: BucketStore, sent: Path) -> None:
    fetch(tmp_path, there)
    assert tree(tmp_path / "other/val/pack.zarr") == tree(tmp_path / "work/val/pack.zarr")
    assert origin(place(tmp_path)) == there.bucket.url
    write(raw, a="edited\nlines")
    run(raw, tmp_path / "other")
    assert origin(place(tmp_path)) is None  # that one was made here


@pytest.mark.parametrize(
    "pointer", ["", "garbled", "[]", "{}", '{"digest": 5}', '{"digest": "../elsewhere"}']
)
def test_a_damaged_pointer_is_told_and_leads_nowhere(
    tmp_path: Path, there: BucketStore, sent: Path, pointer: str
) -> None:
    (sent / "current.json").write_text(pointer)
    for look in (lambda: open_store(str(there)), lambda: fetch(tmp_path, there)):
        with pytest.raises(
            StoreError, match=rf"{there}/current\.json is damaged; push the store there again"
        ):
            look()
    assert not (tmp_path / "other/val/pack.zarr").exists()


def test_what_is_not_there_is_told_with_what_puts_it_there(tmp_path: Path, there: BucketStore) -> None:
    (tmp_path / "mounted" / there.name).mkdir(parents=True)
    with pytest.raises(StoreError, match=rf"there is no store at {there}; push one there"):
        open_store(str(there))
    for look in (lambda: fetch(tmp_path, there), lambda: verify_in_bucket(there, lambda _: lambda _: None)):
        with pytest.raises(
            StoreError, match=rf"there is no {there}; run `warmstore push .*` where the store"
        ):
            look()


def test_a_manifest_of_another_generation_is_none(
    raw: Path, tmp_path: Path, there: BucketStore, sent: Path
) -> None:
    old = (sent / there.digests()[0] / MANIFEST).read_bytes()
    write(raw, a="edited\nlines")
    new = run(raw, tmp_path / "work")["pack"].digest
    send(tmp_path, there)
    (sent / new / MANIFEST).write_bytes(old)
    with pytest.raises(StoreError, match=rf"{new}/manifest\.json is the manifest of "):
        fetch(tmp_path, there)


def test_what_is_collected_under_a_push_is_sent(
    raw: Path, tmp_path: Path, there: BucketStore, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The push means to copy files of the generation before, and finds them gone."""
    write(raw, a="edited\nlines")
    run(raw, tmp_path / "work")
    copy, gone = Bucket.copy, sent / there.digests()[0]

    def collect_and_copy(self: Bucket, source: str, target: str) -> None:
        shutil.rmtree(gone, ignore_errors=True)
        with pytest.raises(ObjectMissing, match="there is no file://") as missing:
            copy(self, source, target)
        raise missing.value

    monkeypatch.setattr(Bucket, "copy", collect_and_copy)
    assert send(tmp_path, there) == (len(tree(tmp_path / "work/val/pack.zarr")) - 1, 0)
    fetch(tmp_path, there)
    assert tree(tmp_path / "other/val/pack.zarr") == tree(tmp_path / "work/val/pack.zarr")


def test_what_was_half_fetched_is_fetched_again(tmp_path: Path, there: BucketStore, sent: Path) -> None:
    """A pull that was killed left files aside, one of them not whole."""
    digest = there.current()
    assert digest
    aside = tmp_path / f"other/val/.pulled/pack-{digest}"
    shutil.copytree(sent / digest, aside)
    (aside / MANIFEST).unlink()
    (aside / "words/c.0").write_bytes(b"half")
    assert fetch(tmp_path, there) == (1, 0)
    assert tree(tmp_path / "other/val/pack.zarr") == tree(tmp_path / "work/val/pack.zarr")


def test_the_newest_generations_are_kept_whatever_they_are_called(
    raw: Path, tmp_path: Path, there: BucketStore, sent: Path
) -> None:
    digests = there.digests()
    for number, text in enumerate(("x", "xx", "xxx")):
        write(raw, a=text)
        digests.append(run(raw, tmp_path / "work")["pack"].digest)
        send(tmp_path, there)
        os.utime(sent / digests[-2] / MANIFEST, (0, [30, 10, 20][number]))
    first, second, third, current = digests
    assert collect_in_bucket(there, keep=1, dry_run=True)[0] == [second, third]
    collect_in_bucket(there, keep=2, dry_run=False)
    assert {path.name for path in sent.iterdir() if path.is_dir()} == {first, third, current}


def test_two_who_collect_at_once_do_not_disturb_each_other(
    raw: Path, tmp_path: Path, there: BucketStore, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = there.digests()
    write(raw, a="edited\nlines")
    run(raw, tmp_path / "work")
    send(tmp_path, there)
    delete, turns = Bucket.delete, [collect_in_bucket]

    def delete_after_another(self: Bucket, paths: Iterable[str]) -> None:
        if turns:
            turns.pop()(there, keep=0, dry_run=False)
        delete(self, paths)

    monkeypatch.setattr(Bucket, "delete", delete_after_another)
    assert collect_in_bucket(there, keep=0, dry_run=False)[0] == [old]
    assert [path.name for path in sent.iterdir() if path.is_dir()] == [there.current()]
