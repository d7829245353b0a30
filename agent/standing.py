"""What a session's root is to be: a plan, from its spec and a survey of this machine.

Blocks for a few milliseconds; nothing is made.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from agent.inside.command import script
from agent.root.hidden import Command
from agent.root.launching import CODE
from agent.root.layers import make_mask
from agent.root.paths import is_within
from agent.root.plan import Wishes, folders_to_empty, plan
from agent.root.survey import real_paths, survey

if TYPE_CHECKING:
    from pathlib import Path

    from agent.root.plan import EngineKind, RootPlan
    from common.session_spec import SessionSpec

HOSTNAME_CHARACTERS_MAX = 63  # HOST_NAME_MAX is 64; DNS labels have 63
_NOT_IN_HOSTNAMES = re.compile(r"[^a-z0-9]+", re.ASCII)


def plan_root(
    spec: SessionSpec,
    *,
    active: str,
    lower: tuple[str, ...],
    state_folder: str,
    given: tuple[tuple[str, str], ...],
    own_network: bool,
) -> RootPlan:
    """Return the plan for a root on the attached volume's folder `active`, over layers `lower`.

    Raise OSError or UnusablePathError.
    """
    engine: EngineKind = "local" if spec.root.image == "host" else "container"
    wishes = Wishes(
        engine=engine,
        profile=spec.profile,
        hostname=hostname(spec.studio_name, spec.session_id),
        lower=lower,
        upper=f"{active}/upper",
        work=f"{active}/work",
        platform_folders=real_paths((*spec.root.hidden, state_folder, *own_folders())),
        carried=real_paths(spec.root.carried),
        commands=(Command("studio", script()),),
        given=given,
        own_network=own_network,
        graphics=engine == "container",
        resources=spec.resources,
    )
    return plan(survey(real_paths(folders_to_empty(wishes))), wishes)


def make_mask_of(spec: SessionSpec, state_folder: str, folder: Path) -> None:
    """Make in an empty folder what lies between the image and all that a session has changed.

    Raise OSError or UnusablePathError.
    """
    as_planned = plan_root(
        spec, active="/-", lower=("/",), state_folder=state_folder, given=(), own_network=True
    )
    make_mask(folder, as_planned.mask)


def own_folders() -> tuple[str, ...]:
    """Return where the agent's own program lies, unless that is where everybody's programs lie."""
    found = (str(CODE), sys.prefix)
    return tuple(path for path in found if not is_within(path, sys.base_prefix))


def hostname(studio_name: str, session_id: str) -> str:
    """Return a name that every program takes: the Studio's, as far as that can be said in ASCII."""
    name = _NOT_IN_HOSTNAMES.sub("-", studio_name.lower())
    return name[:HOSTNAME_CHARACTERS_MAX].strip("-") or f"studio-{session_id}"
