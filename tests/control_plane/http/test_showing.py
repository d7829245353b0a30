"""What the API shows of a session's volume and of its end, and when it tells of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from common.messages import RunPhase, StepState, StopStepStatus, VolumeStatus

if TYPE_CHECKING:
    from tests.support.plane import Plane

GB = 1024**3
VOLUME = VolumeStatus(size_bytes=2 * GB, free_bytes=GB, limit_bytes=30 * GB)


class Session:
    """A Studio whose agent is played by the test."""

    def __init__(self, plane: Plane, session_id: str, number: int) -> None:
        self.plane = plane
        self.path = f"/api/studios/{session_id}"
        self._session_id = session_id
        self._number = number
        self._sequence = 0

    async def say(self, **sections: Any) -> None:
        self._sequence += 1
        report = self.plane.report(
            self._session_id, run=self._number, sequence=self._sequence, **sections
        )
        agent = self.plane.agent(self._session_id, self._number)
        assert (await agent.put("/api/agent/v1/status", report)).status == 200

    async def shown(self) -> Any:
        return (await self.plane.admin.get(self.path)).body


@pytest.fixture
async def session(plane: Plane) -> Session:
    session_id = await plane.add()
    return Session(plane, session_id, await plane.start(session_id))


async def test_volume_is_shown_in_bytes(session: Session) -> None:
    await session.say()
    assert (await session.shown())["volume"] is None
    await session.say(volume=VolumeStatus(size_bytes=3, free_bytes=1, limit_bytes=3, full=True))
    assert (await session.shown())["volume"] == {
        "sizeBytes": 3,
        "freeBytes": 1,
        "limitBytes": 3,
        "full": True,
        "message": "",
    }


async def test_volume_of_a_session_that_is_over_is_not_shown(session: Session) -> None:
    await session.say(volume=VOLUME)
    async with session.plane.plane.parts.database.begin() as connection:
        await connection.exec_driver_sql("UPDATE studios SET status = 'stopped'")
    assert (await session.shown())["volume"] is None


def step(name: str, state: StepState, message: str = "") -> StopStepStatus:
    return StopStepStatus(name=name, state=state, limit_seconds=5.0, message=message)


async def test_each_step_of_the_end_has_a_line_of_its_own(session: Session) -> None:
    await session.say()
    await session.plane.admin.put(f"{session.path}/stop")
    (asked,) = (await session.shown())["progress"]
    assert (asked["status"], asked["message"]) == ("in-progress", "Asking the session to stop")
    steps = (
        step("no new requests", StepState.SUCCEEDED),
        step("stop the tool", StepState.ERRORED, "not done within 50 s"),
        step("unmount", StepState.IN_PROGRESS),
    )
    await session.say(phase=RunPhase.STOPPING, stop_steps=steps)
    shown = (await session.shown())["progress"]
    assert [(one["status"], one["message"]) for one in shown] == [
        ("succeeded", "Asking the session to stop"),
        ("succeeded", "No new requests"),
        ("errored", "Stop the tool"),
        ("in-progress", "Unmount"),
    ]
    assert shown[2]["warnings"] == ["not done within 50 s"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, False),
        ({"free_bytes": GB + 1024**2}, False),
        ({"free_bytes": GB // 2}, True),
        ({"size_bytes": 4 * GB}, True),
        ({"full": True}, True),
        ({"message": "the host's disk is nearly full"}, True),
    ],
)
async def test_news_of_the_volume_are_told_and_every_byte_is_not(
    session: Session, changes: dict[str, Any], *, told: bool
) -> None:
    await session.say(volume=VOLUME)
    async with session.plane.plane.parts.bus.subscribe() as subscription:
        await session.say(volume=msgspec.structs.replace(VOLUME, **changes))
        assert bool(subscription._backlog) is told
