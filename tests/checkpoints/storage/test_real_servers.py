"""S3 as servers really speak it: what they answer, and what becomes of it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

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
from checkpoints.storage.limited import Limits
from checkpoints.storage.opening import reliable
from checkpoints.storage.probe import Abilities, probe
from checkpoints.storage.retrying import RetryPolicy
from checkpoints.storage.storage import Range
from tests.support.faulty_s3 import Answer, FaultyS3, Silence, Truncation, faulty_s3
from tests.support.hurried_clock import HurriedClock
from tests.support.s3_servers import SECRET_KEY, open_bucket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from checkpoints.storage.storage import Storage

CONTENT = bytes(range(256)) * 400
PATIENCE_SECONDS = 0.5
"""How long a silent server is waited for; a real one is waited for for minutes."""


@pytest.fixture
async def s3(moto: str) -> AsyncIterator[FaultyS3]:
    async with faulty_s3(moto) as faulty:
        yield faulty


@pytest.fixture
async def faulty(s3: FaultyS3, request: pytest.FixtureRequest) -> Storage:
    """A path of its own behind the faulty proxy, bare."""
    return await open_bucket(s3.url, path=f"faulty-{crc32(request.node.name.encode())}")


def patient(storage: Storage) -> Storage:
    return reliable(
        storage,
        clock=HurriedClock(),
        rng=random.Random(1),
        limits=Limits(seconds_max=PATIENCE_SECONDS),
        policy=RetryPolicy(tries_max=4),
    )


async def test_a_creation_is_one_request_with_the_condition(s3: FaultyS3, faulty: Storage) -> None:
    await faulty.put_new("a/b", bytes(9 << 20))
    ((method, path, headers),) = s3.requests
    assert (method, path.endswith("/.studios/checkpoints/a/b")) == ("PUT", True)
    assert headers["If-None-Match"] == "*"


async def test_a_deletion_is_a_request_for_one_object(s3: FaultyS3, faulty: Storage) -> None:
    await faulty.delete("a/b")
    assert [method for method, _, _ in s3.requests] == ["DELETE"]


async def test_ranges_that_lie_together_are_one_request(s3: FaultyS3, faulty: Storage) -> None:
    await faulty.put_new("a/b", CONTENT)
    s3.requests.clear()
    await faulty.get_ranges("a/b", [Range(0, 10), Range(500, 10), Range(90_000, 10)])
    assert [headers["Range"] for _, _, headers in s3.requests] == ["bytes=0-90009"]


async def test_what_was_read_together_is_one_piece_of_memory(faulty: Storage) -> None:
    await faulty.put_new("a/b", CONTENT)
    one, two = await faulty.get_ranges("a/b", [Range(0, 10), Range(500, 10)])
    assert isinstance(one, memoryview)
    assert isinstance(two, memoryview)
    assert one.obj is two.obj
    assert isinstance(await faulty.get_range("a/b", 7, 1000), memoryview)


CREATIONS: list[tuple[Answer, type[StorageError]]] = [
    (Answer(412, "PreconditionFailed"), AlreadyThereError),
    (Answer(409, "ConditionalRequestConflict"), StorageAwayError),
    (Answer(409, "OperationAborted"), StorageAwayError),
    (Answer(409, "BlobAlreadyExists"), AlreadyThereError),
    (Answer(400, "RequestTimeout"), StorageAwayError),
    (Answer(429, "SlowDown"), StorageAwayError),
    (Answer(500, "InternalError"), StorageAwayError),
    (Answer(502), StorageAwayError),
    (Answer(503, "SlowDown"), StorageAwayError),
    (Answer(504), StorageAwayError),
    (Answer(400, "ExpiredToken"), NotPermittedError),
    (Answer(401), NotPermittedError),
    (Answer(403, "AccessDenied"), NotPermittedError),
    (Answer(403, "RequestTimeTooSkewed"), NotPermittedError),
    (Answer(403, "SignatureDoesNotMatch"), NotPermittedError),
    (Answer(404, "NoSuchBucket"), StorageMissingError),
    (Answer(404), StorageMissingError),
    (Answer(301, "PermanentRedirect"), StorageMissingError),
    (Answer(501, "NotImplemented"), StorageUnfitError),
    (Answer(507), StorageFullError),
    (Answer(400, "InvalidArgument"), StorageUnfitError),
]


@pytest.mark.parametrize(("answer", "expected"), CREATIONS, ids=str)
async def test_what_is_answered_to_a_creation_is_told_apart(
    s3: FaultyS3, faulty: Storage, answer: Answer, expected: type[StorageError]
) -> None:
    s3.answers.append(answer)
    with pytest.raises(StorageError) as raised:
        await faulty.put_new("a/b", b"x")
    assert type(raised.value) is expected
    assert len(s3.requests) == 1, "obstore does not try again by itself"
    assert SECRET_KEY not in str(raised.value)


READS: list[tuple[Answer, type[StorageError]]] = [
    (Answer(404, "NoSuchKey"), NotThereError),
    (Answer(404, "NoSuchBucket"), StorageMissingError),
    (Answer(403, "AccessDenied"), NotPermittedError),
    (Answer(416, "InvalidRange"), StorageBrokenError),
    (Answer(500), StorageAwayError),
    (Answer(503, "SlowDown"), StorageAwayError),
    (Truncation(0, passes_on=True), StorageAwayError),
]


@pytest.mark.parametrize(("answer", "expected"), READS, ids=str)
async def test_what_is_answered_to_a_read_is_told_apart(
    s3: FaultyS3, faulty: Storage, answer: Answer, expected: type[StorageError]
) -> None:
    await faulty.put_new("a/b", CONTENT)
    s3.answers.append(answer)
    with pytest.raises(StorageError) as raised:
        await faulty.get_range("a/b", 5, 100)
    assert type(raised.value) is expected


async def test_a_listing_without_permission_says_so(s3: FaultyS3, faulty: Storage) -> None:
    s3.answers.append(Answer(403, "AccessDenied"))
    with pytest.raises(NotPermittedError, match="Listing the work directory failed"):
        assert [found async for found in faulty.list("")]


async def test_a_deletion_without_permission_says_so(s3: FaultyS3, faulty: Storage) -> None:
    await faulty.put_new("a/b", CONTENT)
    s3.answers.append(Answer(403, "AccessDenied"))
    with pytest.raises(NotPermittedError, match="Deleting a/b failed"):
        await faulty.delete("a/b")
    assert await faulty.get("a/b") == CONTENT


async def test_a_missing_bucket_is_not_an_empty_one(moto: str) -> None:
    storage = await open_bucket(moto, name="nowhere")
    with pytest.raises(StorageMissingError, match="Create the bucket"):
        assert [found async for found in storage.list("")]
    with pytest.raises(StorageMissingError):
        await storage.get("a/b")
    with pytest.raises(StorageMissingError):
        await probe(storage)


async def test_a_server_that_is_gone_is_away() -> None:
    storage = await open_bucket("http://127.0.0.1:9")
    with pytest.raises(StorageAwayError, match="Writing a/b failed"):
        await storage.put_new("a/b", b"x")


PASSING_ANSWERS = [
    Answer(500, "InternalError"),
    Answer(503, "SlowDown"),
    Answer(500, "InternalError", passes_on=True),
    Answer(409, "ConditionalRequestConflict"),
    Silence(0),
    Silence(0, passes_on=True),
]


@pytest.mark.parametrize("answer", PASSING_ANSWERS, ids=repr)
async def test_a_creation_ends_well_whatever_passes(
    s3: FaultyS3, faulty: Storage, answer: Answer
) -> None:
    s3.answers.append(answer)
    await patient(faulty).put_new("a/b", CONTENT)
    assert await faulty.get("a/b") == CONTENT
    with pytest.raises(AlreadyThereError):
        await patient(faulty).put_new("a/b", b"another's")


@pytest.mark.parametrize(
    "answer", [Answer(500), Truncation(0, passes_on=True), Silence(0)], ids=repr
)
async def test_a_read_ends_well_whatever_passes(
    s3: FaultyS3, faulty: Storage, answer: Answer
) -> None:
    await faulty.put_new("a/b", CONTENT)
    s3.answers.append(answer)
    assert await patient(faulty).get("a/b") == CONTENT
    s3.answers.append(answer)
    assert await patient(faulty).get_range("a/b", 0, len(CONTENT)) == CONTENT
    s3.answers.append(answer)
    assert await patient(faulty).get_suffix("a/b", len(CONTENT)) == CONTENT
    s3.answers.append(answer)
    assert [found.key async for found in patient(faulty).list("a/")] == ["a/b"]


async def test_a_large_object_that_is_cut_off_is_read_again(s3: FaultyS3, faulty: Storage) -> None:
    content = random.Random(1).randbytes(5 << 20)
    await faulty.put_new("a/b", content)
    s3.answers.append(Truncation(0, passes_on=True))
    with pytest.raises(StorageAwayError, match="Reading a/b"):
        await faulty.get("a/b")
    s3.answers.append(Truncation(0, passes_on=True))
    s3.requests.clear()
    assert await patient(faulty).get("a/b") == content
    assert len(s3.requests) == 2


async def test_a_bucket_of_a_good_store_is_fit(bucket: Storage) -> None:
    assert await probe(bucket) == Abilities(creates_if_absent=True, deletes=True)
    assert [found async for found in bucket.list("")] == []


async def test_a_key_that_nobody_can_name_is_said(s3: FaultyS3, faulty: Storage) -> None:
    text = (
        "<ListBucketResult><Contents><Key>x//y</Key><Size>0</Size>"
        "<LastModified>2030-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
    )
    s3.answers.append(Answer(200, text=text))
    with pytest.raises(StorageBrokenError, match="x//y"):
        assert [found async for found in faulty.list("")]
