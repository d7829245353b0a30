"""Waiting until a Studio has a status, showing each phase with its time as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from studios.failures import CommandError, WaitTimeoutError
from studios.output import show_status
from studios.phases import Began, Ended, PhaseLog, Verdict, Warned, judge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType
    from typing import Self

    from rich.console import Console

    from common.clock import Clock
    from studios.phases import PhaseEvent
    from studios.shapes import Studio

POLL_SECONDS = 0.25  # phases take tenths of seconds to minutes; four small requests a second
TIMEOUT_SECONDS = 900.0  # a tool that isn't up after ten minutes is given up by its agent


class PhaseView(Protocol):
    """Shows phases as they happen."""

    def show(self, event: PhaseEvent) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class LivePhases:
    """On a terminal: finished phases stay as lines, those under way are below with their time."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._under_way: dict[str, TaskID] = {}

    def show(self, event: PhaseEvent) -> None:
        match event:
            case Began(name):
                self._under_way[name] = self._progress.add_task(name, total=None)
            case Warned():
                print_warned(self._progress.console, event)
            case Ended(name):
                if name in self._under_way:
                    self._progress.remove_task(self._under_way.pop(name))
                print_ended(self._progress.console, event)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()


class PlainPhases:
    """Where nobody watches: one line for each phase, when it is over or has something to say."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, event: PhaseEvent) -> None:
        match event:
            case Began():
                pass
            case Warned():
                print_warned(self._console, event)
            case Ended():
                print_ended(self._console, event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def print_ended(console: Console, phase: Ended) -> None:
    mark = "✓" if phase.succeeded else "✗"
    console.print(f"{mark} {phase.name}  {phase.seconds:.1f} s", soft_wrap=True)
    for warning in phase.warnings:
        console.print(f"  ! {warning}", soft_wrap=True)


def print_warned(console: Console, phase: Warned) -> None:
    for warning in phase.warnings:
        console.print(f"! {phase.name}: {warning}", soft_wrap=True)


def phase_view(console: Console) -> PhaseView:
    return LivePhases(console) if console.is_terminal else PlainPhases(console)


async def wait_for_status(
    look: Callable[[], Awaitable[Studio]],
    wanted: str,
    *,
    clock: Clock,
    view: PhaseView,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Studio:
    """Look until the Studio has the status; raises when it can't get there, or not in time."""
    began = clock.monotonic()
    phases = PhaseLog(began)
    with view:
        while True:
            studio = await look()
            now = clock.monotonic()
            for event in phases.look(studio, now):
                view.show(event)
            match judge(studio.status, wanted):
                case Verdict.REACHED:
                    return studio
                case Verdict.HOPELESS:
                    raise CommandError(_hopeless(studio, wanted))
                case Verdict.WAIT if now - began >= timeout_seconds:
                    raise WaitTimeoutError(_timed_out(studio, wanted, timeout_seconds))
                case Verdict.WAIT:
                    await clock.sleep(POLL_SECONDS)


def _hopeless(studio: Studio, wanted: str) -> str:
    info = studio.status_info
    reason = (info.message or info.stop_reason or "").rstrip(".")
    logs = f"See `studios logs {studio.session_id}`."
    if wanted == "running" and studio.status == "stopping" and info.message:
        # Whatever its end still has to do, nobody who waits for its beginning waits for that.
        return f"{studio.name} did not start: {reason}. {logs}"
    said = f"{studio.name} is {show_status(studio.status)}, not {wanted}"
    return f"{said}{f': {reason}' if reason else ''}. {logs}"


def _timed_out(studio: Studio, wanted: str, seconds: float) -> str:
    return (
        f"{studio.name} is still {show_status(studio.status)} after {seconds:.0f} s, not {wanted}: "
        f"look again with `studios view {studio.session_id}`."
    )
