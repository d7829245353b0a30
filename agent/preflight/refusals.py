"""Who may have refused something to root with every capability, and what lifts it. Pure."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from agent.preflight import needs
from common.findings import Remedies

if TYPE_CHECKING:
    from agent.preflight.facts import Facts

REFUSALS = frozenset({errno.EPERM, errno.EACCES})


def cure(facts: Facts, error: int) -> Remedies:
    """Return what helps against an error while something was tried."""
    return lifting(facts) if error in REFUSALS else needs.UNKNOWN


def lifting(facts: Facts) -> Remedies:
    """Return what lifts everything here that refuses: who of several did is not to be seen."""
    found: list[Remedies] = []
    if facts.filtered:
        found.append(needs.UNFILTERED)
    if facts.confined_by:
        is_domain = ":" in facts.confined_by  # user:role:type:level
        found.append(needs.UNCONFINED_SELINUX if is_domain else needs.UNCONFINED_APPARMOR)
    if facts.masked:
        found.append(needs.UNMASKED)
    if not found:
        return needs.UNKNOWN
    return Remedies(
        machine=", ".join(remedy.machine for remedy in found),
        docker=" ".join(remedy.docker for remedy in found),
        podman=" ".join(remedy.podman for remedy in found),
        kubernetes=", ".join(remedy.kubernetes for remedy in found),
    )


def by_whom(facts: Facts) -> str:
    """Return the end of a sentence that says what was refused."""
    if facts.filtered:
        return " by a seccomp filter"
    return f" by {facts.confined_by}" if facts.confined_by else ""
