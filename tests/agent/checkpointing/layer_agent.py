"""An agent as far as a restored layer knows one: a process with mounts of its own, to be killed.

    python -m tests.agent.checkpointing.layer_agent FOLDER WORK_DIRECTORY CHECKPOINT

It restores the checkpoint's last generation as a layer in FOLDER/restored, with a line on standard
output for each progress, and `complete`; then it waits.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from agent.checkpointing.layer import RestoredLayer
from agent.checkpointing.process import SaverProcess
from agent.root.layers import enter_own_mounts
from common.clock import SystemClock
from common.session_spec import WorkDirectory


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def main(folder: Path, url: str, checkpoint_id: str) -> None:
    saver = SaverProcess(WorkDirectory(url=url))
    saved = await saver.newest(checkpoint_id)
    assert saved is not None
    layer = RestoredLayer(folder / "restored", clock=SystemClock(), host_reserve_bytes=0)
    await layer.make(
        saver, saved, over=[], progress=lambda done: say(f"restored {done.file_bytes}")
    )
    say("complete")
    await asyncio.Event().wait()


if __name__ == "__main__":
    enter_own_mounts()
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
