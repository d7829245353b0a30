"""What is started in a session from outside holds nothing of it once the session has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.session_rig import SessionRig

if TYPE_CHECKING:
    from pathlib import Path


def test_a_program_that_nobody_waits_for_holds_no_mounts_after_the_end(folder: Path) -> None:
    with SessionRig(folder) as rig:
        rig.ask("enter_and_forget")
        assert rig.ask("end") == {}
        assert rig.leftovers() == []
