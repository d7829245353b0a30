"""Two hosts believe that they have the same Studio: the newer run wins, and nothing is mixed."""

from __future__ import annotations

import pytest

from common.messages import CheckpointPhase, RunPhase
from tests.support.agent_rig import lives
from tests.support.saving_studio import SavingStudio, checkpoint_of

INTERVAL_SECONDS = 1.0
NEWER, NEWEST = "00000000000000c1", "00000000000000c2"
WRITE = "mkdir -p /workspace && echo {0} >/workspace/{0}"

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("is_stopped", [False, True], ids=["next-capture", "stop"])
async def test_the_older_run_is_fenced_and_nothing_of_it_is_in_the_newer_ones_checkpoint(
    *, is_stopped: bool
) -> None:
    older = SavingStudio(interval_seconds=3600.0 if is_stopped else INTERVAL_SECONDS)
    newer = SavingStudio(interval_seconds=INTERVAL_SECONDS, url=older.url)
    with older, newer:
        async with older.session() as first:
            await first.out(WRITE.format("1"))
            await first.stop()
        async with older.session() as old:
            begun = checkpoint_of(await old.running())
            newer.runs, newer.parent_id, newer.next_id = older.runs, begun.id, NEWER
            await old.out(WRITE.format("in-time"))
            if not is_stopped:
                await old.control_plane.reported(
                    lambda report: (
                        report.checkpoint is not None
                        and report.checkpoint.generation > begun.generation
                    )
                )
            async with newer.session() as new:
                was_in_time = [] if is_stopped else ["in-time"]
                assert (await new.out("ls /workspace")).split() == ["1", *was_in_time]
                tool = old.processes()
                assert old.lives()
                await old.out(WRITE.format("too-late"))
                if is_stopped:
                    old.terminate()
                report = await old.ended()
                assert report.phase is RunPhase.SUPERSEDED
                assert not any(map(lives, tool))
                older.assert_left_in_order()
                assert older.image.exists(), "it keeps its volume"
                await new.out(WRITE.format("3"))
                last = checkpoint_of(await new.stop())
        assert last.phase is CheckpointPhase.FINALIZED
        records = await newer.records(last.id)
        assert {record.run_number for record in records} == {newer.runs}
        newer.next_id = NEWEST
        async with newer.session() as new:
            assert (await new.out("ls /workspace")).split() == ["1", "3", *was_in_time]
            await new.stop()
        older.runs, older.parent_id = newer.runs, newer.parent_id
        async with older.session() as old:
            assert (await old.out("ls /workspace")).split() == ["1", "3", *was_in_time]
            (warning,) = [
                each for each in old.control_plane.reports[-1].warnings if "is kept in" in each
            ]
            (aside,) = older.state.glob("kept-2-*")
            assert str(aside) in warning
            await old.stop()
