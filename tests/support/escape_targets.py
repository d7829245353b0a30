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
    volume: Path
    image: Path
    disk: Path
    disk_numbers: tuple[int, int]
    disk_magic: str
    socket_path: Path
    visible_socket: Path
    engine_socket: Path
    abstract_name: str
    mount: Path
    terminal: str
    shared_memory: Path
    shared_segment: int
    semaphores: int
    messages: int
    message_queue: str
    handle: str

    def words(self) -> dict[str, str]:
        return {
            "AGENT": str(self.agent_pid),
            "SECRET": self.secret,
            "SECRET_FILE": str(self.secret_file),
            "VICTIM": str(self.victim_pid),
            "VOLUME": str(self.volume),
            "IMAGE": str(self.image),
            "DISK": str(self.disk),
            "MAJOR": str(self.disk_numbers[0]),
            "MINOR": str(self.disk_numbers[1]),
            "MAGIC": self.disk_magic,
            "SOCKET": str(self.socket_path),
            "VISIBLE": str(self.visible_socket),
            "ENGINE": str(self.engine_socket),
            "ABSTRACT": self.abstract_name,
            "MOUNT": str(self.mount),
            "TERMINAL": self.terminal,
            "SHARED_MEMORY": str(self.shared_memory),
            "SEGMENT": str(self.shared_segment),
            "SEMAPHORES": str(self.semaphores),
            "MESSAGES": str(self.messages),
            "QUEUE": self.message_queue,
            "HANDLE": self.handle,
        }


@contextlib.contextmanager
def made_targets(session: SessionRig, folder: Path) -> Iterator[Targets]:
    """Make them all; none is left afterwards."""
    with contextlib.ExitStack() as closing:
        image = session.folder / "volume.img"
        disk, numbers, magic = _disk(closing, image)
        secret_file = session.folder / "secret"
        yield Targets(
            agent_pid=session.pid,
            secret=session.secret,
            secret_file=secret_file,
            victim_pid=_victim(closing),
            volume=session.volume,
            image=image,
            disk=disk,
            disk_numbers=numbers,
            disk_magic=magic,
            socket_path=_listen(closing, str(session.folder / "engine.sock")),
            visible_socket=_listen(closing, str(folder / "visible.sock")),
            engine_socket=_listen(closing, f"/run/studios-test-{secrets.token_hex(4)}.sock"),
            abstract_name=_listen_abstract(closing),
            mount=_mount(closing, folder),
            terminal=_terminal(closing),
            shared_memory=_shared_memory(closing),
            shared_segment=_made(closing, "shmget", 4096, remove=("shmctl", 0)),
            semaphores=_made(closing, "semget", 1, remove=("semctl", 0, 0)),
            messages=_made(closing, "msgget", remove=("msgctl", 0)),
            message_queue=_message_queue(closing),
            handle=_handle(secret_file),
        )


def _disk(closing: contextlib.ExitStack, image: Path) -> tuple[Path, tuple[int, int], str]:
    magic = f"magic-{secrets.token_hex(8)}"
    image.write_bytes(magic.encode().ljust(1 << 20, b"\0"))
    closing.callback(image.unlink)
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
    closing.callback(os.unlink, path)
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


def _made(
    closing: contextlib.ExitStack, make: str, *size: int, remove: tuple[str, *tuple[int, ...]]
) -> int:
    """Make something of System V's, open to everybody; return its number."""
    libc = ctypes.CDLL(None, use_errno=True)
    number = int(getattr(libc, make)(0, *size, 0o1666))
    assert number >= 0, os.strerror(ctypes.get_errno())
    name, *arguments = remove
    closing.callback(lambda: getattr(libc, name)(number, *arguments, None))
    return number


def _message_queue(closing: contextlib.ExitStack) -> str:
    name = f"/studios-test-{secrets.token_hex(4)}"
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.mq_open(name.encode(), os.O_CREAT | os.O_RDWR, 0o666, None)
    assert queue >= 0, os.strerror(ctypes.get_errno())
    closing.callback(libc.mq_unlink, name.encode())
    closing.callback(os.close, queue)
    return name.removeprefix("/")


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
