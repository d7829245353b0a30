"""The whole system as a user starts it: `studios up` in a process of its own, agents in theirs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil

from common.loopback import LoopbackResolver
from tests.support.rig import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

ROOT = Path(__file__).parents[2]
_ANSI = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
START_SECONDS = 50.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Live:
    """A running `studios up` and what it printed."""

    data_dir: Path
    port: int
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of its environment, and of the command line's."""
    process: asyncio.subprocess.Process | None = None
    output: bytearray = field(default_factory=bytearray)
    _readers: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://studio.localhost:{self.port}"

    @property
    def text(self) -> str:
        return _ANSI.sub(b"", bytes(self.output)).decode("utf-8", "replace")

    @property
    def token(self) -> str:
        return (self.data_dir / "admin-token").read_text().strip()

    def session_url(self, session_id: str) -> str:
        return f"http://a{session_id}.studio.localhost:{self.port}/"

    def environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        ours = {"HOME": str(self.data_dir), "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        return {**kept, **ours, **self.variables}

    async def up(self, *arguments: str) -> None:
        """Start it; return once its page answers."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "studios", "up", "--data-dir", str(self.data_dir),
            "--port", str(self.port), *arguments,
            env=self.environment(), stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        process = self.process
        loop = asyncio.get_running_loop()
        self._readers.append(loop.create_task(self._read(process)))
        await until(
            lambda: "Log in with this link" in self.text or process.returncode is not None,
            seconds=START_SECONDS,
            what="studios up is ready",
        )
        assert process.returncode is None, self.text

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while data := await process.stdout.read(65536):
            self.output += data

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        async with asyncio.timeout(60):
            code = await self.process.wait()
        for reader in self._readers:
            await reader
        self._readers.clear()
        return code

    async def studios(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command line as this system's administrator."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "studios", *arguments,
            env={**self.environment(), "STUDIOS_URL": self.url, "STUDIOS_TOKEN": self.token},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def api(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with (
            self.http() as http,
            http.request(
                method,
                self.url + path,
                json=body,
                headers={"Authorization": f"Bearer {self.token}"},
            ) as response,
        ):
            text = await response.text()
            return response.status, json.loads(text) if text else None

    def http(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=LoopbackResolver()),
            cookie_jar=aiohttp.CookieJar(),
        )

    async def add(self, name: str) -> str:
        """Add and start a JupyterLab Studio, wait until it runs, return its session id."""
        code, out, err = await self.studios(
            "add", name, "--template", "jupyterlab", "--wait", "running", "-o", "json"
        )
        assert code == 0, out + err
        session_id: str = json.loads(out)["sessionId"]
        return session_id

    async def sign_in(self, http: aiohttp.ClientSession, session_id: str) -> str:
        """Do what a browser does to reach a session; return the cookie header for its host."""
        code, out, err = await self.studios("login", "--link", "-o", "json")
        assert code == 0, out + err
        link = next(iter(re.findall(r"https?://[^\s\"]+", out)))
        token = link.partition("token=")[2].partition("&")[0]
        form, origin = {"token": token}, {"Origin": self.url}
        async with http.post(f"{self.url}/login", data=form, headers=origin) as response:
            assert response.status == 200, await response.text()
        navigate = {"Sec-Fetch-Mode": "navigate", "Accept": "text/html"}
        async with http.get(self.session_url(session_id), headers=navigate) as response:
            assert response.status == 200, await response.text()
        jar = http.cookie_jar.filter_cookies(response.url)
        return "; ".join(f"{name}={morsel.value}" for name, morsel in jar.items())

    def agents(self) -> list[psutil.Process]:
        """Return the agent processes of this data folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                line = process.cmdline()
                if "agent" in line and any(str(self.data_dir) in part for part in line):
                    found.append(process)
        return found

    async def close(self) -> None:
        """End everything that was started, whatever state it is in."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        for reader in self._readers:
            await reader
        trees = []
        for agent in self.agents():
            with contextlib.suppress(psutil.Error):
                trees += [agent, *agent.children(recursive=True)]
        for process in trees:
            with contextlib.suppress(psutil.Error):
                process.kill()
        await asyncio.to_thread(psutil.wait_procs, trees, timeout=10)


@contextlib.asynccontextmanager
async def running_system(
    folder: Path, *arguments: str, variables: Mapping[str, str] | None = None
) -> AsyncIterator[Live]:
    """`studios up`, ended with everything it started."""
    live = Live(folder / "data", free_port(), variables or {})
    try:
        await live.up(*arguments)
        yield live
    finally:
        await live.close()
