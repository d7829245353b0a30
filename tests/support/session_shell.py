"""A session's tool that runs the shell scripts a test sends it, and the test's end of it.

What a script prints is passed on as it is printed, not when it has ended: of a session that is
killed, the test has every line that was written before.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_LINE_BYTES_MAX = 1 << 20

TOOL = """
import http.server, os, socketserver, subprocess, threading

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"hello")
    def log_message(self, *_): pass

class Shell(socketserver.BaseRequestHandler):
    def handle(self):
        script = b""
        while part := self.request.recv(65536): script += part
        code = subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL,
                              stdout=self.request, stderr=subprocess.STDOUT).returncode
        self.request.sendall(b"\\n%d" % code)

class Shells(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): daemon_threads = True

if os.path.exists("/run/shell"): os.unlink("/run/shell")
threading.Thread(target=Shells("/run/shell", Shell).serve_forever, daemon=True).start()
port = int(os.environ["CONNECT_TOOL_PORT"])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Page).serve_forever()
"""
"""A page, by which the agent sees that it is ready, and the shell on a socket in a file."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a script ended, and what it printed."""

    code: int
    output: str


async def follow(root: Path, script: str) -> AsyncIterator[str]:
    """Run a script in the session whose `/` is `root`; yield the lines it prints.

    The last one is its exit code. If the session is killed there is none, the lines just end.
    """
    reader, writer = await asyncio.open_unix_connection(
        str(root / "run/shell"), limit=_LINE_BYTES_MAX
    )
    try:
        writer.write(script.encode())
        writer.write_eof()
        async for line in reader:
            yield line.decode().removesuffix("\n")
    except ConnectionResetError:
        return
    finally:
        writer.close()


async def run(root: Path, script: str) -> Result:
    """Run a script to its end. What it leaves running must not hold its output."""
    lines = [line async for line in follow(root, script)]
    return Result(int(lines[-1]), "\n".join(lines[:-1]))
