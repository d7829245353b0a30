"""What the agent tells the processes it starts around a session, and what it hears back.

Both ends are this module, run by the same interpreter. Orders are marshalled tuples: the standard
library's JSON would cost the session's first process 1.3 MB for the session's life. They only ever
go from the agent to its own child. What comes back is text and is checked, because who knows what
a session might make of such a process.

    agent → process   a `Launch` or an `Enter` in a memory file; then `Start`, `Forward` and
                      `SignalAll`, each behind its length, on a pipe
    process → agent   one line for each event: `ready`, `started 7`, `ended 7 256`, `empty`,
                      `failed <sentence>` (nothing is ready), `refused <sentence>` (nothing started)
"""

from __future__ import annotations

import marshal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

ORDER_BYTES_MAX = 1_000_000  # environment and arguments; fits into a pipe of 1 MiB
_LENGTH_BYTES = 4
_READ_BYTES = 1 << 16


class _Order:
    """Named values in a fixed sequence. Not a dataclass: that module costs 2.5 MB."""

    __slots__: tuple[str, ...] = ()

    def pack(self) -> bytes:
        return marshal.dumps(tuple(getattr(self, name) for name in self.__slots__))

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        order = cls.__new__(cls)
        for name, value in zip(cls.__slots__, marshal.loads(data), strict=True):
            setattr(order, name, value)
        return order


class Launch(_Order):
    """Everything the launcher does."""

    __slots__ = (
        "capabilities",
        "carried",
        "cgroup_inside",
        "cgroup_outside",
        "covered",
        "devices",
        "hostname",
        "masked_paths",
        "network_fd",
        "own_files",
        "read_only_paths",
        "root",
        "seccomp",
        "working_directory",
    )

    def __init__(
        self,
        *,
        root: str,
        network_fd: int | None,
        cgroup_inside: tuple[str, ...],
        cgroup_outside: tuple[str, ...],
        hostname: str,
        carried: tuple[str, ...],
        covered: tuple[str, ...],
        own_files: tuple[tuple[str, str], ...],
        devices: tuple[str, ...],
        masked_paths: tuple[str, ...],
        read_only_paths: tuple[str, ...],
        seccomp: bytes,
        capabilities: tuple[int, ...],
        working_directory: str,
    ) -> None:
        self.root = root
        """Where the overlay is mounted."""
        self.network_fd = network_fd
        """The session's network namespace, if it has one of its own."""
        self.cgroup_inside = cgroup_inside
        """Files of the session's cgroups that take a pid, one per hierarchy."""
        self.cgroup_outside = cgroup_outside
        """The agent's own, in the same sequence."""
        self.hostname = hostname
        self.carried = carried
        self.covered = covered
        self.own_files = own_files
        """Pairs: the file to bind, and where in the session."""
        self.devices = devices
        self.masked_paths = masked_paths
        self.read_only_paths = read_only_paths
        self.seccomp = seccomp
        self.capabilities = capabilities
        self.working_directory = working_directory
        """Made if there is none."""


class Enter(_Order):
    """Everything that makes a process one of the session's."""

    __slots__ = (
        "capabilities",
        "cgroup_inside",
        "first_process_fd",
        "outlives_agent",
        "seccomp",
        "terminal_fd",
    )

    def __init__(
        self,
        *,
        first_process_fd: int,
        cgroup_inside: tuple[str, ...],
        seccomp: bytes,
        capabilities: tuple[int, ...],
        terminal_fd: int | None,
        outlives_agent: bool,
    ) -> None:
        self.first_process_fd = first_process_fd
        """A pidfd: its namespaces are entered."""
        self.cgroup_inside = cgroup_inside
        self.seccomp = seccomp
        self.capabilities = capabilities
        self.terminal_fd = terminal_fd
        """A unix socket on which the agent is given a terminal's other end; None for none."""
        self.outlives_agent = outlives_agent


class Start(_Order):
    """Start a program with the standard streams of whoever starts it."""

    __slots__ = ("arguments", "environment", "working_directory")

    def __init__(
        self,
        *,
        arguments: tuple[str, ...],
        environment: tuple[tuple[str, str], ...],
        working_directory: str,
    ) -> None:
        self.arguments = arguments
        self.environment = environment
        self.working_directory = working_directory


class Forward(_Order):
    """Send a signal to the process group of a program that was started, if it still lives."""

    __slots__ = ("pid", "signal")

    def __init__(self, *, pid: int, signal: int) -> None:
        self.pid = pid
        self.signal = signal


class SignalAll(_Order):
    """Send a signal to every process of the session but the first, and tell when none is left."""

    __slots__ = ("signal", "who_ignores")

    def __init__(self, *, signal: int, who_ignores: int = 0) -> None:
        self.signal = int(signal)  # marshal knows no members of enumerations
        self.who_ignores = int(who_ignores)
        """Only to those that ignore this other signal; 0 for everybody."""


if TYPE_CHECKING:
    Order = Start | Forward | SignalAll

_KINDS: dict[int, type[Order]] = {1: Start, 2: Forward, 3: SignalAll}


def frame(order: Order) -> bytes:
    """Return the bytes for the pipe, or raise ValueError if they are too many."""
    body = order.pack()
    if len(body) > ORDER_BYTES_MAX:
        raise ValueError(f"arguments and environment are larger than {ORDER_BYTES_MAX} bytes")
    kind = next(number for number, cls in _KINDS.items() if type(order) is cls)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + bytes([kind]) + body


def read_order(fd: int) -> Order | None:
    """Wait for the next order; None at the pipe's end."""
    head = _read_exactly(fd, _LENGTH_BYTES + 1)
    if head is None:
        return None
    body = _read_exactly(fd, int.from_bytes(head[:_LENGTH_BYTES], "big"))
    return None if body is None else _KINDS[head[_LENGTH_BYTES]].unpack(body)


def _read_exactly(fd: int, count: int) -> bytes | None:
    parts: list[bytes] = []
    while count:
        part = os.read(fd, count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def memory_file(name: str, content: bytes) -> int:
    """Return a descriptor of an anonymous file with `content`, to be read from its start."""
    fd = os.memfd_create(name)
    written = 0
    while written < len(content):
        written += os.write(fd, content[written:])
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def read_file(fd: int) -> bytes:
    """Return all that is left in a file, and close it."""
    parts: list[bytes] = []
    while part := os.read(fd, _READ_BYTES):
        parts.append(part)
    os.close(fd)
    return b"".join(parts)
