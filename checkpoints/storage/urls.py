"""What a work directory's address says, and what must be said beside it.

| address | what |
|---|---|
| `/path`, `file:///path` | a folder |
| `s3://bucket/path` | a bucket of Amazon S3, or of whatever `endpoint` speaks its protocol |
| `gs://bucket/path` | a bucket of Google Cloud Storage |
| `az://container/path` | a container of Azure Blob Storage, of `account` |
| `memory://` | this process's memory, for tests |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from checkpoints.storage.failures import LocationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.secret import Secret

EXAMPLES = "/path, s3://bucket/path, gs://bucket/path or az://container/path"


class Scheme(StrEnum):
    """Whose buckets."""

    S3 = "s3"
    GCS = "gs"
    AZURE = "az"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a file system, by its absolute path."""

    path: Path


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, and the path in it without slashes at its ends."""

    scheme: Scheme
    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.name}/{self.path}".rstrip("/")


@dataclass(frozen=True, slots=True)
class Memory:
    """A store of this process's own, new each time it is opened."""


Location = Folder | Bucket | Memory

CREDENTIALS: Mapping[Scheme, tuple[frozenset[str], ...]] = {
    Scheme.S3: (
        frozenset({"access_key_id", "secret_access_key"}),
        frozenset({"access_key_id", "secret_access_key", "session_token"}),
    ),
    Scheme.GCS: (frozenset({"service_account_key"}), frozenset({"bearer_token"})),
    Scheme.AZURE: (
        frozenset({"account_key"}),
        frozenset({"sas_token"}),
        frozenset({"client_id", "client_secret", "tenant_id"}),
    ),
}
"""Which names are given together. None at all means: what this machine has, its role for example.
"""


@dataclass(frozen=True, slots=True)
class Access:
    """How a bucket is reached: what its address doesn't say."""

    credentials: Mapping[str, Secret] = field(default_factory=dict)
    endpoint: str = ""
    """Another server than the provider's own; with `http://` nothing is encrypted on the way."""
    region: str = ""
    account: str = ""
    """Azure's storage account."""
    ca_certificate: str = ""
    """PEM of an authority that is trusted beside the public ones."""


def parse_location(url: str) -> Location:
    """Return what an address names, or raise LocationError."""
    if url.startswith("/"):
        return Folder(Path(url))
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise LocationError(f"{url!r} is not an address: {error}. Write {EXAMPLES}.") from error
    if parts.query or parts.fragment or "@" in parts.netloc:
        # Not repeated in the sentence: it may have a password in it.
        raise LocationError(
            f"A work directory's address has no user, `?` or `#` in it. Write {EXAMPLES}, and give "
            "credentials beside it."
        )
    match parts.scheme:
        case "file":
            return _folder(url, parts.netloc, unquote(parts.path))
        case "memory" if not parts.netloc and not parts.path:
            return Memory()
        case "s3" | "gs" | "az":
            return _bucket(url, Scheme(parts.scheme), parts.netloc, parts.path.strip("/"))
        case _:
            raise LocationError(f"{url!r} is not an address of a work directory. Write {EXAMPLES}.")


def check_access(bucket: Bucket, access: Access) -> None:
    """Raise LocationError unless the credentials and settings belong together."""
    given = frozenset(access.credentials)
    known = CREDENTIALS[bucket.scheme]
    if given and given not in known:
        choices = "; or ".join(" and ".join(sorted(names)) for names in known)
        raise LocationError(
            f"Credentials for {bucket} have {' and '.join(sorted(given))}. Give {choices}."
        )
    if bucket.scheme is Scheme.AZURE and not access.account:
        raise LocationError(
            f"{bucket} needs the name of its storage account: set `account` "
            "(AZURE_STORAGE_ACCOUNT, or --account)."
        )
    if access.endpoint and not access.endpoint.startswith(("http://", "https://")):
        raise LocationError(
            f"The endpoint {access.endpoint!r} must begin with https:// (or with http:// where "
            "nothing needs to be encrypted)."
        )


def _folder(url: str, host: str, path: str) -> Folder:
    if host not in ("", "localhost") or not path.startswith("/") or "\0" in path:
        raise LocationError(f"{url!r} does not name a folder: write file:///path, or /path.")
    return Folder(Path(path))


def _bucket(url: str, scheme: Scheme, name: str, path: str) -> Bucket:
    if not name or ":" in name:
        raise LocationError(f"{url!r} names no bucket: write {scheme}://bucket/path.")
    if any(part in ("", ".", "..") for part in path.split("/")) and path:
        raise LocationError(f"{url!r} has an empty part, `.` or `..` in its path: leave it out.")
    return Bucket(scheme, name, path)
