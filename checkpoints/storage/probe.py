"""Asks a store, at first use, whether it can do what everything here relies on.

Creating if absent is the only coordination between writers. A store that overwrites instead says
so to nobody: two sessions would commit the same generation, and one of them would be gone. So it is
tried: created twice with different bytes, the second must be refused and the first still there.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from checkpoints.storage.failures import (
    AlreadyThereError,
    NotPermittedError,
    StorageUnfitError,
)

if TYPE_CHECKING:
    from checkpoints.storage.storage import Storage

PROBES = "probes/"

_FIRST = b"first: a second creation must not replace this\n"
_SECOND = b"second: this must have been refused\n"

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a store turned out to do."""

    creates_if_absent: bool
    deletes: bool
    """Whether the credentials permit it: without, nothing is ever collected, and all else works."""


async def probe(storage: Storage, *, single_writer: bool = False) -> Abilities:
    """Try the store, or raise what is in its way.

    StorageUnfitError for a store that overwrites, unless the work directory is declared to have a
    single writer; StorageMissingError and NotPermittedError from what is tried.
    """
    key = await _created(storage)
    try:
        creates_if_absent = await _refuses(storage, key)
        await _check_reading(storage, key, _FIRST if creates_if_absent else _SECOND)
    finally:
        deletes = await _deletes(storage, key)
    if not creates_if_absent and not single_writer:
        raise StorageUnfitError(
            "This store overwrites objects instead of refusing to create them twice (it ignores "
            "the condition `If-None-Match: *`), so two sessions could destroy each other's "
            "checkpoints. Use a store that has conditional writes, or declare that this work "
            "directory has a single writer.",
            operation="put_new",
            key=key,
        )
    return Abilities(creates_if_absent=creates_if_absent, deletes=deletes)


async def _created(storage: Storage) -> str:
    """Create an object nobody else has the name of; return it.

    One may be there all the same: its own, whose answer was lost, and which a collection that found
    it old has removed before it could be read back.
    """
    key = _new_key()
    try:
        await storage.put_new(key, _FIRST)
    except AlreadyThereError:
        key = _new_key()
        await storage.put_new(key, _FIRST)
    return key


def _new_key() -> str:
    return f"{PROBES}{secrets.token_hex(16)}"


async def _refuses(storage: Storage, key: str) -> bool:
    try:
        await storage.put_new(key, _SECOND)
    except AlreadyThereError:
        return True
    return False


async def _check_reading(storage: Storage, key: str, expected: bytes) -> None:
    """What was written is read, whole and in part, and listed at once."""
    whole = await storage.get(key)
    part = await storage.get_range(key, 1, 5)
    listed = [found.key async for found in storage.list(PROBES)]
    if whole == expected and part == expected[1:6] and key in listed:
        return
    feature = "reading" if whole != expected else "ranges" if part != expected[1:6] else "listing"
    raise StorageUnfitError(
        f"This store does not give back what was just written ({feature}): it caches, or is only "
        "eventually consistent. Use one that is strongly consistent.",
        operation="get",
        key=key,
    )


async def _deletes(storage: Storage, key: str) -> bool:
    try:
        await storage.delete(key)
    except NotPermittedError as error:
        _log.warning("storage_deletes_nothing", reason=str(error))
        return False
    return True
