"""`python -m bench proxy`: measure, print, and put the section into RESULTS.md."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

import uvloop

from bench import proxy
from bench.machine import peer_versions, this_machine
from bench.processes import BenchError
from bench.results import RESULTS, Provenance, publish, section
from common.clock import SystemClock

ROUNDS_DEFAULT = 5
SECONDS_DEFAULT = 10.0
EXIT_INTERRUPTED = 130


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _proxy(rounds: int, seconds: float) -> tuple[str, str]:
    """Return the section's key and text."""
    machine, versions = this_machine(), await peer_versions()
    samples = await proxy.measure(rounds, seconds, _say)
    command = f"python -m bench proxy --rounds {rounds} --seconds {seconds:g}"
    provenance = Provenance(command, SystemClock().now(), machine, versions)
    parts = proxy.parts(samples, rounds, seconds)
    return "proxy", section(proxy.TITLE, provenance, parts, proxy.bars(samples))


BENCHMARKS = {"proxy": _proxy}


async def _run(arguments: argparse.Namespace) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    key, text = await BENCHMARKS[arguments.benchmark](arguments.rounds, arguments.seconds)
    print(text)
    if not arguments.dry:
        publish(RESULTS, key, text)


def main() -> int:
    """Return the exit code: 1 when a response was wrong or something is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("benchmark", choices=BENCHMARKS)
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT, help="at least 3 count")
    parser.add_argument("--seconds", type=float, default=SECONDS_DEFAULT, help="for each step")
    parser.add_argument("--dry", action="store_true", help="print only, leave RESULTS.md alone")
    arguments = parser.parse_args()
    try:
        uvloop.run(_run(arguments))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
