"""Cuts what others said to a size that can be kept, sent on and shown.

Agents run next to programs of users, so a report may hold anything. It is cut and not refused: the
next report replaces it whole, while a refused one would leave the Studio without any. Every text,
list and number of a report is bounded here, whatever part of the agent it belongs to, so a new
field can't be forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from common.messages import StatusReport

MESSAGE_LENGTH_MAX = 2000
"""A sentence for people, with what a program said about its end."""
TEXT_LENGTH_MAX = 500
"""Every other text: a line of output, a warning, an address."""
ITEMS_MAX = 100
NUMBER_MAX = 2**53 - 1
"""The largest whole number that a browser reads exactly."""

_S = TypeVar("_S", bound=msgspec.Struct)


def clip_message(text: str) -> str:
    """Return a sentence for people, cut; without NUL, which PostgreSQL can't keep."""
    return _clip_text(text, MESSAGE_LENGTH_MAX)


def clip_report(report: StatusReport) -> StatusReport:
    """Return the report with every value within its bounds."""
    return _clip_struct(report)


def _clip_struct(value: _S) -> _S:
    fields = msgspec.structs.asdict(value)
    clipped = {name: _clip(name, field) for name, field in fields.items()}
    changed = {name: field for name, field in clipped.items() if field is not fields[name]}
    return msgspec.structs.replace(value, **changed) if changed else value


def _clip(name: str, value: Any) -> Any:
    match value:
        case msgspec.Struct():
            return _clip_struct(value)
        case tuple():
            return tuple(_clip("", item) for item in value[:ITEMS_MAX])
        case bool():
            return value
        case int() | float():
            return max(-NUMBER_MAX, min(value, NUMBER_MAX))
        case str() if type(value) is str:  # an enum's values are our own
            return _clip_text(value, MESSAGE_LENGTH_MAX if name == "message" else TEXT_LENGTH_MAX)
        case _:
            return value


def _clip_text(text: str, length_max: int) -> str:
    if len(text) > length_max:
        text = text[: length_max - 1] + "…"
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
