"""What a session stands on, from its image to its end: volume, root, first process.

    image ──attach──▶ volume ──mount──▶ root ──launch──▶ first process ──▶ the tool and all else
      ◀──detach───────────── ◀──unmount────── ◀──kill────────────────────

`make` goes to the right, `leave` and `detach` go back, and each takes away whatever was made. If
the agent is killed, the kernel does the same: the first process ends with its parent, the mounts
with the agent's mount namespace, the loop device with its last user. What was written stays in the
image, and `make` takes it up again, after a stop in order and after a crash alike.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import structlog

from agent import incidents
from agent.checkpointing.saver import SaverError, SupersededError
from agent.checkpointing.volume_note import NoteUnreadableError
from agent.earlier_files import CannotImportError
from agent.parts import (
    CannotStartError,
    GroundFailedError,
    GroundStatus,
    GroundTakenOverError,
)
from agent.preflight.check import check
from agent.preflight.needs import WAY_OUT_NEEDS
from agent.root.fuse_abort import abort_below
from agent.root.network import NetworkUnavailableError
from agent.root.session import SessionRoot, SessionStillEndingError
from agent.session_files import SessionFiles
from agent.session_record import remove_record, write_record
from agent.standing import make_mask_of, plan_root
from agent.volume.volume import VolumeError
from common.findings import Verdict, refusal_text, warnings as foreseen
from common.http1.lane import TcpAddress
from common.messages import RootStatus
from common.tasks import first_of

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from agent.checkpointing.captures import Commit
    from agent.host_state import HostState
    from agent.parts import EnteredProgram, Program, Use
    from agent.session_files import Layers
    from common.clock import Clock
    from common.http1.lane import Address
    from common.session_spec import SessionSettings, SessionSpec

_LOOPBACK = "127.0.0.1"
_EXPECTED = (
    *(VolumeError, SaverError, NoteUnreadableError),
    *(CannotStartError, CannotImportError, OSError, ValueError),
)

_log = structlog.get_logger()


class SessionGround:
    """One session's. It is a `Ground` once `make` has returned; `on_change` tells of its status."""

    def __init__(
        self,
        spec: SessionSpec,
        host: HostState,
        *,
        given: tuple[tuple[str, str], ...] = (),
        warnings: tuple[str, ...] = (),
        settings: Callable[[], SessionSettings] | None = None,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        """`given` are files that the session gets: where they are, and where it sees them.

        `warnings` are sentences for the status besides its own; `settings` are those of now, the
        spec's unless given.
        """
        self._spec = spec
        self._host = host
        self._given = given
        self._warnings = warnings
        self._clock = clock
        self._on_change = on_change
        self._files = SessionFiles(
            spec,
            host,
            settings=settings or (lambda: spec.settings),
            hide=lambda folder: make_mask_of(spec, str(host.folder), folder),
            clock=clock,
            on_change=on_change,
        )
        self._root: SessionRoot | None = None
        self._way_out_was_foreseen = False
        """The look at the host has said that there is none, and what would give one."""
        self._leaving = False
        self._is_left_behind = False
        """Processes that nothing ends keep its root, and so its volume."""
        self._progress = "its session is about to be made"

    # ── Making and ending ────────────────────────────────────────────────────

    async def make(self, *, output_fd: int) -> None:
        """Make it, or raise GroundFailedError; `leave` and `detach` take away what there is then.

        `output_fd` is a pipe for what its programs print.
        """
        try:
            await self._look_at_host()
            layers = await self._files.make(self._tell)
            self._tell("its session is being made")
            await self._open(layers, output_fd)
            self._tell("its session is ready")
        except SupersededError as error:
            raise GroundTakenOverError(str(error)) from None
        except _EXPECTED as error:
            _log.warning("ground_failed", kind=type(error).__name__, reason=str(error))
            reason = str(error).rstrip(".")
            raise GroundFailedError(f"The session can't be made: {reason}.") from None

    async def _look_at_host(self) -> None:
        """Have one clear text with all that is missing, before anything is made."""
        image, carried = self._spec.root.image, self._spec.root.carried
        limits = self._spec.volume
        initial_bytes = min(limits.initial_bytes, limits.limit_bytes)
        found = await check(self._host.folder, image, carried=carried, initial_bytes=initial_bytes)
        if problem := refusal_text(found):
            raise GroundFailedError(problem)
        self._warnings += foreseen(found)
        losses = {finding.need for finding in found.having(Verdict.WEAKER)}
        self._way_out_was_foreseen = not losses.isdisjoint(WAY_OUT_NEEDS)

    async def _open(self, layers: Layers, output_fd: int) -> None:
        try:
            root = await self._open_root(layers, output_fd, own_network=True)
        except NetworkUnavailableError as error:
            _log.warning("no_network_of_its_own", error=str(error))
            root = await self._open_root(layers, output_fd, own_network=False)
        await asyncio.to_thread(
            write_record, self._host.session_record, root.first_pid, root.cgroup_folders
        )

    async def _open_root(self, layers: Layers, output_fd: int, *, own_network: bool) -> SessionRoot:
        plan = await asyncio.to_thread(
            plan_root,
            self._spec,
            active=layers.active,
            lower=layers.lower,
            state_folder=str(self._host.folder),
            given=self._given,
            own_network=own_network,
        )
        root = SessionRoot(
            plan,
            name=self._spec.session_id,
            folder=self._host.mounts,
            working_directory=self._spec.tool.working_directory,
            clock=self._clock,
            on_change=self._on_change,
        )
        self._root = root
        await root.open(output_fd=output_fd)
        return root

    async def run(self) -> None:
        """Keep it until cancelled; raise GroundFailedError if its first process is killed.

        Raise GroundTakenOverError, see `OwnGround`.
        """
        root = self._made()
        async with asyncio.TaskGroup() as group:
            group.create_task(root.run())
            group.create_task(self._keep_files())
            await root.ended()
            if self._leaving:
                return
            raise GroundFailedError("The session's first process has ended: it was killed.")

    async def _keep_files(self) -> None:
        try:
            await self._files.run()
        except* SupersededError as errors:
            raise GroundTakenOverError(str(first_of(errors))) from None

    async def leave(self) -> None:
        """End all that runs in it and unmount its root. Idempotent.

        Raise SessionStillEndingError if something can't be ended; its mounts stay with it.
        """
        if self._root is None:
            return
        self._leaving = True
        await self._abort_dead_links()
        try:
            await self._root.close()
        except SessionStillEndingError:
            self._is_left_behind = True
            raise
        await asyncio.to_thread(remove_record, self._host.session_record)

    def save_now(self, requested_at: datetime) -> None:
        """See `OwnGround`."""
        self._files.save_now(requested_at)

    async def save(self) -> None:
        """See `OwnGround`."""
        await self._files.save()

    def commits(self) -> tuple[Commit, ...]:
        """See `OwnGround`."""
        return self._files.commits()

    async def save_last(self) -> None:
        """See `OwnGround`."""
        try:
            await self._files.save_last()
        except SupersededError as error:
            raise GroundTakenOverError(str(error)) from None

    async def detach(self) -> None:
        """Write everything to the image and let go of it. Idempotent. Raise VolumeError."""
        await self._files.detach(patient=not self._is_left_behind)

    # ── What is asked of a `Ground` ──────────────────────────────────────────

    def address(self, port: int) -> Address:
        """See `Ground`."""
        return self._made().address(port) or TcpAddress(_LOOPBACK, port)

    async def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], working_directory: str
    ) -> Program:
        """See `Ground`."""
        return await self._made().start(arguments, environment, working_directory)

    def send_signal(self, program: Program, number: signal.Signals) -> None:
        """See `Ground`."""
        self._made().send_signal(program, number)

    async def end_all(self, grace_seconds: float) -> bool:
        """See `Ground`. What hangs in a dead data link is freed from it."""
        if self._root is None or await self._root.end_all(grace_seconds):
            return True
        return await self._abort_dead_links() and await self._root.end_all(0.0)

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
        """See `Ground`."""
        return await self._made().enter(
            arguments,
            environment,
            working_directory,
            streams=streams,
            terminal_size=terminal_size,
            outlives_agent=outlives_agent,
        )

    def use(self) -> Use | None:
        """See `Ground`."""
        return None if self._root is None else self._root.use()

    # ── What it says of itself ───────────────────────────────────────────────

    def progress(self) -> str:
        """Say in a few words how far `make` is."""
        return self._progress

    def status(self) -> GroundStatus:
        if self._root is None:
            return self._status(None, ())
        found = self._root.status()
        root = RootStatus(
            memory_kills=found.memory_kills,
            memory_kill_count=found.memory_kill_count,
            process_limit_hits=found.process_limit_hits,
        )
        sentences = [*found.gives_up]
        if found.way_out_problem is not None and not self._way_out_was_foreseen:
            sentences.append(f"The session has no way to the internet: {found.way_out_problem}.")
        sentences += incidents.sentences(root, self._spec.resources)
        return self._status(root, sentences)

    def _status(self, root: RootStatus | None, sentences: Iterable[str]) -> GroundStatus:
        return GroundStatus(
            root,
            self._files.volume_status(),
            (*self._warnings, *self._files.warnings(), *sentences),
            self._files.checkpoint_status(),
            self._files.earlier_status(),
        )

    def growths(self) -> tuple[int, int]:
        """Return how often the volume grew, and how often it could not."""
        return self._files.growths()

    def _tell(self, progress: str) -> None:
        self._progress = progress
        self._on_change()

    def _made(self) -> SessionRoot:
        if self._root is None:
            raise CannotStartError("the session has not been made")
        return self._root

    async def _abort_dead_links(self) -> bool:
        """Free whatever waits for a file system of ours that doesn't answer; False if none is."""
        aborted = await asyncio.to_thread(_abort_below, self._host.mounts)
        if aborted:
            _log.warning("file_systems_aborted", mounts=aborted)
        return bool(aborted)


def _abort_below(folder: Path) -> tuple[str, ...]:
    return abort_below(os.path.realpath(folder))
