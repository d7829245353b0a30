"""The names of objects in a repository, made and parsed. Keys are relative to the repository."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.format.ids import CheckpointId, Generation, PackId
from checkpoints.format.pack import PackKind

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "format.json"
RECORDS = "checkpoints/"
INDEXES = "index/"
MOVED = "index/moved/"
TOMBSTONES = "tombstones/"
MARKS = "damaged/"
COLLECTIONS = "collections/"
PACKS: Mapping[PackKind, str] = {PackKind.DATA: "packs/", PackKind.TREE: "meta/"}

_PACK = re.compile(r"(packs|meta)/([0-9a-f]{2})/(\2[0-9a-f]{30})", re.ASCII)
_RECORD = re.compile(r"checkpoints/([0-9a-f]{16})/(\d{10})", re.ASCII)
_INDEX = re.compile(r"index/([0-9a-f]{16})/(\d{10})", re.ASCII)
_MOVED = re.compile(r"index/moved/([0-9a-f]{32})", re.ASCII)
_TOMBSTONE = re.compile(r"tombstones/([0-9a-f]{32})", re.ASCII)
_MARK = re.compile(r"damaged/([0-9a-f]{32})", re.ASCII)
_COLLECTION = re.compile(r"collections/(\d{13})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One generation of one checkpoint."""

    checkpoint_id: CheckpointId
    generation: Generation

    def __str__(self) -> str:
        return f"{self.checkpoint_id}/{self.generation:010d}"


def pack(kind: PackKind, pack_id: PackId) -> str:
    digits = pack_id.hex()
    return f"{PACKS[kind]}{digits[:2]}/{digits}"


def record(place: Place) -> str:
    return f"{RECORDS}{place}"


def records_of(checkpoint_id: CheckpointId) -> str:
    """Return what the names of a checkpoint's records begin with."""
    return f"{RECORDS}{checkpoint_id}/"


def index(place: Place) -> str:
    return f"{INDEXES}{place}"


def moved(first_pack_id: PackId) -> str:
    return f"{MOVED}{first_pack_id.hex()}"


def tombstone(pack_id: PackId) -> str:
    return f"{TOMBSTONES}{pack_id.hex()}"


def mark(pack_id: PackId) -> str:
    return f"{MARKS}{pack_id.hex()}"


def collection(milliseconds: int) -> str:
    return f"{COLLECTIONS}{milliseconds:013d}"


def parse_pack(key: str) -> tuple[PackKind, PackId] | None:
    """Return what a name says; None if it is not a pack's."""
    match = _PACK.fullmatch(key)
    if match is None:
        return None
    kind = PackKind.DATA if match[1] == "packs" else PackKind.TREE
    return kind, PackId(bytes.fromhex(match[3]))


def parse_record(key: str) -> Place | None:
    return _place(_RECORD.fullmatch(key))


def parse_index(key: str) -> Place | None:
    return _place(_INDEX.fullmatch(key))


def parse_moved(key: str) -> PackId | None:
    return _pack_id(_MOVED.fullmatch(key))


def parse_tombstone(key: str) -> PackId | None:
    return _pack_id(_TOMBSTONE.fullmatch(key))


def parse_mark(key: str) -> PackId | None:
    return _pack_id(_MARK.fullmatch(key))


def parse_collection(key: str) -> int | None:
    """Return the milliseconds since 1970 that a name gives; None if it is not a collection's."""
    match = _COLLECTION.fullmatch(key)
    return None if match is None else int(match[1])


def _place(match: re.Match[str] | None) -> Place | None:
    if match is None or int(match[2]) < 1:
        return None
    return Place(CheckpointId(match[1]), Generation(int(match[2])))


def _pack_id(match: re.Match[str] | None) -> PackId | None:
    return None if match is None else PackId(bytes.fromhex(match[1]))
