"""The life of a Studio: one table, and the function that reads it.

Theory
------
Three things are true of a Studio at any time, and each has its own place:

- what people asked for. It is a function of the status: `starting` and `running` want the newest
  run to run, every other status wants it stopped (`Studio.run_state`). So no second variable can
  disagree with what people see.
- what the run's agent says. It sends its whole state every 10 s; the newest report is kept.
- what the engine may be holding: at most one job, `none → intended → submitted → none`. `intended`
  is written before the engine is asked, and `none` only after the engine said that the job is gone.
  A job may belong to an older run for a while (`job_run < run_number`): its remains are ended
  before the newest run is submitted. So two runs of a Studio never live at once.

Events are people's commands, reports, what the engine answered, and silence. The table has an entry
for every status and every event, because messages get lost, repeated and late, and a state may
follow any state: the last word of the newest run's agent is believed, but it never undoes what
people asked for. In particular:

- `stopped` means that the job is gone, so starting from there is safe; an agent that says
  “stopped” moves the Studio to `stopping` until the engine agrees.
- `errored` means stopped with an error. As long as the engine has not said that the job is gone, a
  run that speaks up after all is running: an error reported while it runs is overwritten.
- A run whose job is gone is over. What it may still say (a late packet) changes nothing but the
  message of an error, and is answered with `stop`.
- A run that ends in order without being asked (its machine goes away) is `stopped`, not `errored`.
- A probe that fails proves nothing, nor does an engine that can't tell. After silence the agent's
  health is asked through the edge, then the engine; only its clear “gone” ends the run.
- An older run that speaks is told that it is superseded, and changes nothing. A newer one than the
  database knows means that the database is a restored backup: the run is adopted.

Time. A deadline is calendar time, because that is what people are shown; `EXPIRE` looks at it again
in the same transaction, so an extension in the instant of expiry wins or loses as a whole. Silence
is measured on the monotonic clock, outside (`worklist`), and so is unmoved by calendar jumps. The
ten minutes until a stop may force are calendar time, too, counted anew when it is set back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum, auto
from typing import TYPE_CHECKING

import msgspec

from common.messages import RunPhase, StatusReport
from control_plane.effects import ASKS, Effect, Facts, change
from control_plane.model import JobStanding, Status, Studio

if TYPE_CHECKING:
    from datetime import datetime

    from common.ids import RunNumber


class Event(StrEnum):
    """What may happen to a Studio."""

    # people, or a calendar acting for them
    BUILD = auto()
    START = auto()
    STOP = auto()
    STOP_OVERDUE = auto()
    """A stop, long enough after the first."""
    EXPIRE = auto()
    EXTEND = auto()
    EDIT = auto()
    DELETE = auto()
    SAVE = auto()
    """Have the session's files saved now."""
    # the builder of images
    BUILT = auto()
    BUILD_BROKE = auto()
    # the agent of the newest run
    SAYS_STARTING = auto()
    SAYS_RUNNING = auto()
    SAYS_STOPPING = auto()
    SAYS_STOPPED = auto()
    SAYS_FAILED = auto()
    SAYS_SUPERSEDED = auto()
    # agents of other runs
    OLD_RUN_SPEAKS = auto()
    NEWER_RUN_SPEAKS = auto()
    # the engine, about the newest run
    SUBMITTING = auto()
    """The engine is about to be asked."""
    SUBMITTED = auto()
    SUBMIT_FAILED = auto()
    SUBMIT_REFUSED = auto()
    JOB_ALIVE = auto()
    JOB_UNKNOWN = auto()
    JOB_GONE = auto()
    JOB_GONE_FAILED = auto()
    """Gone, and its agent's last word was an error."""
    # the engine, about an older run
    OLD_JOB_GONE = auto()
    # silence
    SILENT = auto()
    HEALTH_OK = auto()
    HEALTH_FAILED = auto()


@dataclass(frozen=True, slots=True)
class Move:
    """One entry of the table. `to` None stays; `refusal` is a sentence, and nothing changes."""

    to: Status | None = None
    effects: tuple[Effect, ...] = ()
    refusal: str = ""
    words: str = "{}"
    """What people read in the new status; `{}` is the event's own message."""


def _stay(*effects: Effect) -> Move:
    return Move(None, effects)


def _refuse(sentence: str) -> Move:
    return Move(None, (), sentence)


_ = _stay()
note = _stay(Effect.NOTE)
build = Move(Status.BUILDING)
built = Move(Status.STOPPED)
broke = Move(Status.BUILD_FAILED)
begin = Move(Status.STARTING, (Effect.OPEN_RUN,))
stop = Move(Status.STOPPING)
expire = Move(Status.STOPPING, (Effect.EXPIRED,))
force = _stay(Effect.FORCE)
extend = _stay(Effect.EXTEND)
delete = _stay(Effect.DELETE)
save = _stay(Effect.REQUEST_CHECKPOINT)
heard = _stay(Effect.JOB_KNOWN, Effect.NOTE)
known = _stay(Effect.JOB_KNOWN)
again = Move(Status.STARTING, (Effect.JOB_KNOWN,))
up = Move(Status.RUNNING, (Effect.JOB_KNOWN,))
end = Move(Status.STOPPING, (Effect.JOB_KNOWN,))
fail = Move(Status.ERRORED)
adopt = Move(Status.STARTING, (Effect.ADOPT_RUN,))
intend = _stay(Effect.INTEND)
retry = _stay(Effect.COUNT_ATTEMPT, Effect.NOTE)
closed = _stay(Effect.JOB_CLOSED)
ended = Move(Status.STOPPED, (Effect.JOB_CLOSED, Effect.REVERT), words="")
failed = Move(Status.ERRORED, (Effect.JOB_CLOSED,))
lost = Move(
    Status.ERRORED,
    (Effect.JOB_CLOSED,),
    words="The session ended before its tool was up ({}): see its log, then start it again.",
)
silent = Move(
    Status.ERRORED,
    (Effect.JOB_CLOSED, Effect.NO_STATS),
    words="The session ended without a word ({}): start it again.",
)
health = _stay(Effect.ASK_HEALTH)
engine = _stay(Effect.ASK_ENGINE)

making = _refuse("The Studio's image is being built: wait until that is done.")
unmade = _refuse("The Studio's image could not be built: change the Studio, or add another.")
ending = _refuse("The Studio is stopping: start it again once it has stopped.")
too_late = _refuse("The session is already stopping: start the Studio again once it has stopped.")
idle = _refuse("The Studio is not running: start it first.")
early = _refuse("The session is starting: save once it is running.")
saves = _refuse("The session is stopping, and saves its files at its end: wait for that.")
busy = _refuse("The Studio is in use: stop it first.")

_COLUMNS = (
    Status.BUILDING,
    Status.BUILD_FAILED,
    Status.STARTING,
    Status.RUNNING,
    Status.STOPPING,
    Status.STOPPED,
    Status.ERRORED,
)

# fmt: off
_ROWS: dict[Event, tuple[Move, ...]] = {
    #                        building  buildFailed starting running stopping  stopped  errored
    Event.BUILD:            (_,        build,      busy,    busy,   busy,     build,   build),
    Event.BUILT:            (built,    _,          _,       _,      _,        _,       _),
    Event.BUILD_BROKE:      (broke,    _,          _,       _,      _,        _,       _),
    Event.START:            (making,   unmade,     _,       _,      ending,   begin,   begin),
    Event.STOP:             (making,   _,          stop,    stop,   _,        _,       stop),
    Event.STOP_OVERDUE:     (making,   _,          stop,    stop,   force,    _,       stop),
    Event.EXPIRE:           (_,        _,          expire,  expire, _,        _,       _),
    Event.EXTEND:           (making,   idle,       extend,  extend, too_late, idle,    idle),
    Event.EDIT:             (making,   _,          busy,    busy,   busy,     _,       _),
    Event.DELETE:           (making,   delete,     busy,    busy,   busy,     delete,  delete),
    Event.SAVE:             (making,   idle,       early,   save,   saves,    idle,    idle),

    Event.SAYS_STARTING:    (_,        _,          heard,   again,  known,    end,     again),
    Event.SAYS_RUNNING:     (_,        _,          up,      heard,  known,    end,     up),
    Event.SAYS_STOPPING:    (_,        _,          end,     end,    heard,    end,     known),
    Event.SAYS_STOPPED:     (_,        _,          end,     end,    heard,    _,       _),
    Event.SAYS_FAILED:      (_,        _,          fail,    fail,   heard,    fail,    note),
    Event.SAYS_SUPERSEDED:  (_,        _,          fail,    fail,   _,        _,       _),
    Event.OLD_RUN_SPEAKS:   (_,        _,          _,       _,      _,        _,       _),
    Event.NEWER_RUN_SPEAKS: (adopt,    adopt,      adopt,   adopt,  adopt,    adopt,   adopt),

    Event.SUBMITTING:       (_,        _,          intend,  _,      _,        _,       _),
    Event.SUBMITTED:        (_,        _,          known,   known,  known,    end,     known),
    Event.SUBMIT_FAILED:    (_,        _,          retry,   _,      _,        _,       _),
    Event.SUBMIT_REFUSED:   (_,        _,          fail,    _,      _,        _,       _),
    Event.JOB_ALIVE:        (_,        _,          known,   known,  known,    end,     known),
    Event.JOB_UNKNOWN:      (_,        _,          _,       _,      _,        _,       _),
    Event.JOB_GONE:         (closed,   closed,     lost,    silent, ended,    closed,  closed),
    Event.JOB_GONE_FAILED:  (closed,   closed,     failed,  failed, failed,   closed,  closed),
    Event.OLD_JOB_GONE:     (closed,   closed,     closed,  closed, closed,   closed,  closed),

    Event.SILENT:           (_,        _,          engine,  health, engine,   _,       _),
    Event.HEALTH_OK:        (_,        _,          _,       _,      _,        _,       _),
    Event.HEALTH_FAILED:    (_,        _,          engine,  engine, engine,   _,       _),
}
# fmt: on

TABLE: dict[tuple[Status, Event], Move] = {
    (status, event): move
    for event, row in _ROWS.items()
    for status, move in zip(_COLUMNS, row, strict=True)
}
"""Every status and every event; see the module's theory."""

_SAYS = {
    RunPhase.STARTING: Event.SAYS_STARTING,
    RunPhase.RUNNING: Event.SAYS_RUNNING,
    RunPhase.STOPPING: Event.SAYS_STOPPING,
    RunPhase.STOPPED: Event.SAYS_STOPPED,
    RunPhase.FAILED: Event.SAYS_FAILED,
    RunPhase.SUPERSEDED: Event.SAYS_SUPERSEDED,
}

_SPEECH = frozenset(_SAYS.values())
_OVER = frozenset({Status.STOPPED, Status.ERRORED})
_NEEDS_NO_OLDER_JOB = frozenset({Event.SUBMITTING, Event.JOB_GONE, Event.JOB_GONE_FAILED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The Studio after the event, what to ask next, or why not."""

    studio: Studio
    asks: frozenset[Effect] = frozenset()
    refusal: str = ""

    def is_submitting(self, run: RunNumber) -> bool:
        """Whether `run` is the one to be submitted now."""
        studio = self.studio
        wanted = studio.status is Status.STARTING and studio.run_number == run
        return wanted and studio.job is JobStanding.INTENDED


def step(studio: Studio, event: Event, facts: Facts) -> Outcome:
    """Take one event in; never fails, and an event that doesn't apply changes nothing."""
    if not _applies(studio, event, facts):
        return Outcome(studio)
    move = TABLE[studio.status, event]
    if event is Event.JOB_GONE_FAILED and studio.report is not None:
        facts = replace(facts, message=_spoken(studio.report))
    if move.refusal:
        return Outcome(studio, refusal=move.refusal)
    after = studio
    if studio.status_since > facts.now:  # the calendar was set back: count from now
        after = msgspec.structs.replace(after, status_since=facts.now)
    if move.to is not None and move.to is not studio.status:
        after = msgspec.structs.replace(
            after,
            status=move.to,
            status_since=facts.now,
            status_message=move.words.replace("{}", facts.message),
        )
    for effect in move.effects:
        after = change(after, effect, facts)
    if after != studio:
        after = msgspec.structs.replace(after, last_updated=facts.now)
    if _desired(after) != _desired(studio):
        after = msgspec.structs.replace(after, desired_version=studio.desired_version + 1)
    return Outcome(after, ASKS.intersection(move.effects))


def hear(studio: Studio, report: StatusReport, now: datetime) -> Outcome:
    """Take a report in. Repeated and overtaken ones change nothing."""
    run = report.run_number
    if run < studio.run_number:
        return step(studio, Event.OLD_RUN_SPEAKS, Facts(now=now))
    if run > studio.run_number:
        studio = step(studio, Event.NEWER_RUN_SPEAKS, Facts(now=now, run=run)).studio
    if studio.report is not None and report.sequence <= studio.report.sequence:
        return Outcome(studio)
    facts = Facts(now=now, run=run, message=_spoken(report))
    outcome = step(studio, _SAYS[report.phase], facts)
    return Outcome(msgspec.structs.replace(outcome.studio, report=report), outcome.asks)


def engine_event(studio: Studio, event: Event, run: RunNumber) -> Event | None:
    """Return what an engine's answer about `run` means now; None if nothing any more."""
    if run != studio.run_number:
        gone = event is Event.JOB_GONE and run == studio.job_run
        return Event.OLD_JOB_GONE if gone else None
    failed = studio.report is not None and studio.report.phase is RunPhase.FAILED
    return Event.JOB_GONE_FAILED if event is Event.JOB_GONE and failed else event


def stop_event(studio: Studio, now: datetime, *, force_after_seconds: float) -> Event:
    """Return what a person's stop means now."""
    waited = (now - studio.status_since).total_seconds()
    return Event.STOP_OVERDUE if waited >= force_after_seconds else Event.STOP


def _spoken(report: StatusReport) -> str:
    if report.phase is RunPhase.SUPERSEDED:
        return "Another run of this Studio took over: start it again."
    if report.phase is RunPhase.FAILED and not report.message:
        return "The session failed without a reason: see its log."
    return report.message


def _applies(studio: Studio, event: Event, facts: Facts) -> bool:
    """Say whether an event holds at all; the rest is the table's."""
    own_job = studio.job is not JobStanding.NONE and studio.job_run == studio.run_number
    if event in _SPEECH:
        late_error = event is Event.SAYS_FAILED and studio.status in _OVER
        return own_job or late_error
    if event in {Event.STOP, Event.STOP_OVERDUE} and studio.status is Status.ERRORED:
        return studio.job is not JobStanding.NONE
    if event is Event.EXPIRE:
        return studio.deadline is not None and studio.deadline <= facts.now
    if event in _NEEDS_NO_OLDER_JOB:
        return studio.job is JobStanding.NONE or own_job
    return True


def _desired(studio: Studio) -> tuple[object, ...]:
    wanted = (studio.run_number, studio.run_state, studio.stop_reason, studio.deadline)
    return *wanted, studio.checkpoint_requested_at
