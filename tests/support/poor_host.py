"""Runs a program on a host that lacks something, without taking it from anybody else.

`python3 -m tests.support.poor_host WHAT COMMAND…` needs the standard library only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess
import sys

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2  # linux/prctl.h, linux/seccomp.h
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
_CALL_OFFSET, _SECOND_ARGUMENT_OFFSET = 0, 24  # in struct seccomp_data
_IOCTL = {"x86_64": 16, "aarch64": 29}
_LOOP_CTL_GET_FREE = 0x4C82
_ENOSPC = 28
_NEW_MOUNTS = 0x20000  # CLONE_NEWNS


def no_loop_control() -> None:
    """Have a /dev with nothing for loop devices in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(_NEW_MOUNTS) == 0
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    nodes = ("fuse", "full", "kmsg", "null", "random", "tty", "urandom", "zero")
    held = {
        name: os.open(f"/dev/{name}", os.O_PATH) for name in nodes if os.path.exists(f"/dev/{name}")
    }
    subprocess.run(["mount", "-t", "tmpfs", "studios-test", "/dev"], check=True)
    for name, fd in held.items():
        os.close(os.open(f"/dev/{name}", os.O_CREAT))
        source = f"/proc/{os.getpid()}/fd/{fd}"
        subprocess.run(["mount", "--bind", source, f"/dev/{name}"], check=True)
        os.close(fd)


def no_free_loop_device() -> None:
    """Have the kernel say that all loop devices are in use, whoever asks for a free one."""
    program = [
        (_LOAD, 0, 0, _CALL_OFFSET),
        (_JUMP_IF_EQUAL, 0, 3, _IOCTL[platform.machine()]),
        (_LOAD, 0, 0, _SECOND_ARGUMENT_OFFSET),
        (_JUMP_IF_EQUAL, 0, 1, _LOOP_CTL_GET_FREE),
        (_RETURN, 0, 0, _FAIL | _ENOSPC),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code)
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(header))
    assert done == 0, os.strerror(ctypes.get_errno())


LACKS = {lack.__name__: lack for lack in (no_loop_control, no_free_loop_device)}

if __name__ == "__main__":
    LACKS[sys.argv[1]]()
    os.execvp(sys.argv[2], sys.argv[2:])
