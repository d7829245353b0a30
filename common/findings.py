"""What a host has of what sessions need, as an agent there finds it and others tell it.

`python -m agent --check --json` prints it, `studios doctor` and `studios up` show it, and an agent
refuses with its text before it makes anything.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class _Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Unknown fields are ignored: an image's agent may be newer than who asks it."""


class Verdict(StrEnum):
    """How a need is met."""

    OK = "ok"
    WEAKER = "weaker"
    """Sessions run, with a loss."""
    MISSING = "missing"
    """No session can run."""


class Surroundings(StrEnum):
    """Where the agent stands: who could give it what it lacks."""

    MACHINE = "machine"
    DOCKER = "docker"
    PODMAN = "podman"
    KUBERNETES = "kubernetes"
    CONTAINER = "container"
    """Some other engine's."""


class Remedies(_Wire, frozen=True, kw_only=True):
    """What gives it: a command of a machine, flags of `docker run` and `podman run`, a pod's field.

    Each is short enough to stand in a sentence.
    """

    machine: str
    docker: str
    podman: str
    kubernetes: str

    def fitting(self, surroundings: Surroundings) -> str:
        """Return the one for these surroundings; other engines' flags are most like Docker's."""
        match surroundings:
            case Surroundings.MACHINE:
                return self.machine
            case Surroundings.PODMAN:
                return self.podman
            case Surroundings.KUBERNETES:
                return self.kubernetes
            case Surroundings.DOCKER | Surroundings.CONTAINER:
                return self.docker


class Finding(_Wire, frozen=True, kw_only=True):
    """One need and how it is met."""

    need: str
    """A short name: `loop devices`."""
    verdict: Verdict
    purpose: str
    """What it is for, as it follows "for"."""
    problem: str = ""
    """What was found instead, as a sentence begins with it; empty if it is met."""
    loss: str = ""
    """What sessions do without, as a clause; only of what is weaker."""
    remedies: Remedies | None = None
    """How to get it; None if it is met."""


class Findings(_Wire, frozen=True, kw_only=True):
    """All of one look at a host."""

    surroundings: Surroundings
    thorough: bool
    """Was everything tried? Else only what an agent looks at before each session."""
    findings: tuple[Finding, ...]

    def having(self, verdict: Verdict) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.verdict is verdict)

    def remedy(self, finding: Finding) -> str:
        """Return how to get it here; empty if it is met."""
        if finding.remedies is None:
            return ""
        return finding.remedies.fitting(self.surroundings)


def refusal_text(found: Findings) -> str:
    """Return one text that names all that is missing, and how to get it; empty if nothing is."""
    missing = found.having(Verdict.MISSING)
    if not missing:
        return ""
    parts = [
        f"{finding.problem}, needed for {finding.purpose} ({found.remedy(finding)})"
        for finding in missing
    ]
    return f"Sessions can't run here: {'; '.join(parts)}."


def warnings(found: Findings) -> tuple[str, ...]:
    """Return a sentence for each loss."""
    return tuple(
        f"{_capital(finding.problem)}: {finding.loss} ({found.remedy(finding)})."
        for finding in found.having(Verdict.WEAKER)
    )


def flags(found: Findings) -> str:
    """Return all flags for `docker run` or `podman run` that would help here; empty elsewhere."""
    if found.surroundings in {Surroundings.MACHINE, Surroundings.KUBERNETES}:
        return ""
    remedies = [found.remedy(finding) for finding in found.findings]
    return " ".join(dict.fromkeys(remedy for remedy in remedies if remedy.startswith("-")))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
