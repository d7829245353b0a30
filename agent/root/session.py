"""**Start here.** A session's root, from its making to its end.

`open` makes what the session stands on (seccomp filter, cgroups, network, mounts), then the first
process, which takes itself into all of it and gives up what the session must not have. `run` keeps
the way out and watches. `start` starts the tool, `enter` a program for `studios exec`. `close` ends
all processes first and then takes away what they stood on. If the agent is killed, its mount
namespace, its descriptors and its children go with it, and all that is left are empty cgroups,
which the next run removes.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from agent.limits import wait_event
from agent.root.address import SessionAddress
from agent.root.cgroup import SessionCgroup
from agent.root.conversation import Conversation, SessionFailedError, StartedProgram
from agent.root.entering import EnteredProgram, enter
from agent.root.launching import launch_first
from agent.root.layers import MountedRoot, mount_root, unmount_root
from agent.root.limit_watch import LimitWatch
from agent.root.network import SessionNetwork
from agent.root.orders import Enter, Launch, SignalAll
from agent.root.seccomp_filter import SeccompUnavailableError, compile_filter
from common.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from agent.parts import Program, Use
    from agent.root.plan import RootPlan
    from common.clock import Clock

END_SECONDS_MAX = 10.0
"""For all of the session to end after SIGKILL. Longer only takes what hangs in the kernel."""
STUCK_SECONDS_MAX = 2.0  # for the same, when processes have survived a SIGKILL already
KILL_SECONDS_MAX = 10.0  # for one program or all: SIGKILL takes no time, except in hanging I/O
_POLITE = (
    SignalAll(signal=signal.SIGTERM),
    SignalAll(signal=signal.SIGHUP, who_ignores=signal.SIGTERM),
    SignalAll(signal=signal.SIGCONT),
)
"""Shells ignore SIGTERM; a SIGHUP to everybody would end those who save their work on SIGTERM. Who
is stopped hears nothing."""
_MERCILESS = (SignalAll(signal=signal.SIGKILL),)
_LOOPBACK = "127.0.0.1"

_log = structlog.get_logger()


class SessionStillEndingError(Exception):
    """Processes of the session survive SIGKILL; they hang in the kernel."""


@dataclass(frozen=True, slots=True)
class RootStatus:
    """What a person should know about the session's root."""

    gives_up: tuple[str, ...]
    """Sentences: what this session's walls and limits lack."""
    way_out_problem: str | None
    memory_kills: tuple[str, ...]
    """Names of processes that the kernel ended for want of memory, the latest last."""
    memory_kill_count: int
    process_limit_hits: int
    """How often a process could not be started because there were too many."""


class SessionRoot:
    """One session's root and what runs in it. `on_change` is called when `status` may differ."""

    def __init__(
        self,
        plan: RootPlan,
        *,
        name: str,
        folder: Path,
        working_directory: str = "/",
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        """Name it for this machine; it is mounted below `folder`, which is in no layer of it.

        `working_directory` is made in it where there is none.
        """
        self._plan = plan
        self._name = name
        self._folder = folder
        self._working_directory = working_directory
        self._clock = clock
        self._on_change = on_change
        self._closing = contextlib.ExitStack()
        self._threads = Threads(1, "root")
        self._first: Conversation | None = None
        self._is_stuck = False
        """Processes were still there after a SIGKILL."""
        self._helpers: set[Conversation] = set()
        """Of programs that were entered; each holds the session's mounts."""
        self._network: SessionNetwork | None = None
        self._cgroup: SessionCgroup | None = None
        self._seccomp = b""
        self._watch: LimitWatch | None = None

    # ── Making and ending ────────────────────────────────────────────────────

    async def open(self, *, output_fd: int) -> None:
        """Make it, or leave nothing and raise SessionFailedError. From the main thread's loop.

        Raise NetworkUnavailableError if it only lacks the network that it was planned with.

        `output_fd` is a pipe for what the session's programs print.
        """
        try:
            # Cancelled, it waits: what is half made must be there for `close` to take away.
            mounted = await self._threads.run(self._prepare)
            _log.info("session_root_mounted")
            self._first = launch_first(self._launch(mounted), output_fd=output_fd)
            await self._first.ready()
        except BaseException as error:
            await self.close()
            if isinstance(error, OSError | SeccompUnavailableError):
                raise SessionFailedError(f"the session's root can't be made: {error}") from None
            raise
        _log.info("session_root_ready", pid=self._first.pid, gives_up=self.status().gives_up)

    def _prepare(self) -> MountedRoot:
        """Make what the session stands on; each part is taken away again by `close`. Blocks."""
        self._seccomp = compile_filter(self._plan.seccomp)
        self._cgroup = SessionCgroup(self._name, self._plan.limits)
        self._closing.callback(self._cgroup.remove)
        self._watch = LimitWatch(self._cgroup, self._clock, self._on_change)
        if self._plan.own_network:
            self._network = SessionNetwork()
            self._closing.callback(self._network.close)
        mounted = mount_root(self._plan, self._folder)
        self._closing.callback(unmount_root, mounted)
        return mounted

    async def close(self) -> None:
        """End everything in it and take it away. Idempotent.

        Raise SessionStillEndingError if processes survive; then the rest stays as it is.
        """
        if self._first is not None:
            await self._end(self._first)
        # To unmount is to forget all that the kernel remembers of the files: it takes its time.
        await self._threads.run(self._closing.close)

    async def _end(self, first: Conversation) -> None:
        first.kill()
        try:
            async with asyncio.timeout(STUCK_SECONDS_MAX if self._is_stuck else END_SECONDS_MAX):
                await first.wait()
                for helper in tuple(self._helpers):  # whose programs nobody waited for
                    helper.kill()
                    await helper.wait()
        except TimeoutError:
            raise SessionStillEndingError("processes of the session survive SIGKILL") from None

    def _launch(self, mounted: MountedRoot) -> Launch:
        plan, cgroup = self._plan, self._cgroup
        assert cgroup is not None
        return Launch(
            root=str(mounted.root),
            network_fd=None if self._network is None else self._network.session_fd,
            cgroup_inside=cgroup.inside,
            cgroup_outside=cgroup.outside,
            hostname=plan.hostname,
            carried=plan.carried,
            covered=plan.covered,
            own_files=mounted.own_files,
            devices=plan.devices,
            masked_paths=plan.masked_paths,
            read_only_paths=plan.read_only_paths,
            seccomp=self._seccomp,
            capabilities=tuple(sorted(plan.capabilities)),
            working_directory=self._working_directory,
        )

    # ── While it lives ───────────────────────────────────────────────────────

    async def run(self) -> None:
        """Keep the way out and watch for memory kills, until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self._network is not None:
                group.create_task(self._network.keep_way_out(self._clock, self._on_change))
            if self._watch is not None:
                group.create_task(self._watch.run())

    async def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], working_directory: str
    ) -> StartedProgram:
        """Start a program, a child of the first process, whose output goes to `output_fd`."""
        return await self._running().start(arguments, environment, working_directory)

    def send_signal(self, program: Program, number: signal.Signals) -> None:
        """Signal the process group of a program that was started."""
        self._running().send_signal(program.pid, number)

    async def end_all(self, grace_seconds: float) -> bool:
        """End all programs: SIGTERM, the grace, SIGKILL. True when none is left; the root stays."""
        if grace_seconds > 0 and await self._ends_by(_POLITE, grace_seconds):
            return True
        self._is_stuck = not await self._ends_by(_MERCILESS, KILL_SECONDS_MAX)
        return not self._is_stuck

    async def _ends_by(self, orders: Iterable[SignalAll], seconds: float) -> bool:
        if self._first is None:
            return True
        return await wait_event(self._first.signal_all(orders), self._clock, seconds)

    async def enter(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        working_directory: str,
        *,
        streams: tuple[int, int, int] | None,
        terminal_size: tuple[int, int] = (24, 80),
        outlives_agent: bool = False,
    ) -> EnteredProgram:
        """Start a program with streams of its own, or on a terminal of its own if None."""
        assert self._cgroup is not None
        with self._running().pidfd() as first_process_fd:
            order = Enter(
                first_process_fd=first_process_fd,
                cgroup_inside=self._cgroup.inside,
                seccomp=self._seccomp,
                capabilities=tuple(sorted(self._plan.capabilities)),
                terminal_fd=None,
                outlives_agent=outlives_agent,
            )
            return await enter(
                order,
                arguments,
                environment,
                working_directory,
                streams=streams,
                terminal_size=terminal_size,
                helpers=self._helpers,
            )

    def address(self, port: int) -> SessionAddress | None:
        """Return where a port of the session's loopback is; None if it is the agent's own."""
        if self._network is None:
            return None
        return SessionAddress(self._network.session_fd, _LOOPBACK, port)

    def use(self) -> Use | None:
        """Measure what all programs use; None where cgroups don't tell. Reads some small files."""
        return None if self._cgroup is None else self._cgroup.use()

    def processes(self) -> frozenset[int]:
        """Return the host's pids of all that runs in the session's cgroup."""
        return frozenset() if self._cgroup is None else self._cgroup.processes()

    def status(self) -> RootStatus:
        given_up = () if self._cgroup is None else self._cgroup.gives_up
        return RootStatus(
            gives_up=(*self._plan.gives_up, *given_up),
            way_out_problem=None if self._network is None else self._network.problem,
            memory_kills=() if self._watch is None else self._watch.memory_kills,
            memory_kill_count=0 if self._watch is None else self._watch.memory_kill_count,
            process_limit_hits=0 if self._watch is None else self._watch.process_limit_hits,
        )

    @property
    def first_pid(self) -> int:
        """The host's number of the first process."""
        return self._running().pid

    @property
    def cgroup_folders(self) -> tuple[str, ...]:
        """What is left of it, empty, when the agent is killed."""
        return () if self._cgroup is None else tuple(str(m.path) for m in self._cgroup.folders)

    async def ended(self) -> None:
        """Return once the first process has ended, whoever ended it."""
        await self._running().wait()

    def _running(self) -> Conversation:
        if self._first is None:
            raise SessionFailedError("the session's root has not been made")
        return self._first
