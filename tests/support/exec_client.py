"""A client of `studios exec` that a test leads by the hand, through edge, tunnel and gateway."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from common.exec.framing import ClientFraming, Closed, Pinged, Ponged
from common.exec.handshake import ask, is_accepted
from common.exec.messages import (
    Credit,
    Exit,
    Notice,
    Order,
    Started,
    Stderr,
    Stdin,
    StdinEnd,
    Stdout,
)
from common.http1.head import ResponseHead, parse_response
from tests.support.rig import SESSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.exec.messages import FromAgent, FromClient
    from common.ids import SessionId
    from tests.support.rig import Rig

ANSWER_SECONDS_MAX = 30.0
NONCE = bytes(range(16))
HELD_LOOKS = 60  # in a row without a byte
OWN_BYTES_MAX = 4 * 1024 * 1024  # of our programs and this client, for one connection


class RefusedError(Exception):
    """The handshake was refused."""

    def __init__(self, head: ResponseHead, body: bytes) -> None:
        self.status = head.status
        is_json = head.fields.get(b"content-type") == b"application/json"
        self.sentence: str = json.loads(body)["message"] if is_json else ""
        super().__init__(f"{head.status} {self.sentence}")


class ExecClient:
    """One connection. `hear` gives what the session says, one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.framing = ClientFraming()
        self._heard: list[FromAgent | Pinged | Ponged | Closed] = []
        self.stdout = bytearray()
        """Megabytes come in small pieces: bytes would be copied for each."""
        self.stderr = bytearray()
        self.notices: list[str] = []
        self.credit = 0
        self.pid: int | None = None
        self.exit: Exit | None = None
        self.closed: Closed | None = None

    def say(self, *messages: FromClient) -> None:
        for message in messages:
            self._writer.write(self.framing.message(message))

    def send(self, data: bytes | bytearray) -> None:
        """Send bytes that are no message."""
        self._writer.write(data)

    async def drain(self) -> None:
        await self._writer.drain()

    async def hear(self) -> FromAgent | Pinged | Ponged | Closed | None:
        """Return the next that is said, noted as well; None at the connection's end."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            while not self._heard:
                try:
                    data = await self._reader.read(1 << 18)
                except ConnectionError:
                    return None
                if not data:
                    return None
                self._heard += self.framing.receive(data)
        found = self._heard.pop(0)
        self._note(found)
        return found

    def _note(self, found: FromAgent | Pinged | Ponged | Closed) -> None:
        match found:
            case Stdout(data):
                self.stdout += data
            case Stderr(data):
                self.stderr += data
            case Credit(size_bytes):
                self.credit += size_bytes
            case Started(pid):
                self.pid = pid
            case Notice(sentence):
                self.notices.append(sentence)
            case Exit():
                self.exit = found
            case Closed():
                self.closed = found
            case Pinged() | Ponged():
                pass

    async def until(self, what: str | bytes) -> bytes:
        """Hear until stdout holds this, and return what came up to it; that is then forgotten."""
        wanted = what.encode() if isinstance(what, str) else what
        while wanted not in self.stdout:
            assert await self.hear() is not None, (wanted, self.stdout, self.stderr, self.exit)
        before, _, self.stdout = self.stdout.partition(wanted)
        return bytes(before + wanted)

    async def started(self) -> int:
        """Hear until it has started; return its pid."""
        while self.pid is None:
            assert await self.hear() is not None
        return self.pid

    async def end(self) -> Exit:
        """Hear everything to the end, close, and return how the program ended."""
        while self.closed is None and await self.hear() is not None:
            pass
        assert self.exit is not None, (self.closed, self.stderr)
        self.close()
        return self.exit

    async def feed(self, data: bytes) -> None:
        """Send stdin as there is credit for it."""
        view = memoryview(data)
        while view:
            while not self.credit:
                assert await self.hear() is not None
            piece = bytes(view[: min(self.credit, 65536)])
            view = view[len(piece) :]
            self.credit -= len(piece)
            self.say(Stdin(piece))
            await self.drain()

    def close(self) -> None:
        """Close as the protocol has it."""
        self._writer.write(self.framing.close())
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()


async def held(pid: int, *, connections: int) -> int:
    """Wait until a program writes no more, and return how much it has written.

    Fail as soon as that is more than fits into so many connections on the way to its reader.
    """
    size_bytes_max = connections * (_tcp_bytes_max() + OWN_BYTES_MAX)
    still, before = 0, -1
    while still < HELD_LOOKS:
        await asyncio.sleep(0.005)
        written = _written_bytes(pid)
        assert written <= size_bytes_max, "nobody holds it"
        still = still + 1 if written == before else 0
        before = written
    return before


def _tcp_bytes_max() -> int:
    """Return how much the kernel holds back itself, for one connection in one direction."""
    limits = (Path(f"/proc/sys/net/ipv4/tcp_{end}mem").read_text() for end in "rw")
    return sum(int(limit.split()[2]) for limit in limits)


def _written_bytes(pid: int) -> int:
    fields = Path(f"/proc/{pid}/io").read_text().split()
    return int(fields[fields.index("wchar:") + 1])


@asynccontextmanager
async def exec_client(
    rig: Rig,
    *,
    session_id: SessionId = SESSION,
    token: str | None = None,
    extra: str = "",
    request: bytes | None = None,
) -> AsyncIterator[ExecClient]:
    """Yield a client whose handshake was accepted; raise RefusedError for one that wasn't."""
    reader, writer = await rig.connect()
    try:
        if request is None:
            if token is None:
                token = rig.platform.studio_token(session_id, "exec", "ada")
            host = rig.platform.host(session_id).encode()
            request = ask(b"/.studio/exec", host, token.encode(), NONCE)
        writer.write(request.replace(b"\r\n\r\n", f"\r\n{extra}\r\n".encode()))
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            head = parse_response(await reader.readuntil(b"\r\n\r\n"))
            if not is_accepted(head, NONCE):
                raise RefusedError(head, await reader.readexactly(head.content_length or 0))
        yield ExecClient(reader, writer)
    finally:
        writer.close()


async def run(rig: Rig, *words: str | bytes, stdin: bytes | None = None) -> ExecClient:
    """Run a command to its end; what it said is in the client."""
    arguments = tuple(word.encode() if isinstance(word, str) else word for word in words)
    async with exec_client(rig) as client:
        client.say(Order(arguments=arguments, stdin=stdin is not None))
        if stdin is not None:
            await client.feed(stdin)
            client.say(StdinEnd())
        await client.end()
        return client
