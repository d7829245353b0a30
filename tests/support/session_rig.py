"""Session roots on the real kernel for tests: a stand-in agent, its volume, and what both leave."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

ANSWER_SECONDS_MAX = 50.0
PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    """How a program in the session ended, and what it printed."""

    code: int
    output: str


class SessionRig:
    """One stand-in agent with one session root on a volume in memory. Use it in a `with`."""

    def __init__(self, folder: Path, *, prefix: Iterable[str] = (), **setting: Any) -> None:
        """`prefix` is put before the agent's command: to run it in another namespace."""
        self.name = f"rig{secrets.token_hex(4)}"
        self.secret = f"secret-{secrets.token_hex(8)}"
        self.folder = folder / self.name
        self.folder.mkdir(mode=0o700)
        self.volume = self.folder / "volume"
        self.volume.mkdir()
        self._volume_mounted = False
        self._prefix = tuple(prefix)
        self._setting = setting
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        mount = ["mount", "-t", "tmpfs", "-o", "nodev", "studios-test-volume", str(self.volume)]
        subprocess.run(mount, check=True)
        self._volume_mounted = True
        try:
            (self.volume / "upper").mkdir()
            (self.volume / "work").mkdir()
            self.open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.close()
        finally:
            if self._volume_mounted:
                subprocess.run(["umount", str(self.volume)], check=True)
                self._volume_mounted = False
            shutil.rmtree(self.folder)
            for cgroup in self.cgroups():  # a killed agent leaves them, empty
                cgroup.rmdir()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def open(self) -> None:
        """Start the agent; AssertionError with its words if it has no session root to offer."""
        setting = {
            "name": self.name,
            "folder": str(self.folder),
            "volume": str(self.volume),
            "secret": self.secret,
            **self._setting,
        }
        argument = base64.b64encode(json.dumps(setting).encode()).decode()
        self._process = subprocess.Popen(
            [*self._prefix, sys.executable, "-m", "tests.support.root_agent", argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env={**os.environ, "RIG_SECRET": self.secret, "PYTHONPATH": str(PROJECT)},
        )
        answer = self._hear()
        assert answer == {"ready": True}, answer

    def override(self, **setting: Any) -> None:
        """Change what the next `open` asks for."""
        self._setting |= setting

    def close(self) -> None:
        """End the agent in order."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(ANSWER_SECONDS_MAX)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def kill(self) -> None:
        """End the agent by SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.close()

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **request}) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def run(self, script: str) -> Result:
        """Run a shell script like `studios exec` does."""
        return self._result(self.ask("enter", arguments=["bash", "-c", script]))

    def run_python(self, script: str, *arguments: str) -> Result:
        command = ["/usr/bin/python3", "-I", "-c", script, *arguments]
        return self._result(self.ask("enter", arguments=command))

    def start(self, script: str) -> Result:
        """Run a shell script as the tool is run."""
        return self._result(self.ask("start", arguments=["bash", "-c", script]))

    def type(self, *typed: tuple[str, str]) -> Result:
        """Type into a shell on a terminal: wait for this, type that. The last must end it."""
        shell = ["bash", "--norc", "--noediting", "-i"]
        return self._result(self.ask("terminal", arguments=shell, typed=typed))

    @staticmethod
    def _result(answer: dict[str, Any]) -> Result:
        assert "failed" not in answer, answer
        return Result(answer["code"], answer["output"])

    def _hear(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_SECONDS_MAX)
        if not ready:
            self._process.kill()
            raise AssertionError("the stand-in agent doesn't answer")
        line = self._process.stdout.readline()
        assert line, f"the stand-in agent ended: {self._process.wait()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    # ── What is left of it ───────────────────────────────────────────────────

    def leftovers(self) -> list[str]:
        """Return the mounts, processes and cgroups of this rig that are there now."""
        table = Path("/proc/self/mountinfo").read_text()
        mounts = [
            line
            for line in table.splitlines()
            if self.name in line and "studios-test-volume" not in line
        ]
        return [*mounts, *map(str, self.cgroups()), *self._processes()]

    def cgroups(self) -> list[Path]:
        wanted = f"studios-{self.name}"
        # Others' come and go meanwhile, which `os.walk` doesn't mind.
        walked = os.walk("/sys/fs/cgroup")
        return [Path(folder, wanted) for folder, inside, _ in walked if wanted in inside]

    def _processes(self) -> list[str]:
        """Return processes whose mounts are this rig's, the agent aside."""
        found: list[str] = []
        for pid in psutil.pids():
            if self._process and pid == self.pid:
                continue
            with contextlib.suppress(OSError):
                if f"{self.name}/mounts" in Path(f"/proc/{pid}/mountinfo").read_text():
                    found.append(f"{pid} {Path(f'/proc/{pid}/comm').read_text().strip()}")
        return found
