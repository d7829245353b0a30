"""A run's beginning that was killed is begun again, and nothing is lost of what was there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.checkpointing import beginning as module
from agent.checkpointing.saver import ParentGoneError, SupersededError
from agent.checkpointing.volume_note import NAME
from tests.support.begun_files import Host

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND, THIRD = (f"00000000000000c{digit}" for digit in (1, 2, 3))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host")


class Killed(Exception):  # noqa: N818 (nothing has failed: the agent is gone)
    pass


@pytest.mark.parametrize("is_known", [False, True], ids=["unknown", "known"])
@pytest.mark.parametrize("has_note", [False, True], ids=["no-note", "note"])
@pytest.mark.parametrize("same_run", [False, True], ids=["next-run", "same-run"])
async def test_killed_after_any_step_nothing_is_lost_and_the_same_is_begun_with(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_known: bool,
    has_note: bool,
    same_run: bool,
) -> None:
    """`is_known`: whether the control plane has ever heard that the earlier run has anything."""
    for step in range(100):
        host = Host(tmp_path / f"host-{step}")
        await host.begin(1, FIRST)
        host.leave_volume(None, file="1")
        if not has_note:
            (host.folder / NAME).unlink()
        parent_id = FIRST if is_known and has_note else None
        if not await _is_killed(host, step, parent_id, monkeypatch):
            break
        if same_run:
            beginning = await host.begin(2, SECOND, parent_id=parent_id)
        else:
            beginning = await host.begin(3, THIRD, parent_id=parent_id)
        assert host.shown(beginning) == {"file": "1"}, step
        assert beginning.first is not None
        assert host.store.tree(beginning.first) == {"file": b"1"}
        assert not list(host.folder.glob("kept-*")), step
    assert step >= 5, "fewer steps than there are"


async def _is_killed(
    host: Host, step: int, parent_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Begin the second run and have it end after so many steps; False if it has fewer."""
    beginner = host.beginner(2, SECOND, parent_id=parent_id)
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    with monkeypatch.context() as patched:
        for name in ("write_note", "remove_image"):
            real = getattr(module, name)

            def acted(*arguments: object, real: object = real) -> None:
                real(*arguments)  # type: ignore[operator]
                count()

            patched.setattr(module, name, acted)
        host.saver.after = count
        try:
            await beginner.begin()
        except Killed:
            return True
    return False


async def test_a_run_that_is_begun_again_goes_on_with_its_volume(host: Host) -> None:
    await host.begin(1, FIRST)
    await host.end(file="1")
    await host.begin(2, SECOND, parent_id=FIRST)
    host.leave_volume(None, later="2")
    beginning = await host.begin(2, SECOND, parent_id=FIRST)
    assert host.shown(beginning) == {"file": "1", "later": "2"}
    assert beginning.earlier is None
    written = await host.saver.write(host.upper, changes=None)
    assert host.store.tree(written) == {"file": b"1", "later": b"2"}


async def test_a_run_that_is_begun_again_lies_over_what_it_was_made_over(host: Host) -> None:
    """Also where that was an older generation than the newest, which is damaged."""
    await host.begin(1, FIRST)
    host.leave_volume(None, file="1")
    await host.saver.write(host.upper, changes=None)
    damaged = await host.end(file="2")
    host.store.damaged.add(damaged.root)
    first = await host.begin(2, SECOND, parent_id=FIRST)
    assert host.shown(first) == {"file": "1"}
    host.store.damaged.clear()
    again = await host.begin(2, SECOND, parent_id=FIRST)
    assert host.shown(again) == {"file": "1"}


async def test_a_run_whose_volume_is_gone_does_not_go_on_without_it(host: Host) -> None:
    await host.begin(1, FIRST)
    host.leave_volume(None, file="1")
    await host.saver.write(host.upper, changes=None)
    host.lose_volume()
    with pytest.raises(ParentGoneError, match="stop the Studio and start it again"):
        await host.begin(1, FIRST)
    beginning = await host.begin(2, SECOND, parent_id=FIRST)
    assert host.shown(beginning) == {"file": "1"}


async def test_a_run_that_has_ended_is_not_begun_again(host: Host) -> None:
    await host.begin(1, FIRST)
    await host.end(file="1")
    with pytest.raises(SupersededError):
        await host.begin(1, FIRST)
