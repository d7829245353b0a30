"""What foreign errors mean, where no server can be made to say them."""

from __future__ import annotations

import pytest
from obstore.exceptions import (
    BaseError,
    GenericError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)

from checkpoints.storage.failures import (
    NotPermittedError,
    StorageAwayError,
    StorageError,
    StorageMissingError,
    StorageUnfitError,
)
from checkpoints.storage.translation import REASON_CHARACTERS_MAX, from_obstore


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (GenericError("HTTP error: error sending request"), StorageAwayError),
        (GenericError("Received redirect without LOCATION, this normally"), StorageMissingError),
        (PermissionDeniedError("no"), NotPermittedError),
        (UnauthenticatedError("who?"), NotPermittedError),
        (NotSupportedError("conditional put"), StorageUnfitError),
        (ConnectionResetError("gone"), StorageAwayError),
    ],
)
def test_what_no_store_answered_is_told_apart(
    error: Exception, expected: type[StorageError]
) -> None:
    assert type(from_obstore(error, "put_new", "a/b")) is expected


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(ValueError, match="unknown argument"):
        from_obstore(ValueError("unknown argument"), "get", "a/b")


@pytest.mark.parametrize(
    "text",
    [
        "error sending request for url (https://acc.blob/x?sv=2&sig=hunter2)",
        "PUT https://acc.blob/x?sig=hunter2 in 3ms - Server returned status code: 403 Forbidden",
        "gone\n\nDebug source:\nhunter2",
    ],
)
def test_no_signature_is_shown(text: str) -> None:
    assert "hunter2" not in str(from_obstore(GenericError(text), "put_new", "a/b"))


def test_an_answer_of_pages_becomes_a_sentence() -> None:
    sentence = str(from_obstore(GenericError("x " * 9000), "get", "a/b"))
    assert len(sentence) < REASON_CHARACTERS_MAX + 100
    assert "\n" not in sentence


def test_googles_answers_are_understood() -> None:
    text = 'status code: 403 Forbidden: {"error": {"errors": [{"reason": "accessNotConfigured"}]}}'
    failure = from_obstore(BaseError(text), "get", "a/b")
    assert "answered 403 accessNotConfigured" in str(failure)
