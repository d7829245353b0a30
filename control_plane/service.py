"""What people and agents can ask of the control plane.

**Start here.** Each command is one transaction: read the Studio, ask `access`, `validation` and `lifecycle`, write
what they say, tell the bus. Nothing here talks to an engine; that is the reconciler's, which finds
what is left to do in the database. So a command is done once it is written down, and repeating it
changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.clock import Clock
    from common.edge_messages import EdgeSession
    from common.ids import RunNumber, SessionId, UserId
    from common.messages import DesiredState, StatusReport
    from common.templates import TemplateFacts
    from common.tokens import TokenSigner
    from control_plane.engines.engine import Engine
    from control_plane.events import EventBus
    from control_plane.model import (
        ComputeEnv,
        ConnectDecision,
        Label,
        Person,
        Role,
        Studio,
        WorkspaceSettings,
    )
    from control_plane.settings import ServiceSettings
    from control_plane.validation import CreateStudio, StartStudio, UpdateStudio

LIST_MAX = 100
Studios: TypeAlias = "list[Studio]"
EdgeSessions: TypeAlias = "list[EdgeSession]"


class StudioService:
    """The commands. Raises errors of `errors`, each with a sentence for people."""

    def __init__(
        self,
        database: AsyncEngine,
        engines: Mapping[str, Engine],
        templates: Mapping[str, TemplateFacts],
        signer: TokenSigner,
        clock: Clock,
        bus: EventBus,
        settings: ServiceSettings,
    ) -> None:
        raise NotImplementedError

    # ── People's commands ────────────────────────────────────────────────────

    async def list(
        self,
        person: Person,
        *,
        search: str = "",
        max: int = LIST_MAX,  # noqa: A002  the public API's word
        offset: int = 0,
    ) -> tuple[Studios, int]:
        """Studios whose name, id or description contains `search`, newest first, and how many."""
        raise NotImplementedError

    async def get(self, person: Person, session_id: SessionId) -> Studio:
        raise NotImplementedError

    async def create(self, person: Person, request: CreateStudio, *, auto_start: bool) -> Studio:
        raise NotImplementedError

    async def update(self, person: Person, session_id: SessionId, request: UpdateStudio) -> Studio:
        raise NotImplementedError

    async def delete(self, person: Person, session_id: SessionId) -> None:
        raise NotImplementedError

    async def start(
        self, person: Person, session_id: SessionId, options: StartStudio | None = None
    ) -> Studio:
        raise NotImplementedError

    async def stop(self, person: Person, session_id: SessionId) -> Studio:
        raise NotImplementedError

    async def extend(self, person: Person, session_id: SessionId) -> Studio:
        raise NotImplementedError

    async def validate_name(self, person: Person, name: str) -> None:
        raise NotImplementedError

    # ── The agent's side ─────────────────────────────────────────────────────

    async def record_report(
        self, session_id: SessionId, run: RunNumber, report: StatusReport
    ) -> DesiredState:
        raise NotImplementedError

    async def wait_desired(
        self, session_id: SessionId, run: RunNumber, *, after: int, wait_seconds: float
    ) -> DesiredState | None:
        """The desired state as soon as its version is not `after`; None after `wait_seconds`."""
        raise NotImplementedError

    # ── The edge's side ──────────────────────────────────────────────────────

    async def connect_decision(self, user_id: UserId, session_id: SessionId) -> ConnectDecision:
        raise NotImplementedError

    async def edge_sessions(self) -> EdgeSessions:
        raise NotImplementedError

    async def edge_session(self, session_id: SessionId) -> EdgeSession | None:
        raise NotImplementedError

    # ── People and the workspace ─────────────────────────────────────────────

    async def find_person(self, user_id: UserId) -> Person | None:
        """A member by id; None for people without a role."""
        raise NotImplementedError

    async def list_users(self, actor: Person) -> Sequence[Person]:
        raise NotImplementedError

    async def add_user(
        self, actor: Person | None, name: str, role: Role, *, email: str | None = None
    ) -> Person:
        """Add a member. `actor` None is the program itself: the first admin."""
        raise NotImplementedError

    async def set_role(self, actor: Person, user_id: UserId, role: Role | None) -> None:
        """Give another role, or with None end the membership. Takes effect at once everywhere."""
        raise NotImplementedError

    async def workspace_settings(self, person: Person) -> WorkspaceSettings:
        raise NotImplementedError

    async def change_workspace_settings(
        self, person: Person, settings: WorkspaceSettings
    ) -> WorkspaceSettings:
        raise NotImplementedError

    async def compute_envs(self, person: Person) -> Sequence[ComputeEnv]:
        raise NotImplementedError

    async def labels(self, person: Person) -> Sequence[Label]:
        raise NotImplementedError

    async def ensure_workspace(self, *, work_dir: str) -> None:
        """Make the default workspace and compute environment if there are none. Idempotent."""
        raise NotImplementedError
