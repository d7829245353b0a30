"""Compiles a seccomp profile into the kernel's form, with libseccomp.

The agent does this once and hands the result to the launcher, so that a session's first process
never loads the library.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING, assert_never

from agent.root.seccomp import Condition, Equal, MaskedEqual, SeccompProfile

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBRARY = "libseccomp.so.2"
_I386 = 0x40000003
_ARCHITECTURES = {
    "x86_64": (0xC000003E, _I386),
    "aarch64": (0xC00000B7, 0x40000028),
}
"""The machine's own and its 32-bit one, as SCMP_ARCH_*. Calls of any other fail with ENOSYS."""
_NUMBERS = range(463)
"""Where calls are looked for. 462, mseal, is the last that somebody has thought about: a library
that knows more must not allow more. All architectures share the numbers from 424 on."""
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_ENOSYS = 38
_ATTRIBUTE_BAD_ARCHITECTURE = 2
_ATTRIBUTE_NO_NEW_PRIVILEGES = 3
_ATTRIBUTE_OPTIMIZE = 8
_BINARY_TREE = 2
_EQUAL, _MASKED_EQUAL = 4, 7
_BYTES_MAX = 4096 * 8

# Of `struct seccomp_data`, and of the kernel's filter language (linux/bpf_common.h):
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_INSTRUCTION = struct.Struct("=HBBI")
_I386_SOCKETCALL = 102
_SYS_SOCKET = 1


class SeccompUnavailableError(Exception):
    """No filter can be compiled here. The text is a sentence for the user."""


class _Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp`."""

    _fields_ = [  # type: ignore[mutable-override]  # as ctypes has it
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    ]


def compile_filter(profile: SeccompProfile) -> bytes:
    """Return the filter program, or raise SeccompUnavailableError. Takes some milliseconds."""
    try:
        return _Compiler().compile(profile)
    except OSError as error:
        raise SeccompUnavailableError(f"the seccomp filter can't be made: {error}") from None


class _Compiler:
    def __init__(self) -> None:
        machine = os.uname().machine
        if machine not in _ARCHITECTURES:
            raise SeccompUnavailableError(f"there is no seccomp filter for {machine} yet")
        self._native, self._narrow = _ARCHITECTURES[machine]
        library = ctypes.CDLL(_LIBRARY)
        library.seccomp_init.restype = ctypes.c_void_p
        library.seccomp_init.argtypes = (ctypes.c_uint32,)
        library.seccomp_release.argtypes = (ctypes.c_void_p,)
        library.seccomp_arch_add.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
        library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
        library.seccomp_syscall_resolve_num_arch.argtypes = (ctypes.c_uint32, ctypes.c_int)
        library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
        library.seccomp_rule_add_array.argtypes = (
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.POINTER(_Comparison),
        )
        library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
        self._library = library
        self._free = ctypes.CDLL(None).free
        self._free.argtypes = (ctypes.c_void_p,)

    def compile(self, profile: SeccompProfile) -> bytes:
        context = self._library.seccomp_init(_ERRNO | _ENOSYS)
        if not context:
            raise SeccompUnavailableError("libseccomp can't be used")
        try:
            self._prepare(context)
            for name in sorted(self._known_names()):
                self._add(context, name, profile)
            return self._export(context)
        finally:
            self._library.seccomp_release(context)

    def _prepare(self, context: int) -> None:
        _check(self._library.seccomp_arch_add(context, self._narrow))
        for attribute, value in (
            (_ATTRIBUTE_BAD_ARCHITECTURE, _ERRNO | _ENOSYS),
            (_ATTRIBUTE_NO_NEW_PRIVILEGES, 0),
            (_ATTRIBUTE_OPTIMIZE, _BINARY_TREE),
        ):
            _check(self._library.seccomp_attr_set(context, attribute, value))

    def _known_names(self) -> set[bytes]:
        return {
            name
            for architecture in (self._native, self._narrow)
            for number in _NUMBERS
            for name in self._name(architecture, number)
        }

    def _name(self, architecture: int, number: int) -> Iterator[bytes]:
        pointer = self._library.seccomp_syscall_resolve_num_arch(architecture, number)
        if pointer:
            name = ctypes.string_at(pointer)
            self._free(pointer)
            yield name

    def _add(self, context: int, name: bytes, profile: SeccompProfile) -> None:
        number = self._library.seccomp_syscall_resolve_name(name)
        text = name.decode()
        if (error := profile.refused.get(text)) is not None:
            if error != _ENOSYS:
                self._rule(context, _ERRNO | error, number)
        elif (conditions := profile.conditional.get(text)) is not None:
            for condition in conditions:
                self._rule(context, _ALLOW, number, _comparison(condition))
        else:
            self._rule(context, _ALLOW, number)

    def _rule(self, context: int, action: int, number: int, *comparisons: _Comparison) -> None:
        array = (_Comparison * len(comparisons))(*comparisons)
        _check(
            self._library.seccomp_rule_add_array(context, action, number, len(comparisons), array)
        )

    def _export(self, context: int) -> bytes:
        fd = os.memfd_create("seccomp")
        try:
            _check(self._library.seccomp_export_bpf(context, fd))
            program = os.pread(fd, _BYTES_MAX + 1, 0)
        finally:
            os.close(fd)
        whole = _without_muxed_sockets() + program
        if not program or len(whole) > _BYTES_MAX:
            raise SeccompUnavailableError("the seccomp filter is larger than the kernel takes")
        return whole


def _without_muxed_sockets() -> bytes:
    """Build what refuses 32-bit programs to make sockets by socketcall(2), whatever their family.

    It keeps the family in memory, where a filter can't look, so libseccomp allows it for all
    families as soon as `socket` is allowed for one. `socket` itself, which 32-bit programs have
    since Linux 4.3, goes on. Jumps are relative: the rest of the program follows as it is.
    """
    instructions = (
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_IF_EQUAL, 0, 5, _I386),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_JUMP_IF_EQUAL, 0, 3, _I386_SOCKETCALL),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_JUMP_IF_EQUAL, 0, 1, _SYS_SOCKET),
        (_RETURN, 0, 0, _ERRNO | _ENOSYS),
    )
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result), "libseccomp")


def _comparison(condition: Condition) -> _Comparison:
    match condition:
        case MaskedEqual(argument, mask, value):
            return _Comparison(argument, _MASKED_EQUAL, mask, value)
        case Equal(argument, value):
            return _Comparison(argument, _EQUAL, value, 0)
        case _:
            assert_never(condition)
