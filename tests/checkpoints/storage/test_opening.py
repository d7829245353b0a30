"""Addresses of work directories, and what is said of those that can't be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from checkpoints.storage.failures import AlreadyThereError, LocationError, StorageMissingError
from checkpoints.storage.folder import FolderStorage
from checkpoints.storage.opening import open_storage
from checkpoints.storage.probe import Abilities, probe
from checkpoints.storage.urls import (
    Access,
    Bucket,
    Folder,
    Location,
    Memory,
    Scheme,
    check_access,
    parse_location,
)
from common.secret import Secret
from tests.support.faulty_s3 import faulty_s3
from tests.support.s3_servers import CREDENTIALS, KEY_ID, open_bucket

HIDDEN = Secret("do-not-show-this")


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("/data/work", Folder(Path("/data/work"))),
        ("file:///data/a%20b", Folder(Path("/data/a b"))),
        ("file://localhost/data", Folder(Path("/data"))),
        ("s3://bucket", Bucket(Scheme.S3, "bucket", "")),
        ("s3://bucket/some/path/", Bucket(Scheme.S3, "bucket", "some/path")),
        ("gs://my.bucket/x", Bucket(Scheme.GCS, "my.bucket", "x")),
        ("az://container/x", Bucket(Scheme.AZURE, "container", "x")),
        ("memory://", Memory()),
    ],
)
def test_addresses_are_understood(url: str, location: Location) -> None:
    assert parse_location(url) == location


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "not an address"),
        ("data/work", "not an address"),
        ("ftp://host/x", "s3://bucket/path"),
        ("http://[", "not an address"),
        ("file://server/share", "write file:///path"),
        ("file:relative", "write file:///path"),
        ("s3://", "names no bucket"),
        ("s3:///path", "names no bucket"),
        ("s3://bucket:99/x", "names no bucket"),
        ("s3://bucket/a//b", "empty part"),
        ("s3://bucket/a/../b", "leave it out"),
        ("memory://x", "not an address"),
    ],
)
def test_what_is_no_address_is_said_with_the_next_step(url: str, says: str) -> None:
    with pytest.raises(LocationError, match=says):
        parse_location(url)


@pytest.mark.parametrize("url", ["s3://key:hunter2@bucket/x", "az://container/x?sig=hunter2"])
def test_a_secret_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(LocationError, match="credentials beside it") as raised:
        parse_location(url)
    assert "hunter2" not in str(raised.value)


S3 = Bucket(Scheme.S3, "bucket", "")
AZURE = Bucket(Scheme.AZURE, "container", "")


@pytest.mark.parametrize(
    ("bucket", "access", "says"),
    [
        (S3, Access(credentials={"access_key_id": HIDDEN}), "Give access_key_id and secret"),
        (S3, Access(credentials={"account_key": HIDDEN}), "have account_key"),
        (S3, Access(endpoint="minio:9000"), "must begin with https://"),
        (AZURE, Access(credentials={"account_key": HIDDEN}), "set `account`"),
    ],
)
def test_settings_that_do_not_belong_together_are_said(
    bucket: Bucket, access: Access, says: str
) -> None:
    with pytest.raises(LocationError, match=says):
        check_access(bucket, access)
    assert HIDDEN.reveal() not in repr(access)


@pytest.mark.parametrize(
    ("scheme", "access"),
    [
        (Scheme.GCS, Access(credentials={"service_account_key": HIDDEN})),
        (Scheme.AZURE, Access(credentials={"account_key": HIDDEN}, account="acc")),
        (Scheme.S3, Access(credentials=CREDENTIALS, ca_certificate="no certificate")),
    ],
)
async def test_credentials_that_are_none_are_said_but_not_shown(
    scheme: Scheme, access: Access
) -> None:
    with pytest.raises(LocationError, match=r"can't be used: .* Correct its credentials") as raised:
        await open_storage(Bucket(scheme, "bucket", "x"), access)
    assert HIDDEN.reveal() not in str(raised.value)


@pytest.mark.parametrize(
    ("scheme", "access"),
    [
        (Scheme.GCS, Access(credentials={"bearer_token": HIDDEN})),
        (Scheme.AZURE, Access(credentials={"account_key": Secret("aGVsbG8=")}, account="acc")),
        (Scheme.AZURE, Access(credentials={"sas_token": Secret("sv=1&sig=x")}, account="acc")),
    ],
)
async def test_buckets_of_other_providers_open(scheme: Scheme, access: Access) -> None:
    await open_storage(Bucket(scheme, "bucket", "x"), access)


async def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageMissingError, match="create or mount it"):
        await open_storage(Folder(tmp_path / "nowhere"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageMissingError):
        await open_storage(Folder(tmp_path / "file"))


async def test_a_work_directory_stays_clean_but_for_one_folder(tmp_path: Path) -> None:
    storage = await open_storage(Folder(tmp_path))
    assert isinstance(storage, FolderStorage)
    assert os.listdir(tmp_path) == []
    assert await probe(storage) == Abilities(creates_if_absent=True, deletes=True)
    await storage.put_new("format.json", b"{}")
    storage.close()
    assert (tmp_path / ".studios/checkpoints/format.json").read_bytes() == b"{}"
    assert os.listdir(tmp_path) == [".studios"]


async def test_a_probe_whose_first_answer_was_lost_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came days later, was seen as an old one, and was removed before it was read back."""
    storage = await open_storage(Folder(tmp_path))
    assert isinstance(storage, FolderStorage)
    create, keys = storage.put_new, []

    async def late(key: str, data: bytes) -> None:
        keys.append(key)
        if len(keys) == 1:
            raise AlreadyThereError(f"{key} is there already", operation="put_new", key=key)
        await create(key, data)

    monkeypatch.setattr(storage, "put_new", late)
    assert await probe(storage) == Abilities(creates_if_absent=True, deletes=True)
    assert keys[0] != keys[1]
    storage.close()


async def test_given_credentials_are_not_mixed_with_the_environments(
    moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "somebody-else")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASOMEBODYELSE")
    monkeypatch.setenv("AWS_REGION", "eu-west-9")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    async with faulty_s3(moto) as s3:
        storage = await open_bucket(s3.url, path="environment")
        await storage.put_new("a/b", b"x")
        ((_, _, headers),) = s3.requests
    assert "x-amz-security-token" not in headers
    assert f"Credential={KEY_ID}/" in headers["Authorization"]
    assert "/us-east-1/s3/" in headers["Authorization"]
