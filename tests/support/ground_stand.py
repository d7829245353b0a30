"""Where a contract for grounds is tried: a ground, what its programs print, and the claims."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from agent.parts import CannotStartError
from agent.supervisor.plain_http import listening
from tests.support.agent_rig import SESSION_PYTHON, until

if TYPE_CHECKING:
    from agent.parts import EnteredProgram, OwnGround, Program

CLAIM_SECONDS_MAX = 20.0  # for a failing one
GRACE_SECONDS = 10.0  # more than anything needs that ends by itself
SECRET = "STUDIOS_TEST_SECRET"
"""A variable that the ground's maker has, and no program on it."""

SERVE = "print('serving', flush=True); server.serve_forever()"
_SERVER = """
import http.server, os, signal, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"hello")
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
"""
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "GREETING": "hello"}


@dataclass
class Stand:
    """A ground under test and what its programs print."""

    ground: OwnGround
    working_directory: str
    port: int
    printed: bytes = b""

    async def start(self, *arguments: str) -> Program:
        return await self.ground.start(arguments, _ENVIRONMENT, self.working_directory)

    async def shell(self, script: str) -> Program:
        return await self.start("sh", "-c", script)

    async def serve(self, source: str) -> Program:
        """Start a program that has `server` listen on `port`; return once it says `serving`."""
        program = await self.start(SESSION_PYTHON, "-c", _SERVER + source, str(self.port))
        await self.prints(b"serving")
        return program

    async def prints(self, text: bytes) -> None:
        await until(lambda: text in self.printed, what=f"{text!r} is printed")

    async def listens(self) -> bool:
        return await listening(self.ground.address(self.port))

    async def enter(
        self,
        *arguments: str,
        streams: tuple[int, int, int] | None,
        terminal_size: tuple[int, int] = (24, 80),
        outlives_agent: bool = False,
    ) -> EnteredProgram:
        return await self.ground.enter(
            arguments,
            _ENVIRONMENT,
            self.working_directory,
            streams=streams,
            terminal_size=terminal_size,
            outlives_agent=outlives_agent,
        )

    async def enter_server(self, *, outlives_agent: bool) -> EnteredProgram:
        """Enter with a program that listens on `port`; return once it does."""
        source = f"{_SERVER}print('serving', flush=True); server.serve_forever()"
        null, read, write = _null_and_pipe()
        try:
            arguments = (SESSION_PYTHON, "-c", source, str(self.port))
            streams = (null, write, write)
            program = await self.enter(*arguments, streams=streams, outlives_agent=outlives_agent)
            assert await asyncio.to_thread(os.read, read, 100) == b"serving\n"
        finally:
            for fd in (null, read, write):
                os.close(fd)
        return program

    async def answer(self, *arguments: str) -> tuple[int, bytes]:
        """Enter with a program; return its exit code and what it prints."""
        null, read, write = _null_and_pipe()
        with os.fdopen(read, "rb") as answers:
            try:
                program = await self.enter(*arguments, streams=(null, write, write))
            finally:
                os.close(null)
                os.close(write)
            try:
                return await program.wait(), await asyncio.to_thread(answers.read)
            finally:
                await program.close()

    async def starts_nothing(self) -> None:
        """Fail if anything can be started."""
        for act in (self.shell("true"), self.enter("true", streams=None)):
            with pytest.raises(CannotStartError, match=" "):
                await act


Claim = Callable[[Stand], Awaitable[None]]


@dataclass(frozen=True)
class Claims:
    """What holds at each stage of a ground's life."""

    unmade: list[Claim] = field(default_factory=list)
    made: list[Claim] = field(default_factory=list)
    left: list[Claim] = field(default_factory=list)

    def names(self) -> list[str]:
        return [claim.__name__ for claim in (*self.unmade, *self.made, *self.left)]


CLAIMS = Claims()
"""Filled by the modules that are the contract."""


def unmade(claim: Claim) -> Claim:
    CLAIMS.unmade.append(claim)
    return claim


def made(claim: Claim) -> Claim:
    CLAIMS.made.append(claim)
    return claim


def left(claim: Claim) -> Claim:
    CLAIMS.left.append(claim)
    return claim


def _null_and_pipe() -> tuple[int, int, int]:
    return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), *os.pipe2(os.O_CLOEXEC)
