"""Loop devices: found, made, given back; all by ioctl, without losetup.

A device is bound with *autoclear*: the kernel unbinds it when its last user (a mount, an open
descriptor) is gone, so a killed agent leaves none. It is used with direct I/O: cached twice, the
same data would take twice the memory and be written at half to two thirds the speed.

Two devices on one file, each with a cache of its own, would destroy the file system in it. So
before a file is bound, every bound device is asked for the file it has.

Containers don't show devices that the kernel makes later: missing nodes are made here.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from agent.volume import syscalls
from agent.volume.volume import (
    ImageAttachedOtherwiseError,
    KernelLacksError,
    NoLoopDeviceError,
    NotPermittedError,
)

TRIES_MAX = 32
"""Others may take the device that the kernel has just named: each start of a session on this host
is one such race, and so is each snap or container engine."""

BLOCK_BYTES = 4096  # btrfs's own; smaller ones would be read, changed and written by the host
_MAJOR = 7
_CONFIGURE, _SET_STATUS, _GET_STATUS, _SET_CAPACITY = 0x4C0A, 0x4C04, 0x4C05, 0x4C07
_GET_FREE = 0x4C82  # linux/loop.h
_READ_ONLY, _AUTOCLEAR, _DIRECT_IO = 1, 4, 16
_STATUS = struct.Struct("<5Q4I64s64s32s2Q")  # struct loop_info64
_CONFIG = struct.Struct(f"<2I{_STATUS.size}s8Q")  # struct loop_config
_EXHAUSTED = {errno.ENOSPC, errno.ENOMEM, errno.EAGAIN, errno.ENODEV}
_PERMISSION = (
    "the agent may not use loop devices: it needs CAP_SYS_ADMIN and CAP_MKNOD, and in a container "
    "the device rule 'b 7:* rwm' and /dev/loop-control"
)

_log = structlog.get_logger()

NextFree = Callable[[int], int]
"""Asks an open /dev/loop-control for the number of a free device."""


def kernels_choice(control_fd: int) -> int:
    """Return a device that is free at this instant; the kernel makes one if there is none."""
    return syscalls.ioctl_number(control_fd, _GET_FREE)


@dataclass(frozen=True, slots=True)
class Status:
    """What a bound device says of itself."""

    device: int
    """Of the file's disk, in the kernel's encoding."""
    inode: int
    offset_bytes: int
    size_limit_bytes: int
    flags: int
    raw: bytes

    @property
    def file(self) -> tuple[int, int]:
        return self.device, self.inode


class LoopDevice:
    """A bound device, held open: its number can't go to another file before `close`.

    Works on when its node is renamed or removed.
    """

    def __init__(self, number: int, node: Path, fd: int) -> None:
        self.number = number
        self.node = node
        self.fd = fd

    def status(self) -> Status | None:
        """Return what it is bound to; None if to nothing."""
        data = bytearray(_STATUS.size)
        try:
            syscalls.ioctl(self.fd, _GET_STATUS, data)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            raise
        device, inode, _, offset, limit, _, _, _, flags, *_ = _STATUS.unpack(data)
        return Status(device, inode, offset, limit, flags, bytes(data))

    def reread_size(self) -> None:
        """Take notice that the file has become longer or shorter."""
        syscalls.ioctl_number(self.fd, _SET_CAPACITY)

    def set_autoclear(self, status: Status) -> None:
        """Have the kernel unbind it after its last user."""
        fields = list(_STATUS.unpack(status.raw))
        fields[8] |= _AUTOCLEAR
        syscalls.ioctl(self.fd, _SET_STATUS, bytearray(_STATUS.pack(*fields)))

    def close(self) -> None:
        os.close(self.fd)


class LoopDevices:
    """The host's loop devices. All methods block."""

    def __init__(
        self,
        nodes: Path = Path("/dev"),
        *,
        sysfs: Path = Path("/sys/block"),
        next_free: NextFree = kernels_choice,
    ) -> None:
        self._nodes = nodes
        self._sysfs = sysfs
        self._next_free = next_free

    def find(self, file: os.stat_result) -> LoopDevice | None:
        """Return the device that has this file, held open; None if none has."""
        for folder in self._sysfs.glob("loop*/loop"):  # only bound ones have the inner folder
            device = self._open(int(folder.parent.name.removeprefix("loop")))
            if device is None:
                continue
            status = device.status()
            if status is not None and status.file == _key(file):
                return device
            device.close()
        return None

    def take(self, image: Path, file: os.stat_result) -> LoopDevice:
        """Return the device of this file, wherever it comes from: found, or newly bound."""
        found = self.find(file)
        if found is None:
            return self.bind(image)
        try:
            self._adopt(found, image)
        except BaseException:
            found.close()
            raise
        _log.info("loop_device_taken_over", device=str(found.node))
        return found

    def _adopt(self, device: LoopDevice, image: Path) -> None:
        status = device.status()
        assert status is not None, "it is held open"
        if status.flags & _READ_ONLY or status.offset_bytes or status.size_limit_bytes:
            raise ImageAttachedOtherwiseError(
                f"{device.node} shows the image {image} read-only or in part: somebody else "
                "attached it; detach it there (losetup -d)"
            )
        if not status.flags & _AUTOCLEAR:
            device.set_autoclear(status)

    def bind(self, image: Path) -> LoopDevice:
        """Bind a free device to `image`."""
        fd = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        try:
            for _ in range(TRIES_MAX):
                device = self._open(self._free_number())
                if device is None:
                    continue
                if self._configure(device, fd):
                    return device
                device.close()
        finally:
            os.close(fd)
        raise NoLoopDeviceError(
            f"the host has no free loop device: each of {TRIES_MAX} was taken by somebody else"
        )

    def _free_number(self) -> int:
        control = self._nodes / "loop-control"
        try:
            fd = os.open(control, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise KernelLacksError(
                f"there are no loop devices: {control} is missing (load the kernel's module loop, "
                "and give the device to the container)"
            ) from None
        except OSError as error:
            raise _translated(error) from error
        try:
            return self._next_free(fd)
        except OSError as error:
            raise _translated(error) from error
        finally:
            os.close(fd)

    def _open(self, number: int) -> LoopDevice | None:
        """Return the device, held open, bound or not; None if it has just gone."""
        node = self._nodes / f"loop{number}"
        for _ in range(2):
            try:
                fd = os.open(node, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                self._make_node(node, number)
            except OSError as error:
                if error.errno in {errno.ENXIO, errno.ENODEV}:
                    return None
                raise _translated(error) from error
            else:
                break
        else:
            return None
        facts = os.fstat(fd)
        if not stat.S_ISBLK(facts.st_mode) or facts.st_rdev != os.makedev(_MAJOR, number):
            os.close(fd)
            raise KernelLacksError(f"{node} is not loop device {number}: somebody renamed a node")
        return LoopDevice(number, node, fd)

    def _make_node(self, node: Path, number: int) -> None:
        try:
            os.mknod(node, 0o600 | stat.S_IFBLK, os.makedev(_MAJOR, number))
        except FileExistsError:
            pass
        except OSError as error:
            raise _translated(error) from error

    def _configure(self, device: LoopDevice, fd: int) -> bool:
        """Bind it; False if somebody else was faster."""
        status = _STATUS.pack(0, 0, 0, 0, 0, 0, 0, 0, _AUTOCLEAR | _DIRECT_IO, *[b""] * 3, 0, 0)
        config = bytearray(_CONFIG.pack(fd, BLOCK_BYTES, status, *[0] * 8))
        try:
            syscalls.ioctl(device.fd, _CONFIGURE, config)
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            device.close()
            raise _translated(error) from error
        bound = device.status()
        if bound is not None and not bound.flags & _DIRECT_IO:
            _log.warning("loop_device_without_direct_io", device=str(device.node))
        return True


def _key(file: os.stat_result) -> tuple[int, int]:
    """Return disk and inode as the kernel's loop driver has them (its huge_encode_dev)."""
    major, minor = os.major(file.st_dev), os.minor(file.st_dev)
    return (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12, file.st_ino


def _translated(error: OSError) -> Exception:
    if error.errno in {errno.EPERM, errno.EACCES}:
        return NotPermittedError(_PERMISSION)
    if error.errno in _EXHAUSTED:
        return NoLoopDeviceError(f"the host has no free loop device: {error.strerror}")
    if error.errno in {errno.ENOTTY, errno.ENOSYS}:
        return KernelLacksError("the kernel's loop devices are too old: 5.8 or newer is needed")
    return KernelLacksError(f"a loop device can't be used: {error.strerror}")
