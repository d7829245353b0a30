"""The command `studio` in a session on the real kernel, as people and programs use it there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import tempfile
import threading
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.inside.command import NAME, SOCKET_INSIDE, script
from agent.inside.desk import FIRST_WAIT_SECONDS
from agent.inside.listener import CONNECTIONS_MAX
from common.clock import SystemClock
from tests.agent.inside.served import CHECKPOINT, Subject, serving
from tests.support.session_rig import Result, SessionRig
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = ("python3", "curl", "perl")
STUDIO = "/usr/local/bin/studio"
DEAD, STALLED = "/run/studio/dead.sock", "/run/studio/stalled.sock"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Outside of what sessions find emptied."""
    path = Path(tempfile.mkdtemp(prefix="studios-test-inside-", dir="/var/lib"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def subject() -> Subject:
    known = Subject(pause_seconds=0.1)
    known.obey(deadline=SystemClock().now() + timedelta(hours=3, minutes=30))
    return known


@pytest.fixture(scope="module")
def session(folder: Path, subject: Subject) -> Iterator[SessionRig]:
    with served(subject, folder) as given, sockets_without_an_answer(folder) as others:
        with SessionRig(folder, given=[given, *others], commands=[[NAME, script()]]) as rig:
            yield rig
        assert rig.leftovers() == []


@contextlib.contextmanager
def served(subject: Subject, folder: Path) -> Iterator[tuple[str, str]]:
    """Run a desk on a loop of its own: rigs block. Yield what the session is to be given."""
    opened: Future[tuple[tuple[str, str], asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def live() -> None:
        desk, over = subject.desk(folder, SystemClock()), asyncio.Event()
        async with serving(desk):
            opened.set_result((desk.given, asyncio.get_running_loop(), over))
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    given, loop, over = opened.result(timeout=10)
    try:
        yield given
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


@contextlib.contextmanager
def sockets_without_an_answer(folder: Path) -> Iterator[list[tuple[str, str]]]:
    """Yield one that nobody listens on, and one where nobody takes a connection."""
    dead, stalled = folder / "dead", folder / "stalled"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(dead))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(stalled))
        listening.listen()
        yield [(str(dead), DEAD), (str(stalled), STALLED)]


def only(*programs: str) -> str:
    """Return shell code after which nothing else is on the PATH; absolute names work."""
    folder = "/opt/only-" + "-".join(programs)
    links = "".join(f"ln -sf $(command -v {name}) {folder}/; " for name in programs)
    return f"mkdir -p {folder}; {links} export PATH={folder}; "


def elsewhere(place: str) -> str:
    """Return shell code that makes /tmp/studio, which asks another socket and waits less long."""
    return f"sed 's|{SOCKET_INSIDE}|{place}|; s|^seconds=30|seconds=1|' {STUDIO} >/tmp/studio; "


def as_user(user: str, code: str) -> str:
    return code if user == "root" else f"/bin/su {user} -s /bin/sh -c '{code}'"


@pytest.mark.parametrize("user", ["root", "nobody"])
@pytest.mark.parametrize("client", CLIENTS)
def test_any_user_asks_with_whatever_client_there_is(
    session: SessionRig, client: str, user: str
) -> None:
    setting = only(client)
    result = session.run(setting + as_user(user, f"PATH=/opt/only-{client} {STUDIO} status"))
    assert result.code == 0
    assert result.output.startswith("Studio     genome\nSession    a1b2c3d4, run 3, ")
    assert "stops in 3 h " in result.output
    result = session.run(setting + as_user(user, f"PATH=/opt/only-{client} {STUDIO} space"))
    assert (result.code, result.output.splitlines()[0]) == (0, "Size       2 GB")


@pytest.mark.parametrize("client", CLIENTS)
def test_refusal_is_a_failure_with_a_sentence(
    session: SessionRig, subject: Subject, client: str
) -> None:
    subject.control_plane.refusal = "The session is already stopping."
    result = session.run(only(client) + f"{STUDIO} extend 2>&1 >/dev/null")
    assert result == Result(1, "studio: The session is already stopping.\n")


def test_client_that_is_broken_is_passed_over(session: SessionRig) -> None:
    broken = "#!/bin/sh\nexit 1\n"
    made = session.run(
        f"mkdir /opt/broken && printf '{broken}' >/opt/broken/python3 && chmod 755 /opt/broken/*"
    )
    assert made == Result(0, "")
    result = session.run(only("perl") + f"PATH=/opt/broken:$PATH {STUDIO} status")
    assert (result.code, result.output.splitlines()[0]) == (0, "Studio     genome")


def test_image_without_any_client_is_told_which_would_do(session: SessionRig) -> None:
    result = session.run(only("sed") + f"{STUDIO} status")
    assert result.code == 1
    assert "one of python3, curl or perl is needed" in result.output


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("place", [DEAD, STALLED], ids=["dead", "stalled"])
def test_agent_that_doesn_t_answer_is_not_waited_for(
    session: SessionRig, client: str, place: str
) -> None:
    result = session.run(elsewhere(place) + only(client) + "/bin/sh /tmp/studio status")
    assert result == Result(
        1, "studio: the agent of this session doesn't answer: try again in a moment.\n"
    )


def test_outside_of_a_session_it_says_so(session: SessionRig) -> None:
    result = session.run(elsewhere("/run/none.sock") + "sh /tmp/studio status")
    assert result.code == 1
    assert "/run/none.sock is not there" in result.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("help", 0, "Exit codes:"),
        ("--help", 0, "Exit codes:"),
        ("", 2, "Exit codes:"),
        ("keep", 2, "there is no `studio keep`"),
        ("save me", 2, "`studio save` can't take `me`"),
        ("history -o yaml", 2, "can't take `-o yaml`"),
        ("status now", 2, "`studio status` can't take `now`"),
        ("extend -o json", 2, "can't take `-o json`"),
        ("-- status", 2, "there is no `studio --`"),
        ("'$(touch /tmp/run)'", 2, "there is no"),
    ],
)
def test_command_line(session: SessionRig, words: str, code: int, said: str) -> None:
    result = session.run(f"studio {words}")
    assert (result.code, said in result.output) == (code, True)
    assert session.run("[ -e /tmp/run ]").code == 1


def test_json_is_for_programs(session: SessionRig) -> None:
    status = json.loads(session.run("studio status -o json").output)
    assert (status["name"], status["phase"]) == ("genome", "running")
    assert json.loads(session.run("studio space -o json").output)["full"] is False
    history = json.loads(session.run("studio history -o json").output)
    assert history["checkpoint"]["id"] == CHECKPOINT.id
    saved = json.loads(session.run("studio save -o json").output)
    assert (saved["entries"], saved["isNew"]) == (CHECKPOINT.entries, False)


def test_bytes_beyond_ascii_pass(session: SessionRig, subject: Subject) -> None:
    subject.say(warnings=("Größe 🧬",))
    for client in CLIENTS:
        output = session.run(only(client) + f"LC_ALL=C {STUDIO} status").output
        assert output.endswith("Warning    Größe 🧬\n")


def test_it_leaves_nothing_among_the_user_s_files(session: SessionRig) -> None:
    assert session.run("studio status && command -v studio").output.endswith(f"{STUDIO}\n")
    assert not (session.volume / "upper/usr/local").exists()
    assert not (session.volume / "upper/run").exists()


def test_session_can_t_change_its_socket(session: SessionRig) -> None:
    for attempt in (
        f"chmod 0 {SOCKET_INSIDE}",
        f"chown nobody {SOCKET_INSIDE}",
        f"rm -f {SOCKET_INSIDE}",
        f"mv {SOCKET_INSIDE} /tmp",
        f"ln {SOCKET_INSIDE} /tmp/socket",
        f"mount -o remount,rw {SOCKET_INSIDE}",
        f"umount {SOCKET_INSIDE}",
    ):
        assert session.run(attempt).code != 0, attempt
    assert session.run("touch /run/mine && chmod 600 /run/mine && rm /run/mine").code == 0
    assert session.run("studio status").code == 0


def test_each_session_hears_of_itself_and_extends_itself(
    session: SessionRig, folder: Path, subject: Subject
) -> None:
    other, other_folder = Subject(), folder / "other"
    other.say(warnings=("This is the other one.",))
    other_folder.mkdir(mode=0o700)
    with served(other, other_folder) as given:
        with SessionRig(other_folder, given=[given], commands=[[NAME, script()]]) as rig:
            assert "This is the other one." in rig.run("studio status").output
            extended = rig.run(as_user("nobody", f"{STUDIO} extend"))
        assert rig.leftovers() == []
    assert extended.code == 0
    assert extended.output.endswith("at 2030-01-01 16:00 UTC.\n")
    assert (other.control_plane.extensions, subject.control_plane.extensions) == (1, 0)
    assert "other" not in session.run("studio status").output


# ── Saving ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("client", CLIENTS)
def test_saving_with_whatever_client_there_is(
    session: SessionRig, subject: Subject, client: str
) -> None:
    subject.new_bytes = 1024**2
    result = session.run(only(client) + f"{STUDIO} save")
    assert result.code == 0
    assert result.output.startswith("Saved: 12 431 files and folders, 1.2 GB; 1.0 MB were new. ")
    result = session.run(only(client) + f"{STUDIO} history")
    assert result.output.startswith(f"Checkpoint {CHECKPOINT.id}\n")


def test_times_are_those_of_the_session_s_zone(session: SessionRig) -> None:
    """Of the zones, one is in the environment, and one is the machine's."""
    assert " UTC+5:30." in session.run("TZ=XYZ-5:30 studio save").output
    assert "Times are in UTC-3. " in session.run("TZ=XYZ3 studio history").output
    assert "Times are in UTC. " in session.run(only("python3") + f"{STUDIO} history").output


@pytest.mark.parametrize("client", CLIENTS)
def test_long_saving_is_waited_for(session: SessionRig, subject: Subject, client: str) -> None:
    subject.seconds = FIRST_WAIT_SECONDS + 1
    try:
        result = session.run(only(client, "date", "sleep") + f"{STUDIO} save")
    finally:
        subject.seconds = 0.0
    assert (result.code, result.output.split(":")[0]) == (0, "Nothing had changed")


def test_saving_that_failed_is_a_failure_with_a_sentence(
    session: SessionRig, subject: Subject
) -> None:
    subject.problem = "The files could not be saved: the bucket is away."
    try:
        result = session.run("studio save 2>&1 >/dev/null")
    finally:
        subject.problem = ""
    assert result.code == 1
    assert result.output.startswith(f"studio: {subject.problem or 'The files could not be saved'}")


INTERRUPTED = """
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp("studio", ["studio", "save"])
said = b""
while b"Ctrl-C" not in said:
    said += os.read(terminal, 4096)
os.write(terminal, b"\\x03")
try:
    while part := os.read(terminal, 4096):
        said += part
except OSError:  # it has ended
    pass
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), said.decode().splitlines()[-1])
"""


def test_ctrl_c_ends_the_waiting_and_not_the_saving(session: SessionRig, subject: Subject) -> None:
    saves, subject.new_bytes, subject.seconds = subject.saves, 1024**2, FIRST_WAIT_SECONDS + 3
    try:
        result = session.run_python(INTERRUPTED)
        assert result.output == (
            "130 studio: not waiting any more. The saving goes on: see `studio history`.\n"
        )
        assert subject.saves == saves + 1
        until(lambda: not subject.new_bytes, seconds=20, what="what was new is committed")
    finally:
        subject.seconds = 0.0


LINGER = """
import array, contextlib, os, signal, socket, struct, sys
server = socket.create_server(("127.0.0.1", 0))
sender = socket.create_connection(server.getsockname())
sender.setblocking(False)
with contextlib.suppress(BlockingIOError):
    while True:
        sender.send(bytes(1 << 16))
sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1000))
connections = [socket.socket(socket.AF_UNIX) for _ in range(int(sys.argv[2]) + 1)]
for connection in connections:
    connection.connect(sys.argv[1])
*others, last = connections  # which waits for one of the others
rights = array.array("i", [sender.fileno()])
last.sendmsg([b"GET"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
sender.close()  # so the agent's use is the last
for connection in others:
    connection.close()
print("held", flush=True)
if os.fork() == 0:  # who keeps the connection's other end
    os.setsid()
    os.closerange(0, 3)
    signal.pause()
"""


def test_descriptor_that_lingers_doesn_t_silence_the_agent(session: SessionRig) -> None:
    for _ in range(3):
        assert session.run_python(LINGER, SOCKET_INSIDE, str(CONNECTIONS_MAX)).output == "held\n"
        assert session.run("studio status").code == 0
