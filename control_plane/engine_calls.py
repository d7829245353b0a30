"""Calls of engines, and what their answers mean to the lifecycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import structlog

from control_plane.effects import Facts
from control_plane.engines.engine import (
    Alive,
    EngineRefusedError,
    EngineUnavailableError,
    Gone,
    Job,
    Unknown,
)
from control_plane.lifecycle import Event, Outcome, engine_event, step
from control_plane.run_checkpoints import checkpoint_spec
from control_plane.spec_builder import build_spec

if TYPE_CHECKING:
    from common.ids import RunNumber
    from common.session_spec import SessionSpec
    from control_plane.core import Core
    from control_plane.engines.engine import Engine
    from control_plane.model import Studio

_log = structlog.get_logger()


class EngineCalls:
    """Asks the engine of a Studio's compute environment; the engine's failures end here."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def submit(self, studio: Studio) -> None:
        """Have the newest run begin. The intent is written already."""
        run = studio.run_number
        try:
            engine = await self._engine(studio)
            job = await engine.submit(await self._spec(studio))
        except EngineRefusedError as error:
            await self.tell(studio, Event.SUBMIT_REFUSED, run, message=str(error))
        except EngineUnavailableError as error:
            _log.warning("submit_failed", session=studio.session_id, run=run, error=str(error))
            attempts = studio.submit_attempts + 1
            if attempts < self._core.settings.limits.submit_attempts_max:
                message = f"{error} Trying again."
                await self.tell(studio, Event.SUBMIT_FAILED, run, message=message)
            else:
                message = f"{error} Given up after {attempts} attempts: start it again later."
                await self.tell(studio, Event.SUBMIT_REFUSED, run, message=message)
        else:
            await self.tell(studio, Event.SUBMITTED, run, job_detail=job.detail)

    async def observe(self, studio: Studio, run: RunNumber) -> None:
        """Ask whether the run's job lives."""
        try:
            engine = await self._engine(studio)
        except EngineRefusedError as error:
            _log.warning("no_engine", session=studio.session_id, error=str(error))
            return
        state = await engine.observe(_job(studio, run))
        match state:
            case Alive():
                await self.tell(studio, Event.JOB_ALIVE, run)
            case Gone(reason=reason):
                await self.tell(studio, Event.JOB_GONE, run, message=reason)
            case Unknown(reason=reason):
                _log.info("job_unknown", session=studio.session_id, run=run, reason=reason)
                await self.tell(studio, Event.JOB_UNKNOWN, run)
            case _:
                assert_never(state)

    async def end(self, studio: Studio, run: RunNumber, *, grace_seconds: float) -> None:
        """Ask for the run's job to be ended; it is asked again until it is gone."""
        try:
            engine = await self._engine(studio)
            await engine.stop(_job(studio, run), grace_seconds=grace_seconds)
        except (EngineRefusedError, EngineUnavailableError) as error:
            _log.warning("stop_failed", session=studio.session_id, run=run, error=str(error))

    async def end_unrecorded(self, studio: Studio) -> bool:
        """Ask for its job to be ended and write nothing down; say whether nothing of it is left."""
        run = studio.job_run
        await self.end(studio, run, grace_seconds=self._core.settings.limits.stop_grace_seconds)
        try:
            engine = await self._engine(studio)
        except EngineRefusedError:
            return False
        return isinstance(await engine.observe(_job(studio, run)), Gone)

    async def forget(self, studio: Studio) -> bool:
        """Have the engine delete what it keeps; say whether it did."""
        try:
            engine = await self._engine(studio)
            await engine.forget(studio.session_id)
        except (EngineRefusedError, EngineUnavailableError) as error:
            _log.warning("forget_failed", session=studio.session_id, error=str(error))
            return False
        return True

    async def tell(
        self,
        studio: Studio,
        event: Event,
        run: RunNumber,
        *,
        message: str = "",
        job_detail: str = "",
    ) -> None:
        """Let the lifecycle take in an engine's answer about `run`."""
        facts = Facts(now=self._core.clock.now(), message=message, run=run, job_detail=job_detail)

        def decide(now: Studio) -> Outcome:
            meant = engine_event(now, event, run)
            return Outcome(now) if meant is None else step(now, meant, facts)

        await self._core.changes.apply(studio.session_id, decide)

    async def _engine(self, studio: Studio) -> Engine:
        async with self._core.store.read() as transaction:
            env = await transaction.compute_env(studio.compute_env_id)
        engine = self._core.engines.get(env.engine)
        if engine is None:
            raise EngineRefusedError(
                f"The compute environment “{env.name}” needs the engine “{env.engine}”, which this "
                "control plane does not have: choose another compute environment."
            )
        return engine

    async def _spec(self, studio: Studio) -> SessionSpec:
        template = self._core.templates.get(studio.template)
        if template is None:
            raise EngineRefusedError(
                f"The template “{studio.template}” is not installed any more: add a new Studio."
            )
        async with self._core.store.read() as transaction:
            env = await transaction.compute_env(studio.compute_env_id)
            checkpoint = await checkpoint_spec(transaction, studio)
        return build_spec(
            studio,
            template,
            env,
            checkpoint=checkpoint,
            signer=self._core.signer,
            settings=self._core.settings,
        )


def _job(studio: Studio, run: RunNumber) -> Job:
    detail = studio.job_detail if run == studio.job_run else ""
    return Job(session_id=studio.session_id, run_number=run, detail=detail)
