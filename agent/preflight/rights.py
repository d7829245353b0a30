"""The questions of `judgment` about the agent's own process, and what it may do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.preflight import needs
from agent.root.confinement import CAPABILITY_NUMBERS, DEFAULT_CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from agent.preflight.facts import Facts
    from agent.preflight.needs import Judged, Need


def is_privileged(facts: Facts) -> bool:
    """Tell if the kernel could allow it: otherwise every refusal has that one cause."""
    return (
        facts.user_id == 0
        and not facts.in_user_namespace
        and CAPABILITY_NUMBERS["sys_admin"] in facts.capabilities
    )


def identity(facts: Facts) -> Judged:
    yield needs.ROOT, "" if facts.user_id == 0 else f"this is user {facts.user_id}, not root"
    inside = "this is a user namespace, as of a rootless container"
    yield needs.MACHINES_USERS, inside if facts.in_user_namespace else ""


def capabilities(facts: Facts) -> Judged:
    if facts.user_id != 0:
        return

    yield capability("SYS_ADMIN", "mounts and namespaces", facts)
    missing = lacking(DEFAULT_CAPABILITIES, facts)
    need = needs.capabilities("capabilities", "the rights that sessions get", missing)
    yield need, _missing_capabilities(missing)
    loss = "sessions share the network of this host, and can't ping"
    yield capability("NET_ADMIN", "a network of each session's own", facts, loss=loss)


def capability(name: str, purpose: str, facts: Facts, *, loss: str = "") -> tuple[Need, str]:
    """Return the need of one, and the problem with it."""
    missing = lacking({name.lower()}, facts)
    need = needs.capabilities(name, purpose, missing, loss=loss)
    return need, _missing_capabilities(missing)


def lacking(names: AbstractSet[str], facts: Facts) -> tuple[str, ...]:
    """Return those of the capabilities that the agent doesn't have."""
    held = facts.capabilities
    return tuple(sorted(name.upper() for name in names if CAPABILITY_NUMBERS[name] not in held))


def _missing_capabilities(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    if len(names) == 1:
        return f"the capability {names[0]} is missing"
    return f"the capabilities {', '.join(names)} are missing"
