"""The calls of people that are about checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_plane.api import checkpoints, files, shapes
from control_plane.api.route import NO_BODY, STREAM, AnyRoute, Route
from control_plane.api.studios import StudioPath

if TYPE_CHECKING:
    from control_plane.api.gates_and_handlers import Gates, Handlers

_CHECKPOINTS = "/api/studios/{sessionId}/checkpoints"
_CHECKPOINT = f"{_CHECKPOINTS}/{{checkpointId}}"


def checkpoint_routes(gates: Gates, handlers: Handlers) -> list[AnyRoute]:
    """What members do with checkpoints."""
    return [
        Route(
            method="GET",
            path=_CHECKPOINTS,
            summary="List a Studio's checkpoints, newest first",
            gate=gates.members,
            parameters=checkpoints.CheckpointsParameters,
            body=NO_BODY,
            reply=shapes.CheckpointList,
            handler=handlers.checkpoints.list_checkpoints,
        ),
        Route(
            method="POST",
            path=_CHECKPOINTS,
            summary="Save the session's files now",
            gate=gates.members,
            parameters=StudioPath,
            body=NO_BODY,
            reply=shapes.CheckpointShape,
            handler=handlers.checkpoints.save_checkpoint,
            status=202,
        ),
        Route(
            method="GET",
            path=_CHECKPOINT,
            summary="View a checkpoint",
            gate=gates.members,
            parameters=checkpoints.CheckpointPath,
            body=NO_BODY,
            reply=shapes.CheckpointShape,
            handler=handlers.checkpoints.describe_checkpoint,
        ),
        Route(
            method="PUT",
            path=_CHECKPOINT,
            summary="Rename a checkpoint",
            gate=gates.members,
            parameters=checkpoints.CheckpointPath,
            body=checkpoints.RenameCheckpoint,
            reply=shapes.CheckpointShape,
            handler=handlers.checkpoints.rename_checkpoint,
        ),
        Route(
            method="DELETE",
            path=_CHECKPOINT,
            summary="Delete a checkpoint that nothing needs",
            gate=gates.members,
            parameters=checkpoints.CheckpointPath,
            body=NO_BODY,
            reply=NO_BODY,
            handler=handlers.checkpoints.delete_checkpoint,
        ),
        Route(
            method="GET",
            path=f"{_CHECKPOINT}/files",
            summary="List a folder of a checkpoint",
            gate=gates.members,
            parameters=files.FilesParameters,
            body=NO_BODY,
            reply=files.FileList,
            handler=handlers.files.list_files,
        ),
        Route(
            method="GET",
            path=f"{_CHECKPOINT}/file",
            summary="Download one file of a checkpoint",
            gate=gates.members,
            parameters=files.FileParameters,
            body=NO_BODY,
            reply=STREAM,
            handler=handlers.files.download_file,
        ),
    ]
