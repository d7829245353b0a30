"""People and settings of the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from control_plane.access import Action, Refused, may
from control_plane.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from control_plane.model import (
    DEFAULT_COMPUTE_ENV,
    DEFAULT_WORKSPACE,
    LOCAL_ADMIN_NAME,
    ComputeEnv,
    Person,
    Role,
    WorkspaceSettings,
)
from control_plane.validation import (
    normal,
    problems_of_settings,
    problems_of_text,
    problems_of_user_name,
)

if TYPE_CHECKING:
    from common.ids import UserId
    from control_plane.core import Core
    from control_plane.model import Label, Studio
    from control_plane.store import Transaction


class WorkspaceCommands:
    """The workspace's side of the service."""

    _core: Core

    # ── People ───────────────────────────────────────────────────────────────

    async def find_person(self, user_id: UserId) -> Person | None:
        """A member by id; None for people without a role."""
        async with self._core.store.read() as transaction:
            return await transaction.people.find(user_id)

    async def ensure_local_admin(self) -> None:
        """Make the first Owner of a workspace that never had anybody."""
        async with self._core.store.read() as transaction:
            if not await transaction.people.is_empty():
                return
        await self.add_user(None, LOCAL_ADMIN_NAME, Role.OWNER)

    async def local_admin(self) -> Person | None:
        """Whom `studios up` logs in as: always the same person, whatever their role is now."""
        async with self._core.store.read() as transaction:
            known = await transaction.people.id_of(LOCAL_ADMIN_NAME)
            return None if known is None else await transaction.people.find(known)

    async def list_users(self, actor: Person) -> list[Person]:
        """All members; anybody may know them, to name allowed users."""
        require(actor, Action.READ)
        async with self._core.store.read() as transaction:
            return await transaction.people.members()

    async def add_user(
        self, actor: Person | None, name: str, role: Role, *, email: str | None = None
    ) -> Person:
        """Add a member. `actor` None is the program itself: the first admin.

        A name means one person for ever, so that Studios keep their owner. Bringing a former member
        back therefore gives access to their private Studios, and only an Owner may do it.
        """
        name = normal(name)
        problems = problems_of_user_name(name) + problems_of_text(email or "", what="The address")
        if problems:
            raise InvalidError(" ".join(problems))
        _require_over(actor, role)
        async with self._core.changes.write() as changes:
            people = changes.transaction.people
            now = self._core.clock.now()
            known = await people.id_of(name)
            if known is not None and await people.find(known) is not None:
                raise ConflictError(f"There is a user {name} already: choose another name.")
            if known is None:
                known = await people.insert(name, role, email=email, at=now)
            elif actor is not None and actor.role is not Role.OWNER:
                raise RefusedError(
                    f"{name} was a member before, and would get their private Studios back: "
                    "ask an Owner to add them, or choose another name."
                )
            else:  # somebody comes back: their Studios are theirs again
                await people.set_role(known, role)
                await changes.transaction.bump_access()
                changes.tell_access()
            await self._audit_role(changes.transaction, actor, known, role)
        return Person(id=known, name=name, role=role)

    async def set_role(self, actor: Person, user_id: UserId, role: Role | None) -> None:
        """Give another role, or with None end the membership. Takes effect at once everywhere.

        With the membership all credentials end. The local administrator can't be removed, only
        get another role: `studios up` logs in as them and nobody else.
        """
        _require_over(actor, role)
        async with self._core.changes.write() as changes:
            people = changes.transaction.people
            person = await people.find(user_id)
            if person is None:
                raise NotFoundError(f"There is no user {user_id}: look at the list of users.")
            if person.role is role:
                return
            _require_over(actor, person.role)
            await changes.transaction.lock_workspace(DEFAULT_WORKSPACE)
            await people.set_role(user_id, role)
            if await people.count_owners() == 0:
                raise ConflictError(
                    f"{person.name} is the last Owner: make somebody else Owner first."
                )
            if role is None:
                if person.name == LOCAL_ADMIN_NAME:
                    raise ConflictError(
                        f"{person.name} is who `studios up` logs in as, and can't be removed: "
                        "give them the role View instead."
                    )
                await people.revoke_credentials(user_id, self._core.clock.now())
            await changes.transaction.bump_access()
            changes.tell_access()
            await self._audit_role(changes.transaction, actor, user_id, role)

    async def _audit_role(
        self, transaction: Transaction, actor: Person | None, user_id: UserId, role: Role | None
    ) -> None:
        await transaction.audit(
            "user_role_changed",
            at=self._core.clock.now(),
            actor_id=actor.id if actor is not None else None,
            detail={"user": user_id, "role": role.value if role is not None else None},
        )

    # ── Settings and what there is to choose from ────────────────────────────

    async def workspace_settings(self, person: Person) -> WorkspaceSettings:
        require(person, Action.READ)
        async with self._core.store.read() as transaction:
            return await settings_of(transaction)

    async def change_workspace_settings(
        self, person: Person, settings: WorkspaceSettings
    ) -> WorkspaceSettings:
        """Replace them all. Sessions under way keep the lifespan that they began with."""
        require(person, Action.SETTINGS)
        if problems := problems_of_settings(settings):
            raise InvalidError(" ".join(problems))
        async with self._core.changes.write() as changes:
            await changes.transaction.save_settings(DEFAULT_WORKSPACE, settings)
            await changes.transaction.audit(
                "workspace_settings_changed", at=self._core.clock.now(), actor_id=person.id
            )
        return settings

    async def compute_envs(self, person: Person) -> list[ComputeEnv]:
        require(person, Action.READ)
        async with self._core.store.read() as transaction:
            return await transaction.compute_envs(DEFAULT_WORKSPACE)

    async def labels(self, person: Person) -> list[Label]:
        require(person, Action.READ)
        async with self._core.store.read() as transaction:
            return await transaction.labels(DEFAULT_WORKSPACE)

    async def ensure_workspace(
        self,
        *,
        work_dir: str,
        environment: dict[str, str] | None = None,
        disk_limit_bytes: int | None = None,
    ) -> None:
        """Make the default workspace and compute environment, or bring the latter up to date.

        What is None stays as it is.
        """
        async with self._core.store.write() as transaction:
            if await transaction.settings(DEFAULT_WORKSPACE) is None:
                await transaction.insert_workspace(
                    DEFAULT_WORKSPACE, "default", WorkspaceSettings()
                )
            envs = {env.id: env for env in await transaction.compute_envs(DEFAULT_WORKSPACE)}
            env = envs.get(DEFAULT_COMPUTE_ENV) or ComputeEnv(
                id=DEFAULT_COMPUTE_ENV, name="This machine", engine="local", work_dir=work_dir
            )
            env = msgspec.structs.replace(
                env,
                work_dir=work_dir,
                environment=env.environment if environment is None else environment,
                disk_limit_bytes=disk_limit_bytes or env.disk_limit_bytes,
            )
            if envs.get(env.id) != env:
                await transaction.save_compute_env(DEFAULT_WORKSPACE, env)
                await transaction.checkpoints.move(env)


async def settings_of(transaction: Transaction) -> WorkspaceSettings:
    settings = await transaction.settings(DEFAULT_WORKSPACE)
    assert settings is not None, "ensure_workspace runs at start"
    return settings


def require(person: Person, action: Action, studio: Studio | None = None) -> None:
    """Raise RefusedError unless the person may; `studio` is None for actions on none of them."""
    decision = may(person, action, studio)
    if isinstance(decision, Refused):
        raise RefusedError(decision.reason)


def _require_over(actor: Person | None, role: Role | None) -> None:
    """Managing users needs Owner or Admin; making or unmaking an Owner needs an Owner."""
    if actor is None:
        return
    require(actor, Action.USERS)
    if role is Role.OWNER and actor.role is not Role.OWNER:
        raise RefusedError("Only an Owner may make or unmake an Owner: ask one.")
