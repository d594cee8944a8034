"""Stores in buckets of a real server: what is brought, what is refused, what an interruption leaves."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
import zarr

from pipeline.errors import ConfigError, StoreError
from pipeline.maintenance import verify_store
from pipeline.remote import collect_in_bucket, origin, pull, push, verify_in_bucket
from pipeline.store import GROUP, MANIFEST, Bucket, BucketStore, open_store
from pipeline.workspace import Generations, Workspace
from tests.support.toy import Pack, Read, edit, run, tree, write

pytest.importorskip("obstore", reason="buckets are reached through obstore")
moto = pytest.importorskip("moto.server", reason="moto is the server")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def there(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> BucketStore:
    """Where `pack` is brought to, in a bucket of this test's own."""
    import boto3

    for key, value in (("ACCESS_KEY_ID", "me"), ("SECRET_ACCESS_KEY", "?"), ("ENDPOINT_URL", server)):
        monkeypatch.setenv(f"AWS_{key}", value)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    name = "".join(letter for letter in request.node.name if letter.isalnum()).lower()[:60]
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=name)
    return BucketStore(Bucket(f"s3://{name}/v1"), "val/pack.zarr")


def silent(_: int) -> Callable[[int], None]:
    return lambda _: None


def send(work: Path, there: BucketStore, check: bool = False) -> tuple[int, int]:
    with open_store(work / there.name) as store:
        done = push(store, there, silent(0), check)
    return done.sent, done.copied


def fetch(there: BucketStore, work: Path) -> tuple[int, int]:
    done = pull(there, place(work), silent)
    return done.fetched, done.linked


def place(work: Path) -> Generations:
    return Workspace(work, "val").generations(Pack())


def break_off(at: str, bucket: Bucket, patch: pytest.MonkeyPatch) -> list[str]:
    """Fail from the first object on whose path contains `at`; gives the paths written before."""
    written: list[str] = []
    write_whole = Bucket.write

    def write_or_fail(self: Bucket, path: str, data: bytes) -> None:
        if at in path:
            raise StoreError("the line is cut")
        write_whole(self, path, data)
        written.append(path)

    patch.setattr(Bucket, "write", write_or_fail)
    return written


def test_a_store_comes_back_byte_for_byte(raw: Path, tmp_path: Path, there: BucketStore) -> None:
    run(raw, tmp_path / "work")
    files = tree(tmp_path / "work/val/pack.zarr")
    assert send(tmp_path / "work", there) == (len(files) - 1, 0)  # the manifest is no file of itself
    assert fetch(there, tmp_path / "other") == (len(files) - 1, 0)
    assert tree(tmp_path / "other/val/pack.zarr") == files
    assert verify_in_bucket(there, silent).passed
    assert origin(place(tmp_path / "other")) == there.bucket.url
    assert origin(place(tmp_path / "work")) is None
    assert send(tmp_path / "work", there) == fetch(there, tmp_path / "other") == (0, 0)


def test_a_store_with_files_of_the_data_set_comes_back(raw: Path, tmp_path: Path, there: BucketStore) -> None:
    run(raw, tmp_path / "work")
    there = BucketStore(there.bucket, "val/read.zarr")
    send(tmp_path / "work", there)
    target = Workspace(tmp_path / "other", "val").generations(Read())
    pull(there, target, silent)
    shutil.rmtree(raw)
    assert verify_store(tmp_path / "other/val/read.zarr").passed
    assert (tmp_path / "other/val/copies/a.txt").read_text() == "one\ntwo"


def test_only_what_changed_travels(raw: Path, tmp_path: Path, there: BucketStore) -> None:
    work, other = tmp_path / "work", tmp_path / "other"
    run(raw, work)
    send(work, there)
    fetch(there, other)
    write(raw, a="edited\nlines")
    run(raw, work)
    sent, copied = send(work, there)
    assert (fetched_linked := fetch(there, other)) == (sent, copied)
    assert 0 < sent < copied, fetched_linked
    assert tree(other / "val/pack.zarr") == tree(work / "val/pack.zarr")


@pytest.mark.parametrize("at", ["picture/c.", "shade/zarr.json", MANIFEST, f"/{GROUP}", "current.json"])
def test_an_upload_that_is_cut_short_does_not_open_and_goes_on(
    raw: Path, tmp_path: Path, there: BucketStore, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    run(raw, tmp_path / "work")
    with monkeypatch.context() as patch:
        written = break_off(at, there.bucket, patch)
        with pytest.raises(StoreError, match="cut"):
            send(tmp_path / "work", there)
    with pytest.raises(StoreError, match="there is no"):
        fetch(there, tmp_path / "other")
    complete = at == "current.json"
    for digest in there.digests():
        objects = zarr.storage.ObjectStore(there.bucket.objects, read_only=True)
        if not complete:
            with pytest.raises(FileNotFoundError):
                zarr.open_group(objects, path=there.key(digest), mode="r")
    assert send(tmp_path / "work", there)[0] == len(tree(tmp_path / "work/val/pack.zarr")) - 1 - len(
        [path for path in written if not path.endswith(MANIFEST)]
    )
    fetch(there, tmp_path / "other")
    assert tree(tmp_path / "other/val/pack.zarr") == tree(tmp_path / "work/val/pack.zarr")


def test_a_download_that_is_cut_short_leaves_the_old_store_and_goes_on(
    raw: Path, tmp_path: Path, there: BucketStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, other = tmp_path / "work", tmp_path / "other"
    run(raw, work)
    send(work, there)
    fetch(there, other)
    before = tree(other / "val/pack.zarr")
    edit(raw)
    run(raw, work)
    sent, _ = send(work, there)
    read_whole, left = Bucket.read, [3]

    def read_or_fail(self: Bucket, path: str) -> bytes:
        if "/c." in path and not left[0]:
            raise StoreError("the line is cut")
        left[0] -= "/c." in path
        return read_whole(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "read", read_or_fail)
        with pytest.raises(StoreError, match="cut"):
            fetch(there, other)
    assert tree(other / "val/pack.zarr") == before
    fetched, _ = fetch(there, other)
    assert 0 < fetched < sent
    assert tree(other / "val/pack.zarr") == tree(work / "val/pack.zarr")


def test_damage_there_is_found_told_and_mended(raw: Path, tmp_path: Path, there: BucketStore) -> None:
    run(raw, tmp_path / "work")
    send(tmp_path / "work", there)
    digest = there.current()
    assert digest
    whole = there.bucket.read(key := there.key(digest, "picture/c.1.0.0.0"))
    flipped = bytes([whole[0] ^ 1, *whole[1:]])
    for damage, problem in ((flipped, "checksum"), (whole[:5], "has 5 bytes"), (None, "is missing")):
        there.bucket.delete([key]) if damage is None else there.bucket.write(key, damage)
        found = verify_in_bucket(there, silent).damaged
        assert [one.file for one in found] == ["picture/c.1.0.0.0"]
        assert problem in found[0].problem
        with pytest.raises(StoreError, match=r"c\.1\.0\.0\.0"):
            fetch(there, tmp_path / "other")
        assert not (tmp_path / "other/val/pack.zarr").exists()
        assert send(tmp_path / "work", there, check=True) == (1, 0)
    assert verify_in_bucket(there, silent).passed
    fetch(there, tmp_path / "other")


def test_damage_here_is_never_sent_and_is_fetched_anew(raw: Path, tmp_path: Path, there: BucketStore) -> None:
    run(raw, tmp_path / "work")
    send(tmp_path / "work", there)
    fetch(there, tmp_path / "other")
    for work in ("work", "other"):
        with open_store(tmp_path / work / "val/pack.zarr") as store:
            store.chunk_file("picture", 1).write_bytes(bytes(64))
    assert fetch(there, tmp_path / "other")[0] == 1
    assert verify_store(tmp_path / "other/val/pack.zarr").passed
    elsewhere = BucketStore(there.bucket, "again/pack.zarr")
    with (
        open_store(tmp_path / "work/val/pack.zarr") as store,
        pytest.raises(StoreError, match="does not match its checksum and is not sent"),
    ):
        push(store, elsewhere, silent(0))


def test_two_pushes_at_once(raw: Path, tmp_path: Path, there: BucketStore) -> None:
    run(raw, tmp_path / "work")
    shutil.copytree(raw, tmp_path / "edited raw")
    edit(tmp_path / "edited raw")
    run(tmp_path / "edited raw", tmp_path / "edited")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda work: send(tmp_path / work, there), ["work", "edited", "work", "edited"]))
    assert len(there.digests()) == 2
    assert verify_in_bucket(there, silent).passed
    fetch(there, tmp_path / "other")
    trees = [tree(tmp_path / work / "val/pack.zarr") for work in ("work", "edited")]
    assert tree(tmp_path / "other/val/pack.zarr") in trees


def test_old_generations_are_collected_and_half_sent_ones_stay(
    raw: Path, tmp_path: Path, there: BucketStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for number in range(3):
        write(raw, a="x" * (number + 1))
        digests.append(run(raw, tmp_path / "work")["pack"].digest)
        send(tmp_path / "work", there)
    write(raw, a="half sent, and longer")
    half = run(raw, tmp_path / "work")["pack"].digest
    with monkeypatch.context() as patch, pytest.raises(StoreError):
        break_off(MANIFEST, there.bucket, patch)
        send(tmp_path / "work", there)
    # The server's clock ticks once a second.
    monkeypatch.setattr(Bucket, "modified", lambda _, path: digests.index(path.split("/")[-2]))
    removed, freed = collect_in_bucket(there, keep=1, dry_run=True)
    assert removed == digests[:1] and freed > 0
    assert set(there.digests()) == {*digests, half}
    assert collect_in_bucket(there, keep=1, dry_run=False) == (removed, freed)
    assert set(there.digests()) == {*digests[1:], half}
    assert verify_in_bucket(there, silent).passed


def test_a_store_is_looked_at_in_place(raw: Path, tmp_path: Path, there: BucketStore) -> None:
    run(raw, tmp_path / "work")
    send(tmp_path / "work", there)
    url = f"{there.bucket.url}/{there.name}"
    with open_store(tmp_path / "work/val/pack.zarr") as own:
        for place in (url, f"{url}/{there.current()}"):
            with open_store(place) as store:
                assert store.digest == own.digest and store.sample_ids == own.sample_ids
                np.testing.assert_array_equal(store.value("picture", 1), own.value("picture", 1))
                np.testing.assert_array_equal(store.value("words", 2), own.value("words", 2))
                np.testing.assert_array_equal(store.arrays["shade"][:], own.arrays["shade"][:])
                assert there.bucket.url in repr(store)
                folder = store.path
            del store
            gc.collect()
            assert not folder.exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/x", "not of a kind"),
        ("s3://no-such-bucket-here/v1", "there is no bucket"),
        ("file:///no/such%20folder", r"there is no folder /no/such folder; make it, or mount"),
    ],
)
def test_a_place_that_is_not_there_is_told(there: BucketStore, url: str, said: str) -> None:
    with pytest.raises((StoreError, ConfigError), match=said):
        Bucket(url).sizes("val")


def test_that_there_are_no_credentials_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):  # which boto3 reads
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # where nobody answers
    with pytest.raises(StoreError, match="no credentials for s3://receipts/v3/val; set AWS_ACCESS_KEY_ID"):
        Bucket("s3://receipts/v3").sizes("val")


def test_wrong_credentials_are_told(server: str, there: BucketStore) -> None:
    def ask_for_credentials(after: bytes) -> None:
        urlopen(Request(f"{server}/moto-api/reset-auth", after, {"Content-Type": "text/plain"})).close()

    ask_for_credentials(b"0")
    try:
        with pytest.raises(StoreError, match=r"refuses access .*; check AWS_ACCESS_KEY_ID"):
            there.current()
    finally:
        ask_for_credentials(b"inf")
