"""Objects in a bucket (S3, Google Cloud, Azure) or a shared folder, by URL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import ConfigError, StoreError
from pipeline.extras import extra

SCHEMES = ("s3", "gs", "az", "abfs", "file")
_ATTEMPTS, _PATIENCE_S = 5, 30
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (and AWS_ENDPOINT_URL for a server of your own)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_ASKED_LAST = ("/latest/api/token", "/metadata/identity/", "/computeMetadata/")
"""Where a machine of a cloud is told its credentials: asked where none are set, in vain on other machines."""


def is_url(place: str | os.PathLike[str]) -> bool:
    """Tell a URL from the path of a folder."""
    return "://" in os.fspath(place)


class ObjectMissing(StoreError):  # noqa: N818 - what was found, not a failure
    """There is no such object."""


class Bucket:
    """The objects below a URL, `s3://bucket/prefix`; paths are relative to it.

    Each object is written whole or not at all. Methods raise StoreError, which says what was refused, by
    whom, and what to look at; ObjectMissing where there is no such object. Safe to use from threads.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        scheme = url.partition("://")[0]
        if scheme not in SCHEMES:
            raise ConfigError(f"{url} is not of a kind that can be read; give {'://…, '.join(SCHEMES)}://…")

    def read(self, path: str) -> bytes:
        """Give the bytes of an object."""
        with self._told(path):
            return bytes(self._obstore.get(self.objects, path).bytes())

    def stream(self, path: str) -> Iterator[memoryview]:
        """Give the bytes of an object piece by piece."""
        with self._told(path):
            for piece in self._obstore.get(self.objects, path).stream():
                yield memoryview(piece)

    def write(self, path: str, data: bytes) -> None:
        """Write an object; the server holds what arrives against its checksum."""
        with self._told(path):
            self._obstore.put(self.objects, path, data)

    def copy(self, source: str, target: str) -> None:
        """Copy an object on the server."""
        with self._told(source):
            self._obstore.copy(self.objects, source, target)

    def sizes(self, folder: str) -> dict[str, int]:
        """Give the size of each object below a folder, by its path below it."""
        with self._told(folder):
            found = (item for page in self._obstore.list(self.objects, folder) for item in page)
            return {item["path"].removeprefix(f"{folder}/"): item["size"] for item in found}

    def modified(self, path: str) -> float:
        """Give when an object was written, in seconds since 1970."""
        with self._told(path):
            return float(self._obstore.head(self.objects, path)["last_modified"].timestamp())

    def folders(self, folder: str = "") -> list[str]:
        """Give the names of the folders in a folder."""
        with self._told(folder):
            found = self._obstore.list_with_delimiter(self.objects, folder or None)
            return sorted(path.rpartition("/")[2] for path in found["common_prefixes"])

    def delete(self, paths: Iterable[str]) -> None:
        """Delete objects, and the folders that become empty; one that is not there is no error."""
        left = list(paths)
        with self._told(""):
            try:
                self._obstore.delete(self.objects, left)
            except FileNotFoundError:  # S3 minds none, folders mind the first
                for path in left:
                    with suppress(FileNotFoundError):
                        self._obstore.delete(self.objects, path)

    @cached_property
    def objects(self) -> Any:
        """What obstore, and Zarr's ObjectStore, take for this place."""
        settings: dict[str, Any] = {"retry_config": {"max_retries": _ATTEMPTS}}
        settings["client_options"] = {"allow_http": True, "connect_timeout": f"{_PATIENCE_S}s"}
        scheme = self.url.partition("://")[0]
        if scheme == "s3":
            settings["config"] = {"checksum_algorithm": "SHA256"}
            settings |= _boto3_credentials()
        if scheme == "file":
            from urllib.request import url2pathname  # with HTTP and TLS: most commands need neither

            settings = {"automatic_cleanup": True}
            folder = Path(url2pathname(urlsplit(self.url).path))
            if not folder.is_dir():
                raise StoreError(f"there is no folder {folder}; make it, or mount what is to be there")
        with self._told(""):
            return self._obstore.store.from_url(self.url, **settings)

    @cached_property
    def _obstore(self) -> Any:
        with extra("cloud", self.url):
            import obstore
        return obstore

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """Say in a sentence what obstore says in a page."""
        with extra("cloud", self.url):
            from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            where = f"{self.url}/{path}".rstrip("/")
            first = str(error).partition("\n")[0].strip()
            if "NoSuchBucket" in str(error):
                raise StoreError(f"there is no bucket for {where}; make it, or mend the URL") from None
            if isinstance(error, FileNotFoundError):
                raise ObjectMissing(f"there is no {where}") from None
            variables = _CREDENTIALS.get(self.url.partition("://")[0], "the folder's rights")
            if type(error).__name__ in ("PermissionDeniedError", "PermissionError", "UnauthenticatedError"):
                raise StoreError(f"{where} refuses access ({_status(first)}); check {variables}") from None
            if any(path in str(error) for path in _ASKED_LAST):
                raise StoreError(f"there are no credentials for {where}; set {variables}") from None
            raise StoreError(f"{where} cannot be reached ({first}); run the command again to go on") from None


def _status(text: str) -> str:
    """Keep of an answer what the server says."""
    return text.rpartition(": ")[2][:200]


def _boto3_credentials() -> Mapping[str, Any]:
    """Where boto3 is installed, find credentials as it does (profiles, single sign-on)."""
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        return {}
    try:
        from boto3 import Session
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return {}
    session = Session()
    return {"credential_provider": Boto3CredentialProvider(session)} if session.get_credentials() else {}
