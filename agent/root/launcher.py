"""Makes a session's root around itself, and stays in it, confined, as its first process.

Exec'ed by `launching`, never forked from the agent.

**Why it stays.** Whatever a new pid namespace's first process is, it lives as long as the session:
it should be small, and nothing that the session can replace. A program from inside the session's
root can be broken or replaced by its user, and a session whose first process doesn't start is lost.
A program from outside can't be exec'ed any more once the root is the session's: its loader and
its libraries are no longer there. Images with nothing but Python have no static program. So the
interpreter that made the root goes on, with all it needs in memory. Measured (Debian 12, Python
3.11): 9.4 MB resident, 3.1 of them its own, the rest shared with every interpreter of the machine.
One with nothing imported has 7.6 and 2.3; `json`, `signal` or `socket` add 1 MB, `dataclasses` 2.5.
So this module and what it imports need nothing but `os`, `ctypes`, `marshal` and `select`.

**What the session must not get from it.** A clean environment, no descriptors but its own, no
memory of the agent's: it was exec'ed. It is not dumpable, so its memory, its links in /proc and
those of its children until they exec are closed to the session. Its executable is run from a
read-only mount: `#!/proc/self/exe` in the session runs the interpreter once more with the session's
own rights, but nobody can open it for writing. It holds no descriptor of a folder, its working
directory is the session's. After the root is made nothing is imported any more.

**Order.** Everything is taken from outside as detached mounts before the root is changed, and
attached after it, where links that a session's user left at those places lead nowhere.
"""

from __future__ import annotations

import os
import stat

from agent.root import kernel
from agent.root.confining import confine, leave_parent_behind, write
from agent.root.orders import Launch, read_file
from agent.root.starter import Starter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SIGKILL = 9
_TERMINAL_GROUP = 5  # Debian's `tty`, as in every image this runs in
_SHARED_MEMORY = "mode=1777"
_DEV_BYTES = "64k"  # holds names only
_TERMINALS_MAX = 512
"""The kernel counts terminals for the whole machine, 3072 by default: no session gets them all."""
_LINKS = (
    ("pts/ptmx", "/dev/ptmx"),
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
)
_NO_PLACE_FOR_FILES = ("/proc/", "/sys/", "/dev/")
_UNTRUSTED = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
_SCRATCH = kernel.MS_NOSUID | kernel.MS_NODEV
_NAME = "studio-init"


class _Carried:
    """A detached mount and where it goes."""

    def __init__(self, source: str, target: str, attributes: int, *, recursive: bool) -> None:
        self.target = target
        self.is_folder = os.path.isdir(source)
        self._fd = kernel.clone_mount(source, recursive=recursive)
        kernel.set_mount_attributes(
            self._fd,
            attributes=attributes,
            propagation=kernel.MS_SLAVE if recursive else kernel.MS_PRIVATE,
            recursive=recursive,
        )

    def attach(self) -> None:
        _ensure(self.target, folder=self.is_folder)
        kernel.attach_mount(self._fd, self.target)
        os.close(self._fd)


def main(plan_fd: int, orders_fd: int, events_fd: int) -> None:
    """Become the session's first process. Never returns."""
    kernel.die_with_parent(_SIGKILL)
    kernel.refuse_inspection()
    kernel.block_signals()
    try:
        launch = Launch.unpack(read_file(plan_fd))
        kept = [orders_fd, events_fd]
        kernel.close_all_but([*kept, *_given(launch.network_fd)])
        leave_parent_behind()
        kernel.set_process_name(_NAME)
        doors = _make_root(launch)
        confine(launch.seccomp, launch.capabilities)
    except (OSError, ValueError) as error:
        os.write(events_fd, f"failed {error}\n".encode(errors="replace"))
        os._exit(1)
    Starter(orders_fd, events_fd, doors).run()


def _given(fd: int | None) -> tuple[int, ...]:
    return () if fd is None else (fd,)


def _make_root(launch: Launch) -> tuple[int, ...]:
    """Leave the host for the session's root; return the doors into the session's cgroups."""
    doors = tuple(os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in launch.cgroup_inside)
    _enter_namespaces(launch, doors)
    kernel.set_propagation("/", kernel.MS_REC | kernel.MS_SLAVE)
    carried = _collect(launch)
    os.chdir(launch.root)
    kernel.pivot_root(".", ".")
    kernel.unmount(".", kernel.MNT_DETACH)  # the host, which lies over the new root
    os.chdir("/")
    _mount_proc(launch)
    _mount_sys()
    _mount_dev()
    _mount_fresh("/run", "mode=755")
    for mount in carried:
        mount.attach()
    for path in launch.covered:
        _mount_fresh(path, "mode=000", kernel.MS_RDONLY)
    _mask(launch.masked_paths)
    if not os.path.isdir(launch.working_directory):
        _ensure(launch.working_directory, folder=True)
    return doors


def _enter_namespaces(launch: Launch, doors: Iterable[int]) -> None:
    """The pid namespace is new already: it is given when a process is made."""
    if launch.network_fd is not None:
        kernel.enter_namespace(launch.network_fd, kernel.CLONE_NEWNET)
        os.close(launch.network_fd)
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)
    kernel.set_hostname(launch.hostname)
    for door in doors:
        os.write(door, b"0")
    kernel.unshare(kernel.CLONE_NEWCGROUP)  # whose root is where this process is now
    for path in launch.cgroup_outside:
        write(path, "0")


def _collect(launch: Launch) -> list[_Carried]:
    # The nodes are the machine's own files: on a mount for reading nobody changes their modes, and
    # devices can be written to all the same.
    nodes = [
        _Carried(f"/dev/{name}", f"/dev/{name}", kernel.MOUNT_ATTR_RDONLY, recursive=False)
        for name in launch.devices
    ]
    own = [
        _Carried(source, target, kernel.MOUNT_ATTR_NODEV, recursive=False)
        for source, target in launch.own_files
    ]
    others = [
        _Carried(path, path, kernel.MOUNT_ATTR_NODEV, recursive=True) for path in launch.carried
    ]
    return [*others, *nodes, *own]


# ── Inside the session's root ────────────────────────────────────────────────


def _mount_proc(launch: Launch) -> None:
    _ensure("/proc", folder=True)
    kernel.mount("proc", "/proc", "proc", _UNTRUSTED)
    for path in launch.read_only_paths:
        if os.path.lexists(path):
            kernel.mount(path, path, None, kernel.MS_BIND | kernel.MS_REC)
            _make_read_only(path)


def _mount_sys() -> None:
    _ensure("/sys", folder=True)
    kernel.mount("sysfs", "/sys", "sysfs", _UNTRUSTED)
    _make_read_only("/sys")


def _mount_dev() -> None:
    _mount_fresh("/dev", f"mode=755,size={_DEV_BYTES}", kernel.MS_NOEXEC)
    for target, link in _LINKS:
        os.symlink(target, link)
    os.mkdir("/dev/pts")
    kernel.mount(
        "devpts",
        "/dev/pts",
        "devpts",
        kernel.MS_NOSUID | kernel.MS_NOEXEC,
        f"newinstance,ptmxmode=0666,mode=0620,gid={_TERMINAL_GROUP},max={_TERMINALS_MAX}",
    )
    _mount_fresh("/dev/shm", _SHARED_MEMORY)
    os.mkdir("/dev/mqueue")
    kernel.mount("mqueue", "/dev/mqueue", "mqueue", _UNTRUSTED)


def _mount_fresh(path: str, options: str, flags: int = 0) -> None:
    _ensure(path, folder=True)
    kernel.mount("tmpfs", path, "tmpfs", _SCRATCH | flags, options)


def _mask(paths: Iterable[str]) -> None:
    """Cover files with /dev/null and folders with nothing."""
    for path in paths:
        if os.path.isdir(path):
            kernel.mount("tmpfs", path, "tmpfs", _UNTRUSTED | kernel.MS_RDONLY, "size=0,mode=755")
        elif os.path.lexists(path):
            kernel.mount("/dev/null", path, None, kernel.MS_BIND)


def _make_read_only(path: str) -> None:
    flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY
    kernel.mount("none", path, None, flags | _UNTRUSTED)


def _ensure(path: str, *, folder: bool) -> None:
    """See that there is something to mount on at `path`, whatever the session's user left there.

    A link to a file is followed, within this root: /etc/resolv.conf often is one. Whatever else is
    in the way is moved aside.
    """
    real = path if folder else os.path.realpath(path)
    if any(real.startswith(place) for place in _NO_PLACE_FOR_FILES) and real != path:
        real = path
    os.makedirs(os.path.dirname(real), mode=0o755, exist_ok=True)
    there = _kind(real)
    if there == (stat.S_IFDIR if folder else stat.S_IFREG):
        return
    if there is not None:
        _move_aside(real)
    if folder:
        os.mkdir(real, 0o755)
    else:
        os.close(os.open(real, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))


def _move_aside(path: str) -> None:
    number = 0
    while _kind(aside := f"{path}.moved-{number}") is not None:
        number += 1
    os.rename(path, aside)


def _kind(path: str) -> int | None:
    try:
        return stat.S_IFMT(os.lstat(path).st_mode)
    except FileNotFoundError:
        return None
