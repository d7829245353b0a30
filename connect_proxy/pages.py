"""What people and programs read when a session can't be shown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.http1.replies import Action, Reply, message, page

if TYPE_CHECKING:
    from common.edge_messages import EdgeSession

_REFRESH_SECONDS = 2
_SOON = {
    "building": "Its image is being built. This page opens it as soon as it runs.",
    "starting": "It is starting. This page opens it as soon as it answers.",
}
_STARTABLE = {
    "stopped": "It is stopped. Everything in it was kept; start it to go on.",
    "errored": "It ended with an error.",
    "buildFailed": "Its image could not be built.",
}


def error(
    status: int,
    sentence: str,
    *,
    navigation: bool,
    request_id: str,
    title: str = "This didn't work",
    action: Action | None = None,
) -> Reply:
    """Return an error as a page for people, as JSON for everything else."""
    if navigation:
        return page(status, title, sentence, request_id=request_id, action=action)
    return message(status, sentence, request_id=request_id)


def not_running(
    session: EdgeSession, *, navigation: bool, request_id: str, platform_origin: str
) -> Reply:
    """Return the holding page of a session that doesn't run at the moment."""
    if not navigation:
        sentence = f"The Studio {session.name!r} is {session.status}, not running."
        return message(503, sentence, request_id=request_id, retry_after_seconds=_REFRESH_SECONDS)
    title = f"{session.name}: {session.status}"
    detail = f" {session.message}" if session.message else ""
    start = Action("Open its page to start it", f"{platform_origin}/?start={session.session_id}")
    soon = _SOON.get(session.status)
    if soon is not None:
        return page(
            503, title, soon + detail, request_id=request_id, refresh_seconds=_REFRESH_SECONDS
        )
    if session.status == "stopping":
        sentence = "It is being stopped. Once it is, you can start it again."
        return page(
            503, title, sentence + detail, request_id=request_id, refresh_seconds=5, action=start
        )
    sentence = _STARTABLE.get(session.status, "It does not run.")
    return page(503, title, sentence + detail, request_id=request_id, action=start)
