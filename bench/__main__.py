"""`python -m bench [BENCHMARK…]`: measure, print, and put each section into RESULTS.md."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvloop

from bench import files, idle, proxy, start, transfer, websocket
from bench.checkpoints import measuring as checkpoints
from bench.machine import backup_versions, peer_versions, session_versions, this_machine
from bench.processes import BenchError
from bench.results import RESULTS, Provenance, publish, section
from bench.saving import measuring as saving
from common.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bench.results import Findings


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What measures, and what says which versions of what were measured."""

    run: Callable[[int, float, Callable[[str], None]], Awaitable[Findings]]
    versions: Callable[[], Awaitable[str]]
    run_full: Callable[[int, float, Callable[[str], None]], Awaitable[Findings]] | None = None
    """The same with sizes that take too long for every day, where there are some."""


BENCHMARKS = {
    "proxy": Benchmark(proxy.run, peer_versions),
    "transfer": Benchmark(transfer.run, peer_versions),
    "websocket": Benchmark(websocket.run, peer_versions),
    "start": Benchmark(start.run, session_versions),
    "files": Benchmark(files.run, session_versions),
    "idle": Benchmark(idle.run, session_versions),
    "checkpoints": Benchmark(checkpoints.run, backup_versions),
    "saving": Benchmark(saving.run, backup_versions, saving.run_full),
}

ROUNDS_DEFAULT = 5
SECONDS_DEFAULT = 10.0
EXIT_INTERRUPTED = 130


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _run(
    names: Sequence[str], rounds: int, seconds: float, *, is_full: bool, is_dry: bool
) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    for name in names:
        benchmark = BENCHMARKS[name]
        machine, versions = this_machine(), await benchmark.versions()
        run = benchmark.run
        command = f"python -m bench {name} --rounds {rounds} --seconds {seconds:g}"
        if is_full and benchmark.run_full is not None:
            run, command = benchmark.run_full, f"{command} --full"
        findings = await run(rounds, seconds, _say)
        text = section(findings, Provenance(command, SystemClock().now(), machine, versions))
        print(text)
        if not is_dry:
            publish(RESULTS, name, text)


def main() -> int:
    """Return the exit code: 1 when a response was wrong or something is missing."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="BENCHMARK", help="all, if none is named")
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--seconds", type=float, default=SECONDS_DEFAULT, help="for each step")
    parser.add_argument("--full", action="store_true", help="with sizes that take longer, too")
    parser.add_argument("--dry", action="store_true", help="print only, leave RESULTS.md alone")
    arguments = parser.parse_args()
    names = arguments.names or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        parser.error(f"no benchmark {', '.join(unknown)}: there are {', '.join(BENCHMARKS)}")
    try:
        uvloop.run(
            _run(
                names,
                arguments.rounds,
                arguments.seconds,
                is_full=arguments.full,
                is_dry=arguments.dry,
            )
        )
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
