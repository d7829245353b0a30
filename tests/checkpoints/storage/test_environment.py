"""How buckets are reached, as the environment has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkpoints.storage.environment import access_from
from checkpoints.storage.failures import LocationError
from checkpoints.storage.urls import Access, check_access, parse_location
from common.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key"}
S3_KEYS = {"access_key_id": Secret("id"), "secret_access_key": Secret("key")}
ACCOUNT = {"AZURE_STORAGE_ACCOUNT": "lab"}
CLIENT = {"AZURE_CLIENT_ID": "1", "AZURE_CLIENT_SECRET": "2", "AZURE_TENANT_ID": "3"}


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("/work", {**KEYS, **ACCOUNT}, Access()),
        ("s3://b/p", {}, Access()),
        ("s3://b/p", {**ACCOUNT, "AWS_SESSION_TOKEN": "alone"}, Access()),
        ("s3://b", KEYS, Access(S3_KEYS)),
        (
            "s3://b",
            {**KEYS, "AWS_SESSION_TOKEN": "t", "AWS_DEFAULT_REGION": "eu-west-1"},
            Access({**S3_KEYS, "session_token": Secret("t")}, region="eu-west-1"),
        ),
        (
            "s3://b",
            {"AWS_REGION": "r", "AWS_DEFAULT_REGION": "d", "AWS_ENDPOINT_URL": "https://e"},
            Access(endpoint="https://e", region="r"),
        ),
        (
            "s3://b",
            {"AWS_ENDPOINT_URL": "https://e", "AWS_ENDPOINT_URL_S3": "https://s3"},
            Access(endpoint="https://s3"),
        ),
        ("gs://b", {**KEYS, "GOOGLE_APPLICATION_CREDENTIALS": ""}, Access()),
        (
            "az://c",
            {**ACCOUNT, "AZURE_STORAGE_KEY": "k"},
            Access({"account_key": Secret("k")}, account="lab"),
        ),
        (
            "az://c",
            {**ACCOUNT, "AZURE_STORAGE_SAS_TOKEN": "s", "AZURE_STORAGE_KEY": ""},
            Access({"sas_token": Secret("s")}, account="lab"),
        ),
        (
            "az://c",
            {**ACCOUNT, **CLIENT},
            Access(
                {"client_id": Secret("1"), "client_secret": Secret("2"), "tenant_id": Secret("3")},
                account="lab",
            ),
        ),
        ("az://c", ACCOUNT, Access(account="lab")),
    ],
)
def test_what_providers_programs_read_is_read(
    url: str, environ: Mapping[str, str], expected: Access
) -> None:
    location = parse_location(url)
    found = access_from(environ, location)
    assert found == expected
    assert "Secret(…)" in repr(found) or not found.credentials


@pytest.mark.parametrize(
    ("url", "environ", "words"),
    [
        ("s3://b", {"AWS_ACCESS_KEY_ID": "id"}, "is set without AWS_SECRET_ACCESS_KEY"),
        ("s3://b", {"AWS_SECRET_ACCESS_KEY": "k"}, "is set without AWS_ACCESS_KEY_ID"),
        ("s3://b", {"AWS_ENDPOINT_URL": "minio:9000"}, "must begin with https://"),
        ("az://c", CLIENT, "AZURE_STORAGE_ACCOUNT"),
        ("az://c", {"AZURE_CLIENT_ID": "1"}, "without AZURE_CLIENT_SECRET and AZURE_TENANT_ID"),
        ("gs://b", {"GOOGLE_APPLICATION_CREDENTIALS": "/no.json"}, "/no.json, which can't be read"),
    ],
)
def test_what_is_missing_is_named(url: str, environ: Mapping[str, str], words: str) -> None:
    location = parse_location(url)
    with pytest.raises(LocationError, match=words):
        check_access(location, access_from(environ, location))  # type: ignore[arg-type]


def test_a_service_accounts_key_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text('{"type": "service_account"}', encoding="utf-8")
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(file)}
    found = access_from(environ, parse_location("gs://b")).credentials["service_account_key"]
    assert found.reveal() == '{"type": "service_account"}'
    file.write_bytes(b"\xff")
    with pytest.raises(LocationError, match="it is no text"):
        access_from(environ, parse_location("gs://b"))
