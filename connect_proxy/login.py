"""The hand-off with the control plane, which alone knows who somebody is.

    /lab, no cookie ──302──▶ <platform>/connect/authorize?host&return&state
                                     │ signs the person in, makes a code (once, 60 s)
    /_connect/callback?code&return&state ◀──302──┘
         │ state = the nonce cookie of this browser; code → connect token
         └──302──▶ /lab, with the cookie

The nonce keeps an attacker from finishing a sign-in of their own in somebody else's browser. It is
reused while it lives, so that several tabs may sign in at the same time.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from common.http1.replies import Action, Reply, redirect
from connect_proxy.control_plane import ControlPlaneUnavailableError, TokenRefusedError
from connect_proxy.pages import error

if TYPE_CHECKING:
    from common.http1.head import RequestHead
    from connect_proxy.control_plane import ControlPlane
    from connect_proxy.cookies import CookieJar, CookieNames
    from connect_proxy.grants import Grants
    from connect_proxy.routing import SessionRoute
    from connect_proxy.sessions import SessionDirectory

CALLBACK_PATH = b"/_connect/callback"
_NONCE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_QUERY_BYTES_MAX = 16 * 1024
_QUERY_FIELDS_MAX = 10


def _query(head: RequestHead) -> dict[str, list[str]]:
    query = head.target.partition(b"?")[2][:_QUERY_BYTES_MAX].decode("latin-1")
    try:
        return parse_qs(query, max_num_fields=_QUERY_FIELDS_MAX)
    except ValueError:  # too many: none that the control plane sent
        return {}


def safe_return(target: str) -> str:
    """Return `target` if it is a path on this host, else the root. Pure."""
    if not target.startswith("/") or target.startswith("//") or "\\" in target:
        return "/"
    if any(ord(character) < 0x21 or ord(character) == 0x7F for character in target):
        return "/"
    return quote(target, safe="%/:=&?~#+!$,;'@()*[]")


class Login:
    """Sends people to the control plane and takes them back."""

    def __init__(
        self,
        *,
        platform_origin: str,
        names: CookieNames,
        control_plane: ControlPlane,
        grants: Grants,
        directory: SessionDirectory,
    ) -> None:
        self._platform_origin = platform_origin
        self._names = names
        self._control_plane = control_plane
        self._grants = grants
        self._directory = directory

    def begin(self, head: RequestHead, route: SessionRoute, jar: CookieJar) -> Reply:
        """Redirect a navigation to the control plane."""
        nonce = next((n for n in jar.nonce if _NONCE.fullmatch(n)), None) or secrets.token_hex(16)
        target = safe_return(head.target.decode("latin-1"))
        query = f"host={quote(route.host)}&return={quote(target, safe='')}&state={nonce}"
        location = f"{self._platform_origin}/connect/authorize?{query}"
        return redirect(location, self._names.set_nonce(nonce))

    async def finish(
        self, head: RequestHead, route: SessionRoute, jar: CookieJar, request_id: str
    ) -> Reply:
        """Answer the callback: check the nonce, redeem the code, set the cookie."""
        fields = _query(head)
        code, state = fields.get("code", [""])[0], fields.get("state", [""])[0]
        target = safe_return(fields.get("return", ["/"])[0])
        again = Action("Open the session again", target)
        signed_in = self._is_signed_in(route, jar)
        if not any(hmac.compare_digest(state.encode(), nonce.encode()) for nonce in jar.nonce):
            if signed_in:
                return redirect(target)
            return self._failed(
                400,
                "The sign-in was begun in another browser or too long ago, or this one keeps no "
                "cookies for this address. Open the session again.",
                again,
                request_id,
            )
        try:
            token = await self._control_plane.redeem(code, route.host)
        except TokenRefusedError:
            if signed_in:
                return redirect(target)
            return self._failed(
                400,
                "The sign-in code was used already or is too old. Open the session again.",
                again,
                request_id,
            )
        except ControlPlaneUnavailableError:
            return self._failed(
                503, "The platform does not answer at the moment. Try again.", again, request_id
            )
        if self._grants.check(token, route.host) is None:
            return self._failed(
                502, "The platform's answer was not signed by it. Try again.", again, request_id
            )
        return redirect(target, self._names.set_connect(token))

    def _is_signed_in(self, route: SessionRoute, jar: CookieJar) -> bool:
        """Whether the page would let this browser in: then an old code or nonce doesn't matter.

        That is the way back with the browser's back button. A code that is good goes first all the
        same: somebody else may have signed in on this browser. A token that the page would refuse,
        or ask about, must not count: it would send the browser to and fro without end.
        """
        session = self._directory.get(route.session_id)
        version = session.access_version if session is not None else 0
        grant = self._grants.find(jar.connect, route.host, version)
        return grant is not None and not grant.claims.refused and grant.claims.av >= version

    def _failed(self, status: int, sentence: str, action: Action, request_id: str) -> Reply:
        return error(
            status,
            sentence,
            navigation=True,
            request_id=request_id,
            title="Signing in didn't work",
            action=action,
        )
