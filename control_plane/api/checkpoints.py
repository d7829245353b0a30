"""Handlers: checkpoints, from listing to saving now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec

from control_plane.api import shapes
from control_plane.api.route import Body, Call
from control_plane.api.studios import OFFSET_MAX, SEARCH_LENGTH_MAX, StudioPath
from control_plane.model import Person
from control_plane.model_checkpoints import CHECKPOINT_NUMBER_MAX, CheckpointNumber
from control_plane.service_checkpoints import CHECKPOINTS_MAX

if TYPE_CHECKING:
    from control_plane.api.present import Presenter
    from control_plane.service import StudioService

PathNumber = Annotated[CheckpointNumber, msgspec.Meta(ge=1, le=CHECKPOINT_NUMBER_MAX)]


class CheckpointsParameters(StudioPath, frozen=True, kw_only=True):
    """Which checkpoints of one Studio."""

    search: Annotated[str, msgspec.Meta(max_length=SEARCH_LENGTH_MAX)] = ""
    max: Annotated[int, msgspec.Meta(ge=1, le=CHECKPOINTS_MAX)] = CHECKPOINTS_MAX
    offset: Annotated[int, msgspec.Meta(ge=0, le=OFFSET_MAX)] = 0


class CheckpointPath(StudioPath, frozen=True, kw_only=True):
    """One checkpoint of one Studio."""

    checkpoint_id: PathNumber


class RenameCheckpoint(Body, frozen=True, kw_only=True):
    """Its new name; spaces become underscores."""

    name: str


CheckpointCall = Call[Person, CheckpointPath, None]


@dataclass(frozen=True, slots=True)
class CheckpointHandlers:
    """Each takes a checked call and asks the service."""

    service: StudioService
    presenter: Presenter

    async def list_checkpoints(
        self, call: Call[Person, CheckpointsParameters, None]
    ) -> shapes.CheckpointList:
        wanted = call.parameters
        studio, found, total = await self.service.checkpoints(
            call.who,
            wanted.session_id,
            search=wanted.search,
            max=wanted.max,
            offset=wanted.offset,
        )
        shown = tuple(self.presenter.checkpoint(call.who, studio, one) for one in found)
        return shapes.CheckpointList(checkpoints=shown, total_size=total)

    async def describe_checkpoint(self, call: CheckpointCall) -> shapes.CheckpointShape:
        path = call.parameters
        studio, found = await self.service.checkpoint(call.who, path.session_id, path.checkpoint_id)
        return self.presenter.checkpoint(call.who, studio, found)

    async def rename_checkpoint(
        self, call: Call[Person, CheckpointPath, RenameCheckpoint]
    ) -> shapes.CheckpointShape:
        path = call.parameters
        studio, renamed = await self.service.rename_checkpoint(
            call.who, path.session_id, path.checkpoint_id, call.body.name
        )
        return self.presenter.checkpoint(call.who, studio, renamed)

    async def delete_checkpoint(self, call: CheckpointCall) -> None:
        path = call.parameters
        await self.service.delete_checkpoint(call.who, path.session_id, path.checkpoint_id)

    async def save_checkpoint(self, call: Call[Person, StudioPath, None]) -> shapes.CheckpointShape:
        """Answer before it is done: `saving` is true until a capture begun since is safe."""
        studio, checkpoint = await self.service.save_now(call.who, call.parameters.session_id)
        return self.presenter.checkpoint(call.who, studio, checkpoint)
