"""`studio` in a real session: what it says is what the control plane knows."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.support.live import Live, running_system

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)


async def inside(live: Live, *command: str) -> str:
    code, out, err = await live.studios("exec", "s", "--", *command)
    assert code == 0, out + err
    return out


async def deadline(live: Live) -> datetime:
    code, out, err = await live.studios("view", "s", "-o", "json")
    assert code == 0, out + err
    return datetime.fromisoformat(json.loads(out)["deadline"])


async def test_a_plain_user_sees_the_session_and_extends_it(tmp_path: Path) -> None:
    async with running_system(tmp_path) as live:
        await live.add("s")
        status = json.loads(await inside(live, "studio", "status", "-o", "json"))
        assert (status["name"], status["toolPhase"]) == ("s", "ready")
        before = await deadline(live)
        assert datetime.fromisoformat(status["deadline"]) == before
        as_nobody = ("su", "nobody", "-s", "/bin/sh", "-c")
        said = await inside(live, *as_nobody, "/usr/local/bin/studio extend")
        after = await deadline(live)
        assert timedelta(0) < after - before < timedelta(hours=1)
        assert f"at {after:%H:%M} UTC" in said or f"at {after:%Y-%m-%d %H:%M} UTC" in said
        assert "Volume     " in await inside(live, "studio", "status")
