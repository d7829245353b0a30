"""What the system's and obstore's errors mean: the one place that knows their texts.

obstore tells apart less than we must. 409 is "already exists" to it, whether the object is there
(Azure says so) or two creations met and neither may have won (S3). A missing bucket is "not found",
as a missing object is. An expired token is "generic", as a time-out is. So the status and the code
in the answer decide, and the class only where there was no answer.
"""

from __future__ import annotations

import errno
import re

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)

from checkpoints.storage.failures import (
    AlreadyThereError,
    NotPermittedError,
    NotThereError,
    StorageAwayError,
    StorageBrokenError,
    StorageError,
    StorageFullError,
    StorageMissingError,
    StorageUnfitError,
)

REASON_CHARACTERS_MAX = 300
"""Of a foreign error's text that is shown: some stores answer with pages."""

CREATION = "put_new"

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_PERMITTED = {errno.EACCES, errno.EPERM, errno.EROFS}
NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
NO_LINKS = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}

MISSING_CODES = {"NoSuchBucket", "ContainerNotFound", "AccountNotFound"}
THERE_CODES = {"BlobAlreadyExists"}
"""Azure's 409 for an object that exists; other codes of 409 are creations that met."""
EXPIRED_CODES = {
    "ExpiredToken",
    "TokenRefreshRequired",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "AuthenticationFailed",
}
SKEWED_CODES = {"RequestTimeTooSkewed"}
BUSY_CODES = {"RequestTimeout", "SlowDown", "OperationAborted", "ServerBusy", "InternalError"}
"""Of which S3 sends the first with status 400."""

_ELSEWHERE = "redirect without LOCATION"
"""What obstore says of a bucket in another region."""

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>|\"(?:reason|code)\":\s*\"(\w+)\"")
_QUERY = re.compile(r"\?[^\s\"'<>,)]*")
_BEYOND = re.compile(r"Wanted range starting at|larger than.*length|InvalidGetRange", re.IGNORECASE)


def act(operation: str, key: str) -> str:
    """Return how sentences for people call an operation."""
    verb = {CREATION: "Writing", "delete": "Deleting", "list": "Listing"}.get(operation, "Reading")
    return f"{verb} {key or 'the work directory'}"


def from_os_error(error: OSError, operation: str, key: str) -> StorageError:
    """Translate what a file system answered."""
    what = act(operation, key)
    reason = error.strerror or str(error)

    def build(kind: type[StorageError], sentence: str) -> StorageError:
        return kind(sentence, operation=operation, key=key)

    if error.errno in NOT_PERMITTED:
        return build(NotPermittedError, f"{what} is not permitted: {reason}. {_ALLOW_FOLDER}")
    if error.errno in FULL:
        return build(StorageFullError, f"{what} failed, the work directory is full: {reason}.")
    if operation == CREATION and error.errno in NO_LINKS:
        return build(StorageUnfitError, f"{what} failed: the file system has no hard links.")
    if operation != CREATION and error.errno in NOT_THERE:
        return build(NotThereError, f"{key} is not there")
    # EIO, ESTALE, ETIMEDOUT, ENOTCONN…, or a folder that vanished below a creation.
    return build(StorageAwayError, f"{what} failed: {reason}")


_ALLOW_FOLDER = "Give the user that runs this the right to do it in the work directory."


def from_obstore(error: Exception, operation: str, key: str) -> StorageError:
    """Translate what obstore raised; a bug of ours stays what it is."""
    text = str(error).split("\n\nDebug source", maxsplit=1)[0]
    status = _STATUS.search(text)
    kind = _by_status(int(status[1]), _code(text), operation) if status else _by_class(error, text)
    return kind(_sentence(kind, operation, key, text), operation=operation, key=key)


def _by_status(status: int, code: str, operation: str) -> type[StorageError]:  # noqa: PLR0911
    """Decide by what the store answered; a table that reads from particular to general."""
    if code in MISSING_CODES:
        return StorageMissingError
    if code in BUSY_CODES:
        return StorageAwayError
    if status in (401, 403) or code in EXPIRED_CODES | SKEWED_CODES:
        return NotPermittedError
    if operation == CREATION and (status == 412 or code in THERE_CODES):
        return AlreadyThereError
    if status == 404:
        # Creating answers that only where there is nothing to create in.
        return StorageMissingError if operation in (CREATION, "list") else NotThereError
    if status == 416:
        return StorageBrokenError
    if status in (501, 405):
        return StorageUnfitError
    if status == 507:
        return StorageFullError
    # 408, 409, 425, 429, 5xx ask to come back; and what else there is may pass, or doesn't.
    return StorageAwayError if status in (408, 409, 412, 425, 429) or status >= 500 else _REFUSED


_REFUSED = StorageUnfitError
"""A request that the store doesn't understand: asking again gets the same answer."""


def _by_class(error: Exception, text: str) -> type[StorageError]:
    """Decide where no store answered: memory, or the way there."""
    if _ELSEWHERE in text:
        return StorageMissingError
    match error:
        case FileNotFoundError():
            return NotThereError
        case AlreadyExistsError() | PreconditionError():
            return AlreadyThereError
        case PermissionDeniedError() | UnauthenticatedError():
            return NotPermittedError
        case NotSupportedError() | UnknownConfigurationKeyError():
            return StorageUnfitError
        case InvalidPathError():
            return StorageBrokenError
        case BaseError() | OSError() | ValueError() if _BEYOND.search(text):
            return StorageBrokenError
        case BaseError() | OSError():
            return StorageAwayError
        case _:
            raise error


def _sentence(kind: type[StorageError], operation: str, key: str, text: str) -> str:
    reason = _reason(text)
    if kind is NotThereError:
        return f"{key} is not there"
    if kind is AlreadyThereError:
        return f"{key} is there already"
    next_step = {
        NotPermittedError: " Check the credentials, this machine's clock, and what they permit.",
        StorageMissingError: " Create the bucket, or correct the address or region.",
        StorageUnfitError: " The store does not support what this needs.",
    }.get(kind, "")
    return f"{act(operation, key)} failed: {reason}.{next_step}"


def _reason(text: str) -> str:
    """Return what the store said, in one line, without signatures in addresses."""
    code = _code(text)
    status = _STATUS.search(text)
    if status:
        return f"the store answered {status[1]}" + (f" {code}" if code else "")
    line = _QUERY.sub("?…", " ".join(text.split()))
    return line[:REASON_CHARACTERS_MAX].rstrip(".")


def _code(text: str) -> str:
    found = _CODE.search(text)
    return (found[1] or found[2]) if found else ""
