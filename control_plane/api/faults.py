"""Errors as people meet them: a status code and a sentence that names the next step.

The service knows no status codes and the handlers catch nothing: the table here is the only place
where the two meet.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog
from aiohttp import web

from common.wire import encode
from control_plane.api.route import Reply
from control_plane.database_troubles import busy_sentence, disk_full_sentence
from control_plane.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    RefusedError,
    StorageFullError,
    StudiosError,
    TooLargeError,
    UnavailableError,
)
from control_plane.login.gates import NotLoggedInError
from control_plane.login.html import error_page

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

_log = structlog.get_logger()

REQUEST_ID_HEADER = "X-Request-Id"


_STATUS: tuple[tuple[type[StudiosError], int], ...] = (
    (InvalidError, 400),
    (NotLoggedInError, 401),
    (RefusedError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (TooLargeError, 413),
    (UnavailableError, 503),
    (StorageFullError, 507),
)

_UNEXPECTED = 500


class ErrorReply(Reply, frozen=True, kw_only=True):
    """What every error looks like."""

    message: str
    """A sentence that names the next step."""


def status_of(error: StudiosError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), _UNEXPECTED)


@web.middleware
async def translate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every exception into an answer; the outermost middleware but for metrics."""
    request_id = secrets.token_hex(8)
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        try:
            response = await handler(request)
        except StudiosError as error:
            response = _answer(request, status_of(error), str(error))
        except web.HTTPException as error:
            response = _translate_http(request, error)
        except ConnectionError:
            raise  # the client is gone: nobody to answer
        except Exception as error:  # noqa: BLE001 - a bug must end this request, not the server
            response = _answer_unexpected(request, error, request_id)
    if not response.prepared:
        response.headers[REQUEST_ID_HEADER] = request_id
    return response


def _answer_unexpected(
    request: web.Request, error: Exception, request_id: str
) -> web.StreamResponse:
    """Answer what no command expected: any may meet a full or busy database, the rest are bugs."""
    if isinstance(error, sa.exc.DBAPIError) and (trouble := _trouble(error)):
        _log.warning(
            "database_trouble", method=request.method, path=request.path, error=str(error.orig)
        )
        return _answer(request, status_of(trouble), str(trouble))
    _log.error("request_failed", method=request.method, path=request.path, exc_info=error)
    return _answer(
        request,
        _UNEXPECTED,
        "Something went wrong on our side. Try again; if it stays, ask your administrator "
        f"to look for request {request_id} in the log.",
    )


def _trouble(error: sa.exc.DBAPIError) -> StudiosError | None:
    if sentence := disk_full_sentence(error):
        return StorageFullError(sentence)
    if sentence := busy_sentence(error):
        return UnavailableError(sentence)
    return None


def _translate_http(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    """Answer what aiohttp itself refused; redirects pass."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        answer = _answer(
            request,
            error.status,
            f"{request.method} is not possible on {request.path}: use {allowed}.",
        )
        answer.headers["Allow"] = allowed
        return answer
    if isinstance(error, web.HTTPNotFound):
        return _answer(
            request,
            error.status,
            f"There is nothing at {request.path}. /api/openapi.json lists every call.",
        )
    if error.status >= 400:
        return _answer(request, error.status, f"The request can't be answered: {error.reason}.")
    raise error


def _answer(request: web.Request, status: int, sentence: str) -> web.StreamResponse:
    if not request.path.startswith("/api/") and "text/html" in request.headers.get("Accept", ""):
        return error_page(status, sentence)
    response = web.Response(
        status=status,
        body=encode(ErrorReply(message=sentence)),
        content_type="application/json",
        charset="utf-8",
    )
    if status == web.HTTPUnauthorized.status_code:
        response.headers["WWW-Authenticate"] = 'Bearer realm="studios"'
    if status == web.HTTPServiceUnavailable.status_code:
        response.headers["Retry-After"] = "5"
    return response
