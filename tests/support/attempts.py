"""Scripts that try to get somewhere, inside a session or outside of all confinement."""

from __future__ import annotations

import subprocess

from tests.support.session_rig import Result

PYTHON = "/usr/bin/python3"
REACHED = "REACHED"
PRELUDE = """
import ctypes, errno, mmap, os, socket, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    return result, ctypes.get_errno()
def reached(): print("REACHED")
def shell(command): return subprocess.run(["sh", "-c", command], capture_output=True).returncode
"""


def script_of(attempt: str, words: dict[str, str]) -> str:
    """Put the names of targets into an attempt, which has them as WORDS."""
    for word in sorted(words, key=len, reverse=True):
        attempt = attempt.replace(word, words[word])
    return PRELUDE + attempt


def outside(script: str, *, namespaces: bool = False) -> Result:
    command = [PYTHON, "-I", "-c", script]
    if namespaces:  # so that what works leaves nothing behind
        command = ["unshare", "--mount", "--uts", "--propagation", "private", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return Result(done.returncode, done.stdout + done.stderr)
