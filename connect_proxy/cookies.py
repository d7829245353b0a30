"""The edge's own cookies. Pure.

Two cookies, both for one session's host only: the connect token, and a nonce that ties a sign-in to
the browser that began it. A sibling session's page can set cookies for the parent domain that
arrive here under the same name; so every candidate is looked at, and the signature decides.
"""

from __future__ import annotations

from dataclasses import dataclass

CONNECT_SECONDS = 3600
NONCE_SECONDS = 600
CANDIDATES_MAX = 16
"""Cookies of one name that are looked at: checking a signature takes 130 µs. Browsers send what a
sibling planted beside ours, in an order that we can't choose, so one is not enough."""


@dataclass(frozen=True, slots=True)
class CookieNames:
    """The names under one scheme. `__Host-` makes browsers refuse what a sibling sets."""

    connect: bytes
    nonce: bytes
    secure: bool

    @staticmethod
    def for_scheme(scheme: str) -> CookieNames:
        if scheme == "https":
            return CookieNames(b"__Host-studio-connect", b"__Host-studio-nonce", secure=True)
        return CookieNames(b"studio-connect", b"studio-nonce", secure=False)

    def set_connect(self, token: str) -> bytes:
        """Return the Set-Cookie value for a connect token."""
        return self._set(self.connect, token.encode(), CONNECT_SECONDS)

    def drop_connect(self) -> bytes:
        """Return the Set-Cookie value that makes the browser forget its connect token."""
        return self._set(self.connect, b"", 0)

    def set_nonce(self, nonce: str) -> bytes:
        return self._set(self.nonce, nonce.encode(), NONCE_SECONDS)

    def _set(self, name: bytes, value: bytes, seconds: int) -> bytes:
        secure = b"; Secure" if self.secure else b""
        return b"%b=%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax%b" % (
            name,
            value,
            seconds,
            secure,
        )


@dataclass(frozen=True, slots=True)
class CookieJar:
    """What a request's Cookie fields hold: ours by kind, and `rest` for the tool."""

    connect: tuple[str, ...] = ()
    nonce: tuple[str, ...] = ()
    rest: bytes = b""


_EMPTY = CookieJar()


def read(fields: list[bytes], names: CookieNames) -> CookieJar:
    """Split the values of all Cookie fields; the tool's cookies stay byte for byte, in order."""
    if not fields:
        return _EMPTY
    connect: list[str] = []
    nonce: list[str] = []
    rest: list[bytes] = []
    for field in fields:
        for pair in field.split(b";"):
            name, _, value = pair.partition(b"=")
            name = name.strip()
            if name in (names.connect, names.nonce):
                found = connect if name == names.connect else nonce
                if len(found) < CANDIDATES_MAX:
                    found.append(value.strip().decode("latin-1"))
            elif pair.strip():
                rest.append(pair.strip())
    return CookieJar(tuple(connect), tuple(nonce), b"; ".join(rest))
