"""A volume that its run could not save is saved first by the next one, or kept where it was."""

from __future__ import annotations

import shutil

import msgspec

from agent.checkpointing.volume_note import NAME, read_note
from common.messages import CheckpointPhase, RunPhase, RunState
from tests.support.saving_studio import SavingStudio, checkpoint_of

WRITE = "mkdir -p /workspace && echo {0} >/workspace/{0}"


async def test_what_a_killed_agent_left_is_saved_under_its_checkpoint_and_gone_on_with() -> None:
    with SavingStudio() as studio:
        async with studio.session() as run:
            await run.out(WRITE.format("saved"))
            await run.stop()
        async with studio.session() as run:
            await run.out("sync; " + WRITE.format("unsaved"))
            await run.kill()
        await studio.nothing_remains()
        killed_id = studio.parent_id
        async with studio.session() as run:
            assert await run.out("ls /workspace") == "saved\nunsaved"
            earlier = run.control_plane.reports[-1].earlier_checkpoint
            report = await run.stop()
        assert earlier is not None
        assert earlier.id == killed_id
        assert earlier.phase is CheckpointPhase.FINALIZED
        assert checkpoint_of(report).id != killed_id
        assert (await studio.records(earlier.id))[1].final, "sealed after its last generation"
        assert not studio.image.exists()


async def test_a_forced_end_leaves_the_volume_to_the_next_run() -> None:
    with SavingStudio() as studio:
        async with studio.session() as run:
            await run.out(WRITE.format("unsaved"))
            shutil.rmtree(studio.work)  # the last capture waits for it
            await run.control_plane.wish(RunState.STOP)
            await run.control_plane.reported(
                lambda report: report.checkpoint is not None and report.checkpoint.message != ""
            )
            await run.control_plane.wish(RunState.FORCE_STOP)
            report = await run.ended()
        assert report.phase is RunPhase.STOPPED
        assert studio.image.exists()
        studio.work.mkdir()
        async with studio.session() as run:
            assert await run.out("ls /workspace") == "unsaved"
            await run.stop()


async def test_what_lies_over_a_deleted_checkpoint_is_kept_aside_and_told() -> None:
    with SavingStudio() as studio:
        async with studio.session() as run:
            await run.out(WRITE.format("saved"))
            await run.stop()
        async with studio.session() as run:
            await run.out(WRITE.format("unsaved"))
            await run.kill()
        await studio.nothing_remains()
        shutil.rmtree(studio.work)
        studio.work.mkdir()
        studio.parent_id = None
        async with studio.session() as run:
            (warning,) = [
                each for each in run.control_plane.reports[-1].warnings if "is kept in" in each
            ]
            await run.stop()
        (aside,) = studio.state.glob("kept-2-*")
        assert str(aside) in warning


async def test_a_volume_of_a_version_without_checkpoints_is_saved_first() -> None:
    with SavingStudio() as studio:
        async with studio.session() as run:
            await run.out(WRITE.format("old"))
            await run.kill()
        await studio.nothing_remains()
        (studio.state / NAME).unlink()
        studio.parent_id = None
        async with studio.session() as run:
            assert await run.out("ls /workspace") == "old"
            report = await run.stop()
        assert report.earlier_checkpoint is not None
        assert report.earlier_checkpoint.phase is CheckpointPhase.FINALIZED


async def test_a_removal_that_a_kill_has_prevented_is_made_up_for() -> None:
    with SavingStudio() as studio:
        async with studio.session() as run:
            await run.out(WRITE.format("saved"))
            await run.kill()
        await studio.nothing_remains()
        note, left = read_note(studio.state), studio.image.with_name("copy")
        assert note is not None
        shutil.copy(studio.image, left)
        async with studio.session() as run:
            await run.out(WRITE.format("later"))
            await run.stop()
        left.rename(studio.image)  # as if the run before had been killed just before it removed it
        (studio.state / NAME).write_bytes(msgspec.json.encode(note))
        async with studio.session() as run:
            assert await run.out("ls /workspace") == "later\nsaved"
            assert not list(studio.state.glob("kept-*"))
            await run.stop()
