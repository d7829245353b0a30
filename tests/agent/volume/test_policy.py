"""The growth policy: no kernel, no clock, any writer."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, strategies as st

from agent.volume.policy import (
    BURST_BYTES_PER_SECOND,
    METADATA_SHARE,
    PAUSE_SECONDS_MAX,
    PAUSE_SECONDS_MIN,
    RETRY_SECONDS_MAX,
    Decision,
    Full,
    Grow,
    Memory,
    Sample,
    Wait,
    decide,
    failed,
    grown,
    host_warning,
)
from agent.volume.volume import Space
from common.session_spec import VolumeLimits

GB = 1024**3
LIMITS = VolumeLimits()
GROWTH_SECONDS = 0.04


def space(size: float, free: float, *, metadata: float | None = None) -> Space:
    """Sizes in GB."""
    return Space(
        size_bytes=int(size * GB),
        true_free_bytes=int(free * GB),
        metadata_free_bytes=int((free if metadata is None else metadata) * GB),
        host_free_bytes=1000 * GB,
    )


def look(size: float, free: float, *, metadata: float | None = None) -> Decision:
    _, decision = decide(
        LIMITS, Memory(), Sample(at_seconds=0, space=space(size, free, metadata=metadata))
    )
    return decision


# ── One look ─────────────────────────────────────────────────────────────────


def test_a_volume_with_a_gigabyte_free_is_left_alone() -> None:
    assert isinstance(look(2, 2), Wait)
    assert isinstance(look(2, 1), Wait)


def test_a_volume_with_less_grows_by_a_step() -> None:
    assert look(2, 0.999) == Grow(1)
    assert look(2, 0) == Grow(1)


def test_lack_of_room_for_names_is_lack_of_room() -> None:
    assert look(8, 1.5, metadata=1 / METADATA_SHARE - 0.001) == Grow(1)
    assert isinstance(look(8, 1.5, metadata=1 / METADATA_SHARE), Wait)


def test_a_fast_writer_gets_several_steps_at_once() -> None:
    memory = Memory(last=Sample(at_seconds=0, space=space(2, 2)), fill_rate=0.0)
    memory, decision = decide(LIMITS, memory, Sample(at_seconds=0.1, space=space(2, 0)))
    assert memory.fill_rate == 20 * GB
    assert decision == Grow(3), "1 GB to keep free and 5 GB for a quarter of a second"


def test_the_last_step_is_what_is_left() -> None:
    assert look(29, 0.5) == Grow(1)
    assert look(28, 0) == Grow(1)


def test_at_the_limit_it_is_full_and_says_so() -> None:
    decision = look(30, 0.9)
    assert isinstance(decision, Full)
    assert "limit of 30 GB" in decision.reason
    assert "less than 1 GB" in decision.reason
    assert isinstance(look(31, 0), Full), "the limit was lowered"


def test_at_the_limit_without_room_for_names_the_reason_is_another() -> None:
    decision = look(30, 5, metadata=0)
    assert isinstance(decision, Full)
    assert "files and folders" in decision.reason


def test_at_the_limit_with_room_nobody_hurries() -> None:
    assert look(30, 1.1) == Wait(PAUSE_SECONDS_MAX)


def test_a_host_without_room_for_the_promise_is_told() -> None:
    good = space(2, 2)
    assert host_warning(good) == ""
    bad = Space(
        size_bytes=2 * GB, true_free_bytes=GB, metadata_free_bytes=GB, host_free_bytes=GB - 1
    )
    assert "host's disk" in host_warning(bad)


# ── Pauses ───────────────────────────────────────────────────────────────────


def pause_of(size: float, free: float, *, rate: float) -> float:
    """Rate in GB per second."""
    before = Sample(at_seconds=0, space=space(size, free))
    memory = Memory(last=before, fill_rate=rate * GB * 2)  # half is forgotten in 0.25 s
    _, decision = decide(LIMITS, memory, Sample(at_seconds=0.25, space=space(size, free)))
    assert isinstance(decision, Wait)
    return decision.seconds


def test_an_idle_volume_is_looked_at_once_a_second() -> None:
    assert pause_of(10, 9, rate=0) == PAUSE_SECONDS_MAX


def test_the_pause_follows_the_fill_rate() -> None:
    pauses = [pause_of(10, 1.25, rate=rate) for rate in (1, 2, 4, 8)]
    assert pauses == sorted(pauses, reverse=True)
    assert len(set(pauses)) == len(pauses)
    assert pause_of(10, 1.25, rate=1000) == PAUSE_SECONDS_MIN


def test_a_burst_from_idle_uses_at_most_half_of_what_is_free_before_the_next_look() -> None:
    for free in (1.0, 1.5, 2.0):
        assert pause_of(10, free, rate=0) * BURST_BYTES_PER_SECOND <= free * GB / 2


def test_a_rate_is_forgotten_when_nothing_is_written() -> None:
    memory = Memory(last=Sample(at_seconds=0, space=space(4, 3)), fill_rate=float(GB))
    for at in range(1, 40):
        memory, _ = decide(LIMITS, memory, Sample(at_seconds=at, space=space(4, 3)))
    assert memory.fill_rate < 1


def test_deleting_is_no_negative_rate() -> None:
    memory = Memory(last=Sample(at_seconds=0, space=space(4, 1)))
    memory, _ = decide(LIMITS, memory, Sample(at_seconds=1, space=space(4, 3)))
    assert memory.fill_rate == 0


def test_growing_is_no_change_of_what_is_used() -> None:
    memory = Memory(last=Sample(at_seconds=0, space=space(2, 0.5)))
    memory, _ = decide(LIMITS, memory, Sample(at_seconds=0.01, space=space(4, 2.5)))
    assert memory.fill_rate == 0


# ── Failures ─────────────────────────────────────────────────────────────────


def test_a_failed_growth_is_tried_again_later_and_later() -> None:
    low = space(2, 0.5)
    memory, at, waits = Memory(), 0.0, []
    for _ in range(12):
        memory, decision = decide(LIMITS, memory, Sample(at_seconds=at, space=low))
        assert decision == Grow(1), "as much as the first time: nothing adds up"
        memory = failed(memory, at, "the host's disk is full", retry_helps=True)
        waits.append(memory.retry_at_seconds - at)
        _, decision = decide(LIMITS, memory, Sample(at_seconds=at, space=low))
        assert isinstance(decision, Wait)
        at = memory.retry_at_seconds
    assert waits[:3] == [0.25, 0.5, 1.0]
    assert waits[-1] == RETRY_SECONDS_MAX
    assert memory.failure == "the host's disk is full"


def test_what_no_retry_helps_is_hardly_tried() -> None:
    memory = failed(Memory(), 0.0, "not permitted", retry_helps=False)
    assert memory.retry_at_seconds == RETRY_SECONDS_MAX


def test_a_growth_that_succeeds_makes_failures_forgotten() -> None:
    memory = failed(Memory(), 0.0, "no", retry_helps=True)
    assert grown(memory) == Memory()


def test_room_makes_failures_forgotten() -> None:
    memory = failed(Memory(), 0.0, "no", retry_helps=True)
    memory, _ = decide(LIMITS, memory, Sample(at_seconds=0.1, space=space(2, 1.5)))
    assert (memory.failures, memory.failure, memory.retry_at_seconds) == (0, "", 0.0)


# ── Any writer ───────────────────────────────────────────────────────────────


@dataclass
class World:
    """A volume under a writer, in numbers."""

    limits: VolumeLimits
    size: int
    used: float = 0.0
    at: float = 0.0
    memory: Memory = field(default_factory=Memory)
    starved: bool = False
    """A writer got ENOSPC before the limit."""

    def write(self, rate: float, seconds: float) -> None:
        self.at += seconds
        self.used += rate * seconds
        if self.used > self.size:
            self.starved = self.starved or self.size < self.limits.limit_bytes
            self.used = self.size

    def look(self) -> Decision:
        free = int(self.size - self.used)
        seen = Space(
            size_bytes=self.size,
            true_free_bytes=free,
            metadata_free_bytes=free,
            host_free_bytes=10**15,
        )
        sample = Sample(at_seconds=self.at, space=seen)
        self.memory, decision = decide(self.limits, self.memory, sample)
        return decision

    def grow(self, steps: int) -> None:
        self.size = min(self.size + steps * self.limits.step_bytes, self.limits.limit_bytes)
        self.memory = grown(self.memory)


sizes = st.integers(min_value=1, max_value=64).map(lambda n: n * GB // 4)
all_limits = st.builds(
    VolumeLimits, initial_bytes=sizes, free_bytes_min=sizes, step_bytes=sizes, limit_bytes=sizes
)
phases = st.lists(
    st.tuples(
        st.floats(min_value=0, max_value=1.0 * BURST_BYTES_PER_SECOND),
        st.integers(min_value=1, max_value=40),
    ),
    max_size=12,
)


@given(phases)
def test_no_writer_of_a_known_speed_gets_enospc_before_the_limit(
    phases: list[tuple[float, int]],
) -> None:
    world = World(LIMITS, LIMITS.initial_bytes)
    for rate, looks in phases:
        for _ in range(looks):
            match world.look():
                case Grow(steps):
                    world.write(rate, GROWTH_SECONDS)
                    world.grow(steps)
                case Wait(seconds):
                    world.write(rate, seconds + PAUSE_SECONDS_MIN)  # the loop is never punctual
                case Full():
                    world.write(rate, PAUSE_SECONDS_MAX)
    assert not world.starved


@given(all_limits, phases, st.data())
def test_whatever_happens_decisions_stay_within_their_bounds(
    limits: VolumeLimits, phases: list[tuple[float, int]], data: st.DataObject
) -> None:
    world = World(limits, min(limits.initial_bytes, limits.limit_bytes))
    for rate, looks in phases:
        for _ in range(min(looks, 8)):
            short = world.size - world.used < limits.free_bytes_min
            match world.look():
                case Grow(steps):
                    assert short
                    assert world.size < limits.limit_bytes
                    assert steps >= 1
                    last = world.size + (steps - 1) * limits.step_bytes
                    assert last < limits.limit_bytes, "each step adds something"
                    assert world.at >= world.memory.retry_at_seconds
                    if data.draw(st.booleans(), label="fails"):
                        helps = data.draw(st.booleans(), label="retry helps")
                        world.memory = failed(world.memory, world.at, "no", retry_helps=helps)
                    else:
                        world.grow(steps)
                    world.write(rate, GROWTH_SECONDS)
                case Wait(seconds):
                    assert PAUSE_SECONDS_MIN <= seconds <= PAUSE_SECONDS_MAX
                    world.write(rate, seconds)
                case Full():
                    assert short
                    assert world.size >= limits.limit_bytes
                    world.write(rate, PAUSE_SECONDS_MAX)
    assert world.size <= limits.limit_bytes
