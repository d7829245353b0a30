"""What the daemon, gateway and tunnel need of each other, and all of them of the ground."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import random
    import signal
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from agent.activity import Activity
    from agent.checkpointing.captures import Commit
    from agent.host_state import HostState
    from agent.reserved import Reserved
    from common.clock import Clock
    from common.http1.lane import Address
    from common.messages import CheckpointStatus, RootStatus, TunnelStatus, VolumeStatus
    from common.secret import Secret
    from common.session_spec import SessionSettings, SessionSpec
    from common.tokens import TokenVerifier


class Door(Protocol):
    """The gateway: requests from the tunnel to the tool."""

    @property
    def requests(self) -> int:
        """How many requests were forwarded so far."""
        ...

    def refuse_new(self) -> None:
        """Answer new requests with 503 from now on; those in progress go on."""
        ...

    async def run(self) -> None:
        """Keep its own house in order until cancelled."""
        ...

    async def close(self) -> None:
        """End what is left."""
        ...


class Road(Protocol):
    """The tunnel: connections parked at the edges."""

    async def run(self) -> None:
        """Keep connections parked until cancelled."""
        ...

    def status(self) -> TunnelStatus: ...

    def renew(self, token: Secret) -> None:
        """Use this token for connections from now on."""
        ...

    async def close(self) -> None:
        """End all connections."""
        ...


class CannotStartError(Exception):
    """A program could not be started; the text is a sentence. A retry may help."""


class Program(Protocol):
    """A program that was started on the ground."""

    @property
    def pid(self) -> int:
        """Its number, as programs beside it see it; also its process group and its session."""
        ...

    async def wait(self) -> int:
        """Return its exit code, negative for a signal.

        Raise CannotStartError if the ground ended before that could be known.
        """
        ...


class EnteredProgram(Program, Protocol):
    """A program that was started from outside, with streams of its own: `studios exec`."""

    @property
    def terminal_fd(self) -> int | None:
        """The near side of its terminal, whoever closes it; None without one."""
        ...

    def send_signal(self, number: signal.Signals) -> None:
        """Signal its process group, if it still lives."""
        ...

    async def close(self) -> None:
        """End it, unless it was started to outlive its helper. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Use:
    """What all programs of the ground used so far, and use now."""

    cpu_seconds: float
    memory_bytes: int
    processes: int


class Entrance(Protocol):
    """Where programs can be started from outside."""

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
        """Start a program on `streams` or, without, on a new terminal; raise CannotStartError.

        The caller closes its copies of `streams`. The terminal has `terminal_size`, rows and
        columns, before the program looks. With `outlives_agent` it goes on when whoever
        asked is gone, but not longer than the ground.
        """
        ...


class Ground(Entrance, Protocol):
    """What the tool stands on: a file system, walls and limits. Made before it, gone after it."""

    def address(self, port: int) -> Address:
        """Return where a port of the tool's loopback is."""
        ...

    async def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        working_directory: str,
    ) -> Program:
        """Start a program whose output is collected; raise CannotStartError.

        One that doesn't exist prints a line and ends with 127.
        """
        ...

    def send_signal(self, program: Program, number: signal.Signals) -> None:
        """Signal the process group of a program that was started, if it still lives."""
        ...

    async def end_all(self, grace_seconds: float) -> bool:
        """End every program: SIGTERM, `grace_seconds`, SIGKILL; True when none is left."""
        ...

    def use(self) -> Use | None:
        """Measure; None where that can't be had. Blocks for as long as a few small files take."""
        ...


class GroundFailedError(Exception):
    """There is nothing to stand on, or no longer. The text is a sentence for the user."""


class GroundTakenOverError(Exception):
    """A newer run of the Studio has taken its files over: what this one has can't be saved."""


@dataclass(frozen=True, slots=True)
class GroundStatus:
    """What a person should know about it. The parts are None until there is something to say."""

    root: RootStatus | None
    volume: VolumeStatus | None
    warnings: tuple[str, ...]
    checkpoint: CheckpointStatus | None = None
    earlier_checkpoint: CheckpointStatus | None = None


class OwnGround(Ground, Protocol):
    """The ground as the daemon has it: it also makes it and takes it away."""

    async def make(self, *, output_fd: int) -> None:
        """Make it, or raise GroundFailedError; `leave` and `detach` take away what there is then.

        `output_fd` is a pipe for what its programs print. Harmless to cancel.
        """
        ...

    async def run(self) -> None:
        """Keep it until cancelled; raise GroundFailedError once it can't be stood on any more.

        Raise GroundTakenOverError once its files may not be saved any more.
        """
        ...

    def save_now(self, requested_at: datetime) -> None:
        """Have its files saved soon, as they are now."""
        ...

    async def save(self) -> None:
        """Save its files as they are now, and return when they are. Raise NotSavedError."""
        ...

    def commits(self) -> tuple[Commit, ...]:
        """Return the last generations of its files that were committed, oldest first."""
        ...

    async def leave(self) -> None:
        """End all that runs on it, and its walls. Idempotent."""
        ...

    async def save_last(self) -> None:
        """Save its files for good, after `leave`; wait for as long as that takes.

        Raise GroundTakenOverError. Cancelled, or left out, they stay on this machine.
        """
        ...

    async def detach(self) -> None:
        """Make its files durable and let go of them. Idempotent."""
        ...

    def progress(self) -> str:
        """Say in a few words how far `make` is."""
        ...

    def status(self) -> GroundStatus: ...

    def growths(self) -> tuple[int, int]:
        """Return how often the volume grew, and how often it could not."""
        ...


class LayGround(Protocol):
    """Composes a ground for one run; nothing is made yet."""

    def __call__(
        self,
        spec: SessionSpec,
        host: HostState,
        *,
        given: tuple[tuple[str, str], ...],
        warnings: tuple[str, ...],
        settings: Callable[[], SessionSettings],
        clock: Clock,
        on_change: Callable[[], None],
    ) -> OwnGround:
        """`given` are files the session gets: where they are, and where it sees them.

        `warnings` are sentences for the status besides its own.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What gateway and tunnel get from the daemon."""

    spec: SessionSpec
    ground: Ground
    is_ready: Callable[[], bool]
    progress: Callable[[], str]
    reserved: Reserved
    activity: Activity
    verifier: TokenVerifier
    clock: Clock
    rng: random.Random
    on_change: Callable[[], None]


Connect = Callable[[Wiring], tuple[Door, Road]]
"""Builds both."""
