"""What the kernel writes is read right; names, cgroups and messages are made right."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from agent.root.cgroup_layout import CONTROLLERS, Hierarchy, Setting, hierarchies, missing, settings
from agent.root.memory_kills import MemoryKill, parse_record
from agent.root.mountinfo import MalformedMountError, Mount, parse
from agent.root.names import hosts_file, resolv_conf
from agent.root.orders import Forward, Start, frame, memory_file, read_order
from agent.root.plan import Limits

UNLIMITED = Limits(cpus=None, memory_bytes=None, processes=100)

# ── Mounts ───────────────────────────────────────────────────────────────────


def test_mount_with_optional_fields_and_escapes_is_read() -> None:
    line = r"36 35 98:0 /mnt1 /mnt\0402\134x rw,noatime master:1 shared:7 - ext3 /dev/root rw,e=go"
    assert parse(line + "\n") == (
        Mount(
            device=(98, 0),
            root="/mnt1",
            point=r"/mnt 2\x",
            options=frozenset({"rw", "noatime"}),
            kind="ext3",
            source="/dev/root",
            super_options=frozenset({"rw", "e=go"}),
        ),
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1 2 3",
        "1 2 3:4 / / rw ext4 dev rw",
        "1 2 3:4 / / rw - ext4",
        "1 2 3 / / rw - ext4 dev rw",
        "1 2 3:x / / rw - ext4 dev rw",
    ],
)
def test_line_of_another_form_is_refused(line: str) -> None:
    if line:
        with pytest.raises(MalformedMountError):
            parse(line)
    else:
        assert parse(line) == ()


def test_own_mounts_are_read() -> None:
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        mounts = parse(file.read())
    assert any(mount.point == "/" for mount in mounts)


# ── Cgroups ──────────────────────────────────────────────────────────────────

HYBRID = parse(
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
HYBRID_OWN = "9:name=systemd:/\n4:memory:/machine/one\n1:cpu,cpuacct:/\n0::/here\n"


def test_hybrid_host_has_a_folder_per_controller() -> None:
    asked: list[str] = []

    def controllers(folder: str) -> str:
        asked.append(folder)
        return "pids hugetlb\n"

    assert hierarchies(HYBRID, HYBRID_OWN, controllers) == (
        Hierarchy(1, "/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct")),
        Hierarchy(1, "/sys/fs/cgroup/memory/machine/one", ("memory",)),
        Hierarchy(2, "/sys/fs/cgroup/unified/here", ("pids",)),
    )
    assert asked == ["/sys/fs/cgroup/unified/here"]


def test_version_2_host_has_one_folder_for_all() -> None:
    mounts = parse("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n")
    found = hierarchies(
        mounts, "0::/user.slice/one.scope\n", lambda _: "cpuset cpu io memory pids\n"
    )
    assert found == (
        Hierarchy(2, "/sys/fs/cgroup/user.slice/one.scope", ("cpu", "memory", "pids")),
    )


def test_container_sees_its_own_part_of_the_tree() -> None:
    """Bound without a namespace: the mount's root is the container's cgroup, and so is its path."""
    mounts = parse("30 23 0:26 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n")
    assert hierarchies(mounts, "4:memory:/docker/abc/below\n", lambda _: "") == (
        Hierarchy(1, "/sys/fs/cgroup/memory/below", ("memory",)),
    )
    assert hierarchies(mounts, "4:memory:/elsewhere\n", lambda _: "") == ()


def test_limits_are_written_in_each_version_s_words() -> None:
    limits = Limits(cpus=1.5, memory_bytes=1000, processes=7)
    everything = CONTROLLERS
    assert settings(Hierarchy(2, "/x", everything), limits) == (
        Setting("pids.max", "7"),
        Setting("memory.max", "1000"),
        Setting("cpu.max", "150000 100000"),
    )
    assert settings(Hierarchy(1, "/x", everything), limits) == (
        Setting("pids.max", "7"),
        Setting("memory.limit_in_bytes", "1000"),
        Setting("memory.kmem.tcp.limit_in_bytes", "250", required=False),
        Setting("cpu.cfs_period_us", "100000"),
        Setting("cpu.cfs_quota_us", "150000"),
    )
    assert settings(Hierarchy(2, "/x", everything), UNLIMITED) == (Setting("pids.max", "100"),)


@given(st.floats(min_value=0.000001, max_value=1024))
def test_any_share_of_a_processor_is_one_the_kernel_takes(cpus: float) -> None:
    limits = Limits(cpus=cpus, memory_bytes=None, processes=1)
    quota = int(settings(Hierarchy(1, "/x", ("cpu",)), limits)[1].value)
    assert quota >= 1000
    assert quota >= cpus * 100_000 - 1


def test_limit_that_cannot_be_kept_is_told() -> None:
    assert missing((), UNLIMITED) == (
        "This machine has no cgroup controller pids: the session's limit can't be kept.",
    )
    limits = Limits(cpus=1, memory_bytes=1, processes=1)
    assert len(missing((), limits)) == 3
    assert missing((Hierarchy(2, "/x", ("cpu", "memory", "pids")),), limits) == ()


# ── The kernel's log ─────────────────────────────────────────────────────────

RECORD = (
    "4,1234,10325763179,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,"
    "mems_allowed=0,oom_memcg=/x/studios-one,task_memcg={cgroup},task={name},pid=31809,uid=0\n"
)


@pytest.mark.parametrize("name", ["python3", "a,task=b", "x,pid=1,uid=0", "Web Content", ""])
def test_kill_in_the_session_is_named(name: str) -> None:
    record = RECORD.format(cgroup="/x/studios-one/inner", name=name)
    assert parse_record(record, ["/studios-one"]) == MemoryKill(name, 31809)


@pytest.mark.parametrize("cgroup", ["/x/studios-one-more", "/x/another", "/", "/studios-on"])
def test_kill_elsewhere_is_nobody_s_business(cgroup: str) -> None:
    assert parse_record(RECORD.format(cgroup=cgroup, name="studios-one"), ["/studios-one"]) is None


@given(st.text())
def test_any_other_record_is_passed_over(text: str) -> None:
    assert parse_record(text, ["/studios-one"]) is None


# ── Names ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("192.0.2.53", "192.0.2.53"),
        ("127.0.0.53", "10.0.2.3"),
        ("169.254.169.253", "10.0.2.3"),
        ("168.63.129.16", "10.0.2.3"),
        ("0.0.0.0", "10.0.2.3"),
        ("::1", "10.0.2.3"),
        ("2001:db8::1", "10.0.2.3"),
        ("nonsense", "10.0.2.3"),
    ],
)
def test_resolver_is_one_that_the_session_reaches(server: str, expected: str) -> None:
    text = f"search example.org\nnameserver {server}\noptions ndots:2\n"
    assert resolv_conf(text, own_network=True) == (
        f"nameserver {expected}\nsearch example.org\noptions ndots:2\n"
    )
    assert resolv_conf(text, own_network=False) == text


def test_resolvers_are_at_most_three_and_at_least_one() -> None:
    text = "".join(f"nameserver 192.0.2.{number}\n" for number in range(1, 6))
    assert resolv_conf(text, own_network=True).count("nameserver") == 3
    assert resolv_conf("", own_network=True) == "nameserver 10.0.2.3\n"


@given(st.text(alphabet="abc \n#nameserver127.0"))
def test_any_resolver_configuration_keeps_a_resolver(text: str) -> None:
    assert "nameserver " in resolv_conf(text, own_network=True)


@pytest.mark.parametrize("text", ["", "127.0.0.1 localhost", "127.0.0.1 localhost\n"])
def test_session_s_own_name_stands_in_a_line_of_its_own(text: str) -> None:
    assert hosts_file(text, "studio").splitlines()[-1] == "127.0.1.1\tstudio"


# ── Orders ───────────────────────────────────────────────────────────────────


@given(
    st.lists(st.text(), min_size=1).map(tuple),
    st.lists(st.tuples(st.text(), st.text())).map(tuple),
    st.text(),
    st.integers(1, 2**22),
)
def test_orders_arrive_as_they_were_given(
    arguments: tuple[str, ...], environment: tuple[tuple[str, str], ...], folder: str, pid: int
) -> None:
    start = Start(arguments=arguments, environment=environment, working_directory=folder)
    forward = Forward(pid=pid, signal=15)
    fd = memory_file("orders", frame(start) + frame(forward) + frame(start)[:-1])
    with open(fd, "rb", buffering=0):
        first, second = read_order(fd), read_order(fd)
        assert isinstance(first, Start)
        assert (first.arguments, first.environment) == (arguments, environment)
        assert first.working_directory == folder
        assert isinstance(second, Forward)
        assert (second.pid, second.signal) == (pid, 15)
        assert read_order(fd) is None  # cut short


def test_order_larger_than_the_pipe_is_refused() -> None:
    with pytest.raises(ValueError, match="larger"):
        frame(Start(arguments=("x" * 1_000_001,), environment=(), working_directory="/"))
