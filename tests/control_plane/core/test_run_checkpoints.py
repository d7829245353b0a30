"""Each run saves under a checkpoint of its own, and begins with what was saved before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
import sqlalchemy as sa

from common.messages import CheckpointPhase
from control_plane import schema
from control_plane.errors import ConflictError
from control_plane.events import Change, ChangeKind
from control_plane.model_checkpoints import CheckpointState
from control_plane.run_checkpoints import OF_A_RUN_MAX
from control_plane.validation import UpdateStudio
from tests.control_plane.core.checkpoint_scene import (
    crash,
    listed,
    newest,
    save,
    say,
    spec_of,
    status_of,
    stop,
)

if TYPE_CHECKING:
    from control_plane.model import Studio
    from tests.support.core_plane import Plane

UNKNOWN = "00000000000000ff"


async def start(plane: Plane, studio: Studio) -> Studio:
    await plane.service.start(plane.admin, studio.session_id)
    return await plane.run_until(studio, "running")


# ── Starting ─────────────────────────────────────────────────────────────────


async def test_a_start_opens_an_empty_checkpoint_of_whoever_started(plane: Plane) -> None:
    studio = await plane.create("my Studio")
    assert await listed(plane, studio) == []
    epoch = int(plane.clock.now().timestamp())
    await plane.service.start(plane.admin, studio.session_id)
    (opened,) = await listed(plane, studio)
    assert opened.name == f"my_Studio_{epoch}"
    assert (opened.state, opened.generation) == (CheckpointState.EMPTY, 0)
    assert (opened.author.name, opened.run_number) == ("Ada", 1)
    assert (opened.parent_id, opened.date_saved) == (None, None)
    assert opened.work_dir == "file:///nowhere/work"
    spec = await spec_of(plane, studio, 1)
    assert (spec.id, spec.parent_id, spec.parent_run_number) == (opened.storage_id, None, None)


async def test_a_run_begins_with_the_newest_that_holds_something(plane: Plane) -> None:
    studio = await plane.running()
    first = await save(plane, studio)
    await stop(plane, studio)
    await start(plane, studio)
    second = await newest(plane, studio)
    assert (second.parent_id, second.run_number) == (first.id, 2)
    spec = await spec_of(plane, studio, 2)
    assert (spec.id, spec.parent_id) == (second.storage_id, first.storage_id)
    assert spec.parent_run_number is None
    assert first.storage_id != second.storage_id


async def test_a_lost_run_is_continued_from_what_it_saved(plane: Plane) -> None:
    studio = await plane.running()
    interim = await save(plane, studio, 7)
    await crash(plane, studio)
    assert (await newest(plane, studio)).state is CheckpointState.INTERIM
    await start(plane, studio)
    assert (await newest(plane, studio)).parent_id == interim.id


async def test_asking_the_engine_again_gives_the_same_checkpoint(plane: Plane) -> None:
    studio = await plane.create(auto_start=True)
    first = await spec_of(plane, studio, 1)
    await plane.service.start(plane.admin, studio.session_id)  # it is under way: nothing new
    plane.host.agents.clear()
    async with plane.service.core.store.database.begin() as connection:
        await connection.execute(sa.update(schema.studios).values(job="intended"))
    await plane.clock.advance(1)
    assert await spec_of(plane, studio, 1) == first
    assert len(await listed(plane, studio)) == 1


async def test_a_name_that_is_taken_gets_a_number(plane: Plane) -> None:
    studio = await plane.running()
    first = await save(plane, studio)
    await stop(plane, studio)
    taken = f"demo_{int(plane.clock.now().timestamp())}"
    await plane.service.rename_checkpoint(plane.admin, studio.session_id, first.id, taken)
    await plane.service.start(plane.admin, studio.session_id)
    assert (await newest(plane, studio)).name == f"{taken}_2"


async def test_a_start_that_saved_nothing_leaves_nothing_behind(plane: Plane) -> None:
    studio = await plane.running()
    saved = await save(plane, studio)
    await stop(plane, studio)
    numbers = {saved.id}
    for _ in range(3):  # their agents never come up
        await plane.service.start(plane.admin, studio.session_id)
        numbers.add((await newest(plane, studio)).id)
        await plane.service.stop(plane.admin, studio.session_id)
        await plane.reconciler.run_once()
        assert (await newest(plane, studio)).state is CheckpointState.EMPTY
    found = await listed(plane, studio)
    assert [one.run_number for one in found] == [4, 1]
    assert found[0].parent_id == saved.id
    assert len(numbers) == 4  # a number never means another checkpoint


async def test_one_whose_agent_was_heard_is_kept_until_a_later_one_holds_something(
    plane: Plane,
) -> None:
    studio = await plane.running()  # heard, but nothing saved: its volume may hold files
    await crash(plane, studio)
    first = await newest(plane, studio)
    await start(plane, studio)
    second = await newest(plane, studio)
    assert [one.id for one in await listed(plane, studio)] == [second.id, first.id]
    # the second run finds them, and saves them under the first's name before it goes on
    earlier = status_of(first.storage_id, 1, phase=CheckpointPhase.FINALIZED)
    own = status_of(second.storage_id, 1, parent_id=first.storage_id)
    await say(plane, studio, 2, own, earlier)
    two, one = await listed(plane, studio)
    assert (one.id, one.state, one.name) == (first.id, CheckpointState.FINALIZED, first.name)
    assert two.parent_id == first.id
    await crash(plane, studio)
    await start(plane, studio)
    await crash(plane, studio)
    await start(plane, studio)
    assert [one.run_number for one in await listed(plane, studio)] == [4, 3, 2, 1]
    await plane.service.stop(plane.admin, studio.session_id)
    await plane.run_until(studio, "stopped")
    await start(plane, studio)
    assert [one.run_number for one in await listed(plane, studio)] == [5, 4, 3, 2, 1]
    await save(plane, studio)
    await stop(plane, studio)
    await start(plane, studio)
    assert [one.run_number for one in await listed(plane, studio)] == [6, 5, 4, 3, 2, 1]


# ── What agents say ──────────────────────────────────────────────────────────


async def test_reports_move_it_forwards(plane: Plane) -> None:
    studio = await plane.running()
    saved = await save(plane, studio, 2, image="an image", message="It is slow.")
    assert (saved.state, saved.generation) == (CheckpointState.INTERIM, 2)
    assert saved.date_saved == plane.clock.now()
    assert (saved.image, saved.message, saved.entries) == ("an image", "It is slow.", 3)
    await save(plane, studio, 1)
    assert (await newest(plane, studio)).generation == 2
    final = await save(plane, studio, 3, phase=CheckpointPhase.FINALIZED)
    assert final.state is CheckpointState.FINALIZED
    await save(plane, studio, 3)
    assert (await newest(plane, studio)).state is CheckpointState.FINALIZED


async def test_what_says_nothing_new_is_not_written_nor_told(plane: Plane) -> None:
    studio = await plane.running()
    saved = await save(plane, studio)
    async with plane.bus.subscribe() as changes:
        await plane.clock.advance(10)
        await save(plane, studio)
        assert (await newest(plane, studio)).date_saved == saved.date_saved
        await plane.clock.advance(30)
        later = await save(plane, studio)
        assert later.date_saved == plane.clock.now()
        assert await anext(changes) == Change(ChangeKind.CHANGED, studio.session_id)
        await plane.service.delete(plane.admin, (await plane.create("other")).session_id)
        about = {getattr(await anext(changes), "session_id", None) for _ in range(2)}
    assert studio.session_id not in about


async def test_only_the_run_that_owns_it_has_a_say(plane: Plane) -> None:
    studio, other = await plane.running(), await plane.running("other")
    mine = await save(plane, studio, 5)
    stranger = status_of(mine.storage_id, 9, message="mine now")
    await say(plane, other, 1, stranger, stranger)
    await say(plane, studio, 1, None, stranger)  # as if it were an earlier run's
    assert await newest(plane, studio) == mine
    await stop(plane, studio)
    await start(plane, studio)
    final = (await listed(plane, studio))[1]
    await say(plane, studio, 2, status_of(mine.storage_id, 9))  # as if it were the second run's
    assert (await listed(plane, studio))[1] == final
    await say(plane, studio, 2, None, status_of(mine.storage_id, 9))
    assert (await listed(plane, studio))[1].generation == 9


async def test_an_overtaken_report_changes_nothing(plane: Plane) -> None:
    studio = await plane.running()
    saved = await newest(plane, studio)
    agent = plane.agent(studio, 1)
    late = msgspec.structs.replace(
        agent.report(plane.clock), checkpoint=status_of(saved.storage_id, 1, message="Away.")
    )
    await say(plane, studio, 1, status_of(saved.storage_id, 1))
    await plane.service.record_report(studio.session_id, agent.run, late)
    assert (await newest(plane, studio)).message == ""


async def test_a_run_that_was_superseded_may_still_say_what_it_saved(plane: Plane) -> None:
    studio = await plane.running()
    saved = await save(plane, studio)
    await crash(plane, studio)
    await start(plane, studio)
    await say(plane, studio, 1, status_of(saved.storage_id, 4))
    assert (await listed(plane, studio))[1].generation == 4


async def test_a_restored_backup_learns_what_was_saved_since(plane: Plane) -> None:
    studio = await plane.running()
    await say(plane, studio, 3, status_of(UNKNOWN, 6), status_of("00000000000000ee", 2))
    assert (await plane.get(studio)).run_number == 3  # adopted
    three, two, one = await listed(plane, studio)
    assert (three.storage_id, three.run_number, three.generation) == (UNKNOWN, 3, 6)
    assert (two.storage_id, two.run_number, two.generation) == ("00000000000000ee", 2, 2)
    assert (three.author.name, one.run_number) == ("Ada", 1)
    assert len({one.name, two.name, three.name}) == 3
    shown = await plane.service.checkpoints_shown([studio])
    assert shown[studio.session_id] == three


async def test_an_agent_gone_wrong_makes_few_checkpoints(plane: Plane) -> None:
    studio = await plane.running()
    for number in range(20):
        await say(plane, studio, 1, status_of(f"{number:016x}"), status_of(f"{number + 100:016x}"))
    for name in ("", "../..", "X" * 16, "a" * 15):
        await say(plane, studio, 1, status_of(name), status_of(name))
    assert len(await listed(plane, studio)) == 2 * OF_A_RUN_MAX


async def test_no_agent_holds_on_to_anothers_checkpoint(plane: Plane) -> None:
    studio, other = await plane.running(), await plane.running("other")
    theirs = await save(plane, other)
    for parent in (theirs.storage_id, UNKNOWN, "no id", None):
        own = (await newest(plane, studio)).storage_id
        await say(plane, studio, 1, status_of(own, 0))
        await say(plane, studio, 1, status_of(own, 1, parent_id=parent))
        assert (await newest(plane, studio)).parent_id is None


async def test_numbers_of_any_size_can_be_kept(plane: Plane) -> None:
    studio = await plane.running()
    huge = 2**62
    saved = await save(plane, studio, huge, entries=huge, file_bytes=huge, message="x" * 10_000)
    assert saved.generation == saved.entries == 2**53 - 1
    assert len(saved.message) == 2000


# ── The Studio that it belongs to ────────────────────────────────────────────


async def test_a_studio_shows_the_session_under_way_or_what_the_next_begins_with(
    plane: Plane,
) -> None:
    studio, idle = await plane.running(), await plane.create("idle")

    async def shown() -> str | None:
        found = await plane.service.checkpoints_shown([studio, idle])
        assert idle.session_id not in found
        one = found.get(studio.session_id)
        return None if one is None else f"{one.run_number} {one.state}"

    assert await shown() == "1 empty"
    await save(plane, studio)
    assert await shown() == "1 interim"
    await stop(plane, studio)
    assert await shown() == "1 finalized"
    await plane.service.start(plane.admin, studio.session_id)
    assert await shown() == "2 empty"
    await plane.service.stop(plane.admin, studio.session_id)
    await plane.reconciler.run_once()
    await plane.run_until(studio, "stopped")
    assert await shown() == "1 finalized"
    assert await plane.service.checkpoints_shown([]) == {}


async def test_checkpoints_keep_the_name_that_they_began_with(plane: Plane) -> None:
    studio = await plane.running("before")
    saved = await save(plane, studio)
    await stop(plane, studio)
    await plane.service.update(plane.admin, studio.session_id, UpdateStudio(name="after"))
    assert (await newest(plane, studio)).name == saved.name


async def test_checkpoints_follow_a_work_directory_that_moves(plane: Plane) -> None:
    studio = await plane.running()
    await save(plane, studio)
    await plane.service.ensure_workspace(work_dir="file:///elsewhere")
    assert (await newest(plane, studio)).work_dir == "file:///elsewhere"


async def test_a_run_from_before_there_were_checkpoints_saves_nothing(plane: Plane) -> None:
    studio = await plane.create(auto_start=True)
    async with plane.service.core.store.database.begin() as connection:
        await connection.execute(sa.delete(schema.checkpoints))
    await plane.reconciler.run_once()
    (agent,) = plane.host.agents.values()
    assert agent.spec is not None
    assert agent.spec.checkpoint is None
    assert (await plane.run_until(studio, "running")).run_number == 1


async def test_it_never_begins_with_nothing_where_files_should_be(plane: Plane) -> None:
    studio = await plane.create()
    async with plane.service.core.store.database.begin() as connection:
        await connection.execute(sa.update(schema.studios).values(initial_checkpoint_id=77))
    with pytest.raises(ConflictError, match="is gone: add another Studio"):
        await plane.service.start(plane.admin, studio.session_id)
    assert (await plane.get(studio)).status == "stopped"
