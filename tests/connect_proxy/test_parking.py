"""How many connections an agent is asked to park."""

from __future__ import annotations

from connect_proxy.parking import PARKED_MAX, PARKED_MIN, QUIET_SECONDS, Parking


def test_each_burst_doubles_the_number_up_to_a_limit() -> None:
    parking = Parking()
    numbers, more = [], []
    for burst in range(8):
        now = 100.0 + burst
        more.append(parking.request_waited(now))
        assert not parking.request_waited(now + 0.01), "the same burst counts once"
        numbers.append(parking.wanted)
    assert numbers == [4, 8, 16, 32, 64, 64, 64, 64]
    assert more == [True] * 5 + [False] * 3


def test_a_minute_without_a_wait_halves_it_down_to_the_minimum() -> None:
    parking = Parking()
    assert not parking.quiet(1000.0)
    for burst in range(3):
        parking.request_waited(100.0 + burst)
    assert parking.wanted == 16
    assert not parking.quiet(102.0 + QUIET_SECONDS - 1)
    numbers = []
    now = 102.0
    while True:
        now += QUIET_SECONDS
        if not parking.quiet(now):
            break
        numbers.append(parking.wanted)
    assert numbers == [8, 4, PARKED_MIN]


def test_waits_keep_the_number_up_also_at_the_limit() -> None:
    parking = Parking()
    now = 100.0
    for _ in range(10):
        now += QUIET_SECONDS - 1
        parking.request_waited(now)
    assert parking.wanted == PARKED_MAX
    assert not parking.quiet(now + QUIET_SECONDS - 2)
