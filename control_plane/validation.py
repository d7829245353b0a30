"""Request bodies and what may be wrong with them: pure questions, answered with sentences.

A problem is one sentence that names the next step. All problems of a request are told at once.
Whether JSON has the right shape is decided by the decoder; here is what shape alone can't say.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from common.ids import UserId
from control_plane.model import (
    KEEP_RUNNING,
    LIFESPAN_HOURS_MAX,
    ComputeEnvId,
    Configuration,
    LabelId,
    SessionConfiguration,
    WorkspaceSettings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from common.templates import TemplateFacts


NAME_LENGTH_MAX = 80
DESCRIPTION_LENGTH_MAX = 2048
CPU_MAX = 256
GPU_MAX = 16
MEMORY_MIB_MIN = 256  # JupyterLab with an empty notebook takes half of it
MEMORY_MIB_MAX = 4 * 1024**2
VARIABLES_MAX = 200
IDS_MAX = 1000
"""Allowed users, or labels, of one Studio."""
VARIABLE_BYTES_MAX = 32 * 1024  # one argument of execve is limited to 128 KiB, all to about 2 MiB
RESERVED_PREFIX = "CONNECT_"
"""Variables that the agent sets for the tool."""

USUAL_TEMPLATE = "jupyterlab"

_UNSEEN = {"Cc", "Cf", "Cs"}
"""Control, format (direction marks, joiners: two names that look the same) and half characters."""
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class _Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class CreateStudio(_Body, frozen=True, kw_only=True):
    """POST /studios."""

    name: str
    compute_env_id: ComputeEnvId
    data_studio_tool_url: str | None = None
    """The template: its name in images/, with or without `:<tag>`. Left out, it is the one of the
    checkpoint's Studio, or else the usual one."""
    description: str = ""
    configuration: Configuration = Configuration()
    initial_checkpoint_id: int | None = None
    """Begin with what this checkpoint holds, of any Studio; None is the bare image."""
    is_private: bool | None = None
    """None takes the workspace's default."""
    allowed_user_ids: tuple[UserId, ...] = ()
    label_ids: tuple[LabelId, ...] = ()
    spot: bool | None = None
    remote_config: dict[str, object] | None = None


class UpdateStudio(_Body, frozen=True, kw_only=True):
    """PUT /studios/{sessionId}. What is left out stays."""

    name: str | None = None
    description: str | None = None
    configuration: Configuration | None = None
    is_private: bool | None = None
    allowed_user_ids: tuple[UserId, ...] | None = None
    label_ids: tuple[LabelId, ...] | None = None


class StartStudio(_Body, frozen=True, kw_only=True):
    """PUT /studios/{sessionId}/start. Holds for the session that starts, and reverts after it."""

    configuration: SessionConfiguration = SessionConfiguration()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a request may refer to."""

    templates: Mapping[str, TemplateFacts]
    compute_env_ids: frozenset[ComputeEnvId]
    user_ids: frozenset[UserId]
    label_ids: frozenset[LabelId]
    settings: WorkspaceSettings


def with_template(request: CreateStudio, inherited: str | None) -> CreateStudio:
    """Return the request naming a template; `inherited` is the one of the checkpoint's Studio."""
    named = request.data_studio_tool_url or inherited or USUAL_TEMPLATE
    return msgspec.structs.replace(request, data_studio_tool_url=named)


def parse_template(tool_url: str | None, templates: Mapping[str, TemplateFacts]) -> str | None:
    """Return the name of the template that `tool_url` means, or None if there is none."""
    name, _, tag = (tool_url or "").partition(":")
    facts = templates.get(name)
    return name if facts is not None and tag in {"", facts.tag} else None


def problems_of_create(request: CreateStudio, world: World) -> list[str]:
    return [
        *problems_of_name(request.name),
        *_description(request.description),
        *_template(request.data_studio_tool_url, world),
        *_compute_env(request.compute_env_id, world),
        *_configuration(request.configuration, world),
        *_people(request.allowed_user_ids, world),
        *_labels(request.label_ids, world),
        *_unavailable(request),
    ]


def problems_of_update(request: UpdateStudio, world: World) -> list[str]:
    return [
        *(() if request.name is None else problems_of_name(request.name)),
        *_description(request.description or ""),
        *(() if request.configuration is None else _configuration(request.configuration, world)),
        *_people(request.allowed_user_ids or (), world),
        *_labels(request.label_ids or (), world),
    ]


def problems_of_start(request: StartStudio, world: World) -> list[str]:
    wanted = request.configuration
    return [
        *_lifespan(wanted.lifespan_hours, world),
        *_environment(wanted.environment),
        *_resources(cpu=wanted.cpu, memory=wanted.memory, gpu=wanted.gpu),
    ]


def problems_of_settings(settings: WorkspaceSettings) -> list[str]:
    problems = [
        *_hours(settings.lifespan_hours),
        *problems_of_text(settings.container_repository, what="containerRepository"),
        *problems_of_text(settings.name_strategy, what="nameStrategy"),
    ]
    if settings.running_sessions_max is not None and settings.running_sessions_max < 1:
        problems.append("The limit of running sessions is at least 1: leave it out for no limit.")
    return problems


def normal(name: str) -> str:
    """One spelling of what looks the same: names are unique, and typed by people."""
    return unicodedata.normalize("NFC", name)


def has_control(text: str) -> bool:
    """Whether text holds characters that nobody sees, or that end a line."""
    return any(unicodedata.category(character) in _UNSEEN for character in text)


def problems_of_text(text: str, *, what: str) -> list[str]:
    """What is wrong with a short text that is kept and shown, and nothing more."""
    return [f"{what} contains a control character: remove it."] if has_control(text) else []


def problems_of_name(name: str) -> list[str]:
    """What is wrong with a Studio's name; empty if nothing is."""
    if not name.strip():
        return ["The name is empty: give the Studio a name."]
    if len(name) > NAME_LENGTH_MAX:
        return [f"The name has {len(name)} characters: shorten it to {NAME_LENGTH_MAX}."]
    if has_control(name):
        return ["The name contains a control character: use letters, digits and punctuation."]
    if name != name.strip():
        return ["The name begins or ends with a space: remove it."]
    return []


def problems_of_user_name(name: str) -> list[str]:
    """What is wrong with a person's name; it travels in a header to the tool."""
    return [
        problem.replace("the Studio a name", "the user a name")
        for problem in problems_of_name(name)
    ]


def _description(description: str) -> Iterator[str]:
    if len(description) > DESCRIPTION_LENGTH_MAX:
        yield (
            f"The description has {len(description)} characters: "
            f"shorten it to {DESCRIPTION_LENGTH_MAX}."
        )
    if "\0" in description:
        yield "The description contains a NUL character: remove it."


def _template(tool_url: str | None, world: World) -> Iterator[str]:
    if parse_template(tool_url, world.templates) is None:
        offered = ", ".join(f"{name}:{t.tag}" for name, t in sorted(world.templates.items()))
        yield f"There is no template “{tool_url}”: choose one of {offered or 'none installed'}."


def _compute_env(compute_env_id: ComputeEnvId, world: World) -> Iterator[str]:
    if compute_env_id not in world.compute_env_ids:
        offered = ", ".join(sorted(world.compute_env_ids))
        yield f"There is no compute environment “{compute_env_id}”: choose one of {offered}."


def _configuration(wanted: Configuration, world: World) -> Iterator[str]:
    yield from _lifespan(wanted.lifespan_hours, world)
    yield from _environment(wanted.environment)
    yield from _resources(cpu=wanted.cpu, memory=wanted.memory, gpu=wanted.gpu)
    if wanted.mount_data or wanted.mount_data_v2:
        yield "Mounting data is not available here yet: leave mountData out."
    if wanted.conda_environment:
        yield "Conda packages need a built image, not available here yet: install them later."
    if wanted.ssh_enabled:
        yield "SSH is not available here yet: leave sshEnabled out."


def _lifespan(hours: int | None, world: World) -> Iterator[str]:
    locked = world.settings.lifespan_hours
    if hours is not None and locked is not None and hours != locked:
        yield (
            f"The workspace sets the lifespan to {_spoken(locked)}: leave lifespanHours out, "
            "or ask an Owner or Admin to change the workspace's setting."
        )
        return
    yield from _hours(hours)


def _spoken(hours: int) -> str:
    return "keep running" if hours == KEEP_RUNNING else f"{hours} hours"


def _hours(hours: int | None) -> Iterator[str]:
    if hours is not None and not 0 <= hours <= LIFESPAN_HOURS_MAX:
        yield (
            f"A lifespan of {hours} hours is not possible: choose 1 to {LIFESPAN_HOURS_MAX}, "
            "or 0 to keep running."
        )


def _environment(environment: Mapping[str, str]) -> Iterator[str]:
    if len(environment) > VARIABLES_MAX:
        yield f"There are {len(environment)} environment variables: use {VARIABLES_MAX} at most."
        return
    for name, value in environment.items():
        if not _VARIABLE_NAME.fullmatch(name):
            yield (
                f"{name[:NAME_LENGTH_MAX]!r} is no name for an environment variable: "
                "use letters, digits and _, not beginning with a digit."
            )
        elif name.startswith(RESERVED_PREFIX):
            yield f"{name} is reserved for Studios: choose a name without {RESERVED_PREFIX}."
        elif "\0" in value:
            yield f"The value of {name} contains a NUL character: remove it."
        elif len(value.encode(errors="replace")) > VARIABLE_BYTES_MAX:
            yield f"The value of {name} is over {VARIABLE_BYTES_MAX} bytes: put it into a file."


def _resources(*, cpu: int | None, memory: int | None, gpu: int | None) -> Iterator[str]:
    if cpu is not None and not 1 <= cpu <= CPU_MAX:
        yield f"{cpu} CPUs are not possible: choose 1 to {CPU_MAX}."
    if memory is not None and not MEMORY_MIB_MIN <= memory <= MEMORY_MIB_MAX:
        yield (
            f"{memory} MiB of memory are not possible: choose {MEMORY_MIB_MIN} to {MEMORY_MIB_MAX}."
        )
    if gpu is not None and not 0 <= gpu <= GPU_MAX:
        yield f"{gpu} GPUs are not possible: choose 0 to {GPU_MAX}."


def _people(ids: tuple[UserId, ...], world: World) -> Iterator[str]:
    if len(ids) > IDS_MAX:
        yield f"{len(ids)} allowed users are too many: name {IDS_MAX} at most."
        return
    for user_id in sorted(set(ids) - world.user_ids):
        yield f"There is no user {user_id} in this workspace: take the id from the list of users."


def _labels(ids: tuple[LabelId, ...], world: World) -> Iterator[str]:
    if len(ids) > IDS_MAX:
        yield f"{len(ids)} labels are too many: use {IDS_MAX} at most."
        return
    for label_id in sorted(set(ids) - world.label_ids):
        yield f"There is no label {label_id}: take the id from the list of labels."


def _unavailable(request: CreateStudio) -> Iterator[str]:
    if request.spot:
        yield "Spot machines are not available here yet: leave spot out."
    if request.remote_config is not None:
        yield "Git repositories are not available here yet: leave remoteConfig out."
