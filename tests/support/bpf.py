"""What a seccomp filter answers to a call, by the kernel's rules for classic BPF.

So a filter can be asked about architectures that the machine doesn't run, and about calls that a
test must not make. The instructions are those that libseccomp uses.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

X86_64 = 0xC000003E
I386 = 0x40000003
_DATA = struct.Struct("=iIQ6Q")
"""`struct seccomp_data`: number, architecture, instruction pointer, arguments."""
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05
_COMPARISONS: dict[int, Callable[[int, int], bool]] = {
    0x15: lambda a, k: a == k,
    0x25: lambda a, k: a > k,
    0x35: lambda a, k: a >= k,
    0x45: lambda a, k: a & k != 0,
}
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000


def verdict(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Return 0 if the call is allowed, else the error that it fails with."""
    padded = [*arguments, *(0,) * (6 - len(arguments))]
    data = _DATA.pack(number, architecture, 0, *padded)
    answer = _run(program, data)
    if answer == _ALLOW:
        return 0
    assert answer & 0xFFFF0000 == _ERRNO, hex(answer)
    return answer & 0xFFFF


def _run(program: bytes, data: bytes) -> int:
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = _INSTRUCTION.unpack_from(program, at * _INSTRUCTION.size)
        at += 1
        if code == _LOAD:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif code == _AND:
            accumulator &= value
        elif code == _RETURN:
            return int(value)
        elif code == _JUMP:
            at += value
        else:
            at += if_true if _COMPARISONS[code](accumulator, value) else if_false
