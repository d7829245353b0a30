"""How buckets are reached, from the variables that their providers' own programs read.

- `s3://`  `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; `AWS_REGION` or
  `AWS_DEFAULT_REGION`; `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`
- `gs://`  `GOOGLE_APPLICATION_CREDENTIALS`, a file
- `az://`  `AZURE_STORAGE_ACCOUNT`; `AZURE_STORAGE_KEY`, or `AZURE_STORAGE_SAS_TOKEN`, or
  `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET` and `AZURE_TENANT_ID`

Without credentials those of the machine are found, its role for example.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from checkpoints.storage.failures import LocationError
from checkpoints.storage.urls import Access, Bucket, Location, Scheme
from common.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

_S3_KEYS = {"AWS_ACCESS_KEY_ID": "access_key_id", "AWS_SECRET_ACCESS_KEY": "secret_access_key"}
_S3_TOKEN = {"AWS_SESSION_TOKEN": "session_token"}
_AZURE_KEYS = (
    {"AZURE_STORAGE_KEY": "account_key"},
    {"AZURE_STORAGE_SAS_TOKEN": "sas_token"},
    {
        "AZURE_CLIENT_ID": "client_id",
        "AZURE_CLIENT_SECRET": "client_secret",
        "AZURE_TENANT_ID": "tenant_id",
    },
)


def access_from(environ: Mapping[str, str], location: Location) -> Access:
    """Return what an address doesn't say; nothing for a folder.

    Raises LocationError, which names the variable.
    """
    if not isinstance(location, Bucket):
        return Access()
    match location.scheme:
        case Scheme.S3:
            return _of_s3(environ)
        case Scheme.GCS:
            path = environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
            return Access({"service_account_key": _content(path)} if path else {})
        case Scheme.AZURE:
            found = (_together(names, environ) for names in _AZURE_KEYS)
            account = environ.get("AZURE_STORAGE_ACCOUNT", "")
            return Access(next(filter(None, found), {}), account=account)


def _of_s3(environ: Mapping[str, str]) -> Access:
    credentials = _together(_S3_KEYS, environ)
    if credentials:
        credentials |= _together(_S3_TOKEN, environ)
    return Access(
        credentials,
        endpoint=_first(environ, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        region=_first(environ, "AWS_REGION", "AWS_DEFAULT_REGION"),
    )


def _together(names: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, Secret]:
    """Return credentials that only make sense together; none if none of them is set."""
    missing = [variable for variable in names if not environ.get(variable)]
    if len(missing) == len(names):
        return {}
    if missing:
        given = " and ".join(variable for variable in names if variable not in missing)
        raise LocationError(f"{given} is set without {' and '.join(missing)}: set all, or none.")
    return {name: Secret(environ[variable]) for variable, name in names.items()}


def _first(environ: Mapping[str, str], *variables: str) -> str:
    return next(filter(None, map(environ.get, variables)), "")


def _content(path: str) -> Secret:
    try:
        return Secret(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise LocationError(
            f"GOOGLE_APPLICATION_CREDENTIALS names {path}, which can't be read: {why}."
        ) from None
