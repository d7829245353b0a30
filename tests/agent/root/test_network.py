"""The session's network: its own loopback, a way out, and what it never reaches.

The machine's network is a namespace of the test's own here, with stand-ins at the addresses that
matter. No packet of these tests leaves this machine.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.attempts import PRELUDE, PYTHON, REACHED
from tests.support.session_rig import Result, SessionRig
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

METADATA = "169.254.169.254"
METADATA_6 = "fd00:ec2::254"
PUBLIC = "198.51.100.7"
"""An address set aside for documentation: an ordinary place on the network."""
LOOPBACK_PORT = 8124
TARGETS = (METADATA, "168.63.129.16", "127.0.0.1", "10.0.2.2", "0.0.0.0", "255.255.255.255")
"""Where no packet of the session's may arrive, whatever wrote it."""
STAND_INS = f"""
import selectors, socket
listeners = [socket.create_server((host, port)) for host, port in
             (("{METADATA}", 80), ("{PUBLIC}", 80), ("127.0.0.1", {LOOPBACK_PORT}),
              ("127.0.0.1", 80))]
listeners += [socket.create_server((host, port), family=socket.AF_INET6) for host, port in
              (("{METADATA_6}", 80), ("::1", {LOOPBACK_PORT}))]
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("{METADATA}", 53))
print("listening", flush=True)
waiting = selectors.DefaultSelector()
for listener in (*listeners, names): waiting.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in waiting.select():
        if key.fileobj is names:
            question, asker = names.recvfrom(512)
            names.sendto(b"answer to " + question, asker)
        else:
            with key.fileobj.accept()[0] as connection: connection.sendall(b"secret of the machine")
"""
PACKETS = (
    PRELUDE
    + """
def checksum(data):
    data += b"\\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

def packet(target, port):
    source, target = socket.inet_aton("10.0.3.2"), socket.inet_aton(target)
    def tcp(check): return struct.pack("!HHIIBBHHH", port, 80, 1, 0, 5 << 4, 2, 65535, check, 0)
    check = checksum(source + target + struct.pack("!BBH", 0, 6, 20) + tcp(0))
    def ip(check):
        return struct.pack("!BBHHHBBH4s4s", 69, 0, 40, 7, 0, 64, 6, check, source, target)
    return ip(checksum(ip(0))) + tcp(check)

def answered(port):
    listening.settimeout(2)
    try:
        while True:
            heard = listening.recv(65535)
            if heard[22:24] == struct.pack("!H", port) and heard[33] == 0x12:  # SYN and ACK
                return True
    except TimeoutError: return False

listening = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
"""
)
BY_HEADER = (
    PACKETS
    + """
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)  # with a header of one's own
for target in TARGETS: raw.sendto(packet(target, 41002), ("PUBLIC", 0))
if answered(41002): reached()
"""
)


@pytest.fixture(scope="module")
def machine() -> Iterator[list[str]]:
    """A network namespace with the stand-ins; gives the command that enters it."""
    with contextlib.ExitStack() as closing:
        holder = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
        closing.callback(holder.wait)
        closing.callback(holder.kill)
        until(lambda: _network_of(holder.pid) != _network_of("self"), what="the namespace")
        enter = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        script = (
            "ip link set lo up && "
            f"ip address add {METADATA}/32 dev lo && ip address add {PUBLIC}/32 dev lo && "
            "ip address add 168.63.129.16/32 dev lo && "
            f"ip address add {METADATA_6}/128 dev lo nodad"
        )
        subprocess.run([*enter, "sh", "-c", script], check=True)
        server = subprocess.Popen(
            [*enter, PYTHON, "-c", STAND_INS], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        closing.enter_context(server.stdout)
        closing.callback(server.wait)
        closing.callback(server.kill)
        assert server.stdout.readline() == "listening\n"
        yield enter


def _network_of(pid: int | str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/net")
    return "none"


@pytest.fixture(scope="module")
def session(machine: list[str], folder: Path) -> Iterator[SessionRig]:
    """A session on that machine, whose resolver is where the metadata is, as on some clouds."""
    resolver = folder / "resolv.conf"
    resolver.write_text(f"nameserver {METADATA}\nsearch example.org\n")
    bind = f'mount --bind {resolver} /etc/resolv.conf && exec "$@"'
    prefix = [*machine, "unshare", "--mount", "sh", "-c", bind, "sh"]
    with SessionRig(folder, prefix=prefix) as rig:
        until(lambda: rig.ask("status")["way_out_problem"] is None, what="a way out")
        yield rig
    assert rig.leftovers() == []


def fetch(address: str, port: int = 80) -> str:
    return PRELUDE + (
        f"with socket.create_connection(({address!r}, {port}), 3) as connection:\n"
        "    if connection.recv(100) == b'secret of the machine': reached()"
    )


def on_machine(machine: list[str], script: str) -> Result:
    done = subprocess.run(
        [*machine, PYTHON, "-I", "-c", script], capture_output=True, text=True, timeout=20
    )
    return Result(done.returncode, done.stdout + done.stderr)


def test_metadata_is_out_of_reach_and_the_world_is_not(
    session: SessionRig, machine: list[str]
) -> None:
    assert REACHED in on_machine(machine, fetch(METADATA)).output
    assert REACHED not in session.run_python(fetch(METADATA)).output
    assert REACHED in session.run_python(fetch(PUBLIC)).output


def test_packets_of_one_s_own_making_reach_neither_metadata_nor_loopback(
    session: SessionRig,
) -> None:
    script = BY_HEADER.replace("PUBLIC", PUBLIC)
    control = session.run_python(script.replace("TARGETS", repr([PUBLIC])))
    assert REACHED in control.output, control.output
    attempt = session.run_python(script.replace("TARGETS", repr(TARGETS)))
    assert attempt.code == 0, attempt
    assert REACHED not in attempt.output


def test_resolver_at_the_metadata_s_address_answers_names_and_nothing_else(
    session: SessionRig,
) -> None:
    assert "nameserver 10.0.2.3\n" in session.run("cat /etc/resolv.conf").output
    ask = PRELUDE + (
        "asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "asking.settimeout(3); asking.sendto(b'question', ('10.0.2.3', 53))\n"
        "if asking.recv(100) == b'answer to question': reached()"
    )
    assert REACHED in session.run_python(ask).output
    assert REACHED not in session.run_python(fetch("10.0.2.3")).output


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.2.2", "10.0.2.100", "10.0.3.1"])
def test_loopback_of_the_machine_is_out_of_reach(
    address: str, session: SessionRig, machine: list[str]
) -> None:
    assert REACHED in on_machine(machine, fetch("127.0.0.1", LOOPBACK_PORT)).output
    assert REACHED not in session.run_python(fetch(address, LOOPBACK_PORT)).output


@pytest.mark.parametrize(
    ("address", "port"),
    [(METADATA_6, 80), ("::1", LOOPBACK_PORT), ("fd00::2", LOOPBACK_PORT), ("::ffff:10.0.2.2", 80)],
)
def test_ipv6_is_no_way_round(
    address: str, port: int, session: SessionRig, machine: list[str]
) -> None:
    assert REACHED in on_machine(machine, fetch(METADATA_6)).output
    assert REACHED in on_machine(machine, fetch("::1", LOOPBACK_PORT)).output
    assert REACHED not in session.run_python(fetch(address, port)).output


def test_ports_of_the_machine_are_not_the_session_s_to_take(
    session: SessionRig, machine: list[str]
) -> None:
    """It may listen at any port, of its own network: the machine's port of that number is free."""
    take = PRELUDE + "import time\nport = socket.create_server(('', 443)); time.sleep(1000)"
    session.ask("start", arguments=[PYTHON, "-c", take], wait=False)
    knock = PRELUDE + "socket.create_connection(('127.0.0.1', 443), 3); reached()"
    until(lambda: REACHED in session.run_python(knock).output, what="the session's own port")
    assert REACHED not in on_machine(machine, knock).output
    free = PRELUDE + "socket.create_server(('', 443)); reached()"
    assert REACHED in on_machine(machine, free).output


def test_wire_itself_is_out_of_reach(session: SessionRig, machine: list[str]) -> None:
    """Nothing of others is read there, and its rings are memory that no cgroup counts."""
    listen = (
        PRELUDE + "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); reached()"
    )
    assert REACHED in on_machine(machine, listen).output
    assert REACHED not in session.run_python(listen).output


def test_agent_connects_to_the_session_s_loopback(session: SessionRig) -> None:
    serve = (
        "import socket\n"
        "listener = socket.create_server(('127.0.0.1', 8888))\n"
        "while True:\n"
        "    with listener.accept()[0] as connection:\n"
        "        connection.recv(100); connection.sendall(b'from the tool')\n"
    )
    session.ask("start", arguments=[PYTHON, "-c", serve], wait=False)
    until(lambda: session.ask("fetch", port=8888).get("output") == "from the tool", what="it")
    assert "111" in session.ask("fetch", port=8889)["error"]  # refused


def test_way_out_that_ends_is_made_again(session: SessionRig) -> None:
    agent = session.run_python(fetch(PUBLIC))
    assert REACHED in agent.output
    for pid in way_out_pids(session):
        subprocess.run(["kill", "-KILL", pid], check=True)
    until(lambda: session.ask("status")["way_out_problem"], what="the loss")
    until(lambda: session.ask("status")["way_out_problem"] is None, what="a new way out")
    assert REACHED in session.run_python(fetch(PUBLIC)).output
    assert REACHED not in session.run_python(fetch(METADATA)).output


def test_a_way_out_that_is_made_again_takes_no_data_link_away(session: SessionRig) -> None:
    session.ask("mount", path="/workspace/link")
    for pid in way_out_pids(session):
        subprocess.run(["kill", "-KILL", pid], check=True)
    until(lambda: session.ask("status")["way_out_problem"], what="the loss")
    until(lambda: session.ask("status")["way_out_problem"] is None, what="a new way out")
    assert session.run("cat /workspace/link/object").output == "linked"


def way_out_pids(rig: SessionRig) -> list[str]:
    found = subprocess.run(["pgrep", "-P", str(rig.pid), "slirp4netns"], capture_output=True)
    return found.stdout.decode().split()


def test_session_on_a_shared_network_has_no_raw_sockets_and_says_so(folder: Path) -> None:
    raw = PRELUDE + "socket.socket(socket.AF_INET, socket.SOCK_RAW, 255); reached()"
    with SessionRig(folder) as rig:
        assert REACHED in rig.run_python(raw).output
    with SessionRig(folder, own_network=False) as rig:
        assert REACHED not in rig.run_python(raw).output
        assert any("shares the network" in line for line in rig.ask("status")["gives_up"])
        assert rig.run("ls /sys/class/net; [ ! -w /sys/class/net/lo/mtu ]").code == 0
    assert rig.leftovers() == []
