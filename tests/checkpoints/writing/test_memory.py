"""Freed memory is used again during a capture, and given back after it."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import resource, sys, threading
from pathlib import Path
from contextlib import nullcontext
from checkpoints.writing.memory import kept

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

def work():
    for _ in range(50):
        pieces = [bytes(3_000_000) for _ in range(5)]

with kept() if sys.argv[1] == "kept" else nullcontext():
    before, pages = faults(), resident()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    said = faults() - before
print(said, resident() - pages)
"""


def pages_of(how: str) -> tuple[int, int]:
    """Return how many pages 50 times 15 MB asked for, and how many are left."""
    command = (sys.executable, "-c", _PROGRAM, how)
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(said[0]), int(said[1])


def test_memory_is_asked_for_once_and_given_back() -> None:
    asked_for, left = pages_of("kept")
    assert asked_for < 15_000
    assert left < 2_000


def test_otherwise_the_kernel_is_asked_each_time() -> None:
    """What the other test would not show if the library did the same by itself."""
    asked_for, _ = pages_of("otherwise")
    assert asked_for > 60_000
