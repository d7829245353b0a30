"""What the control plane asks of a place where sessions run.

An engine runs one agent per (session, run). It holds no opinion on what should run: the reconciler
asks, again and again, and an engine makes each question harmless to repeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from common.ids import RunNumber, SessionId

if TYPE_CHECKING:
    from common.session_spec import SessionSpec


class EngineError(Exception):
    """The engine could not do it. The text is for people."""


class EngineRefusedError(EngineError):
    """It never will: the request is wrong for this engine. Trying again doesn't help."""


class EngineUnavailableError(EngineError):
    """It may later; whether it did anything is unknown."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run's agent, as the engine knows it.

    `detail` is the engine's own handle; it may be empty, because the answer of `submit` can get
    lost: (session, run) alone must be enough to find the job.
    """

    session_id: SessionId
    run_number: RunNumber
    detail: str = ""


class Alive(msgspec.Struct, frozen=True):
    """The agent runs, or is about to."""


class Gone(msgspec.Struct, frozen=True):
    """The agent does not run, nor does anything it started, and it never will again."""

    reason: str


class Unknown(msgspec.Struct, frozen=True):
    """The engine can't tell now. Nothing may be concluded from this."""

    reason: str


JobState = Alive | Gone | Unknown


class Engine(Protocol):
    """A place where sessions run.

    Promises of every implementation, checked by one contract suite:

    - **Idempotent by (session, run).** A second `submit` of the same run starts nothing and returns
      the same job. A `submit` of a run whose job has ended does not start it again.
    - **One job per session.** `submit` raises EngineUnavailableError while the job of another run
      of the same session lives; the caller ends that one first.
    - **Nothing is forgotten by a crash.** A control plane that was killed at any instant, inside
      `submit` too, and comes back with a new engine object sees every job it had.
    - **Gone is final and true.** Once `observe` answered Gone, no process of that run is left and
      none will appear. When in doubt the answer is Unknown.
    - **Nothing blocks.** No call waits for a session to start or to end.
    """

    async def submit(self, spec: SessionSpec) -> Job:
        """Begin one run. Raises EngineRefusedError, or EngineUnavailableError: try again."""
        ...

    async def observe(self, job: Job) -> JobState:
        """Tell whether the job lives; one that was never submitted is Gone.

        Never raises EngineError: what can't be found out is Unknown.
        """
        ...

    async def stop(self, job: Job, *, grace_seconds: float) -> None:
        """Ask the agent to end; by force once `grace_seconds` have passed since the first call.

        0 is by force at once. The force is applied by a later call, so call again until `observe`
        says Gone. A job that is gone is left in peace. May raise EngineUnavailableError.
        """
        ...

    async def forget(self, session_id: SessionId) -> None:
        """Delete the session's state (volume, log) wherever the engine kept it. Idempotent.

        Raises EngineUnavailableError while a job of the session lives.
        """
        ...


@runtime_checkable
class KeepsLogs(Protocol):
    """An engine that can give a session's log after its end; not every one can."""

    async def log(self, session_id: SessionId, *, tail: int) -> str | None:
        """Return the last `tail` lines, within a megabyte; None if there is no log.

        May raise EngineUnavailableError.
        """
        ...
