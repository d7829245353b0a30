"""The session's own network, and its way out.

    session's namespace        router's namespace                 the agent's namespace
    lo, eth0 10.0.3.2  ──────  10.0.3.1  forwards  10.0.2.100  ──  slirp4netns ── ordinary sockets

**Why a router in between.** slirp4netns opens whatever address a packet names, on behalf of the
machine, so what the session must not reach has to be stopped before it. A route in the session's
own namespace would not do: with NET_RAW, which ping needs, root there writes packets with any
destination on any interface. In the router's namespace the session has no process and no rights;
whatever it sends arrives at an interface and is routed, and the routes to the machine's metadata
say unreachable. It takes no filter in the kernel and no program but slirp4netns.

slirp4netns runs in a sandbox of its own making: no capability that matters, an empty root, a filter
for system calls. To empty its root it unmounts everything, and that would reach whatever shares
mounts with it: data links would vanish from the session. So it starts with copies of the mounts
that tell nobody. It refuses the host's loopback. It ends with the agent, however that ends: its
parent-death signal, and a pipe that closes.

Where it isn't installed, or ends again and again, the session has a network without a way out, and
the status says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess  # noqa: TID251 - see launching
from typing import TYPE_CHECKING

import structlog

from agent.root import rtnetlink
from agent.root.addresses import (
    LOOPBACK_NAME,
    MTU_BYTES,
    OUTBOUND_INTERFACE,
    ROUTER_ADDRESS,
    ROUTER_INTERFACE,
    SESSION_ADDRESS,
    SESSION_INTERFACE,
    UNREACHABLE,
)
from agent.root.namespaces import new_network, within_network
from agent.root.rtnetlink import FORWARDING, PROXY_ARP, Netlink

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.clock import Clock

READY_SECONDS_MAX = 5.0  # takes some milliseconds
RESTART_SECONDS = 2.0  # nothing else can be done for a program that ends at once
_COMPLAINT_BYTES_MAX = 2048
_PROGRAMS = ("setpriv", "unshare", "slirp4netns")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_log = structlog.get_logger()


class NetworkUnavailableError(Exception):
    """There can be no network namespace here. The text is a sentence for the user."""


class SessionNetwork:
    """Both namespaces and the way out. Made switched on but for that; `close` it."""

    def __init__(self) -> None:
        """Take some milliseconds; raise NetworkUnavailableError."""
        with contextlib.ExitStack() as undo:
            try:
                self.session_fd = new_network()
                undo.callback(os.close, self.session_fd)
                self._router_fd = new_network()
                undo.callback(os.close, self._router_fd)
                self._connect()
            except OSError as error:
                raise NetworkUnavailableError(
                    f"no network can be made for the session: {error}"
                ) from None
            undo.pop_all()
        self.problem: str | None = "the session's way out is being made"
        """Why there is no way out; None while there is one."""

    def close(self) -> None:
        """Let go of the namespaces; they end with their last process."""
        os.close(self.session_fd)
        os.close(self._router_fd)

    def _connect(self) -> None:
        with within_network(self._router_fd), Netlink() as router:
            router.ask(rtnetlink.link_up(socket.if_nametoindex(LOOPBACK_NAME)))
            for network in UNREACHABLE:
                router.ask(rtnetlink.unreachable_route(network), create=True)
            pair = rtnetlink.new_pair(
                ROUTER_INTERFACE,
                SESSION_INTERFACE,
                peer_network_fd=self.session_fd,
                mtu_bytes=MTU_BYTES,
            )
            router.ask(pair, create=True)
            index = socket.if_nametoindex(ROUTER_INTERFACE)
            router.ask(rtnetlink.new_address(index, ROUTER_ADDRESS), create=True)
            router.ask(rtnetlink.link_up(index, {FORWARDING: 1}))
        with within_network(self.session_fd), Netlink() as session:
            session.ask(rtnetlink.link_up(socket.if_nametoindex(LOOPBACK_NAME)))
            index = socket.if_nametoindex(SESSION_INTERFACE)
            session.ask(rtnetlink.new_address(index, SESSION_ADDRESS), create=True)
            session.ask(rtnetlink.link_up(index))
            session.ask(rtnetlink.default_route(ROUTER_ADDRESS.ip), create=True)

    # ── The way out ──────────────────────────────────────────────────────────

    async def keep_way_out(self, clock: Clock, on_change: Callable[[], None]) -> None:
        """Have a way out until cancelled; make it again when it ends. See `problem`."""
        while True:
            try:
                async with _WayOut(self._router_fd) as way:
                    self._forward()
                    self.problem = None
                    on_change()
                    await way.ended()
                    self.problem = f"the session's way out ended: {way.complaint()}"
            except (OSError, NetworkUnavailableError) as error:
                self.problem = str(error)
            _log.warning("session_network_without_way_out", problem=self.problem)
            on_change()
            await clock.sleep(RESTART_SECONDS)

    def _forward(self) -> None:
        settings = {FORWARDING: 1, PROXY_ARP: 1}
        with within_network(self._router_fd), Netlink() as router:
            router.ask(rtnetlink.link_up(socket.if_nametoindex(OUTBOUND_INTERFACE), settings))


class _WayOut:
    """One life of slirp4netns."""

    def __init__(self, router_fd: int) -> None:
        self._router_fd = router_fd
        self._complaint = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._ended = asyncio.Event()
        self._closing = contextlib.ExitStack()

    async def __aenter__(self) -> _WayOut:
        try:
            ready = self._start()
            async with asyncio.timeout(READY_SECONDS_MAX):
                await self._wait_ready(ready)
        except BaseException as error:
            await self.__aexit__()
            if isinstance(error, TimeoutError):
                raise NetworkUnavailableError("slirp4netns does not become ready") from None
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            if self._process is not None:
                self._process.kill()
                await self._ended.wait()
        finally:
            self._closing.close()

    async def ended(self) -> None:
        await self._ended.wait()

    def complaint(self) -> str:
        """Return the last line that it printed."""
        lines = self._complaint.decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")

    def _start(self) -> int:
        """Start it; return the descriptor that becomes readable once it is ready."""
        ready, ready_end = os.pipe2(os.O_CLOEXEC)
        self._closing.callback(os.close, ready)
        exit_end, leave = os.pipe2(os.O_CLOEXEC)
        printed, printed_end = os.pipe2(os.O_CLOEXEC)
        self._closing.callback(os.close, printed)
        with contextlib.ExitStack() as given:
            for fd in (ready_end, exit_end, printed_end):
                given.callback(os.close, fd)
            self._closing.callback(os.close, leave)
            process = subprocess.Popen(
                _command(ready_end, exit_end, self._router_fd),
                pass_fds=(ready_end, exit_end, self._router_fd),
                env={"PATH": _PATH},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=printed_end,
                stderr=printed_end,
            )
        self._closing.callback(process.wait)
        self._closing.callback(process.kill)
        self._watch(process, printed)
        self._process = process
        return ready

    def _watch(self, process: subprocess.Popen[bytes], printed: int) -> None:
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(process.pid)
        self._closing.callback(os.close, pidfd)
        loop.add_reader(pidfd, self._on_end, pidfd)
        self._closing.callback(loop.remove_reader, pidfd)
        os.set_blocking(printed, False)
        loop.add_reader(printed, self._on_print, printed)
        self._closing.callback(loop.remove_reader, printed)

    def _on_end(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        self._ended.set()

    def _on_print(self, printed: int) -> None:
        try:
            data = os.read(printed, _COMPLAINT_BYTES_MAX)
        except BlockingIOError:
            return
        if not data:
            asyncio.get_running_loop().remove_reader(printed)
        self._complaint = (self._complaint + data)[-_COMPLAINT_BYTES_MAX:]

    async def _wait_ready(self, ready: int) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(ready, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(ready)
        if not os.read(ready, 1):
            await self._ended.wait()
            raise NetworkUnavailableError(f"slirp4netns can't run here: {self.complaint()}")


def _command(ready_fd: int, exit_fd: int, router_fd: int) -> list[str]:
    programs = {name: shutil.which(name, path=_PATH) for name in _PROGRAMS}
    for name, program in programs.items():
        if program is None:
            raise NetworkUnavailableError(f"{name} is missing: the session has no way out")
    return [
        str(programs["setpriv"]),
        *("--pdeathsig", "KILL", "--"),
        str(programs["unshare"]),
        *("--mount", "--propagation", "slave", "--"),
        str(programs["slirp4netns"]),
        "--configure",
        f"--mtu={MTU_BYTES}",
        "--disable-host-loopback",
        "--enable-sandbox",
        "--enable-seccomp",
        f"--ready-fd={ready_fd}",
        f"--exit-fd={exit_fd}",
        "--netns-type=path",
        f"/proc/self/fd/{router_fd}",
        OUTBOUND_INTERFACE,
    ]
