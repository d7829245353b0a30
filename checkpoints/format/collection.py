"""What a collection found without use: the next one but some hours ends what it finds so again.

One line of JSON and its hash.
"""

from __future__ import annotations

import msgspec

from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import PACK_ID_BYTES, PackId
from checkpoints.format.line import hashed, line_in

FORMAT = 1


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What nothing needed, and was old enough to matter."""

    packs: frozenset[PackId] = frozenset()
    indexes: frozenset[str] = frozenset()
    """Names of objects: of generations' indexes, and of `index/moved/…`."""


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    packs: list[str]
    indexes: list[str]


def encode(findings: Findings) -> bytes:
    """Return the object's bytes."""
    wire = _Wire(
        packs=sorted(pack_id.hex() for pack_id in findings.packs), indexes=sorted(findings.indexes)
    )
    return hashed(msgspec.json.encode(wire))


def parse(data: bytes) -> Findings:
    """Return what was found, or raise DamagedError."""
    line = line_in(data, "collection")
    try:
        wire = msgspec.json.decode(line, type=_Wire)
        packs = [bytes.fromhex(digits) for digits in wire.packs]
    except (msgspec.MsgspecError, ValueError) as error:
        raise DamagedError(f"the collection can't be understood: {error}") from None
    if wire.format != FORMAT:
        raise DamagedError(f"the collection has format {wire.format}")
    if any(len(pack_id) != PACK_ID_BYTES for pack_id in packs):
        raise DamagedError("the collection names something that is no pack")
    if not all(names.parse_index(key) or names.parse_moved(key) for key in wire.indexes):
        raise DamagedError("the collection names something that is no index")
    return Findings(
        packs=frozenset(PackId(pack_id) for pack_id in packs), indexes=frozenset(wire.indexes)
    )
