"""A process of this program's that works on a work directory, from its start to its end.

Reading a tree and collecting hold Python's lock for hundreds of milliseconds at a time, and the
event loop must never stand still for a twentieth of a second. What it is told, credentials too,
goes through a pipe: everybody may read its arguments. Once the pipe ends it ends, whatever it is
doing: nothing of it outlives the program that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from common.tasks import TaskBag
from control_plane import storage_frames

if TYPE_CHECKING:
    import msgspec

    from control_plane.storage_frames import Frame

CODE = Path(__file__).resolve().parents[1]
"""Where this package is imported from."""
END_SECONDS_MAX = 5.0
LAST_WORDS_SECONDS_MAX = 1.0
"""For one to end by itself, and for a killed one to be gone: some milliseconds."""
BUFFER_BYTES = 256 * 1024
"""Of what it sends, in our memory; what is more waits in the process."""
LINES_KEPT = 20
_BOOT = """\
import sys
sys.path.insert(0, sys.argv[1])
from importlib import import_module
import_module(sys.argv[2]).main()
"""

_log = structlog.get_logger()


class ProcessGoneError(Exception):
    """It has ended, or talks nonsense. The text is the end of a sentence."""


class StorageProcess:
    """See the module. `start` makes one."""

    def __init__(self, process: asyncio.subprocess.Process, module: str) -> None:
        self._process = process
        self._module = module
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._tasks = TaskBag("storage-process")
        self._listening = self._tasks.spawn(self._listen(), name="words")

    @classmethod
    async def start(cls, module: str) -> StorageProcess:
        """Start `main` of a module. Raises OSError if the machine has no room for it."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-c", _BOOT, str(CODE), module),
            cwd="/",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=BUFFER_BYTES,
            start_new_session=True,  # Ctrl-C in a terminal is for the program itself
        )
        return cls(process, module)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def send(self, value: msgspec.Struct) -> None:
        """Raises ProcessGoneError."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(storage_frames.message(value))
            await self._process.stdin.drain()
        except ConnectionError:
            raise ProcessGoneError(await self._why()) from None

    async def read(self) -> Frame:
        """Return what it sends next. Raises ProcessGoneError."""
        assert self._process.stdout is not None
        try:
            frame = await storage_frames.read(self._process.stdout)
        except storage_frames.BrokenFrameError:
            self.kill()
            raise ProcessGoneError("what it says can't be understood") from None
        if frame is None:
            raise ProcessGoneError(await self._why())
        return frame

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def end(self) -> None:
        """End it, by force where it doesn't end by itself. Idempotent."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await self._over()
        finally:
            self.kill()
            await self._tasks.close()

    async def _over(self) -> None:
        """Wait until it has ended, and see to it; one that a hung file system holds is left."""
        for is_killed in (False, True):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS_MAX):
                    await self._process.wait()
                return
            event = "storage_process_hangs" if is_killed else "storage_process_killed"
            _log.warning(event, module=self._module, pid=self.pid)
            self.kill()

    async def _why(self) -> str:
        """Say why it has ended; it is over as far as anybody here is concerned."""
        await self._over()
        # Its last words may still be on their way, or somebody else hold the pipe open.
        await asyncio.wait({self._listening}, timeout=LAST_WORDS_SECONDS_MAX)
        code = self._process.returncode
        words = self._lines[-1] if self._lines else ""
        return f"it ended with code {code}{f': {words}' if words else ''}"

    async def _listen(self) -> None:
        """Hand on what it logs, line by line."""
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # longer than the buffer
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._lines.append(text)
            _log.info("storage_process_said", module=self._module, pid=self.pid, line=text)
