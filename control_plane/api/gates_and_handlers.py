"""What the table of calls is made of: who can call, and who answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from control_plane.api.agents import AgentHandlers
    from control_plane.api.checkpoints import CheckpointHandlers
    from control_plane.api.edges import EdgeHandlers
    from control_plane.api.events import EventHandlers
    from control_plane.api.files import FileHandlers
    from control_plane.api.operations import Operations
    from control_plane.api.people import PeopleHandlers
    from control_plane.api.studios import StudioHandlers
    from control_plane.api.workspace import WorkspaceHandlers
    from control_plane.login.gates import Agents, Anybody, Edges, Members


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """Who can call."""

    anybody: Anybody
    members: Members
    agents: Agents
    edges: Edges


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """Who answers."""

    studios: StudioHandlers
    checkpoints: CheckpointHandlers
    files: FileHandlers
    people: PeopleHandlers
    workspace: WorkspaceHandlers
    events: EventHandlers
    agents: AgentHandlers
    edges: EdgeHandlers
    operations: Operations
