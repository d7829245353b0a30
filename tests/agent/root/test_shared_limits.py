"""Limits that the kernel counts for all sessions together are raised, and never lowered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.root.shared_limits import SHARED_LIMITS, raise_shared_limits
from tests.support.attempts import PRELUDE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.session_rig import SessionRig


def table(folder: Path, value: str) -> Path:
    for limit in SHARED_LIMITS:
        path = folder / limit.sysctl
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value)
    return folder


def test_a_low_limit_is_raised_and_a_high_one_left(tmp_path: Path) -> None:
    low, high = table(tmp_path / "low", "128\n"), table(tmp_path / "high", str(1 << 40))
    assert raise_shared_limits(low) == ()
    assert raise_shared_limits(high) == ()
    for limit in SHARED_LIMITS:
        assert (low / limit.sysctl).read_text() == str(limit.least)
        assert (high / limit.sysctl).read_text() == str(1 << 40)


def test_a_kernel_without_a_limit_needs_none(tmp_path: Path) -> None:
    assert raise_shared_limits(tmp_path) == ()


def test_a_limit_that_stays_low_is_told(tmp_path: Path) -> None:
    sysctls = table(tmp_path, "not a number")
    (sentence,) = raise_shared_limits(sysctls)
    assert "epoll watches" in sentence
    assert "fs/inotify/max_user_instances" in sentence


def test_a_session_cannot_keep_others_from_inotify(session: SessionRig) -> None:
    """It has its descriptors' limit, and a thousand are far from the machine's."""
    take = PRELUDE + (
        "import ctypes\n"
        "libc = ctypes.CDLL(None)\n"
        "taken = [libc.inotify_init1(0) for _ in range(1000)]\n"
        "print('least', min(taken))\n"
    )
    result = session.run_python(take)
    assert result.output.startswith("least "), result.output
    assert int(result.output.split()[1]) > 0
