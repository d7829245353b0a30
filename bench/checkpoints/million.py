"""A million entries: write, open, list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.checkpoints import ours
from bench.checkpoints.data import MILLION
from bench.checkpoints.messages import ListAll, ListFolder, Open, Write
from bench.checkpoints.samples import (
    FOLDER,
    MILLION_ALL,
    MILLION_FIRST,
    MILLION_FOLDER,
    MILLION_OPEN,
    MILLION_UNCHANGED,
    OURS,
    OURS_LISTED,
    OURS_SCANNED,
)
from bench.checkpoints.tools import Store
from bench.checkpoints.trees import settled
from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.checkpoints.samples import Samples
    from bench.checkpoints.trees import Ground

_FOLDER = b"part7/shard777"
_PATH = _FOLDER + b"/sample-00777-00123.json"
_TIMES = 3


async def measure(
    ground: Ground, samples: Samples, _rounds: int, say: Callable[[str], None]
) -> None:
    """Write once; open and list some times, each in a new process."""
    say("writing 1 000 000 files")
    source = await ground.make(MILLION)
    store = Store(FOLDER, ground.disk / "repositories")
    store.folder.mkdir()
    where = await ours.create(store, OURS, ground.disk)
    await settled()
    async with ours.worker(ground.disk) as worker:
        answer, cost = await worker.ask_first(Write(where=where, folder=str(source)))
        samples.add_ours(FOLDER, MILLION_FIRST, OURS, answer, cost)
        samples.sizes[FOLDER, MILLION_FIRST, OURS] = store.stored_bytes(OURS)
        written = samples.million_entries = answer.entries
        say(f"{MILLION_FIRST} {written} entries: {cost.seconds:.1f} s")
        for tool, changed in ((OURS_LISTED, ()), (OURS_SCANNED, None)):
            answer = await worker.ask(Write(where=where, folder=str(source), changed=changed))
            samples.add_ours(FOLDER, MILLION_UNCHANGED, tool, answer, ours.cost(answer))
            say(f"{MILLION_UNCHANGED}, {tool}: {answer.seconds:.3f} s")
    for _ in range(_TIMES):
        async with ours.worker(ground.disk) as worker:
            for step, request in (
                (MILLION_OPEN, Open(where=where, path=_PATH)),
                (MILLION_FOLDER, ListFolder(path=_FOLDER)),
                (MILLION_ALL, ListAll()),
            ):
                answer = await worker.ask(request)
                samples.add_ours(FOLDER, step, OURS, answer, ours.cost(answer))
                say(f"{step}: {answer.seconds:.3f} s")
            if answer.entries != written:
                raise BenchError(f"{written} entries were written, and {answer.entries} listed")
