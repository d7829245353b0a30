"""`studios doctor`, and `studios up` on a machine where no session can run."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from common.findings import Finding, Findings, Remedies, Surroundings, Verdict
from studios import host_check
from studios.commands import doctor
from studios.failures import CommandError
from studios.up import checks
from tests.support.tree import ROOT
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.studios.conftest import Studios

SECONDS_MAX = 50
OK = Finding(need="btrfs", verdict=Verdict.OK, purpose="volumes")
WEAKER = Finding(
    need="slirp4netns",
    verdict=Verdict.WEAKER,
    purpose="the way out",
    problem="slirp4netns is not installed",
    loss="sessions have no way out",
    remedies=Remedies(machine="apt-get install it", docker="-", podman="-", kubernetes="-"),
)
MISSING = Finding(
    need="SYS_ADMIN",
    verdict=Verdict.MISSING,
    purpose="mounts",
    problem="the capability SYS_ADMIN is missing",
    remedies=Remedies(
        machine="run it as root", docker="--cap-add SYS_ADMIN", podman="p", kubernetes="k"
    ),
)


class Host:
    """Stands in for this machine; `findings` is what there is to find."""

    def __init__(self, *findings: Finding, surroundings: Surroundings) -> None:
        self.found = Findings(surroundings=surroundings, thorough=True, findings=findings)
        self.initial_bytes = 0
        self.asked: list[tuple[Path, tuple[Path, ...]]] = []

    async def look(
        self, data_dir: Path, carried: Iterable[Path] = (), *, initial_bytes: int = 0
    ) -> Findings:
        self.initial_bytes = initial_bytes
        self.asked.append((data_dir, tuple(carried)))
        return self.found


class On(Protocol):
    """Puts the command line on a host with these findings."""

    def __call__(self, *findings: Finding, surroundings: Surroundings = ...) -> Host: ...


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> On:
    def put(*findings: Finding, surroundings: Surroundings = Surroundings.MACHINE) -> Host:
        host = Host(*findings, surroundings=surroundings)
        monkeypatch.setattr(doctor, "look_at_host", host.look)
        monkeypatch.setattr(checks, "look_at_host", host.look)
        return host

    return put


async def test_a_machine_that_has_everything_is_said_so(
    studios: Studios, on: On, tmp_path: Path
) -> None:
    host = on(OK)
    result = await studios("doctor", "--carry", "/data")
    assert (result.exit_code, result.stderr) == (0, "Sessions can run here.\n")
    head, line = result.stdout.splitlines()
    assert head.split() == ["NEED", "FOR", "WHAT", "TO", "DO"]
    assert line.split() == ["✓", "btrfs", "volumes"]
    ((data_dir, carried),) = host.asked
    assert (data_dir, list(map(str, carried))) == (tmp_path / "data", ["/data"])


async def test_a_loss_is_told_and_no_failure(studios: Studios, on: On) -> None:
    on(OK, WEAKER)
    result = await studios("doctor")
    assert (result.exit_code, result.stderr) == (0, "Sessions can run here, with 1 loss (!).\n")
    assert result.stdout.splitlines()[2].endswith(
        "slirp4netns is not installed: sessions have no way out → apt-get install it"
    )


async def test_what_is_missing_ends_with_1_and_says_what_gives_it(studios: Studios, on: On) -> None:
    on(OK, WEAKER, MISSING)
    result = await studios("doctor")
    assert result.exit_code == 1
    assert result.stderr == "No session can run here: 1 of these is missing (✗).\n"
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["✓", "!", "✗"]
    assert result.stdout.endswith("the capability SYS_ADMIN is missing → run it as root\n")


async def test_in_a_container_the_engines_flags_are_one_line_to_copy(
    studios: Studios, on: On
) -> None:
    on(OK, MISSING, surroundings=Surroundings.DOCKER)
    result = await studios("doctor")
    assert result.stderr.splitlines()[1].endswith(": --cap-add SYS_ADMIN")


@pytest.mark.parametrize("how", [("--json",), ("-o", "json")])
async def test_json_is_all_that_was_found_and_nothing_else(
    studios: Studios, on: On, how: tuple[str, ...]
) -> None:
    on(OK, MISSING)
    result = await studios("doctor", *how)
    assert (result.exit_code, result.stderr) == (1, "")
    told = json.loads(result.stdout)
    assert told["surroundings"] == "machine"
    assert told["findings"][1]["verdict"] == "missing"
    assert told["findings"][1]["remedies"]["docker"] == "--cap-add SYS_ADMIN"


async def test_up_refuses_with_the_sentence_and_changes_nothing(
    studios: Studios, on: On, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = on(OK, WEAKER, MISSING)
    monkeypatch.setenv("STUDIO_VOLUME_INITIAL", "1500 MB")
    monkeypatch.setattr(checks, "check_tools", lambda _: None)
    data = tmp_path / "up"
    result = await studios("up", "--data-dir", str(data), "--port", str(free_port()))
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr == (
        "Error: Sessions can't run here: the capability SYS_ADMIN is missing, needed for mounts "
        f"(run it as root). `STUDIOS_DATA_DIR={tmp_path}/data studios doctor` shows everything.\n"
    )
    assert not data.exists()
    assert host.initial_bytes == 1500 * 1024**2


def test_losses_do_not_stop_up_and_are_told() -> None:
    found = Findings(surroundings=Surroundings.MACHINE, thorough=True, findings=(OK, WEAKER))
    assert checks.check_host(found) == (
        "Slirp4netns is not installed: sessions have no way out (apt-get install it).",
    )


# ── The agent that answers ───────────────────────────────────────────────────


def agent_that(does: str) -> tuple[str, ...]:
    return (sys.executable, "-c", does)


async def test_an_agent_is_told_of_sessions_that_are_there_and_of_the_size_of_volumes(
    tmp_path: Path,
) -> None:
    async def asked() -> str:
        with pytest.raises(CommandError) as told:
            await host_check.look_at_host(
                tmp_path,
                initial_bytes=5,
                agent_command=agent_that("import sys; sys.exit(' '.join(sys.argv))"),
            )
        return told.value.message

    assert "--initial-bytes 5" in await asked()
    (tmp_path / "sessions").mkdir()
    assert "--has-sessions" not in await asked()
    (tmp_path / "sessions" / "0a1b2c3d").mkdir()
    assert "--has-sessions" in await asked()


async def test_an_agent_that_fails_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"^The check .* failed: ValueError: no such thing\.$"):
        await host_check.look_at_host(
            tmp_path, agent_command=agent_that("raise ValueError('no such thing')")
        )


async def test_an_agent_that_hangs_is_given_up_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_check, "SECONDS_MAX", 0.5)
    note = tmp_path / "pid"
    hang = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    while not note.exists():  # a slow machine may not even have started it
        with pytest.raises(CommandError, match="has not ended after"):
            await host_check.look_at_host(tmp_path, agent_command=agent_that(hang))
    process = Path("/proc", note.read_text())
    await asyncio.to_thread(until, lambda: not process.exists(), what="the agent's end")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def run(*command: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"},
    )


def test_on_this_machine_the_real_agent_answers(tmp_path: Path) -> None:
    """From a folder with other programs of that name."""
    (tmp_path / "agent.py").write_text("raise SystemExit('somebody else')")
    ended = run(sys.executable, "-P", "-m", "studios", "doctor", "--json", folder=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["thorough"]


def test_up_without_a_capability_is_refused_by_the_real_check(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ended = run(
        *("setpriv", "--bounding-set", "-sys_admin"),
        *(sys.executable, "-m", "studios", "up", "--data-dir", str(data)),
        *("--port", str(free_port())),
    )
    assert ended.returncode == 1
    assert "SYS_ADMIN is missing, needed for mounts and namespaces" in ended.stderr
    assert not data.exists()
