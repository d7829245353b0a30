"""scripts/install with a fake Python, pip and apt: what is there stays, what is not is redone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from agent.preflight.needs import MKFS, SECCOMP_LIBRARY, SETPRIV, SLIRP
from tests.support.tree import ROOT, text

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS_MAX = 20
NOBODY = 65534

PYTHON = """#!/bin/bash
# Stands in for Python, for `venv` and for the Python inside the environments that it makes.
case "$*" in
    *sys.version_info*) echo 3.11.2 ;;
    *sysconfig*) dirname "$0" ;;
    "-m venv "*)
        echo "venv $3" >>"$CALLS"
        mkdir -p "$3/bin" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python" ;;
    "-m pip install "*)
        echo "pip ${*: -1}" >>"$CALLS"
        while [ -e "$PIP_HANGS" ]; do sleep 0.02; done
        echo "no matching distribution"
        exit "$PIP_EXIT" ;;
    *) exit 99 ;;
esac
"""
APT = '#!/bin/bash\necho "apt-get $*" >>"$CALLS"\nexit "$APT_EXIT"\n'
DPKG = '#!/bin/bash\n[ -e "$INSTALLED/${*: -1}" ] && printf installed\n'


class Installer:
    """A checkout with the script and fakes of everything it calls."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.tools = folder / "tools"
        self.installed = folder / "installed"
        self.calls_file = folder / "calls"
        self.hang = folder / "hang"
        fakes = folder / "fakes"
        for path in (self.checkout / "images" / "jupyterlab", self.installed, fakes):
            path.mkdir(parents=True)
        for name, script in (("python3", PYTHON), ("apt-get", APT), ("dpkg-query", DPKG)):
            (fakes / name).write_text(script)
            (fakes / name).chmod(0o755)
        (self.checkout / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "install", self.checkout / "scripts")
        self.write("requirements/run.txt", "one==1\n")
        self.write("requirements/dev.txt", "one==1\ntwo==2\n")
        self.write("images/jupyterlab/requirements.txt", "lab==1\n")
        self.write("images/jupyterlab/template.toml", "")
        self.write("images/jupyterlab/start", "#!/bin/sh\n")
        for package in ("python3-venv", "libseccomp2"):  # those without a command
            (self.installed / package).touch()
        self.calls_file.touch()
        self.environ = {
            "PATH": f"{fakes}:{os.environ['PATH']}",
            "PYTHON": str(fakes / "python3"),
            "STUDIOS_TOOLS": str(self.tools),
            "TMPDIR": str(folder),
            "CALLS": str(self.calls_file),
            "INSTALLED": str(self.installed),
            "PIP_HANGS": str(self.hang),
            "PIP_EXIT": "0",
            "APT_EXIT": "0",
        }

    def write(self, name: str, text: str) -> None:
        path = self.checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def begin(self, *arguments: str, as_user: int = 0) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.checkout / "scripts" / "install", *arguments],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=as_user,
        )

    def run(self, *arguments: str, **fakes: str) -> tuple[int, str]:
        """Return the exit code and what was said; `fakes` says how the fakes end this time."""
        before = dict(self.environ)
        self.environ.update(fakes)
        code, _, said = finish(self.begin(*arguments))
        self.environ = before
        return code, said

    def calls(self) -> list[str]:
        """Return the calls of fakes since the last time, without paths."""
        lines = self.calls_file.read_text().splitlines()
        self.calls_file.write_text("")
        return [
            " ".join(word.removeprefix(f"{self.checkout}/") for word in line.split())
            for line in lines
        ]

    @property
    def jupyterlab(self) -> Path:
        return (self.tools / "jupyterlab").resolve()


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=SECONDS_MAX)
    return process.returncode, out, err


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for `condition`; the process must still run."""
    while not condition():
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)


@pytest.fixture
def install(tmp_path: Path) -> Installer:
    return Installer(tmp_path)


def test_a_second_run_does_nothing_and_says_nothing(install: Installer) -> None:
    code, said = install.run()
    assert code == 0, said
    assert install.calls() == [
        "venv .venv",
        "pip requirements/run.txt",
        f"venv {install.jupyterlab}",
        "pip images/jupyterlab/requirements.txt",
    ]
    assert said.count("✓") == 2
    assert install.run() == (0, "")
    assert install.calls() == []


def test_the_studios_command_is_made(install: Installer) -> None:
    install.run()
    command = install.checkout / ".venv" / "bin" / "studios"
    assert os.access(command, os.X_OK)
    assert command.read_text().startswith(f"#!{install.checkout}/.venv/bin/python\n")


def test_packages_that_cannot_be_had_are_one_sentence_with_the_log(install: Installer) -> None:
    code, said = install.run(PIP_EXIT="7")
    assert code == 1
    error = said.splitlines()[-1]
    assert error.startswith("Error: The Python packages of requirements/run.txt could not be ")
    log = error.rpartition("see ")[2].rstrip(".")
    with open(log) as file:
        assert file.read() == "no matching distribution\n"
    install.calls()
    assert install.run()[0] == 0
    assert install.calls()[:2] == ["venv .venv", "pip requirements/run.txt"]


def test_an_interrupted_run_is_redone_and_leaves_nothing_running(install: Installer) -> None:
    install.hang.touch()
    process = install.begin()
    until(lambda: "pip" in install.calls_file.read_text(), process)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 130
    assert not any(str(install.checkout) in line for line in command_lines())
    install.hang.unlink()
    install.calls()
    assert install.run()[0] == 0
    assert install.calls()[:2] == ["venv .venv", "pip requirements/run.txt"]


def command_lines() -> list[str]:
    """Return the command lines of all processes."""
    return [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]


def test_two_at_the_same_time_take_turns(install: Installer) -> None:
    install.hang.touch()
    first = install.begin()
    until(lambda: "pip" in install.calls_file.read_text(), first)
    second = install.begin()
    assert second.stderr is not None
    assert "waiting for another" in second.stderr.readline()
    install.hang.unlink()
    assert finish(first)[0] == 0
    assert finish(second) == (0, "", "")
    assert len(install.calls()) == 4


def test_development_adds_to_what_is_there_and_includes_running(install: Installer) -> None:
    for command in ("make", "chromium", "nginx", "wrk", "node", "npm", "git"):
        assert shutil.which(command, path=f"{install.environ['PATH']}:/usr/sbin"), command
    install.run()
    install.calls()
    assert install.run("--dev")[0] == 0
    assert install.calls() == ["pip requirements/dev.txt"]
    assert install.run() == (0, "")
    assert install.run("--dev") == (0, "")


def test_a_changed_lock_gives_a_tool_a_new_home_and_removes_the_unused_one(
    install: Installer,
) -> None:
    install.run()
    old = install.jupyterlab
    install.write("images/jupyterlab/requirements.txt", "lab==2\n")
    assert install.run()[0] == 0
    assert install.jupyterlab != old
    assert not old.exists()


def test_a_changed_start_script_is_copied_and_nothing_installed(install: Installer) -> None:
    install.run()
    install.calls()
    install.write("images/jupyterlab/start", "#!/bin/sh\nexec new\n")
    assert install.run() == (0, "")
    assert (install.jupyterlab / "start").read_text() == "#!/bin/sh\nexec new\n"
    assert not (install.jupyterlab / "template.toml").exists()
    assert install.calls() == []


def test_what_we_did_not_make_is_not_removed(install: Installer) -> None:
    install.write(".venv/precious", "")
    (install.tools / "jupyterlab").mkdir(parents=True)
    (install.tools / "jupyterlab" / "precious").touch()
    code, said = install.run()
    assert (code, said.count("\n")) == (1, 1)
    assert "move it away" in said
    (install.checkout / ".venv" / "precious").unlink()
    assert install.run()[0] == 0
    assert len(list(install.tools.glob("jupyterlab.before-*/precious"))) == 1


def test_only_missing_debian_packages_are_asked_for(install: Installer) -> None:
    (install.installed / "python3-venv").unlink()
    code, said = install.run()
    assert code == 0, said
    assert install.calls()[:2] == [
        "apt-get update",
        "apt-get install --yes --no-install-recommends python3-venv",
    ]


def test_what_sessions_are_made_with_is_a_debian_package_for_running(install: Installer) -> None:
    """Named by `studios doctor`, where it is missing, as this script installs it."""
    line = text(Path("scripts/install")).partition("\npackages=(")[2].partition(")")[0]
    named = {entry.partition(":")[0] for entry in line.split()}
    needs_named = (MKFS, SLIRP, SETPRIV, SECCOMP_LIBRARY)
    wanted = {need.remedies.machine.removeprefix("apt-get install ") for need in needs_named}
    assert wanted <= named
    (install.installed / "libseccomp2").unlink()
    install.run()
    assert install.calls()[1] == "apt-get install --yes --no-install-recommends libseccomp2"


def test_debian_packages_that_cannot_be_had_stop_everything(install: Installer) -> None:
    (install.installed / "python3-venv").unlink()
    code, said = install.run(APT_EXIT="100")
    assert code == 1
    assert "Error: The Debian packages python3-venv could not be installed" in said
    assert not (install.checkout / ".venv").exists()
    assert list(install.tools.iterdir()) == []


def test_without_root_it_says_so_and_changes_nothing() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # others can't even enter pytest's own folders
        install = Installer(Path(folder))
        code, _, said = finish(install.begin(as_user=NOBODY))
        assert (code, said.count("\n")) == (1, 1)
        assert "needs root" in said
        assert not install.tools.exists()


def test_options_that_mean_nothing_are_refused(install: Installer) -> None:
    assert install.run("--fast")[0] == 2
