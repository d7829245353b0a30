"""What a hostile root user tries. Each attempt is a script that says REACHED if it got through.

Every script also runs outside the confinement, as root of the machine, and must get through there:
an attempt that nobody can make proves nothing. Nothing is harmed by that: files are opened for
writing and not written to, system calls get arguments that do nothing, disks are loop devices and
targets are processes, sockets and files of the test's own.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.attempts import PRELUDE, PYTHON, REACHED, outside, script_of
from tests.support.escape_targets import Targets, made_targets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.session_rig import SessionRig


@pytest.fixture(scope="module")
def targets(session: SessionRig, folder: Path) -> Iterator[Targets]:
    with made_targets(session, folder) as targets:
        yield targets


# ── Attempts ─────────────────────────────────────────────────────────────────

ATTEMPTS = {
    # the agent
    "its environment": "if b'SECRET' in open('/proc/AGENT/environ', 'rb').read(): reached()",
    "its memory": """
maps = [line.split() for line in open('/proc/AGENT/maps') if ' rw-p ' in line and '[heap]' in line]
first, last = (int(part, 16) for part in maps[0][0].split('-'))
with open('/proc/AGENT/mem', 'rb', 0) as memory:
    memory.seek(first)
    if len(memory.read(4096)) == 4096: reached()
""",
    "its open files": """
if 'SECRET_FILE' in [os.readlink(f'/proc/AGENT/fd/{fd}') for fd in os.listdir('/proc/AGENT/fd')]:
    reached()
""",
    "its files by its root": "if os.listdir('/proc/AGENT/root/etc'): reached()",
    "tracing it": "if libc.ptrace(0x4206, AGENT, 0, 0) == 0: reached()",
    "its descriptors by number": """
pidfd, _ = call(434, AGENT, 0)
if pidfd >= 0 and call(438, pidfd, 0, 0)[0] >= 0: reached()
""",
    "platform's folders": "if open('SECRET_FILE').read() == 'SECRET': reached()",
    "platform's folders by chroot": """
os.makedirs('/tmp/elsewhere', exist_ok=True)
here = os.open('/', os.O_RDONLY)
os.chroot('/tmp/elsewhere')
os.fchdir(here)
for _ in range(50): os.chdir('..')
os.chroot('.')
if open('SECRET_FILE').read() == 'SECRET': reached()
""",
    "a file by its handle": """
handle = ctypes.create_string_buffer(bytes.fromhex('HANDLE'))
for place in ('/', '/etc/hosts', '/dev/null'):
    fd = os.open(place, os.O_RDONLY)
    opened, _ = call(304, fd, handle, os.O_RDONLY)
    if opened >= 0 and os.read(opened, 100) == b'SECRET': reached(); break
""",
    # other processes and what they share
    "signalling a process": "os.kill(VICTIM, 0); reached()",
    "signalling a process by a descriptor": """
pidfd, _ = call(434, VICTIM, 0)
if call(424, pidfd, 0, None, 0)[0] == 0: reached()
""",
    "limiting a process": """
import resource
resource.prlimit(VICTIM, resource.RLIMIT_NOFILE); reached()
""",
    "slowing a process down": "os.sched_setaffinity(VICTIM, os.sched_getaffinity(0)); reached()",
    "reading a process": "if open('/proc/VICTIM/environ').read(1): reached()",
    "a socket in the file system": """
socket.socket(socket.AF_UNIX).connect('SOCKET'); reached()
""",
    "a socket that the image shows": """
socket.socket(socket.AF_UNIX).connect('VISIBLE'); reached()
""",
    "a container engine's socket": """
socket.socket(socket.AF_UNIX).connect('ENGINE'); reached()
""",
    "a socket with an abstract name": """
socket.socket(socket.AF_UNIX).connect('\\0ABSTRACT'); reached()
""",
    "a terminal": "os.close(os.open('TERMINAL', os.O_WRONLY | os.O_NOCTTY)); reached()",
    "a file in shared memory": "if open('SHARED_MEMORY').read(): reached()",
    "a shared segment": """
libc.shmat.restype = ctypes.c_long
if libc.shmat(SEGMENT, None, 0o10000) != -1: reached()
""",
    "semaphores": "if libc.semctl(SEMAPHORES, 0, 12, None) >= 0: reached()",
    "messages": "if libc.msgctl(MESSAGES, 2, ctypes.create_string_buffer(256)) == 0: reached()",
    "a message queue": "if call(240, b'QUEUE', os.O_RDONLY, 0, None)[0] >= 0: reached()",
    "a mount of the host": "if open('MOUNT/file').read(): reached()",
    # disks
    "a disk through the host's node": """
if os.read(os.open('DISK', os.O_RDONLY), 200).startswith(b'MAGIC'): reached()
""",
    "the file of a volume": """
if os.read(os.open('IMAGE', os.O_RDONLY), 200).startswith(b'MAGIC'): reached()
""",
    # the layers that the root is made of
    "the upper directory": "if 'upper' in os.listdir('VOLUME'): reached()",
    "a hidden folder, removed and made again": """
try: os.rmdir(os.path.dirname('SECRET_FILE'))
except OSError: pass  # outside it is not empty
os.makedirs(os.path.dirname('SECRET_FILE'), exist_ok=True)
if open('SECRET_FILE').read() == 'SECRET': reached()
""",
    "a whiteout": """
os.mknod('/var/tmp/studios-test-whiteout', 0o20000, 0)
os.unlink('/var/tmp/studios-test-whiteout'); reached()
""",
    **{
        f"the attribute {name}": f"""
os.makedirs('/var/tmp/studios-test-folder', exist_ok=True)
try: os.setxattr('/var/tmp/studios-test-folder', '{name}', b'y'); reached()
finally: os.rmdir('/var/tmp/studios-test-folder')
"""
        for name in (
            "trusted.studios",
            "trusted.overlay.opaque",
            "trusted.overlay.redirect",
            "trusted.overlay.metacopy",
        )
    },
}

MOUNT_ATTEMPTS = {
    "mounting the cgroups": "if libc.mount(b'c', b'/mnt', b'cgroup2', 0, None) == 0: reached()",
    "mounting /proc afresh": "if libc.mount(b'p', b'/mnt', b'proc', 0, None) == 0: reached()",
    "mounting a file system": "if libc.mount(b't', b'/mnt', b'tmpfs', 0, None) == 0: reached()",
    "binding a folder": "if libc.mount(b'/etc', b'/mnt', None, 4096, None) == 0: reached()",
    "unmounting": "if libc.umount2(UNMOUNT, 2) == 0: reached()",
    "remounting": "if libc.mount(None, REMOUNT, None, 32 | 4096, None) == 0: reached()",
    "the new calls for mounts": "if call(428, -100, b'/', 1)[0] >= 0: reached()",
    "a file system's context": "if call(430, b'tmpfs', 0)[0] >= 0: reached()",
    "a mount namespace": "if libc.unshare(0x20000) == 0: reached()",
    "a user namespace": "if shell('unshare --user --map-root-user true') == 0: reached()",
    "a user namespace and a mount": """
if shell('unshare --user --map-root-user --mount mount -t tmpfs t /mnt') == 0: reached()
""",
    "a user namespace by clone": """
child = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)
if child == 0: os._exit(0)
if child > 0: os.waitpid(child, 0); reached()
""",
    "a user namespace by clone3": """
arguments = struct.pack('QQQQQQQQ', 0x10000000, 0, 0, 0, 17, 0, 0, 0)
child = libc.syscall(435, ctypes.create_string_buffer(arguments, 64), 64)
if child == 0: os._exit(0)
if child > 0: os.waitpid(child, 0); reached()
""",
}


NODES = """
for place in PLACES:
    node = f'{place}/studios-test-node'
    try: os.mknod(node, 0o60600, os.makedev(MAJOR, MINOR))
    except OSError: continue
    print('made')
    try:
        if os.read(os.open(node, os.O_RDONLY), 200).startswith(b'MAGIC'): reached()
    except OSError: pass
    finally: os.unlink(node)
"""

CHARACTER_NODES = (
    PRELUDE
    + """
for major, minor in ((1, 1), (1, 4), (1, 11), (10, 200), (10, 229), (10, 232), (10, 237)):
    node = 'PLACE/studios-test-node'
    os.mknod(node, 0o20600, os.makedev(major, minor))
    print('made')
    try: os.close(os.open(node, os.O_RDONLY | os.O_NONBLOCK)); reached()
    except OSError: pass
    finally: os.unlink(node)
"""
)


@pytest.mark.parametrize("name", ATTEMPTS)
def test_attempt_fails_inside_and_works_outside(
    name: str, session: SessionRig, targets: Targets
) -> None:
    script = script_of(ATTEMPTS[name], targets.words())
    control = outside(script)
    inside = session.run_python(script)
    assert REACHED in control.output, f"no positive control: {control.output[-500:]}"
    assert REACHED not in inside.output


@pytest.mark.parametrize("name", MOUNT_ATTEMPTS)
def test_attempt_on_mounts_fails_inside_and_works_outside(name: str, session: SessionRig) -> None:
    attempt = MOUNT_ATTEMPTS[name]
    control = outside(
        PRELUDE + attempt.replace("UNMOUNT", "b'/dev/shm'").replace("REMOUNT", "b'/dev/shm'"),
        namespaces=True,
    )
    assert REACHED in control.output, f"no positive control: {control.output[-500:]}"
    for target in ("/proc/keys", "/proc/sys", "/sys", "/etc/hosts", "/dev", "/"):
        script = attempt.replace("UNMOUNT", f"b'{target}'").replace("REMOUNT", f"b'{target}'")
        assert REACHED not in session.run_python(PRELUDE + script).output, target


def test_disk_cannot_be_opened_by_a_node_of_one_s_own_anywhere(
    session: SessionRig, targets: Targets, folder: Path
) -> None:
    """Wherever a node can be made, in all that is mounted now."""
    control = outside(script_of(NODES, targets.words()).replace("PLACES", f"[{str(folder)!r}]"))
    assert control.output == f"made\n{REACHED}\n"
    places = "[line.split()[4] for line in open('/proc/self/mountinfo')] + ['/tmp', '/root']"
    inside = session.run_python(script_of(NODES, targets.words()).replace("PLACES", places))
    assert inside.output.count("made") >= 4, inside
    assert REACHED not in inside.output


def test_node_of_one_s_own_opens_no_device_of_the_kernel_s(session: SessionRig) -> None:
    """The kernel's log, loop devices, FUSE, another machine's memory: as far as there are some."""
    control = outside(CHARACTER_NODES.replace("PLACE", "/dev"))
    inside = session.run_python(CHARACTER_NODES.replace("PLACE", "/var/tmp"))
    assert control.output.count(REACHED) >= 2, control
    assert inside.output.count("made") == control.output.count("made")
    assert REACHED not in inside.output


def test_python_of_the_tests_is_the_machine_s() -> None:
    """Attempts and controls run the same interpreter."""
    assert os.path.realpath(sys.executable) == os.path.realpath(PYTHON)
