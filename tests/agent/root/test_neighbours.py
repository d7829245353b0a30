"""The first process, helpers and other sessions are no way out either."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.attempts import PRELUDE, PYTHON, REACHED, outside
from tests.support.session_rig import SessionRig
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    "path", ["environ", "mem", "maps", "fd/0", "fdinfo/0", "cwd", "root", "exe", "map_files"]
)
def test_first_process_is_closed_to_the_session(path: str, session: SessionRig) -> None:
    script = PRELUDE + (
        "def look(path):\n"
        "    if os.path.islink(path): os.stat(path)\n"
        "    elif os.path.isdir(path): os.listdir(path)\n"
        "    else: open(path, 'rb', 0).read(0)\n"
        f"look('/proc/self/{path}')\nprint('own', flush=True)\nlook('/proc/1/{path}')\nreached()"
    )
    output = session.run_python(script).output
    assert REACHED not in output
    assert "own" in output  # the control: one's own is open


def test_interpreter_of_the_first_process_is_on_a_mount_for_reading(session: SessionRig) -> None:
    """`#!/proc/self/exe` makes it an executable of the session's, with a link in /proc."""
    look = PRELUDE + "fd = os.open('/proc/self/exe', os.O_RDONLY)\n"
    look += "print('for reading' if os.fstatvfs(fd).f_flag & os.ST_RDONLY else 'for writing')"
    write = "cat > /usr/local/bin/trick <<'END'\n#!/proc/self/exe\n" + look + "\nEND\n"
    assert session.run(write + "chmod +x /usr/local/bin/trick").code == 0
    for how in ("start", "enter"):
        answer = session.ask(how, arguments=["/usr/local/bin/trick"])
        assert answer["output"].strip() == "for reading", answer
    assert outside(look).output.strip() == "for writing"


def test_helper_of_an_exec_is_never_seen(session: SessionRig) -> None:
    """Whatever enters is looked at as fast as the session can, from its first moment."""
    watch = (
        PRELUDE
        + """
import time
end = time.monotonic() + 3
seen, opened = set(), set()
while time.monotonic() < end:
    for pid in os.listdir('/proc'):
        if not pid.isdigit() or int(pid) in (1, os.getpid()): continue
        seen.add(pid)
        try:
            exe = os.readlink(f'/proc/{pid}/exe')
            text = open(f'/proc/{pid}/environ').read() + open(f'/proc/{pid}/maps').read()
            files = [os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')]
        except OSError: continue
        opened.add(exe)
        if 'SECRET' in text or any('cgroup' in file or 'memfd' in file for file in files): reached()
        if exe.startswith('/usr/bin/python') or 'encodings' in text: reached()
print(len(seen), sorted(opened))
"""
    ).replace("SECRET", session.secret)
    path = "/root/watch.py"
    session.run(f"cat > {path} <<'END'\n{watch}\nEND")
    watching = f"{PYTHON} -I {path} > /root/watching; mv /root/watching /root/watched"
    session.ask("start", arguments=["sh", "-c", watching], wait=False)

    def is_over() -> bool:  # whatever enters to ask is seen, too: as many as the machine can start
        assert session.run("sleep 0.02").code == 0
        return session.run("cat /root/watched").code == 0

    until(is_over, what="the watcher's end")
    watched = session.run(f"cat /root/watched; rm {path}").output
    assert REACHED not in watched, watched
    assert int(watched.split()[0]) > 3
    assert "sleep" in watched  # the control: once it is the session's program, it is seen


def test_secret_of_the_agent_is_nowhere_in_the_session(session: SessionRig) -> None:
    script = PRELUDE + (
        "secret = open(0, 'rb').read()\n"
        "assert len(secret) > 10\n"
        "for place in ('/proc', '/etc', '/run', '/dev/shm', '/tmp', '/root', sys.argv[1]):\n"
        "    for folder, folders, files in os.walk(place):\n"
        "        if folder == '/proc': folders[:] = [f for f in folders if f.isdigit()]\n"
        "        for name in files:\n"
        "            if place == '/proc' and name not in ('environ', 'cmdline'): continue\n"
        "            try: text = open(f'{folder}/{name}', 'rb').read()\n"
        "            except OSError: continue\n"
        "            if secret in text: reached(); print(folder, name)\n"
        "print('looked')"
    )
    arguments = [PYTHON, "-I", "-c", script, str(session.folder.parent)]
    answer = session.ask("enter", arguments=arguments, stdin=session.secret)
    assert answer["output"].strip() == "looked"
    search = ["grep", "-rlF", session.secret, str(session.folder), f"/proc/{session.pid}/environ"]
    assert len(subprocess.check_output(search).split()) == 2


TOOL = (
    PRELUDE
    + """
import time
tcp = socket.create_server(('0.0.0.0', 8123))
local = socket.socket(socket.AF_UNIX); local.bind('\\0studios-tool'); local.listen()
path = socket.socket(socket.AF_UNIX); path.bind('/run/tool.sock'); path.listen()
open('/dev/shm/tool', 'w').write('x')
terminals = [os.openpty() for _ in range(40)]
assert os.ttyname(terminals[-1][1]) == '/dev/pts/39'
for make in (libc.shmget, libc.semget): assert make(0x5d105, 1, 0o1666) >= 0
assert libc.msgget(0x5d105, 0o1666) >= 0
assert call(240, b'studios-tool', os.O_CREAT | os.O_RDWR, 0o666, None)[0] >= 0
open('/root/listening', 'w').write('x')
time.sleep(1000)
"""
)
AT_THE_TOOL = {
    "port": "socket.create_connection(('127.0.0.1', 8123), 2); reached()",
    "port at the interface": "socket.create_connection(('10.0.3.2', 8123), 2); reached()",
    "abstract socket": "socket.socket(socket.AF_UNIX).connect('\\0studios-tool'); reached()",
    "socket": "socket.socket(socket.AF_UNIX).connect('/run/tool.sock'); reached()",
    "terminal": "os.open('/dev/pts/39', os.O_RDWR | os.O_NOCTTY); reached()",
    "shared memory": "open('/dev/shm/tool'); reached()",
    "shared segment": "if libc.shmget(0x5d105, 1, 0) >= 0: reached()",
    "semaphores": "if libc.semget(0x5d105, 1, 0) >= 0: reached()",
    "messages": "if libc.msgget(0x5d105, 0) >= 0: reached()",
    "message queue": "if call(240, b'studios-tool', os.O_RDONLY, 0, None)[0] >= 0: reached()",
    "file": "open('/root/listening'); reached()",
}


@pytest.fixture(scope="module")
def other(folder: Path) -> Iterator[SessionRig]:
    """A second session, whose tool has one of everything."""
    with SessionRig(folder) as rig:
        rig.ask("start", arguments=[PYTHON, "-c", TOOL], wait=False)
        assert rig.run("until [ -e /root/listening ]; do sleep 0.05; done").code == 0
        yield rig
    assert rig.leftovers() == []


@pytest.mark.parametrize("name", AT_THE_TOOL)
def test_tool_of_another_session_is_out_of_reach(
    name: str, session: SessionRig, other: SessionRig
) -> None:
    script = PRELUDE + AT_THE_TOOL[name]
    assert REACHED in other.run_python(script).output
    assert REACHED not in session.run_python(script).output


def test_processes_of_another_session_are_out_of_reach(
    session: SessionRig, other: SessionRig
) -> None:
    pids = other.ask("status")["processes"]
    assert pids
    for pid in pids:
        os.kill(pid, 0)  # the control
        assert REACHED not in session.run_python(PRELUDE + f"os.kill({pid}, 0); reached()").output


def test_session_cannot_end_or_stop_its_first_process(session: SessionRig) -> None:
    everything = " ".join(str(int(number)) for number in signal.Signals)
    session.run(f"for number in {everything}; do kill -$number 1; done")
    assert session.start("echo alive").output == "alive\n"


def test_memory_of_an_own_process_can_be_read(session: SessionRig) -> None:
    """The control for the attempts that trace: debuggers work inside."""
    script = PRELUDE + (
        "child = subprocess.Popen(['sleep', '100'])\n"
        "if libc.ptrace(0x4206, child.pid, 0, 0) != 0: sys.exit('no tracing')\n"
        "line = next(line for line in open(f'/proc/{child.pid}/maps') if '[stack]' in line)\n"
        "with open(f'/proc/{child.pid}/mem', 'rb', 0) as memory:\n"
        "    memory.seek(int(line.split('-')[0], 16))\n"
        "    if len(memory.read(4096)) == 4096: reached()\n"
        "child.kill()"
    )
    result = session.run_python(script)
    assert REACHED in result.output, result
