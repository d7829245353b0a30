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

from tests.support.attempts import PRELUDE, PYTHON, REACHED, outside
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
    "reading a process": "if open('/proc/VICTIM/environ').read(1): reached()",
    "a socket in the file system": """
socket.socket(socket.AF_UNIX).connect('SOCKET'); reached()
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
    "a mount of the host": "if open('MOUNT/file').read(): reached()",
    # disks
    **{
        f"a disk through a node in {place}": f"""
node = '{place}/studios-test-node'
os.mknod(node, 0o60600, os.makedev(MAJOR, MINOR))
try:
    if os.read(os.open(node, os.O_RDONLY), 200).startswith(b'MAGIC'): reached()
finally:
    os.unlink(node)
"""
        for place in ("/var/tmp", "/root")
    },
    "a disk through the host's node": """
if os.read(os.open('DISK', os.O_RDONLY), 200).startswith(b'MAGIC'): reached()
""",
    "loop devices": "os.open('/dev/loop-control', os.O_RDWR); reached()",
    # the kernel
    "core_pattern": "open('/proc/sys/kernel/core_pattern', 'r+'); reached()",
    "any kernel setting": "open('/proc/sys/vm/overcommit_memory', 'r+'); reached()",
    "the kernel's log": """
if os.read(os.open('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK), 9000): reached()
""",
    "kernel log by syslog": "if call(103, 10, 0, 0)[0] > 0: reached()",
    "kernel page tables": "if len(open('/proc/kpageflags', 'rb', 0).read(8)) == 8: reached()",
    "settings in /sys": "open('/sys/kernel/mm/transparent_hugepage/enabled', 'r+'); reached()",
    "cgroups in /sys": """
for folder, _, files in os.walk('/sys/fs/cgroup'):
    if 'cgroup.procs' in files: open(f'{folder}/cgroup.procs', 'r+'); reached(); break
""",
    "interrupts in /proc": "open('/proc/irq/default_smp_affinity', 'r+'); reached()",
    # rights
    "a hidden attribute of overlays": """
os.makedirs('/var/tmp/studios-test-opaque', exist_ok=True)
try: os.setxattr('/var/tmp/studios-test-opaque', 'trusted.studios', b'y'); reached()
finally: os.rmdir('/var/tmp/studios-test-opaque')
""",
    "the clock": "if call(227, 99, None)[1] == errno.EINVAL: reached()",
    "restarting": "if call(169, 0, 0, 0, 0)[1] == errno.EINVAL: reached()",
    "more processor time": "os.setpriority(os.PRIO_PROCESS, 0, -5); reached()",
    "a network of its own": "if libc.unshare(0x40000000) == 0: reached()",
    "interfaces": "if shell('ip link add studios-test type dummy; ip link set lo mtu 60000; '"
    "'ip link set lo mtu 65536') == 0: reached()",
    # not divided by namespaces
    "a keyring": "if call(248, b'user', b'studios-test', b'x', 1, -3)[0] > 0: reached()",
    "io_uring": "if call(425, 1, ctypes.create_string_buffer(120))[0] >= 0: reached()",
    "userfaultfd": "if call(323, 0)[0] >= 0: reached()",
    "bpf": """
arguments = ctypes.create_string_buffer(struct.pack('IIIII', 1, 4, 4, 1, 0), 72)
if call(321, 0, arguments, 72)[0] >= 0: reached()
""",
    "perf": """
arguments = ctypes.create_string_buffer(struct.pack('IIQ', 1, 112, 0), 112)
if call(298, arguments, 0, -1, -1, 0)[0] >= 0: reached()
""",
    "sockets to the machine below": "socket.socket(40, socket.SOCK_STREAM); reached()",
}

MOUNT_ATTEMPTS = {
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


def script_of(attempt: str, words: dict[str, str]) -> str:
    for word in sorted(words, key=len, reverse=True):
        attempt = attempt.replace(word, words[word])
    return PRELUDE + attempt


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


@pytest.mark.parametrize(
    ("name", "number", "arguments"),
    [
        ("init_module", 175, "b'', 0, b''"),
        ("finit_module", 313, "-1, b'', 0"),
        ("delete_module", 176, "b'studios-none', 0"),
        ("kexec_load", 246, "0, 99, 0, 0"),
        ("kexec_file_load", 320, "-1, -1, 0, b'', 99"),
        ("swapon", 167, "b'/studios-none', 0"),
        ("acct", 163, "b'/studios-none'"),
        ("move_mount", 429, "-1, b'', -1, b'', 0"),
        ("quotactl", 179, "0, b'/studios-none', 0, 0"),
    ],
)
def test_call_is_refused_by_the_filter(
    name: str, number: int, arguments: str, session: SessionRig
) -> None:
    """Some kernels have no such call for anybody: outside it fails otherwise than with EPERM."""
    script = PRELUDE + f"print(errno.errorcode[call({number}, {arguments})[1]])"
    assert outside(script).output.strip() not in {"EPERM", ""}
    assert session.run_python(script).output.strip() == "EPERM"


def test_sockets_of_the_kernel_s_ciphers_do_not_exist(session: SessionRig) -> None:
    script = PRELUDE + "print(errno.errorcode.get(call(41, 38, 5, 0)[1]))"
    assert outside(script).output.strip() != "ENOSYS"
    assert session.run_python(script).output.strip() == "ENOSYS"


def test_calls_that_nobody_has_judged_do_not_exist(session: SessionRig) -> None:
    script = PRELUDE + "print(errno.errorcode[call(999)[1]], errno.errorcode[call(435, 0, 0)[1]])"
    assert session.run_python(script).output.split() == ["ENOSYS", "ENOSYS"]


def test_python_of_the_tests_is_the_machine_s() -> None:
    """Attempts and controls run the same interpreter."""
    assert os.path.realpath(sys.executable) == os.path.realpath(PYTHON)
