"""What a process that deletes and collects is told to do, and answers."""

from __future__ import annotations

from typing import cast

import msgspec

from checkpoints.collecting.outcome import Collected
from checkpoints.format.ids import CheckpointId
from common import wire
from common.messages import CheckpointStatus


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    pass


class Delete(_Message, frozen=True, kw_only=True):
    """All that a checkpoint is known by."""

    checkpoint_id: CheckpointId
    is_saved: bool
    """Something was stored under it. Then a work directory that holds no checkpoints at all isn't
    the one that it was stored in: nothing of it can be said to be gone."""


class LookUp(_Message, frozen=True, kw_only=True):
    """Its newest generation."""

    checkpoint_id: CheckpointId


class Collect(_Message, frozen=True, kw_only=True):
    """What nothing needs any more."""


class Deleted(_Message, frozen=True, kw_only=True):
    """The answer to `Delete`."""

    records: int
    refused: int
    refusal: str


class LookedUp(_Message, frozen=True, kw_only=True):
    """The answer to `LookUp`; None if nothing is stored under it."""

    found: CheckpointStatus | None


class Done(_Message, frozen=True, kw_only=True):
    """The answer to `Collect`; None where there are no checkpoints at all."""

    outcome: Collected | None


class Failed(_Message, frozen=True, kw_only=True):
    """The answer instead."""

    sentence: str


Task = Delete | LookUp | Collect
Result = Deleted | LookedUp | Done | Failed


def decode_task(body: bytes) -> Task:
    return cast("Task", wire.decode(body, Task))  # type: ignore[arg-type]  # msgspec knows unions


def decode_result(body: bytes) -> Result:
    return cast("Result", wire.decode(body, Result))  # type: ignore[arg-type]
