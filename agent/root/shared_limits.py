"""Counters of a user on the whole machine, raised so that no session reaches their limits.

Root in every session is the machine's uid 0 to these counters, and so is the agent: a session that
takes all epoll watches would keep an agent from watching its next connection. Where what is counted
is also charged to the session's memory cgroup, as all of these are, that is the limit to have; the
counter may be as large as it likes. Values are only ever raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_SYSCTLS = Path("/proc/sys")


@dataclass(frozen=True, slots=True)
class SharedLimit:
    """One counter's limit."""

    sysctl: str
    """Below /proc/sys."""
    least: int
    what: str
    """What one session could take from all others, as a clause."""


SHARED_LIMITS = (
    SharedLimit("fs/epoll/max_user_watches", 1 << 30, "epoll watches, without which agents end"),
    SharedLimit("fs/inotify/max_user_instances", 1 << 16, "inotify instances"),
    SharedLimit("fs/inotify/max_user_watches", 1 << 22, "inotify watches"),
    SharedLimit("fs/aio-max-nr", 1 << 22, "asynchronous input and output"),
    SharedLimit("fs/pipe-user-pages-soft", 1 << 24, "large pipes"),
)


def raise_shared_limits(sysctls: Path = _SYSCTLS) -> tuple[str, ...]:
    """Raise those that are lower; return sentences for the status about those that can't be.

    A kernel without one has no such limit.
    """
    failures: list[str] = []
    for limit in SHARED_LIMITS:
        path = sysctls / limit.sysctl
        try:
            if int(path.read_text()) < limit.least:
                path.write_text(str(limit.least))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            failures.append(f"{limit.what} (sysctl {limit.sysctl}: {error})")
    if not failures:
        return ()
    return (f"One session can use up what all on this machine share: {'; '.join(failures)}.",)
