"""What an agent says is cut to a size that can be kept, sent on and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from common.edge_messages import FeedLine
from common.messages import EdgeTunnel, MountStatus, StatusReport, TunnelStatus
from common.wire import encode
from control_plane.clipping import ITEMS_MAX, MESSAGE_LENGTH_MAX, NUMBER_MAX, clip_report
from control_plane.schema import studios

if TYPE_CHECKING:
    from tests.support.core_plane import Plane

FEED_LINE_BYTES_MAX = 512 * 1024
REPORT_BYTES_MAX = 512 * 1024


def flood(report: StatusReport) -> StatusReport:
    """The report, saying too much in every way."""
    return msgspec.structs.replace(
        report,
        message="é\0" * 450_000,
        warnings=("w" * 3000,) * 1000,
        tool=msgspec.structs.replace(
            report.tool, restarts=10**300, last_lines=("\0" * 3000,) * 1000
        ),
        mounts=(MountStatus(name="m" * 3000, mounted=True, message="m" * 3000),) * 1000,
        tunnel=TunnelStatus(
            connected=True, edges=(EdgeTunnel(edge_url="e", parked=-(10**300), busy=1),)
        ),
    )


async def test_one_report_never_outgrows_the_edges_feed(plane: Plane) -> None:
    studio = await plane.running()
    agent = plane.agent(studio, 1)
    await plane.service.record_report(
        studio.session_id, agent.run, flood(agent.report(plane.clock))
    )
    kept = (await plane.get(studio)).report
    assert kept is not None
    assert len(encode(kept)) < REPORT_BYTES_MAX
    assert len(kept.message) == MESSAGE_LENGTH_MAX
    assert len(kept.warnings) == ITEMS_MAX
    assert kept.tool.restarts == NUMBER_MAX
    assert "\0" not in kept.message + kept.tool.last_lines[0]
    (session,) = await plane.service.edge_sessions()
    assert len(encode(FeedLine(session=session))) < FEED_LINE_BYTES_MAX


async def test_the_next_report_replaces_one_that_was_cut(plane: Plane) -> None:
    studio = await plane.running()
    agent = plane.agent(studio, 1)
    await plane.service.record_report(
        studio.session_id, agent.run, flood(agent.report(plane.clock))
    )
    await agent.speak(plane)
    kept = (await plane.get(studio)).report
    assert kept is not None
    assert (kept.message, kept.warnings) == ("", ())


async def test_rows_from_before_there_were_bounds_heal(plane: Plane) -> None:
    studio = await plane.running()
    report = flood(plane.agent(studio, 1).report(plane.clock))
    async with plane.service.core.store.database.begin() as connection:
        await connection.execute(
            sa.update(studios).values(
                status_message="é" * 900_000, report=msgspec.to_builtins(report)
            )
        )
    now = await plane.get(studio)
    assert now.report == clip_report(report)
    (session,) = await plane.service.edge_sessions()
    assert session.message == now.status_message
    assert len(session.message) == MESSAGE_LENGTH_MAX


async def test_a_usual_report_stays_as_it_is(plane: Plane) -> None:
    report = plane.agent(await plane.running(), 1).report(plane.clock)
    assert clip_report(report) == report
