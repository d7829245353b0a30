"""Checkpoints beside restic, borg and `tar | zstd`: the same data, one after the other.

**Start here.** `run` starts `python -m bench.checkpoints.measuring ROUNDS`, which has mounts of its
own, so that nobody else keeps the volume that all files are on; it writes what it measured to its
standard output, and how far it is to its standard error.

    mixed     1.2 GB in 25 000 files: write, write again, read back; to a folder and to S3
    many      200 000 files, of which 10 MB change
    million   entries: write, open, list
"""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import msgspec
import uvloop

from agent.root.layers import enter_own_mounts
from bench.checkpoints import figures, many, million, mixed
from bench.checkpoints.samples import Samples
from bench.checkpoints.trees import ground
from bench.disk import scratch
from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.results import Findings

_DISK_BYTES_MAX = 25_000_000_000
_INTERRUPTED = 130


async def run(rounds: int, _seconds: float, say: Callable[[str], None]) -> Findings:
    """Measure all, or raise BenchError."""
    process = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "TERM", sys.executable, "-m", __name__, str(rounds)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    words = ""
    try:
        async with asyncio.TaskGroup() as group:
            document = group.create_task(process.stdout.read())
            async for line in process.stderr:
                words = line.decode(errors="replace").rstrip()
                say(words)
    finally:
        await asyncio.shield(_end(process))
    if process.returncode:
        raise BenchError(f"nothing was measured: {words}")
    return figures.findings(msgspec.msgpack.decode(document.result(), type=Samples), rounds)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Wait for it; if it still works, it is told to stop, and removes what it has made."""
    if process.returncode is None and process.stderr is not None and not process.stderr.at_eof():
        process.terminate()
    await process.wait()


async def _measure(rounds: int) -> Samples:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    samples = Samples()
    for measure in (mixed.measure, many.measure, million.measure):
        async with scratch(_DISK_BYTES_MAX) as folder, ground(folder) as place:
            await measure(place, samples, rounds, _say)
    return samples


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    (rounds,) = arguments
    enter_own_mounts()
    try:
        samples = uvloop.run(_measure(int(rounds)))
    except BenchError as error:
        _say(str(error))
        return 1
    except asyncio.CancelledError:
        return _INTERRUPTED
    sys.stdout.buffer.write(msgspec.msgpack.encode(samples))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
