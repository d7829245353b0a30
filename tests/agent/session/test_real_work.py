"""People's everyday work, under way when the session is stopped: all of it is in order afterwards.

Packages with rights of their own, a virtual environment, a repository under commits, a database
under writes, and an installation that the stop cuts in the middle.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import pytest

from common.session_spec import VolumeLimits
from tests.support.saving_studio import SavingStudio
from tests.support.session_agent import MB
from tests.support.session_sight import assert_same, look

if TYPE_CHECKING:
    from tests.support.session_agent import AgentRun
    from tests.support.session_sight import Sights

pytestmark = pytest.mark.timeout(300)
SOAK = (pytest.mark.soak, pytest.mark.timeout(1800))

MIDDLING = VolumeLimits(
    initial_bytes=512 * MB, free_bytes_min=256 * MB, step_bytes=512 * MB, limit_bytes=8192 * MB
)
QUIET_TREES = ("/opt/own", "/usr/lib/python3", "/var/lib/dpkg", "/etc/apt", "/workspace")
"""That nothing which goes on in the background writes to."""

PREPARE = """
set -e
exec </dev/null
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1
apt() {
    apt-get -qq -o Dpkg::Use-Pty=0 "$@" >>/root/apt.log 2>&1 && return
    tail -20 /root/apt.log
    exit 1
}
"""
INSTALL = """
apt update
apt install --no-install-recommends {packages}
apt install --reinstall --no-install-recommends iputils-ping
python3 -m venv /opt/own
/opt/own/bin/pip install --quiet numpy
cp -a /opt/own /srv/cut
git config --global user.email somebody@example.com
git config --global user.name Somebody
git init --quiet /srv/repository
mkdir -p /srv/database
"""
REINSTALL = """
{remove}
apt install --reinstall --no-install-recommends {packages}
"""
WRITE_DATABASE = """
import itertools, sqlite3
database = sqlite3.connect("/srv/database/file", isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, text TEXT, sum INTEGER)")
database.execute("CREATE INDEX IF NOT EXISTS i ON t (text)")
for number in itertools.count():
    database.execute("BEGIN")
    for part in range(10):
        database.execute("INSERT INTO t (text, sum) VALUES (?, 1)", (f"{number % 97} {part}" * 9,))
    if number % 7 == 0:
        database.execute("DELETE FROM t WHERE id % 3 = 0")
    database.execute("COMMIT")
    open("/srv/database/count", "w").write(str(number))
"""
COMMIT = """
cd /srv/repository
rm -f .git/index.lock .git/HEAD.lock .git/refs/heads/*.lock
while :; do
    for name in a b c; do head -c 3000 /dev/urandom | base64 >$name-$((RANDOM % 40)); done
    git add -A && git commit --quiet -m "Go on" && git rev-list --count HEAD >/srv/commits
done
"""
INSTALL_AGAIN = """
while :; do
    /srv/cut/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall numpy
    date >/srv/installed-once
done
"""
BEGIN = f"""
rm -f /srv/commits /srv/database/count
cat >/srv/database.py <<'EOT'
{WRITE_DATABASE}
EOT
cat >/srv/commit.sh <<'EOT'
{COMMIT}
EOT
cat >/srv/install.sh <<'EOT'
{INSTALL_AGAIN}
EOT
for command in "python3 /srv/database.py" "bash /srv/commit.sh" "bash /srv/install.sh"; do
    setsid $command </dev/null >>/srv/log 2>&1 &
done
"""
UNDER_WAY = """
for _ in $(seq 300); do
    test "$(cat /srv/commits 2>/dev/null || echo 0)" -ge 5 &&
        test "$(cat /srv/database/count 2>/dev/null || echo 0)" -ge 20 &&
        pgrep -f '[/]srv/cut/bin/python -m pip install' >/dev/null && exit 0
    sleep 0.1
done
cat /srv/log
exit 1
"""
IN_ORDER = """
set -e
test -u /usr/bin/at
getcap /usr/bin/mtr-packet /usr/bin/ping | grep -c cap_net_raw | grep -qx 2
ping -c 1 -W 5 127.0.0.1 >/dev/null
apt-get check
dpkg --audit
dpkg --verify {packages}
/opt/own/bin/pip check
/opt/own/bin/python -c 'import numpy; print(numpy.ones(3).sum())'
git -C /srv/repository fsck --full --strict --no-dangling
git -C /srv/repository log --oneline | wc -l
python3 - <<'EOT'
import sqlite3
database = sqlite3.connect("/srv/database/file")
assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
assert database.execute("SELECT sum(sum) > 0 FROM t").fetchall() == [(1,)]
EOT
"""
MEND = """
set -e
/srv/cut/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall numpy
/srv/cut/bin/python -m pip check
/srv/cut/bin/python -c 'import numpy'
"""


class Packages(NamedTuple):
    """What is installed, and what of the image is taken away and put back."""

    installed: str
    removed: str
    put_back: str


SMALL = Packages(
    "at mtr-tiny python3-idna",
    "rm -rf /usr/lib/python3/dist-packages/idna*",
    "python3-idna",
)
LARGE = Packages(
    "at mtr-tiny python3-idna r-base-core",
    "owners=$(dpkg -S '/usr/lib/python3/*' | cut -d: -f1 | tr -d ' ' | tr ',' '\\n' | sort -u)\n"
    "rm -rf /usr/lib/python3",
    "$owners",
)


class Work:
    """In one Studio."""

    def __init__(self, packages: Packages) -> None:
        self._packages = packages
        self._left: Sights = {}

    async def prepare(self, run: AgentRun) -> None:
        await run.out(PREPARE + INSTALL.format(packages=self._packages.installed))

    async def reinstall(self, run: AgentRun) -> None:
        script = REINSTALL.format(remove=self._packages.removed, packages=self._packages.put_back)
        await run.out(PREPARE + script)

    async def begin(self, run: AgentRun) -> None:
        """Begin what goes on until the session ends; return when all of it is under way."""
        self._left = await asyncio.to_thread(look, run.files, QUIET_TREES)
        await run.out(BEGIN)
        await run.out(UNDER_WAY)

    async def check(self, run: AgentRun) -> None:
        assert_same(self._left, await asyncio.to_thread(look, run.files, QUIET_TREES))
        await run.out(IN_ORDER.format(packages=self._packages.installed))


@pytest.mark.parametrize(
    "packages", [pytest.param(SMALL, id="small"), pytest.param(LARGE, id="large", marks=SOAK)]
)
async def test_work_that_a_stop_interrupts_is_in_order_after_three_starts(
    packages: Packages,
) -> None:
    with SavingStudio(volume=MIDDLING) as studio:
        work = Work(packages)
        async with studio.session() as run:
            await work.prepare(run)
            await work.reinstall(run)
            await work.begin(run)
            await run.stop()
        async with studio.session() as run:
            assert studio.image_bytes() == MIDDLING.initial_bytes
            await work.check(run)
            await work.begin(run)
            await run.out("studio save")
            await run.out(UNDER_WAY)
            await run.kill()  # with its machine: what was saved while all ran is what there is
        await studio.nothing_remains()
        studio.image.unlink()
        async with studio.session() as run:
            assert studio.image_bytes() == MIDDLING.initial_bytes
            await work.check(run)
            await work.reinstall(run)
            await work.begin(run)
            await run.stop()
        async with studio.session() as run:
            assert studio.image_bytes() == MIDDLING.initial_bytes
            await work.check(run)
            await run.out(MEND)
            await run.stop()
        studio.assert_left_in_order()
