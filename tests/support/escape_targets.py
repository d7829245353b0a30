"""What a hostile session would like to reach, all of it made for the test and gone with it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.session_rig import SessionRig


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What there is to be reached, all of it made by `made_targets`."""

    agent_pid: int
    secret: str
    secret_file: Path
    victim_pid: int
    disk: Path
    disk_numbers: tuple[int, int]
    disk_magic: str
    socket_path: Path
    abstract_name: str
    mount: Path
    terminal: str
    shared_memory: Path
    shared_segment: int
    handle: str

    def words(self) -> dict[str, str]:
        return {
            "AGENT": str(self.agent_pid),
            "SECRET": self.secret,
            "SECRET_FILE": str(self.secret_file),
            "VICTIM": str(self.victim_pid),
            "DISK": str(self.disk),
            "MAJOR": str(self.disk_numbers[0]),
            "MINOR": str(self.disk_numbers[1]),
            "MAGIC": self.disk_magic,
            "SOCKET": str(self.socket_path),
            "ABSTRACT": self.abstract_name,
            "MOUNT": str(self.mount),
            "TERMINAL": self.terminal,
            "SHARED_MEMORY": str(self.shared_memory),
            "SEGMENT": str(self.shared_segment),
            "HANDLE": self.handle,
        }


@contextlib.contextmanager
def made_targets(session: SessionRig, folder: Path) -> Iterator[Targets]:
    """Make them all; none is left afterwards."""
    with contextlib.ExitStack() as closing:
        disk, numbers, magic = _disk(closing, folder)
        secret_file = session.folder / "secret"
        yield Targets(
            agent_pid=session.pid,
            secret=session.secret,
            secret_file=secret_file,
            victim_pid=_victim(closing),
            disk=disk,
            disk_numbers=numbers,
            disk_magic=magic,
            socket_path=_listen(closing, str(session.folder / "engine.sock")),
            abstract_name=_listen_abstract(closing),
            mount=_mount(closing, folder),
            terminal=_terminal(closing),
            shared_memory=_shared_memory(closing),
            shared_segment=_shared_segment(closing),
            handle=_handle(secret_file),
        )


def _disk(closing: contextlib.ExitStack, folder: Path) -> tuple[Path, tuple[int, int], str]:
    magic = f"magic-{secrets.token_hex(8)}"
    image = folder / "studios-disk.img"
    image.write_bytes(magic.encode().ljust(1 << 20, b"\0"))
    attach = ["losetup", "--find", "--show", str(image)]
    device = subprocess.run(attach, capture_output=True, text=True, check=True).stdout.strip()
    closing.callback(subprocess.run, ["losetup", "--detach", device], check=True)
    number = os.stat(device).st_rdev
    return Path(device), (os.major(number), os.minor(number)), magic


def _victim(closing: contextlib.ExitStack) -> int:
    victim = subprocess.Popen(["sleep", "1000"])
    closing.callback(victim.wait)
    closing.callback(victim.kill)
    return victim.pid


def _listen(closing: contextlib.ExitStack, path: str) -> Path:
    listener = closing.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(path)
    listener.listen()
    return Path(path)


def _listen_abstract(closing: contextlib.ExitStack) -> str:
    name = f"studios-test-{secrets.token_hex(4)}"
    listener = closing.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(f"\0{name}")
    listener.listen()
    return name


def _mount(closing: contextlib.ExitStack, folder: Path) -> Path:
    path = folder / "studios-mount"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "studios-test-mount", str(path)]
    subprocess.run(mount, check=True)
    closing.callback(subprocess.run, ["umount", str(path)], check=True)
    (path / "file").write_text("on a mount of the host")
    return path


def _terminal(closing: contextlib.ExitStack) -> str:
    master, slave = os.openpty()
    closing.callback(os.close, master)
    closing.callback(os.close, slave)
    os.fchmod(slave, 0o622)
    return os.ttyname(slave)


def _shared_memory(closing: contextlib.ExitStack) -> Path:
    path = Path(f"/dev/shm/studios-test-{secrets.token_hex(4)}")
    path.write_text("shared")
    closing.callback(path.unlink)
    return path


def _shared_segment(closing: contextlib.ExitStack) -> int:
    libc = ctypes.CDLL(None)
    segment = libc.shmget(0, 4096, 0o1600)
    assert segment >= 0
    closing.callback(libc.shmctl, segment, 0, None)
    return int(segment)


def _handle(path: Path) -> str:
    """Return what name_to_handle_at says of a file: it is opened by it, past every mount."""

    class Handle(ctypes.Structure):
        _fields_ = [  # type: ignore[mutable-override]  # as ctypes has it
            ("bytes", ctypes.c_uint),
            ("type", ctypes.c_int),
            ("handle", ctypes.c_ubyte * 128),
        ]

    handle = Handle(128)
    mount_id = ctypes.c_int()
    libc = ctypes.CDLL(None)
    arguments = (-100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount_id), 0)
    assert libc.name_to_handle_at(*arguments) == 0
    return bytes(handle).hex()
