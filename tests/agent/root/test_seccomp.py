"""What the compiled filter answers, on every architecture that a program of a session can speak."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given, strategies as st

from agent.root.confinement import PROFILES
from agent.root.seccomp import (
    AF_ALG,
    AF_MAX,
    AF_PACKET,
    AF_VSOCK,
    NAMESPACE_FLAGS,
    PERSONALITIES,
    seccomp_profile,
)
from agent.root.seccomp_filter import compile_filter
from tests.support.bpf import I386, X86_64, verdict

DEFAULT = compile_filter(seccomp_profile(PROFILES["default"]))
DOCKER = compile_filter(seccomp_profile(PROFILES["docker"]))
X32 = 0x40000000
"""The bit in a call's number with which a 64-bit program speaks the third of x86's languages."""
FORBIDDEN = {  # by their numbers for X86_64 and I386
    "add_key": (248, 286),
    "bpf": (321, 357),
    "fsopen": (430, 430),
    "init_module": (175, 128),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 349),
    "kexec_load": (246, 283),
    "mount": (165, 21),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_by_handle_at": (304, 342),
    "open_tree": (428, 428),
    "perf_event_open": (298, 336),
    "pivot_root": (155, 217),
    "reboot": (169, 88),
    "setns": (308, 346),
    "swapon": (167, 87),
    "umount2": (166, 52),
    "unshare": (272, 310),
    "userfaultfd": (323, 374),
}
SOCKET = {X86_64: 41, I386: 359}
CLONE = {X86_64: 56, I386: 120}
PERSONALITY = {X86_64: 135, I386: 136}
GETPID = {X86_64: 39, I386: 20}
I386_UMOUNT = 22
I386_SOCKETCALL = 102
AARCH64 = 0xC00000B7

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64", reason="the numbers are those of x86"
)
upper = st.integers(0, 2**32 - 1)
both = pytest.mark.parametrize("architecture", [X86_64, I386])


@both
@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden_call_is_refused(name: str, architecture: int) -> None:
    number = FORBIDDEN[name][architecture == I386]
    assert verdict(DEFAULT, architecture, number) == errno.EPERM
    assert verdict(DEFAULT, architecture, GETPID[architecture]) == 0  # the control


def test_oldest_form_of_a_call_is_refused_too() -> None:
    assert verdict(DEFAULT, I386, I386_UMOUNT) == errno.EPERM


@both
@given(upper_half=upper)
def test_socket_families_are_refused_whatever_the_kernel_ignores(
    architecture: int, upper_half: int
) -> None:
    """It takes 32 bits of an argument that has 64."""
    for family in range(AF_MAX + 1):
        allowed = family not in {AF_PACKET, AF_ALG, AF_VSOCK, AF_MAX}
        for program in (DEFAULT, DOCKER):
            answer = verdict(program, architecture, SOCKET[architecture], upper_half << 32 | family)
            assert answer == (0 if allowed else errno.ENOSYS), family


def test_socketcall_makes_no_socket() -> None:
    make, bind = 1, 2
    for program in (DEFAULT, DOCKER):
        assert verdict(program, I386, I386_SOCKETCALL, make) == errno.ENOSYS
        assert verdict(program, I386, I386_SOCKETCALL, bind) == 0
        assert verdict(program, X86_64, I386_SOCKETCALL, make) == 0  # getuid, there


@both
@given(flags=st.integers(0, 2**64 - 1))
def test_processes_are_made_without_new_namespaces_only(architecture: int, flags: int) -> None:
    answer = verdict(DEFAULT, architecture, CLONE[architecture], flags)
    assert answer == (errno.ENOSYS if flags & NAMESPACE_FLAGS else 0)


@both
@given(personality=st.sampled_from(PERSONALITIES) | st.integers(0, 2**32 - 1), upper_half=upper)
def test_personality_is_one_of_a_few(architecture: int, personality: int, upper_half: int) -> None:
    number = PERSONALITY[architecture]
    for program in (DEFAULT, DOCKER):
        answer = verdict(program, architecture, number, personality)
        assert answer == (0 if personality in PERSONALITIES else errno.ENOSYS)
        if answer:
            wide = upper_half << 32 | personality
            assert verdict(program, architecture, number, wide) == answer


@both
@given(number=st.integers(463, 2**31 - 1))
def test_call_that_nobody_has_judged_does_not_exist(architecture: int, number: int) -> None:
    for program in (DEFAULT, DOCKER):
        assert verdict(program, architecture, number) == errno.ENOSYS


@given(number=st.integers(0, 600))
def test_languages_that_no_program_here_speaks_have_no_calls(number: int) -> None:
    assert verdict(DEFAULT, X86_64, number | X32) == errno.ENOSYS
    assert verdict(DEFAULT, AARCH64, number) == errno.ENOSYS
