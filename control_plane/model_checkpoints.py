"""What the control plane knows of a checkpoint: one for each run of a Studio."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NewType

import msgspec

from checkpoints.format.ids import CheckpointId
from common.ids import RunNumber, SessionId
from control_plane.model import ComputeEnvId, PersonName

CheckpointNumber = NewType("CheckpointNumber", int)
"""What people and the API know a checkpoint by. Never given twice."""
CHECKPOINT_NUMBER_MAX = 2**31 - 1
"""The databases' plain integer."""

NOT_YET = CheckpointNumber(0)
"""The number of a checkpoint that was never written to the database."""


class CheckpointState(StrEnum):
    """How much it holds of what its run did. The values are the public API's."""

    EMPTY = "empty"
    """Nothing, or what the run began with."""
    INTERIM = "interim"
    """A state of it: the run goes on, or ended without a word."""
    FINALIZED = "finalized"
    """All."""
    INVALID = "invalid"
    """It can't be read whole: nothing begins with it."""


class DoomedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One whose data is to be deleted from storage."""

    id: CheckpointNumber
    storage_id: CheckpointId
    generation: int = 0
    """The last one that is known; 0 may have stored nothing at all."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What one run saves, and where."""

    id: CheckpointNumber = NOT_YET
    storage_id: CheckpointId
    """What the work directory knows it by."""
    session_id: SessionId
    """Its Studio, which may be deleted by now."""
    name: str
    """Unique among those of its Studio."""
    state: CheckpointState = CheckpointState.EMPTY
    author: PersonName
    """Who started the run."""
    run_number: RunNumber
    """The one run that ever writes to it."""
    compute_env_id: ComputeEnvId
    work_dir: str
    """Its compute environment's."""
    parent_id: CheckpointNumber | None = None
    """What the run began with; may be deleted by now. None is the bare image."""
    parent_run_number: RunNumber | None = None
    """The number that seals the parent, where that is another Studio's."""
    date_created: datetime
    date_saved: datetime | None = None
    """As of when the files are safe."""
    generation: int = 0
    """The last one committed; 0 holds nothing at all."""
    entries: int = 0
    file_bytes: int = 0
    stored_bytes: int = 0
    image: str = ""
    message: str = ""
    deleted_at: datetime | None = None
    """Gone for everybody since then; the row stays until its data is deleted."""

    @property
    def holds_something(self) -> bool:
        """Whether a run may begin with it."""
        return self.generation > 0 and self.state is not CheckpointState.INVALID
