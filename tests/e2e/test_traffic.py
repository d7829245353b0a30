"""What JupyterLab does all day, through edge, tunnel and gateway: kernels, terminals, big files."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import uuid
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.e2e.conftest import Signed

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

BIG_BYTES = 200 * 1024 * 1024
BLOCK = bytes(range(256)) * 3 * 1024  # a multiple of 3, so that base64 blocks join seamlessly
GROWTH_BYTES_MAX = 48 * 1024 * 1024


async def test_a_kernel_computes_over_its_websocket(signed: Signed) -> None:
    http, url = signed.http, signed.url
    async with http.post(f"{url}/api/kernels", json={}, headers=signed.fields) as response:
        assert response.status == 201, await response.text()
        kernel = (await response.json())["id"]
    request = {
        "header": {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "username": "",
            "session": uuid.uuid4().hex,
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "channel": "shell",
        "buffers": [],
        "content": {"code": "print(6 * 7)", "silent": False, "store_history": False,
                    "user_expressions": {}, "allow_stdin": False},
    }  # fmt: skip
    address = f"{url}/api/kernels/{kernel}/channels"
    async with http.ws_connect(address, headers={"Origin": url}) as socket:
        await socket.send_str(json.dumps(request))
        async with asyncio.timeout(60):
            while True:
                message = json.loads(await socket.receive_str())
                if message["msg_type"] == "stream":
                    assert message["content"]["text"] == "42\n"
                    break
    async with http.delete(f"{url}/api/kernels/{kernel}", headers=signed.fields) as response:
        assert response.status == 204


async def test_a_terminal_runs_commands_with_the_kernels_python(signed: Signed) -> None:
    http, url = signed.http, signed.url
    async with http.post(f"{url}/api/terminals", headers=signed.fields) as response:
        assert response.status == 200, await response.text()
        name = (await response.json())["name"]
    shown = ""
    address = f"{url}/terminals/websocket/{name}"
    async with http.ws_connect(address, headers={"Origin": url}) as socket:
        await socket.send_str(json.dumps(["stdin", "which python pip; echo $((20 + 22))-done\r"]))
        async with asyncio.timeout(30):
            while "42-done" not in shown:
                kind, *content = json.loads(await socket.receive_str())
                if kind == "stdout":
                    shown += content[0]
    assert "/bin/python\r\n" in shown
    assert shown.count("/opt/studios/jupyterlab") == 2, shown
    async with http.delete(f"{url}/api/terminals/{name}", headers=signed.fields) as response:
        assert response.status == 204


class Memory:
    """The most that edge and agent held while something went on, above what they began with."""

    def __init__(self, signed: Signed) -> None:
        assert signed.live.process is not None
        agents = signed.live.agents()
        assert len(agents) == 1
        self._processes = [psutil.Process(signed.live.process.pid), *agents]
        self._before = [process.memory_info().rss for process in self._processes]
        self.growth_bytes = 0

    async def watch(self) -> None:
        while True:
            for process, before in zip(self._processes, self._before, strict=True):
                self.growth_bytes = max(self.growth_bytes, process.memory_info().rss - before)
            await asyncio.sleep(0.02)


async def as_json_upload() -> AsyncIterator[bytes]:
    yield b'{"type": "file", "format": "base64", "content": "'
    block = base64.b64encode(BLOCK)
    for _ in range(BIG_BYTES // len(BLOCK)):
        yield block
    yield b'"}'


async def test_200_mb_go_up_and_down_in_constant_memory(signed: Signed) -> None:
    http, url = signed.http, signed.url
    memory = Memory(signed)
    watcher = asyncio.get_running_loop().create_task(memory.watch())
    expected = hashlib.sha256(BLOCK * (BIG_BYTES // len(BLOCK))).hexdigest()
    try:
        headers = {**signed.fields, "Content-Type": "application/json"}
        async with http.put(
            f"{url}/api/contents/big.bin", data=as_json_upload(), headers=headers
        ) as response:
            assert response.status == 201, await response.text()
        found = hashlib.sha256()
        async with http.get(f"{url}/files/big.bin", headers={"Referer": f"{url}/lab"}) as response:
            assert response.status == 200
            async for chunk in response.content.iter_any():
                found.update(chunk)
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
    assert found.hexdigest() == expected
    assert memory.growth_bytes < GROWTH_BYTES_MAX


async def test_the_edges_cookies_never_reach_the_tool(signed: Signed) -> None:
    # The notebook server logs nothing of a request's head, so ask a page that shows it: an unknown
    # address below /api answers with an error page, and the tool's own log is read as a whole.
    assert "studio-connect" in signed.cookie
    log = signed.live.data_dir / "sessions" / signed.session_id / "tool.log"
    assert "studio-connect" not in log.read_text()
    code, out, err = await signed.live.studios("logs", "traffic")
    assert code == 0, err
    assert "Jupyter Server" in out
