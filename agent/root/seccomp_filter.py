"""Compiles a seccomp profile into the kernel's form, with libseccomp.

The agent does this once and hands the result to the launcher, so that a session's first process
never loads the library.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, assert_never

from agent.root.seccomp import Above, Below, Condition, Equal, MaskedEqual, SeccompProfile

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIBRARY = "libseccomp.so.2"
_ARCHITECTURES = {
    "x86_64": (0xC000003E, 0x40000003),
    "aarch64": (0xC00000B7, 0x40000028),
}
"""The machine's own and its 32-bit one, as SCMP_ARCH_*. Calls of any other fail with ENOSYS."""
_NUMBERS = range(1024)
"""Where calls are looked for: the largest known number is below 500."""
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_ENOSYS = 38
_ATTRIBUTE_BAD_ARCHITECTURE = 2
_ATTRIBUTE_NO_NEW_PRIVILEGES = 3
_ATTRIBUTE_OPTIMIZE = 8
_BINARY_TREE = 2
_LESS, _EQUAL, _GREATER, _MASKED_EQUAL = 2, 4, 6, 7
_BYTES_MAX = 4096 * 8


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
        if not 0 < len(program) <= _BYTES_MAX:
            raise SeccompUnavailableError("the seccomp filter is larger than the kernel takes")
        return program


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, os.strerror(-result), "libseccomp")


def _comparison(condition: Condition) -> _Comparison:
    match condition:
        case MaskedEqual(argument, mask, value):
            return _Comparison(argument, _MASKED_EQUAL, mask, value)
        case Equal(argument, value):
            return _Comparison(argument, _EQUAL, value, 0)
        case Below(argument, value):
            return _Comparison(argument, _LESS, value, 0)
        case Above(argument, value):
            return _Comparison(argument, _GREATER, value, 0)
        case _:
            assert_never(condition)
