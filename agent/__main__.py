"""`python -m agent --spec-fd N`: run one session.

Ends with 0 when it was stopped, 1 when it failed, 2 when there is no usable spec.

`python -m agent --check [--json]`: say whether sessions can run here; 0 if so, 1 if not.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import sys
from typing import TYPE_CHECKING

import structlog
import uvloop

from agent.config import (
    Addressee,
    Arguments,
    BadSpecError,
    HostCheck,
    load_spec,
    parse_arguments,
)
from agent.connection import connect
from agent.control_plane import HttpControlPlane
from agent.daemon import deliver, serve
from agent.ground import SessionGround
from agent.orphans import become_subreaper
from agent.preflight.check import check_thoroughly
from agent.preflight.report import lines
from agent.root.precautions import take_precautions
from agent.status import refusal
from agent.stopping import Requested, StopRequest
from common import log
from common.clock import SystemClock
from common.findings import Verdict
from common.wire import encode

if TYPE_CHECKING:
    from common.session_spec import SessionSpec

EXIT_BAD_SPEC = 2
DESCRIPTORS_MAX = 65536  # two for each of a session's connections, with room; more costs nothing

_log = structlog.get_logger()


def main() -> int:
    arguments = parse_arguments(sys.argv[1:])
    log.configure(program="agent", level=arguments.log_level)
    if arguments.check is not None:
        return asyncio.run(_check(arguments.check))
    warnings = _prepare_process()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(arguments, warnings))


async def _check(asked: HostCheck) -> int:
    found = await check_thoroughly(
        asked.state_dir,
        asked.image,
        carried=asked.carried,
        initial_bytes=asked.initial_bytes,
        has_sessions=asked.has_sessions,
    )
    if asked.json:
        print(encode(found).decode())
    else:
        print(*lines(found), sep="\n")
    return 1 if found.having(Verdict.MISSING) else 0


async def _run(arguments: Arguments, warnings: tuple[str, ...]) -> int:
    try:
        spec = load_spec(arguments)
    except BadSpecError as error:
        print(error, file=sys.stderr)
        if error.addressee is not None:
            await _report_refusal(error.addressee, str(error))
        return EXIT_BAD_SPEC
    structlog.contextvars.bind_contextvars(session=spec.session_id, run=spec.run_number)
    return await _serve(spec, warnings)


async def _serve(spec: SessionSpec, warnings: tuple[str, ...]) -> int:
    stop = StopRequest()
    _stop_on_signals(stop)
    _log.info("agent_started", pid=os.getpid(), tool=spec.tool.name, studio=spec.studio_name)
    return await serve(
        spec,
        stop,
        lay_ground=SessionGround,
        connect=connect,
        warnings=warnings,
        clock=SystemClock(),
        rng=random.Random(),
    )


async def _report_refusal(to: Addressee, reason: str) -> None:
    async with HttpControlPlane(to.control_plane_url, to.agent_token) as control_plane:
        report = refusal(to.session_id, to.run_number, reason, SystemClock().now())
        await deliver(control_plane, report)


def _stop_on_signals(stop: StopRequest) -> None:
    """End in order on the first SIGTERM or SIGINT, by force on the second; a hang-up is nothing."""
    received = 0

    def on_signal(name: str) -> None:
        nonlocal received
        received += 1
        cause = Requested(f"the agent was told to end ({name})")
        if received == 1:
            stop.ask(cause)
        else:
            stop.force(cause)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)


def _prepare_process() -> tuple[str, ...]:
    """Do what must be done before there are threads; return sentences for the status."""
    become_subreaper()
    os.umask(0o022)  # inherited by the tool: users expect the usual one
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(DESCRIPTORS_MAX, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        return take_precautions()
    except OSError as error:
        # A session can't be made then, which is told with everything else that is missing.
        return (f"The agent can't have mounts of its own: {error}.",)


if __name__ == "__main__":
    sys.exit(main())
