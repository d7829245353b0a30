"""From an address to a store that can be relied on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from checkpoints.storage.failures import LocationError, StorageMissingError
from checkpoints.storage.folder import FolderStorage
from checkpoints.storage.limited import Limited, Limits
from checkpoints.storage.logged import Logged
from checkpoints.storage.obstore_storage import ObstoreStorage
from checkpoints.storage.retrying import Retrying, RetryPolicy
from checkpoints.storage.urls import Access, Bucket, Folder, Memory, Scheme, check_access

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from obstore.store import (
        AzureConfig,
        ClientConfig,
        GCSConfig,
        ObjectStore,
        RetryConfig,
        S3Credential,
    )

    from checkpoints.storage.storage import Storage
    from checkpoints.storage.urls import Location
    from common.clock import Clock

REPOSITORY_FOLDER = ".studios/checkpoints"
"""Where in a work directory everything about checkpoints lies."""

CONNECT_SECONDS_MAX = 10
REQUEST_SECONDS_MAX = 300
"""For all of a request, its body too: 16 MiB still pass at 0.5 Mbit/s (obstore's own is 30 s)."""

REGION_DEFAULT = "us-east-1"
"""What stores without regions expect in signatures."""

ONE_TRY: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=REQUEST_SECONDS_MAX)}
"""`retrying` does it: obstore takes its own creation, tried twice, for somebody else's."""


async def open_storage(
    location: Location, access: Access | None = None, *, folder: str = REPOSITORY_FOLDER
) -> Storage:
    """Return the bare store of `folder` in a work directory; nothing is created yet.

    Raises LocationError for what can't be used as it is, and StorageMissingError for a folder that
    doesn't exist. A bucket is first asked by the first operation: see `probe`.
    """
    match location:
        case Folder(path):
            return await asyncio.to_thread(_open_folder, path, folder)
        case Memory():
            return ObstoreStorage(MemoryStore())
        case Bucket():
            access = access or Access()
            check_access(location, access)
            try:
                store = _open_bucket(location, access, folder)
            except (BaseError, ValueError) as error:
                reason = str(error).split("\n", maxsplit=1)[0].rstrip(".")
                raise LocationError(
                    f"{location} can't be used: {reason}. Correct its credentials or settings."
                ) from None
            return ObstoreStorage(store, has_suffixes=location.scheme is not Scheme.AZURE)
        case _:
            assert_never(location)


def reliable(
    storage: Storage,
    *,
    clock: Clock,
    rng: random.Random,
    limits: Limits | None = None,
    policy: RetryPolicy | None = None,
) -> Retrying:
    """Return `storage` with everything around it that makes it fit for use.

    Retrying is outermost, so that nobody holds a place while it pauses; the log is innermost, so
    that it sees each try and no waiting.
    """
    limited = Limited(Logged(storage, clock=clock), limits or Limits())
    return Retrying(limited, clock=clock, rng=rng, policy=policy or RetryPolicy())


def _open_folder(path: Path, folder: str) -> FolderStorage:
    try:
        return FolderStorage(path, folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StorageMissingError(
            f"The work directory {path} doesn't exist: create or mount it, or correct its address."
        ) from error
    except OSError as error:
        raise LocationError(
            f"The work directory {path} can't be opened: {error.strerror}."
        ) from error


def _open_bucket(bucket: Bucket, access: Access, folder: str) -> ObjectStore:
    prefix = "/".join(part for part in (bucket.path, folder) if part)
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS_MAX),
        "timeout": timedelta(seconds=REQUEST_SECONDS_MAX),
        "allow_http": access.endpoint.startswith("http://"),
    }
    if access.ca_certificate:
        client["root_certificate"] = access.ca_certificate
    match bucket.scheme:
        case Scheme.S3:
            return _open_s3(bucket.name, prefix, access, client)
        case Scheme.GCS:
            return _open_gcs(bucket.name, prefix, access, client)
        case Scheme.AZURE:
            return _open_azure(bucket.name, prefix, access, client)
        case _:
            assert_never(bucket.scheme)


def _open_s3(name: str, prefix: str, access: Access, client: ClientConfig) -> S3Store:
    region = access.region or REGION_DEFAULT
    return S3Store(
        name,
        prefix=prefix,
        region=region,
        endpoint=access.endpoint or f"https://s3.{region}.amazonaws.com",
        # A bulk one answers 200 with what went wrong inside, and not every store has it.
        disable_bulk_delete=True,
        client_options=client,
        retry_config=ONE_TRY,
        credential_provider=_s3_credentials(access),
    )


def _s3_credentials(access: Access) -> StaticCredentials | None:
    """Return what gives out the credentials; without any the machine's own are found.

    As settings they would be mixed with the environment's: its AWS_SESSION_TOKEN with these keys.
    """
    if not access.credentials:
        return None
    token = access.credentials.get("session_token")
    return StaticCredentials(
        {
            "access_key_id": access.credentials["access_key_id"].reveal(),
            "secret_access_key": access.credentials["secret_access_key"].reveal(),
            "token": token.reveal() if token else None,
            "expires_at": None,
        }
    )


class StaticCredentials:
    """What obstore asks for credentials, where they are known."""

    def __init__(self, credential: S3Credential) -> None:
        self._credential = credential

    def __call__(self) -> S3Credential:
        return self._credential


def _open_gcs(name: str, prefix: str, access: Access, client: ClientConfig) -> GCSStore:
    config: GCSConfig = {}
    if key := access.credentials.get("service_account_key"):
        config["service_account_key"] = key.reveal()
    if token := access.credentials.get("bearer_token"):
        config["bearer_token"] = token.reveal()
    if access.endpoint:
        config["base_url"] = access.endpoint
    return GCSStore(name, prefix=prefix, config=config, client_options=client, retry_config=ONE_TRY)


def _open_azure(name: str, prefix: str, access: Access, client: ClientConfig) -> AzureStore:
    config: AzureConfig = {"account_name": access.account}
    if key := access.credentials.get("account_key"):
        config["account_key"] = key.reveal()
    if token := access.credentials.get("sas_token"):
        config["sas_key"] = token.reveal()
    if "client_id" in access.credentials:
        config["client_id"] = access.credentials["client_id"].reveal()
        config["client_secret"] = access.credentials["client_secret"].reveal()
        config["tenant_id"] = access.credentials["tenant_id"].reveal()
    if access.endpoint:
        config["endpoint"] = access.endpoint
    return AzureStore(
        name, prefix=prefix, config=config, client_options=client, retry_config=ONE_TRY
    )
