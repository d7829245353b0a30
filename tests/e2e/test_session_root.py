"""What people do in a session works, stays in it, and is there again: the whole system."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.live import Live, running_system
from tests.support.s3_servers import BUCKET, KEY_ID, SECRET_KEY, moto_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)
WORK_DIR = f"s3://{BUCKET}/labs"

INSTALL = """
set -e
apt-get update -qq -o Acquire::Retries=3
DEBIAN_FRONTEND=noninteractive apt-get install -qq -o Acquire::Retries=3 \
    --no-install-recommends at sudo iputils-ping >install.log 2>&1 </dev/null
test -u /usr/bin/at
getent passwd daemon
sudo -n true
su nobody -s /bin/sh -c 'test "$(id -un)" = nobody'
ping -c 1 -W 5 127.0.0.1 >/dev/null
python3 -m venv /opt/own
/opt/own/bin/pip install --quiet --disable-pip-version-check six
setsid sh -c 'while :; do date >>/root/alive; sleep 0.1; done' >/dev/null 2>&1 </dev/null &
rm /etc/issue
echo changed >>/etc/hostname-of-mine
"""
THERE = """
set -e
test -u /usr/bin/at
dpkg --verify at sudo
/opt/own/bin/python -c 'import six'
test -s /root/alive
! test -e /etc/issue
cat /etc/hostname-of-mine
df --output=size -B 1M / | tail -1
"""


def host() -> dict[str, str]:
    """Return what a session must not change on this machine: by path or package, what it is."""
    packages = subprocess.check_output(["dpkg-query", "--show"], text=True).splitlines()
    return dict(package.split("\t") for package in packages) | dict(_files())


def _files() -> Iterator[tuple[str, str]]:
    """Leave out what programs of the machine write while they run.

    Those are byte code, and caches, settings and histories: what is hidden in the home folder.
    """
    for top in ("/etc", "/usr", "/root"):
        for folder, below, names in os.walk(top):
            below[:] = [name for name in below if not _is_business_of_the_machine(folder, name)]
            for name in names:
                if _is_business_of_the_machine(folder, name):
                    continue
                path = f"{folder}/{name}"
                with contextlib.suppress(FileNotFoundError):  # a passing one of the machine's
                    status = os.lstat(path)
                    yield path, f"{status.st_mode:o} {status.st_size} {status.st_mtime_ns}"


def _is_business_of_the_machine(folder: str, name: str) -> bool:
    return name == "__pycache__" or (folder == "/root" and name.startswith("."))


def changes(before: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    """Return what has changed on this machine since, with how it was and how it is."""
    after = host()
    return {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }


@contextlib.asynccontextmanager
async def on_a_bucket(folder: Path) -> AsyncIterator[Live]:
    """The system with an S3 server of its own to save to."""
    with moto_server() as endpoint:
        variables = {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": endpoint,
        }
        async with running_system(folder, "--work-dir", WORK_DIR, variables=variables) as live:
            yield live


async def inside(live: Live, script: str) -> str:
    code, out, err = await live.studios("exec", "s", "--", "sh", "-c", script)
    assert code == 0, out + err
    return out


async def test_packages_daemons_and_changes_stay_in_the_session_and_survive_a_stop(
    tmp_path: Path,
) -> None:
    before = await asyncio.to_thread(host)
    async with on_a_bucket(tmp_path) as live:
        await live.add("s")
        assert SECRET_KEY not in await inside(
            live, "env; cat /proc/[0-9]*/environ 2>/dev/null; true"
        )
        await inside(live, INSTALL)
        assert await asyncio.to_thread(changes, before) == {}
        assert (await live.studios("stop", "s", "--wait", "stopped"))[0] == 0
        assert (await live.studios("start", "s", "--wait", "running"))[0] == 0
        assert (await inside(live, THERE)).split() == ["changed", "2048"]
        code, out, err = await live.studios("checkpoints", "scan", "-w", WORK_DIR)
        assert (code, out.count("finalized")) == (0, 1), out + err
    assert await asyncio.to_thread(changes, before) == {}


async def test_a_volume_grows_as_it_is_written_and_everybody_sees_it(tmp_path: Path) -> None:
    async with running_system(tmp_path) as live:
        await live.add("s")
        script = "dd if=/dev/zero of=/root/big bs=1M count=3000 status=none && sync -f /root/big"
        await inside(live, script)
        size = int((await inside(live, "df --output=size -B 1G / | tail -1")).strip())
        assert size >= 4
        assert f"Size       {size} GB" in await inside(live, "studio space")
        async with asyncio.timeout(60):
            while f"of {size} GB used" not in (await live.studios("view", "s"))[1]:
                await asyncio.sleep(0.3)


async def test_terminals_have_job_control_and_the_session_knows_its_name(tmp_path: Path) -> None:
    async with running_system(tmp_path) as live:
        await live.add("s")
        # A child that hasn't become `sleep` yet may still ignore SIGTERM, as the shell does.
        typed = "stty size; sleep 100 &\njobs\nkill -KILL %1\nfg\nexit 3\n"
        script = f"import pty,sys; sys.exit(pty.spawn(['sh','-ic',{typed!r}]) >> 8)"
        code, out, err = await live.studios("exec", "s", "--", "/usr/bin/python3", "-c", script)
        assert code == 3, out + err
        assert "sleep 100" in out
        assert (await inside(live, "hostname")).strip() == "s"
        assert "127.0.1.1" in await inside(live, "getent hosts s")
