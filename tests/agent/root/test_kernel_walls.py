"""What a hostile root user tries of the kernel itself: its settings, its devices, its calls.

As in `test_escapes`, each attempt also runs outside the confinement and must get through there.
Files are opened and not written to, calls get arguments that do nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.attempts import PRELUDE, PYTHON, REACHED, outside
from tests.support.session_rig import SessionRig

ATTEMPTS = {
    "core_pattern": "open('/proc/sys/kernel/core_pattern', 'r+'); reached()",
    "any kernel setting": "open('/proc/sys/vm/overcommit_memory', 'r+'); reached()",
    "the kernel's log": """
if os.read(os.open('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK), 9000): reached()
""",
    "the kernel's log in /proc": "os.open('/proc/kmsg', os.O_RDONLY | os.O_NONBLOCK); reached()",
    "the kernel's log by a call": "if call(103, 10, 0, 0)[0] > 0: reached()",
    "page tables": "if len(open('/proc/kpageflags', 'rb', 0).read(8)) == 8: reached()",
    "addresses": "if int(open('/proc/kallsyms').readline().split()[0], 16): reached()",
    "settings in /sys": "open('/sys/kernel/mm/transparent_hugepage/enabled', 'r+'); reached()",
    "interrupts": "open('/proc/irq/default_smp_affinity', 'r+'); reached()",
    "the clock": "if call(227, 99, None)[1] == errno.EINVAL: reached()",
    "restarting": "if call(169, 0, 0, 0, 0)[1] == errno.EINVAL: reached()",
    # rights
    "more processor time": "os.setpriority(os.PRIO_PROCESS, 0, -5); reached()",
    "all processor time": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)); reached()",
    "another network": "if libc.unshare(0x40000000) == 0: reached()",
    "namespaces of others": """
if libc.setns(os.open('/proc/self/ns/uts', os.O_RDONLY), 0) == 0: reached()
""",
    "the machine's name": """
name = socket.gethostname()
socket.sethostname(name); reached()
""",
    # not divided by namespaces
    "a keyring": "if call(248, b'user', b'studios-test', b'x', 1, -3)[0] > 0: reached()",
    "the keys of others": "if call(250, 0, -4, 0)[0] > 0: reached()",
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
    "comparing": "if call(312, os.getpid(), os.getpid(), 0, 0, 0)[0] == 0: reached()",
    "memory that is run because it is read": "if call(135, 0x0400000)[0] >= 0: reached()",
    "sockets to the machine below": "socket.socket(40, socket.SOCK_STREAM); reached()",
    "sockets to the machine below by a number of 64 bits": """
if call(41, ctypes.c_long(1 << 32 | 40), 1, 0)[0] >= 0: reached()
""",
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_attempt_fails_inside_and_works_outside(name: str, session: SessionRig) -> None:
    script = PRELUDE + ATTEMPTS[name]
    control = outside(script, namespaces=True)
    assert REACHED in control.output, f"no positive control: {control.output[-500:]}"
    assert REACHED not in session.run_python(script).output


def test_interfaces_are_not_the_session_s_to_change(session: SessionRig) -> None:
    change = "ip link set lo mtu 60000"
    control = ["unshare", "--net", "sh", "-c", change]
    assert subprocess.run(control, check=False).returncode == 0
    assert session.run(f"command -v ip && {change}").code != 0


STATUS = """
wanted = ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp')
lines = dict(line.split(':', 1) for line in open('/proc/self/status'))
print(*[lines[name].strip() for name in wanted])
"""
DOCKERS = "00000000a80425fb"


@pytest.mark.parametrize("how", ["start", "enter"])
def test_programs_have_a_container_s_rights_and_may_gain_no_others(
    how: str, session: SessionRig
) -> None:
    """`no_new_privs` is off, or sudo would not work: the bounding set is what counts."""
    answer = session.ask(how, arguments=[PYTHON, "-I", "-c", STATUS])
    none = "0" * 16
    assert answer["output"].split() == [none, DOCKERS, DOCKERS, DOCKERS, none, "0", "2"]
    assert outside(STATUS).output.split()[2] != DOCKERS


def test_limits_of_a_process_are_not_raised(session: SessionRig) -> None:
    """Some hosts' root can't do that either, so the control is that they can be lowered."""
    change = "ulimit -n 100 && echo lowered && ulimit -Hn 200 && echo raised"
    assert session.run(change).output.splitlines()[0] == "lowered"
    assert "raised" not in session.run(change).output


def test_profile_for_container_engines_gives_mounts_back_and_says_so(folder: Path) -> None:
    mount = "unshare --mount mount -t tmpfs studios-test /mnt && echo mounted"
    with SessionRig(folder, profile="docker") as rig:
        assert rig.run(mount).output == "mounted\n"
        (sentence,) = rig.ask("status")["gives_up"]
        assert "its root user can reach what the machine's root can" in sentence
    assert rig.leftovers() == []


# ── Calls that do nothing outside either ─────────────────────────────────────


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


NARROW = """
code = bytes.fromhex('53 89f8 89f3 89d1 cd80 5b c3')  # eax, ebx, ecx = arguments; int 0x80
libc.mmap.restype = ctypes.c_void_p
page = libc.mmap(None, 4096, 7, 0x62, -1, 0)  # below 4 GB, private, anonymous
ctypes.memmove(page, code, len(code))
narrow = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)(page)
assert narrow(20, 0, 0) == os.getpid()
print('speaks it', flush=True)
ctypes.memmove(page + 512, struct.pack('III', FAMILY, 1, 0), 12)
if narrow(102, 1, page + 512) >= 0: reached()
"""


def test_32_bit_calls_are_no_way_round_the_filter(session: SessionRig) -> None:
    """By the gate that 64-bit programs have to them, so that no 32-bit program is needed."""
    vsock = PRELUDE + NARROW.replace("FAMILY", "40")
    control, inside = outside(vsock), session.run_python(vsock)
    if "speaks it" not in control.output:
        pytest.skip("this kernel runs no 32-bit programs")
    assert REACHED in control.output
    assert "speaks it" in inside.output
    assert REACHED not in inside.output


# ── Devices that the session shares with the machine ─────────────────────────

MODES = (
    PRELUDE
    + """
import stat
def keep(change, what): change(what, stat.S_IMODE(os.stat(what).st_mode))
def try_all(things):
    for change, what in things:
        try: keep(change, what)
        except OSError: continue
        print(REACHED, what)
shared = os.stat('/dev/null').st_dev
paths = [f'{folder}/{name}' for folder in ('/dev', '/proc') for name in os.listdir(folder)]
try_all([(os.chmod, path) for path in paths if os.path.exists(path)
         and stat.S_ISCHR(os.stat(path).st_mode) and os.stat(path).st_dev == shared])
try_all([(os.fchmod, fd) for fd in (0, 1, 2) if stat.S_ISCHR(os.fstat(fd).st_mode)])
print('looked')
"""
).replace("REACHED", repr(REACHED))
"""Gives each the mode that it has. For anybody else it would be another one."""


@pytest.mark.parametrize("how", ["start", "enter"])
def test_devices_of_the_machine_keep_their_modes(how: str, session: SessionRig) -> None:
    """Also where /dev/null covers a file, and as the streams of a program."""
    assert REACHED in outside(MODES).output
    answer = session.ask(how, arguments=[PYTHON, "-I", "-c", MODES])
    assert answer["output"] == "looked\n"


def test_stream_that_is_a_device_of_the_machine_is_not_handed_on(session: SessionRig) -> None:
    """On a terminal of the machine's, a program could type what somebody outside then runs."""
    look = (
        "import os, sys; print([os.isatty(fd) for fd in (0, 1, 2)], file=open('/root/seen', 'w'))"
    )
    session.ask("enter_on_terminal_of_the_machine", arguments=[PYTHON, "-c", look])
    assert session.run("cat /root/seen").output == "[False, False, False]\n"


# ── Terminals ────────────────────────────────────────────────────────────────


def test_session_cannot_use_up_the_machine_s_terminals(session: SessionRig) -> None:
    """The kernel counts them for all sessions together."""
    take = PRELUDE + (
        "taken = []\n"
        "try:\n"
        "    while len(taken) < 1100: taken.append(os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY))\n"
        "except OSError: pass\n"
        "print(len(taken))"
    )
    machine = int(Path("/proc/sys/kernel/pty/max").read_text())
    assert 100 <= int(session.run_python(take).output) <= machine / 4


# ── Files of the kernel, whichever it has ────────────────────────────────────

FILES = (
    "/dev/fuse",
    "/dev/kmem",
    "/dev/kmsg",
    "/dev/kvm",
    "/dev/loop-control",
    "/dev/loop0",
    "/dev/mem",
    "/dev/net/tun",
    "/dev/port",
    "/dev/userfaultfd",
    "/dev/vhost-vsock",
    "/proc/kcore",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sysrq-trigger",
    "/sys/fs/cgroup/*/release_agent",
    "/sys/fs/cgroup/cgroup.procs",
    "/sys/kernel/mm/ksm/run",
    "/sys/kernel/security/*",
    "/sys/kernel/uevent_helper",
    "/sys/power/state",
)
LOOK = (
    PRELUDE
    + f"""
import glob
for path in [path for pattern in {FILES} for path in glob.glob(pattern)]:
    how = os.O_RDONLY if path == '/proc/kcore' else os.O_RDWR
    try: fd = os.open(path, how | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError: continue
    if path != '/proc/kcore' or os.read(fd, 1): print(path)
    os.close(fd)
"""
)


def test_files_that_are_the_machine_are_closed(session: SessionRig) -> None:
    """Every kernel has some of them."""
    assert len(outside(LOOK).output.split()) >= 5
    assert session.run_python(LOOK).output == ""


WRITABLE = (
    PRELUDE
    + """
import stat
for top in sys.argv[1:]:
    for folder, folders, names in os.walk(top):
        if folder == '/proc': folders[:] = [name for name in folders if name.isalpha()]
        for path in [f'{folder}/{name}' for name in names]:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) or not status.st_mode & 0o222: continue
            try: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            except OSError: continue
            print(path)
"""
)
PRESSURE = {"/proc/pressure/cpu", "/proc/pressure/io", "/proc/pressure/memory"}
"""Written by who wants to be told of pressure; no other file of the kernel's takes anything."""


def test_no_file_of_the_kernel_can_be_written(session: SessionRig) -> None:
    """Apart from those of the session's own processes."""
    control = [PYTHON, "-I", "-c", WRITABLE, "/proc/sys/kernel"]
    assert len(subprocess.run(control, capture_output=True, check=True).stdout.split()) > 10
    inside = session.run_python(WRITABLE, "/proc", "/sys").output
    assert set(inside.split()) <= PRESSURE, inside


PRIVATE = (
    PRELUDE
    + """
import stat
for folder, folders, names in os.walk('/proc'):
    if folder == '/proc': folders[:] = [name for name in folders if name.isalpha()]
    folders[:] = [name for name in folders if name not in ('self', 'sys')]
    for path in [f'{folder}/{name}' for name in names if name not in ('kmsg', 'kcore')]:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o044: continue
        try:
            with open(path, 'rb', 0) as file: text = file.read(100)
        except OSError: continue
        if text: print(path)
"""
)


def test_no_account_for_the_machine_s_root_can_be_read(session: SessionRig) -> None:
    """What is in /proc for root only; a session's root has its number. Two are asked elsewhere."""
    assert len(outside(PRIVATE).output.split()) >= 2
    assert session.run_python(PRIVATE).output == ""
