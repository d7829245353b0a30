"""What a run begins with, whatever the one before it has left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.checkpointing import beginning as module
from agent.checkpointing.saver import (
    DamagedCheckpointError,
    ParentBusyError,
    ParentGoneError,
    SaverDiedError,
    SaveRefusedError,
    StorageTroubleError,
    SupersededError,
)
from agent.checkpointing.volume_note import NAME, NoteUnreadableError, VolumeNote
from common.messages import CheckpointPhase
from tests.support.begun_files import LEGACY_ID, Host
from tests.support.fake_saver import told_with

if TYPE_CHECKING:
    from pathlib import Path

    from agent.checkpointing.saver import SaverError

FIRST, SECOND, THIRD, OTHER = (f"00000000000000c{digit}" for digit in (1, 2, 3, 9))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


def note(
    own_id: str, run_number: int, *, parent_id: str | None = None, root: str = ""
) -> VolumeNote:
    return VolumeNote(
        checkpoint_id=own_id,
        run_number=run_number,
        image="image",
        parent_id=parent_id,
        base_root=root,
    )


# ── With nothing left ────────────────────────────────────────────────────────


async def test_a_first_run_begins_with_its_image_and_notes_that(host: Host) -> None:
    beginning = await host.begin(1, FIRST)
    assert (beginning.first, beginning.layer, beginning.earlier) == (None, None, None)
    assert host.note() == note(FIRST, 1)
    assert host.saver.calls == ["open"]


async def test_a_run_goes_on_from_its_sealed_parent_under_its_own_checkpoint(host: Host) -> None:
    await host.begin(1, FIRST)
    saved = await host.end(file="1")
    beginning = await host.begin(2, SECOND, parent_id=FIRST)
    assert host.shown(beginning) == {"file": "1"}
    assert beginning.first is not None
    assert (beginning.first.checkpoint_id, beginning.first.root) == (SECOND, saved.root)
    assert host.note() == note(SECOND, 2, parent_id=FIRST, root=saved.root)
    assert host.saver.calls == ["seal", "restore", "open"], "sealed before it is restored"
    assert beginning.warnings == ()


async def test_a_parent_of_another_studio_is_sealed_with_that_studios_number(host: Host) -> None:
    await host.begin(57, OTHER)
    await host.end(file="1")
    beginning = await host.beginner(1, FIRST, parent_id=OTHER, parent_run_number=57).begin()
    assert host.shown(beginning) == {"file": "1"}
    assert host.store.is_sealed(OTHER)


async def test_an_empty_parent_can_not_be_begun_with(host: Host) -> None:
    await host.begin(1, FIRST)
    host.lose_volume()
    with pytest.raises(ParentGoneError, match="start from another one"):
        await host.begin(2, SECOND, parent_id=FIRST)


async def test_an_unreadable_note_is_told_and_nothing_is_touched(host: Host) -> None:
    host.leave_volume(None, file="1")
    (host.folder / NAME).write_text("{")
    with pytest.raises(NoteUnreadableError, match="can't be understood"):
        await host.begin(2, SECOND)
    assert host.image.exists()
    assert host.saver.calls == []


# ── A volume is left ─────────────────────────────────────────────────────────


async def test_what_a_killed_run_left_is_saved_as_its_last_and_gone_on_with(host: Host) -> None:
    await host.begin(1, FIRST)
    host.leave_volume(None, file="1")
    beginning = await host.begin(2, SECOND, parent_id=FIRST)
    assert host.shown(beginning) == {"file": "1"}
    assert beginning.earlier is not None
    assert (beginning.earlier.id, beginning.earlier.phase) == (FIRST, CheckpointPhase.FINALIZED)
    assert host.attached == 0
    assert beginning.warnings == ()


async def test_the_control_plane_need_not_know_of_what_was_left(host: Host) -> None:
    await host.begin(1, FIRST)
    host.leave_volume(None, file="1")
    beginning = await host.begin(2, SECOND)
    assert host.shown(beginning) == {"file": "1"}
    saved = beginning.first
    assert saved is not None
    assert host.note() == note(SECOND, 2, parent_id=FIRST, root=saved.root)


async def test_what_was_left_is_newer_than_the_parent_of_an_earlier_run(host: Host) -> None:
    await host.begin(1, FIRST)
    await host.end(file="1")
    await host.begin(2, SECOND, parent_id=FIRST)
    host.leave_volume(None, file="2")
    beginning = await host.begin(3, THIRD, parent_id=FIRST)
    assert host.shown(beginning) == {"file": "2"}


async def test_what_was_left_is_newer_than_another_studios_checkpoint_with_high_numbers(
    host: Host,
) -> None:
    await host.begin(57, OTHER)
    await host.end(file="of the other Studio")
    for number, own_id in enumerate((FIRST, SECOND), start=1):
        beginner = host.beginner(number, own_id, parent_id=OTHER, parent_run_number=57)
        await beginner.begin()
        host.make_volume()
        host.leave_volume(None, file=f"of this Studio {number}")
    beginning = await host.beginner(3, THIRD, parent_id=OTHER, parent_run_number=57).begin()
    assert host.shown(beginning) == {"file": "of this Studio 2"}


async def test_what_was_left_here_while_the_studio_went_on_elsewhere_is_kept_apart(
    host: Host, tmp_path: Path
) -> None:
    elsewhere = Host(tmp_path / "elsewhere", host.store)
    await host.begin(1, FIRST)
    await host.end(file="1")
    await host.begin(2, SECOND, parent_id=FIRST)
    host.leave_volume(None, file="2, here only")
    await elsewhere.begin(3, THIRD, parent_id=SECOND)
    await elsewhere.end(file="3")
    beginning = await host.begin(4, OTHER, parent_id=THIRD)
    assert host.shown(beginning) == {"file": "3"}
    (warning,) = beginning.warnings
    assert "could not be saved" in warning
    (aside,) = host.folder.glob("kept-2-*")
    assert str(aside) in warning


async def test_what_was_left_and_is_older_than_the_parent_is_saved_and_told(host: Host) -> None:
    await host.begin(1, FIRST)
    host.leave_volume(None, file="1")
    elsewhere = Host(host.folder.with_name("elsewhere"), host.store)
    await elsewhere.begin(2, SECOND)
    await elsewhere.end(file="2")
    beginning = await host.begin(3, THIRD, parent_id=SECOND)
    assert host.shown(beginning) == {"file": "2"}
    (warning,) = beginning.warnings
    assert FIRST in warning
    assert "add it as a Studio of its own" in warning
    assert beginning.earlier is not None
    assert host.store.tree(host.store.generations(FIRST)[-1]) == {"file": b"1"}


async def test_a_volume_without_a_note_is_saved_under_one_new_id(host: Host) -> None:
    host.leave_volume(None, file="old")
    beginning = await host.begin(1, FIRST)
    assert host.shown(beginning) == {"file": "old"}
    assert beginning.earlier is not None
    assert beginning.earlier.id == LEGACY_ID


async def test_what_lies_over_a_deleted_checkpoint_is_put_aside(host: Host) -> None:
    await host.begin(1, FIRST)
    await host.end(file="1")
    await host.begin(2, SECOND, parent_id=FIRST)
    host.leave_volume(None, file="2")
    host.store.delete(SECOND)
    beginning = await host.begin(3, THIRD, parent_id=FIRST)
    assert host.shown(beginning) == {"file": "1"}
    (warning,) = beginning.warnings
    assert "was deleted" in warning
    assert list(host.folder.glob("kept-2-*"))


@pytest.mark.parametrize("error", [SaveRefusedError("It holds a redirect."), ParentGoneError("-.")])
async def test_what_can_not_be_saved_is_put_aside_whatever_the_reason(
    host: Host, error: SaverError
) -> None:
    await host.begin(1, FIRST)
    host.leave_volume(None, file="1")
    beginner = host.beginner(2, SECOND)
    host.saver.failures["write"].append(error)
    beginning = await beginner.begin()
    assert beginning.layer is None
    assert str(error) in beginning.warnings[0]
    assert list(host.folder.glob("kept-1-*"))
    assert host.attached == 0


async def test_a_store_that_refuses_is_no_reason_to_put_anything_aside(host: Host) -> None:
    await host.begin(1, FIRST)
    host.leave_volume(None, file="1")
    beginner = host.beginner(2, SECOND)
    host.saver.failures["write"].append(StorageTroubleError("Refused.", retry_helps=False))
    with pytest.raises(StorageTroubleError, match="Refused"):
        await beginner.begin()
    assert host.image.exists()
    beginning = await host.begin(2, SECOND)
    assert host.shown(beginning) == {"file": "1"}


# ── Damage, images, taking over ──────────────────────────────────────────────


async def test_a_damaged_generation_falls_back_to_the_one_before_and_says_so(host: Host) -> None:
    await host.begin(1, FIRST)
    host.leave_volume(None, file="1")
    older = await host.saver.write(host.upper, changes=None)
    newest = await host.end(file="2")
    host.store.damaged.add(newest.root)
    beginning = await host.begin(2, SECOND, parent_id=FIRST)
    assert host.shown(beginning) == {"file": "1"}
    assert beginning.first is not None
    assert beginning.first.root == older.root, "and it is what is written over"
    (warning,) = beginning.warnings
    assert f"{older.created_at:%F %T} UTC" in warning
    assert "is damaged" in warning


async def test_where_all_is_damaged_the_start_fails_with_the_damage(host: Host) -> None:
    await host.begin(1, FIRST)
    saved = await host.end(file="1")
    host.store.damaged.add(saved.root)
    with pytest.raises(DamagedCheckpointError):
        await host.begin(2, SECOND, parent_id=FIRST)
    assert host.note() is None, "nothing was begun"


async def test_later_records_that_can_not_be_read_are_told(host: Host) -> None:
    await host.begin(1, FIRST)
    await host.end(file="1")
    told_with(host.store, FIRST, passed_over=("checkpoints/c1/2 ends early",))
    beginning = await host.begin(2, SECOND, parent_id=FIRST)
    (warning,) = beginning.warnings
    assert "checkpoints/c1/2 ends early" in warning


async def test_what_could_not_be_saved_is_told_where_it_is_missing(host: Host) -> None:
    await host.begin(1, FIRST)
    await host.end(file="1")
    told_with(host.store, FIRST, too_long=1)
    beginning = await host.begin(2, SECOND, parent_id=FIRST)
    (warning,) = beginning.warnings
    assert warning.startswith("A file or folder with a path of more than 4,095 bytes")
    assert "not here any more" in warning


async def test_another_image_than_the_files_were_saved_over_is_told(host: Host) -> None:
    await host.begin(1, FIRST)
    await host.end(file="1")
    beginning = await host.beginner(2, SECOND, parent_id=FIRST, image="newer").begin()
    (warning,) = beginning.warnings
    assert "(image)" in warning
    assert "(newer)" in warning
    unknown = await host.beginner(3, THIRD, parent_id=SECOND, image="").begin()
    assert not [each for each in unknown.warnings if "over another image" in each]


@pytest.mark.parametrize("call", ["seal", "restore", "open"])
async def test_superseded_in_any_call_the_run_does_not_begin(host: Host, call: str) -> None:
    await host.begin(1, FIRST)
    await host.end(file="1")
    beginner = host.beginner(2, SECOND, parent_id=FIRST)
    host.saver.failures[call].append(SupersededError("A later run was there."))
    with pytest.raises(SupersededError):
        await beginner.begin()
    assert host.note() is None


# ── Patience ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("call", ["seal", "restore", "open"])
async def test_a_store_that_is_away_is_waited_for_and_progress_says_so(
    host: Host, call: str
) -> None:
    await host.begin(1, FIRST)
    await host.end(file="1")
    beginner = host.beginner(2, SECOND, parent_id=FIRST)
    away: list[SaverError] = [
        StorageTroubleError("The bucket doesn't answer.", retry_helps=True),
        SaverDiedError("It was killed."),
        ParentBusyError("It is still written to."),
    ]
    host.saver.failures[call].extend(away)
    host.told.clear()
    beginning = await beginner.begin()
    assert host.shown(beginning) == {"file": "1"}
    for error in away:
        assert f"it is tried again: {error}" in host.told


async def test_after_ten_minutes_a_store_that_is_away_is_given_up(host: Host) -> None:
    beginner = host.beginner(1, FIRST)
    away = [StorageTroubleError("Away.", retry_helps=True)] * 1000
    host.saver.failures["open"].extend(away)
    began_at = host.clock.monotonic()
    with pytest.raises(StorageTroubleError, match="Away"):
        await beginner.begin()
    waited_seconds = host.clock.monotonic() - began_at
    assert waited_seconds == module.PATIENCE_SECONDS


async def test_a_lost_answer_does_not_spoil_what_is_begun(host: Host) -> None:
    await host.begin(1, FIRST)
    host.leave_volume(None, file="1")
    beginner = host.beginner(2, SECOND, parent_id=FIRST)
    for call in ("seal", "write", "open", "open"):
        host.saver.lost[call].append(StorageTroubleError("Away.", retry_helps=True))
    beginning = await beginner.begin()
    assert host.shown(beginning) == {"file": "1"}
    assert beginning.earlier is not None
    assert [saved.final for saved in host.store.generations(FIRST)] == [True]
