"""Commands in a real session, on the real kernel, through a real edge: an agent of its own process.

What they enter is compared with what the tool itself has.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from common.exec.messages import Exit, Order, Resize, Stdin, StdinEnd, Stdout, Terminal
from common.secret import Secret
from tests.support.exec_client import ExecClient, exec_client
from tests.support.rig import running_rig, until
from tests.support.session_agent import Studio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.session_spec import SessionSpec
    from tests.support.rig import Rig
    from tests.support.session_agent import AgentRun

MIB = 1024 * 1024
PIPE_MIB = 200
GROWTH_KIB_MAX = 32 * 1024
"""Of the agent: transports' buffers, stdin's credit, and what the allocator keeps."""


class ConnectedStudio(Studio):
    """A Studio whose agent dials the edge of a rig."""

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self.rig = rig
        rig.platform.add(self.session_id)

    def spec(self, *, url: str) -> SessionSpec:
        platform = self.rig.platform
        return msgspec.structs.replace(
            super().spec(url=url),
            edge_urls=(f"http://127.0.0.1:{self.rig.port}",),
            session_host=platform.host(self.session_id),
            agent_token=Secret(platform.agent_token(self.session_id)),
            token_keys=platform.signer.public_keys(),
        )


@dataclass
class Place:
    """A session, and the way to it."""

    rig: Rig
    studio: ConnectedStudio
    run: AgentRun

    @asynccontextmanager
    async def client(self, *words: str, **order: object) -> AsyncIterator[ExecClient]:
        async with exec_client(self.rig, session_id=self.studio.session_id) as client:
            arguments = tuple(word.encode() for word in words)
            client.say(Order(arguments=arguments, **order))  # type: ignore[arg-type]
            yield client

    async def out(self, script: str) -> str:
        """Run a script as a command; return what it prints."""
        async with self.client("bash", "-c", script) as client:
            assert await client.end() == Exit(code=0), client.stderr
            return client.stdout.decode().strip()


@asynccontextmanager
async def session(tmp_path: Path) -> AsyncIterator[Place]:
    async with running_rig(tmp_path, agent=False) as rig:
        with ConnectedStudio(rig) as studio:
            async with studio.session() as run:
                tunnels = rig.edge.tunnels.of(studio.session_id)
                await until(lambda: tunnels.parked, what="its agent is connected")
                yield Place(rig, studio, run)


INSIDE = r"""
cd /proc/self/ns; for kind in *; do echo "$kind $(readlink $kind)"; done | grep -v for_children
hostname; cat /proc/self/cgroup; cat /proc/self/oom_score_adj; umask; ulimit -a
grep -E '^(Cap|Seccomp|NoNewPrivs|Groups|Uid|Gid|SigIgn|SigBlk)' /proc/self/status
cat /proc/self/mountinfo; cat /proc/self/limits; ls -la /dev
"""


async def test_it_enters_exactly_the_namespaces_and_limits_of_the_tool(tmp_path: Path) -> None:
    async with session(tmp_path) as place:
        assert await place.out(INSIDE) == await place.run.out(INSIDE)
        assert await place.out("pwd; echo $HOME") == "/workspace\n/root"
        assert await place.out("ls /proc/self/fd") == "0\n1\n2\n3", "3 is how it looks"
        tool, command = (await each_environment(place)).values()
        unlike_ours = {"_", "SHLVL", "PWD", "OLDPWD"}  # what the shells in between add
        assert {k: v for k, v in command.items() if k not in unlike_ours} == tool
        assert await place.out("cat /proc/$$/stat | cut -d' ' -f4") == "0", "its helper is outside"


async def each_environment(place: Place) -> dict[str, dict[str, str]]:
    show = "tr '\\0' '\\n' < /proc/{}/environ"
    tool = await place.out(show.format("$(pgrep -o -f tool.py)"))
    command = await place.out("env")
    return {
        name: dict(line.split("=", 1) for line in text.splitlines())
        for name, text in {"tool": tool, "command": command}.items()
    }


async def test_words_of_any_bytes_arrive(tmp_path: Path) -> None:
    script = b'mkdir -p "$1"; cd "$1"; pwd; printf %s "$A"'
    words = (b"bash", b"-c", script, b"-", b"/workspace/caf\xe9\n")
    async with (
        session(tmp_path) as place,
        exec_client(place.rig, session_id=place.studio.session_id) as client,
    ):
        client.say(Order(arguments=words, environment=(b"A=\xff\xfe=",)))
        assert await client.end() == Exit(code=0)
        assert client.stdout == b"/workspace/caf\xe9\n\n\xff\xfe="


async def test_a_pid_is_the_session_s_own(tmp_path: Path) -> None:
    async with session(tmp_path) as place:
        async with place.client("bash", "-c", "echo $$; read x", stdin=True) as client:
            pid = await client.started()
            assert await client.until("\n") == b"%d\n" % pid
        async with place.client("sleep", "600", detach=True) as client:
            detached = await client.started()
            while client.closed is None:
                assert await client.hear() is not None
            client.close()
        await place.run.out(f"until grep sleep /proc/{detached}/comm; do :; done")  # it was exec'ed
        assert await place.out(f"readlink /proc/{detached}/fd/1") == "/dev/null"
        await place.run.out(f"kill {detached}")
        await until(lambda: len(place.run.processes()) == 1, what="only the tool is left")


async def test_on_a_terminal_of_the_session_s_own_jobs_can_be_controlled(tmp_path: Path) -> None:
    terminal = Terminal(rows=17, columns=71, type="vt100")
    order = {"stdin": True, "terminal": terminal, "environment": (b"PS1=ready> ",)}
    async with (
        session(tmp_path) as place,
        place.client("bash", "--norc", "--noediting", "-i", **order) as client,
    ):
        await client.until("ready> ")
        await client.feed(b"tty; stty size; echo $TERM; ls /dev/pts\n")
        await client.until("/dev/pts/0\r\n17 71\r\nvt100\r\n0  ptmx\r\nready> ")
        await client.feed(b"cat\n")
        await client.until("cat\r\n")
        await client.feed(b"runs\n")
        await client.until("runs\r\nruns\r\n")
        await client.feed(b"\x1a")
        await client.until("Stopped")
        await client.until("ready> ")
        client.say(Resize(18, 72))
        await client.feed(b"stty size; fg\n")
        await client.until("18 72\r\ncat\r\n")
        await client.feed(b"here\n")
        await client.until("here\r\nhere\r\n")
        await client.feed(b"\x03")
        await client.until("ready> ")
        await client.feed(b"exit 6\n")
        assert await client.end() == Exit(code=6)


async def test_200_mb_pass_exactly_and_the_agent_stays_small(tmp_path: Path) -> None:
    async with session(tmp_path) as place:
        before = most_memory_kib(place.run.pid)
        sent, got = hashlib.sha256(), hashlib.sha256()
        block = os.urandom(MIB)
        left = PIPE_MIB * MIB
        async with place.client("cat", stdin=True) as client:
            while client.closed is None:
                while left and client.credit >= 65536:
                    piece = block[-left % MIB :][:65536]
                    sent.update(piece)
                    client.say(Stdin(piece))
                    client.credit -= len(piece)
                    left -= len(piece)
                    if not left:
                        client.say(StdinEnd())
                found = await client.hear()
                assert found is not None
                if isinstance(found, Stdout):
                    got.update(found.data)
                    client.stdout.clear()
            client.close()
        assert client.exit == Exit(code=0)
        assert got.digest() == sent.digest()
        assert most_memory_kib(place.run.pid) - before < GROWTH_KIB_MAX


def most_memory_kib(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


async def test_a_client_that_leaves_ends_its_command_and_nothing_else(tmp_path: Path) -> None:
    async with session(tmp_path) as place:
        before = place.run.processes()
        async with place.client("bash", "-c", "sleep 600 & echo ready; wait", stdin=True) as client:
            await client.until("ready\n")
            assert len(place.run.processes()) == len(before) + 2
            client.abort()
        await until(lambda: place.run.processes() == before, what="it has ended")
        assert await place.out("echo still") == "still"


async def test_a_session_that_stops_says_so_and_ends_its_commands(tmp_path: Path) -> None:
    async with session(tmp_path) as place:
        async with place.client("bash", "-c", "trap '' HUP; echo ready; sleep 600") as client:
            await client.until("ready\n")
            place.run.terminate()
            found = await client.end()
        assert found in (Exit(signal="SIGTERM"), Exit(code=128 + signal.SIGTERM))
        assert client.notices == ["The session is being stopped."]
        await place.run.ended()
        place.studio.assert_left_in_order()


async def test_what_is_detached_ends_with_its_session(tmp_path: Path) -> None:
    async with session(tmp_path) as place:
        deaf = "trap '' HUP TERM; sleep 600"
        async with place.client("bash", "-c", deaf, detach=True) as client:
            await client.started()
        await place.run.stop()
        place.studio.assert_left_in_order()
