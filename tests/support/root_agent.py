"""A stand-in for the agent: makes one session root and does what its standard input asks.

`python -m tests.support.root_agent`, one JSON object a line in each direction; the first is the
setting. A secret is in its environment, its memory and an open file, for the session to look for.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.root import fuse_abort, kernel
from agent.root.conversation import SessionFailedError
from agent.root.hidden import Command
from agent.root.plan import Wishes, folders_to_empty, plan
from agent.root.precautions import take_precautions
from agent.root.session import SessionRoot
from agent.root.survey import real_paths, survey
from common import log
from common.clock import SystemClock
from common.session_spec import ResourceLimits

if TYPE_CHECKING:
    from agent.root.entering import EnteredProgram

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "xterm",
    "DEBIAN_FRONTEND": "noninteractive",
}
QUIET_SECONDS_MAX = 10.0  # on a terminal
_READ_BYTES = 1 << 16


class Agent:
    """One session root and the requests about it."""

    def __init__(self, setting: dict[str, Any], precautions: tuple[str, ...]) -> None:
        self._precautions = precautions
        self._setting = setting
        self._folder = Path(setting["folder"])
        self._output, self._output_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._output, False)
        self._printed = bytearray()
        self._root = self._make_root()
        self._hanging: list[subprocess.Popen[str]] = []
        self._secret = setting.get("secret", "")
        self._secret_file = None
        if self._secret:
            path = self._folder / "secret"
            path.write_text(self._secret)
            self._secret_file = path.open()

    def _make_root(self) -> SessionRoot:
        setting = self._setting
        wishes = Wishes(
            engine="local",
            profile=setting.get("profile", "default"),
            hostname=setting["name"],
            lower=("/",),
            upper=f"{setting['volume']}/upper",
            work=f"{setting['volume']}/work",
            platform_folders=real_paths([*setting.get("platform_folders", ()), str(self._folder)]),
            own_network=setting.get("own_network", True),
            commands=tuple(Command(*pair) for pair in setting.get("commands", ())),
            given=tuple((source, target) for source, target in setting.get("given", ())),
            resources=ResourceLimits(**setting.get("resources", {})),
        )
        decided = plan(survey(real_paths(folders_to_empty(wishes))), wishes)
        return SessionRoot(
            decided,
            name=setting["name"],
            folder=self._folder / "mounts",
            clock=SystemClock(),
            on_change=lambda: None,
        )

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._output, self._collect)
        requests = asyncio.StreamReader(limit=1 << 24)
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(requests), os.fdopen(0, "rb")
        )
        try:
            await self._root.open(output_fd=self._output_end)
        except SessionFailedError as error:
            _answer({"failed": str(error), "printed": self._printed.decode(errors="replace")})
            return
        running = loop.create_task(self._root.run())
        try:
            _answer({"ready": True})
            while line := await requests.readline():
                request = json.loads(line)
                try:
                    _answer(await getattr(self, request.pop("do"))(**request))
                except SessionFailedError as error:
                    _answer({"failed": str(error)})
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            try:
                await self._root.close()
            finally:
                for server in self._hanging:
                    server.kill()
                    server.wait()

    def _collect(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._printed += os.read(self._output, _READ_BYTES)

    # ── Requests ─────────────────────────────────────────────────────────────

    async def start(self, arguments: list[str], wait: bool = True) -> dict[str, Any]:
        """As a child of the first process, like the tool."""
        self._printed.clear()
        program = await self._root.start(arguments, ENVIRONMENT, "/")
        if not wait:
            return {"pid": program.pid}
        code = await program.wait()
        self._collect()
        return {"code": code, "output": self._printed.decode(errors="replace")}

    async def enter(self, arguments: list[str], stdin: str = "") -> dict[str, Any]:
        """From outside, like `studios exec`."""
        given, given_end = os.pipe2(os.O_CLOEXEC)
        printed, printed_end = os.pipe2(os.O_CLOEXEC)
        program = await self._root.enter(
            arguments, ENVIRONMENT, "/", streams=(given, printed_end, printed_end)
        )
        os.close(given)
        os.close(printed_end)
        os.write(given_end, stdin.encode())
        os.close(given_end)
        output, code = await asyncio.gather(asyncio.to_thread(_read_all, printed), program.wait())
        return {"code": code, "output": output.decode(errors="replace")}

    async def terminal(self, arguments: list[str], typed: list[list[str]]) -> dict[str, Any]:
        """On a terminal. `typed` are pairs: what to wait for, what to type then."""
        program = await self._root.enter(
            arguments, ENVIRONMENT | {"PS1": "ready> "}, "/", streams=None
        )
        assert program.terminal_fd is not None
        output = await asyncio.to_thread(_type, program.terminal_fd, typed)
        os.close(program.terminal_fd)
        return {"code": await program.wait(), "output": output}

    async def enter_on_terminal_of_the_machine(self, arguments: list[str]) -> dict[str, Any]:
        """With streams that nobody should give: a terminal of the agent's own /dev."""
        near, far = os.openpty()
        program = await self._root.enter(arguments, ENVIRONMENT, "/", streams=(far, far, far))
        os.close(far)
        code = await program.wait()
        os.close(near)
        return {"code": code}

    async def enter_and_leave(self) -> dict[str, Any]:
        """Start something by exec, and end its helper as if the person were gone."""
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        program: EnteredProgram = await self._root.enter(
            ["sleep", "1000"], ENVIRONMENT, "/", streams=(null, null, null)
        )
        os.close(null)
        await program.close()
        return {}

    async def enter_and_forget(self) -> dict[str, Any]:
        """Start something by exec, and never ask for it again."""
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        self._forgotten = await self._root.enter(
            ["sleep", "1000"], ENVIRONMENT, "/", streams=(null, null, null)
        )
        os.close(null)
        return {}

    async def end(self) -> dict[str, Any]:
        """End the session; the agent lives on."""
        await self._root.close()
        return {}

    async def status(self) -> dict[str, Any]:
        status = self._root.status()
        return {
            "precautions": list(self._precautions),
            "gives_up": list(status.gives_up),
            "way_out_problem": status.way_out_problem,
            "memory_kills": list(status.memory_kills),
            "memory_kill_count": status.memory_kill_count,
            "process_limit_hits": status.process_limit_hits,
            "processes": sorted(self._root.processes()),
        }

    async def use(self) -> dict[str, Any]:
        use = await asyncio.to_thread(self._root.use)
        return {} if use is None else dataclasses.asdict(use)

    async def fetch(self, port: int) -> dict[str, Any]:
        """Send a request to a port of the session's loopback, from this loop."""
        address = self._root.address(port)
        assert address is not None
        received = bytearray()
        ended = asyncio.Event()

        class Client(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                received.extend(data)

            def connection_lost(self, exc: Exception | None) -> None:
                ended.set()

        try:
            transport, _ = await address.connect(Client)
        except OSError as error:
            return {"error": str(error)}
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"GET / HTTP/1.0\r\n\r\n")
        await ended.wait()
        return {"output": received.decode(errors="replace")}

    async def mount(self, path: str) -> dict[str, Any]:
        """Mount something below the session's root, as data links are."""
        target = self._folder / "mounts" / "root" / path.removeprefix("/")
        target.mkdir(parents=True, exist_ok=True)
        kernel.mount("studios-link", str(target), "tmpfs", kernel.MS_NODEV | kernel.MS_NOSUID)
        (target / "object").write_text("linked")
        return {}

    async def hang(self, path: str) -> dict[str, Any]:
        """Mount a data link that never answers a read, below the session's root."""
        target = self._folder / "mounts" / "root" / path.removeprefix("/")
        target.mkdir(parents=True)
        self._start_hanging(target)
        return await self.hear_hang()

    async def hear_hang(self) -> dict[str, Any]:
        """Wait for the next line of the last such server."""
        return {"heard": await asyncio.to_thread(self._hear_server, self._hanging[-1])}

    def _start_hanging(self, target: Path) -> None:
        command = [sys.executable, "-m", "tests.support.hanging_fuse", str(target)]
        self._hanging.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )

    @staticmethod
    def _hear_server(server: subprocess.Popen[str]) -> str:
        assert server.stdout is not None
        return server.stdout.readline().strip()

    async def abort_fuse(self, path: str) -> dict[str, Any]:
        root = self._folder / "mounts" / "root"
        target = root / path.removeprefix("/")
        aborted = await asyncio.to_thread(fuse_abort.abort_below, str(target))
        return {"aborted": [f"/{Path(point).relative_to(root)}" for point in aborted]}


def _read_all(fd: int) -> bytes:
    parts: list[bytes] = []
    while part := os.read(fd, _READ_BYTES):
        parts.append(part)
    os.close(fd)
    return b"".join(parts)


def _type(fd: int, typed: list[list[str]]) -> str:
    seen = ""
    for end, text in typed:
        seen += _read_until(fd, end)
        os.write(fd, text.encode())
    return seen + _read_until(fd, None)


def _read_until(fd: int, end: str | None) -> str:
    seen = ""
    while end is None or end not in seen:
        if not select.select([fd], [], [], QUIET_SECONDS_MAX)[0]:
            return f"{seen} [waited in vain for {end!r}]"
        try:
            part = os.read(fd, _READ_BYTES)
        except OSError:  # EIO: nobody has the other end any more
            break
        if not part:
            break
        seen += part.decode(errors="replace")
    return seen


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main() -> None:
    setting = json.loads(base64.b64decode(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.configure(program="root-agent")
    precautions = take_precautions()
    asyncio.run(Agent(setting, precautions).live())


if __name__ == "__main__":
    main()
