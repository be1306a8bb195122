"""The network clock never goes back, whatever the machine's clocks do."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from chargera.app.clock import NetworkClock, SystemEntropy, uuid7, wall_clock
from chargera.domain.errors import InvalidInput, Refused

START = datetime(2026, 5, 4, 8, 0, 0, 1999, tzinfo=UTC)


class Machine:
    def __init__(self) -> None:
        self.seconds = 100.0

    def clock(self, **options: object) -> NetworkClock:
        return NetworkClock(lambda: START, lambda: self.seconds, **options)  # type: ignore[arg-type] # as given


def test_now__whole_milliseconds_at_the_pace_asked_for() -> None:
    machine = Machine()
    clock = machine.clock(rate=60.0)
    assert clock.now() == START.replace(microsecond=1000)
    machine.seconds += 1.5
    assert clock.now() - START.replace(microsecond=1000) == timedelta(seconds=90)


def test_start__never_before_where_it_stood() -> None:
    later, earlier = START + timedelta(hours=1), START - timedelta(hours=1)
    machine = Machine()
    assert machine.clock(not_before=later).now() == later.replace(microsecond=1000)
    assert machine.clock(not_before=earlier).now() == START.replace(microsecond=1000)
    assert machine.clock(not_before=earlier, manual=True).now() == earlier.replace(microsecond=1000)


def test_manual__stands_until_it_is_advanced() -> None:
    machine = Machine()
    clock = machine.clock(manual=True)
    machine.seconds += 1000
    assert clock.now() == START.replace(microsecond=1000)
    assert clock.advance(90.5) == clock.now()
    assert clock.now() - START.replace(microsecond=1000) == timedelta(seconds=90.5)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 10**10])
def test_advance__not_forward_or_absurd__refused(seconds: float) -> None:
    with pytest.raises(InvalidInput):
        Machine().clock(manual=True).advance(seconds)


def test_advance__a_clock_that_runs__refused() -> None:
    with pytest.raises(Refused):
        Machine().clock().advance(1)


@pytest.mark.parametrize("rate", [0, -1, 10**9, float("nan")])
def test_rate__out_of_range__refused(rate: float) -> None:
    with pytest.raises(InvalidInput):
        Machine().clock(rate=rate)


def test_uuid7__time_first_then_randomness() -> None:
    text = uuid7(START, bytes(10))
    value = uuid.UUID(text)
    assert (value.version, value.variant, str(value)) == (7, uuid.RFC_4122, text)
    assert value.int >> 80 == int(START.timestamp() * 1000)
    assert uuid.UUID(uuid7(START, b"\xff" * 10)).version == 7
    entropy = SystemEntropy()
    made = [entropy.session_id(START) for _ in range(200)]  # more than are drawn at once
    assert len({text[19:] for text in made}) == 200
    assert len(entropy.bytes(32)) == 32
    assert wall_clock().tzinfo is UTC
