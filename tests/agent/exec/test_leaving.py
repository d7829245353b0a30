"""However a client goes, or the session, its command ends; and nothing is left of either."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.exec import execution
from common.exec.messages import Exit, Order
from tests.support.exec_client import ExecClient, RefusedError, exec_client, run
from tests.support.rig import SESSION, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.rig import Rig

BEREAVED = "trap '' HUP; echo ready; while :; do sleep 0.01; done"


async def begun(client: ExecClient, script: str, *, stdin: bool = False) -> None:
    client.say(Order(arguments=(b"sh", b"-c", script.encode()), stdin=stdin))
    await client.until("ready\n")


def leave_by_closing(client: ExecClient) -> None:
    client.send(client.framing.close(1001))


def leave_without_a_word(client: ExecClient) -> None:
    client._writer.close()


def leave_by_reset(client: ExecClient) -> None:
    client.abort()


def leave_by_breaking_the_rules(client: ExecClient) -> None:
    client.send(b"\xff" * 100)


@pytest.mark.parametrize(
    "leave",
    [leave_by_closing, leave_without_a_word, leave_by_reset, leave_by_breaking_the_rules],
)
async def test_a_client_that_leaves_ends_its_command_by_sighup(
    rig: Rig, tmp_path: Path, leave: Callable[[ExecClient], None]
) -> None:
    script = f"trap 'echo > {tmp_path}/hung; exit' HUP; echo ready; while :; do sleep 0.01; done"
    async with exec_client(rig) as client:
        await begun(client, script)
        leave(client)
        await until((tmp_path / "hung").exists, what="SIGHUP")
    await until(lambda: not rig.ground.living(), what="it has ended")


async def test_one_that_ignores_sighup_is_killed_with_its_group(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "HANG_UP_SECONDS", 0.05)
    async with exec_client(rig) as client:
        await begun(client, f"trap '' HUP; ({BEREAVED}) & {BEREAVED}")
        client.abort()
    await until(lambda: not rig.ground.living(), what="all of it has ended")


async def test_one_that_is_stopped_hears_it_too(rig: Rig, tmp_path: Path) -> None:
    script = f"trap 'echo > {tmp_path}/hung; exit' HUP; echo ready; kill -STOP $$"
    async with exec_client(rig) as client:
        await begun(client, script)
        pid = await client.started()
        await until(lambda: is_stopped(pid), what="it is stopped")
        client.abort()
        await until((tmp_path / "hung").exists, what="SIGHUP")
    await until(lambda: not rig.ground.living(), what="it has ended")


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_a_client_that_leaves_before_it_runs_leaves_nothing(rig: Rig) -> None:
    for _ in range(3):
        async with exec_client(rig) as client:
            client.say(Order(arguments=(b"sleep", b"600")))
            await client.drain()
    await until(lambda: not rig.agents[0].gateway._execs._running, what="all are over")
    assert not rig.ground.living()


async def test_no_descriptor_is_left_of_a_command(rig: Rig) -> None:
    async def use() -> None:
        await run(rig, "true", stdin=b"")
        async with exec_client(rig) as client:
            await begun(client, "echo ready; cat", stdin=True)
        await until(lambda: not rig.agents[0].gateway._execs._running, what="all are over")

    await use()
    await until(lambda: rig.parked.parked >= 2, what="tunnels are parked again")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await use()
    await until(
        lambda: len(os.listdir("/proc/self/fd")) <= before, what="descriptors are as before"
    )


async def test_a_client_that_never_orders_is_shown_the_door(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "ORDER_SECONDS_MAX", 0.05)
    async with exec_client(rig) as client:
        while client.closed is None:
            assert await client.hear() is not None
        assert (client.closed.code, client.closed.reason) == (1008, "There was no order.")


async def test_a_client_that_never_closes_is_left_after_a_while(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "LINGER_SECONDS_MAX", 0.05)
    async with exec_client(rig) as client:
        client.say(Order(arguments=(b"true",)))
        while await client.hear() is not None:
            pass
        assert client.exit == Exit(code=0)


# ── the session ──────────────────────────────────────────────────────────────


async def test_who_waits_for_a_command_is_told_that_the_session_stops(rig: Rig) -> None:
    agent = rig.agents[0]
    async with exec_client(rig) as client:
        await begun(client, "echo ready; sleep 600")
        agent.gateway.refuse_new()
        with pytest.raises(RefusedError) as refused:
            async with exec_client(rig):
                pass
        assert (refused.value.status, refused.value.sentence) == (
            503,
            "The session is being stopped.",
        )
        assert await rig.ground.end_all(5.0)
        assert await client.end() in (Exit(signal="SIGTERM"), Exit(signal="SIGHUP"))
        assert client.notices == ["The session is being stopped."]


async def test_a_session_that_is_killed_kills_its_commands(rig: Rig) -> None:
    async with exec_client(rig) as client:
        await begun(client, "echo ready; sleep 600")
        rig.ground.lose()
        assert await client.end() == Exit(signal="SIGKILL")


async def test_an_agent_that_ends_takes_its_commands_along(rig: Rig) -> None:
    async with exec_client(rig) as client:
        await begun(client, BEREAVED)
        await rig.agents[0].stop()
        while await client.hear() is not None:
            pass
    await until(lambda: not rig.ground.living(), what="it has ended")


async def test_without_a_ground_there_is_a_sentence(rig: Rig) -> None:
    await rig.ground.leave()
    async with exec_client(rig) as client:
        client.say(Order(arguments=(b"true",)))
        exit_ = await client.end()
    assert exit_ == Exit(failure="the session has not been made, or has ended")


# ── the edge ─────────────────────────────────────────────────────────────────


async def test_commands_of_people_end_when_access_changes(rig: Rig) -> None:
    async with exec_client(rig) as client:
        await begun(client, "echo ready; sleep 600")
        await until(lambda: rig.edge.presence.websockets == 1, what="the edge knows of it")
        rig.platform.add(SESSION, access_version=2)
        while await client.hear() is not None:
            pass
    await until(lambda: not rig.ground.living(), what="it has ended")
    assert rig.edge.presence.websockets == 0


async def test_commands_end_with_their_session_and_with_the_edge(rig: Rig) -> None:
    async with exec_client(rig) as client:
        await begun(client, "echo ready; sleep 600")
        rig.platform.remove(SESSION)
        while await client.hear() is not None:
            pass
    await until(lambda: not rig.ground.living(), what="it has ended")
