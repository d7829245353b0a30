"""Which Studio, template, compute environment or user is meant: pure choices from a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.ids import parse_session_id
from studios.failures import AmbiguousNameError, CommandError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studios.shapes import Checkpoint, ComputeEnv, Studio, Template
    from studios.shapes_of_people import User

LATEST = "latest"
"""What the newest checkpoint that holds something may be called; one of that very name wins."""


def looks_like_id(text: str) -> bool:
    try:
        parse_session_id(text)
    except ValueError:
        return False
    return True


def select(name: str, studios: Sequence[Studio]) -> Studio:
    """Return the only Studio of that name; names are not unique between people."""
    found = [studio for studio in studios if studio.name == name]
    if not found:
        raise NotFoundError(f"There is no Studio {name!r}: see them all with `studios list`.")
    if len(found) > 1:
        ids = ", ".join(sorted(studio.session_id for studio in found))
        raise AmbiguousNameError(
            f"{len(found)} Studios are named {name!r}: say which by id ({ids})."
        )
    return found[0]


def short_name(template: Template) -> str:
    """Return what people call a template: `registry/jupyterlab:4.6.1-0.1.0` is `jupyterlab`."""
    return template.name or template.repository.rsplit("/", 1)[-1].split(":", 1)[0]


def select_template(name: str, templates: Sequence[Template]) -> Template:
    """Return the template of that repository, short name or tool name."""
    for template in templates:
        if name == template.repository:
            return template
    for template in templates:
        if name.lower() in (short_name(template).lower(), template.tool.lower()):
            return template
    known = ", ".join(sorted(short_name(template) for template in templates))
    raise NotFoundError(f"There is no template {name!r}: choose one of {known or 'none'}.")


def select_compute_env(name: str | None, compute_envs: Sequence[ComputeEnv]) -> ComputeEnv:
    """Return the one of that name or id; without a name, the only one there is."""
    known = ", ".join(sorted(env.name or env.id for env in compute_envs))
    if name is None:
        if len(compute_envs) == 1:
            return compute_envs[0]
        raise CommandError(
            f"Say where it shall run with --compute-env: choose one of {known}."
            if known
            else "There is no compute environment to run a Studio in: ask an administrator."
        )
    for env in compute_envs:
        if name in (env.id, env.name):
            return env
    raise NotFoundError(
        f"There is no compute environment {name!r}: choose one of {known or 'none'}."
    )


def select_user(name: str, users: Sequence[User]) -> User:
    """Return the user of that name or id."""
    for user in users:
        if name in (user.user_name, str(user.id)):
            return user
    raise NotFoundError(f"There is no user {name!r}: see them all with `studios users list`.")


def select_checkpoint(wanted: str, studio: Studio, checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Return the Studio's checkpoint of that name or number, or the latest; newest come first."""
    for checkpoint in checkpoints:
        if checkpoint.name == wanted:
            return checkpoint
    for checkpoint in checkpoints:
        if str(checkpoint.id) == wanted:
            return checkpoint
    found = latest(checkpoints)
    if wanted == LATEST and found is not None:
        return found
    seen = f"see them with `studios checkpoints list {studio.session_id}`."
    if wanted == LATEST:
        raise NotFoundError(f"Nothing of {studio.name} was saved yet: {seen}")
    raise NotFoundError(f"{studio.name} has no checkpoint {wanted!r}: {seen}")


def latest(checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
    """Return the newest that holds something."""
    return next(
        (each for each in checkpoints if each.generation and each.status != "invalid"), None
    )
