"""The station's clock: follows what it is told, never goes back, and wakes who waits."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from chargera.sim.clock import FIRST_TIME, StationClock

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


class Monotonic:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def clock_at(rate: float | None, **options: object) -> tuple[StationClock, Monotonic]:
    monotonic = Monotonic()
    return StationClock(rate, monotonic=monotonic, **options), monotonic  # type: ignore[arg-type]  # options of one test each


def test_before_it_is_told_it_is_1970() -> None:
    clock, _ = clock_at(1.0)
    assert clock.now() == FIRST_TIME


@pytest.mark.parametrize("rate", [1.0, 60.0, 0.0, None])
def test_it_runs_at_the_network_s_rate(rate: float | None) -> None:
    clock, monotonic = clock_at(rate)
    clock.start_at(NOON)
    monotonic.now_s += 10
    assert clock.now() == NOON + timedelta(seconds=10 * (rate or 0))


def test_it_never_goes_back() -> None:
    clock, monotonic = clock_at(60.0)
    clock.start_at(NOON)
    monotonic.now_s += 10
    shown = clock.now()
    clock.follow(NOON + timedelta(minutes=9))
    assert clock.now() == shown
    monotonic.now_s += 2
    assert clock.now() == NOON + timedelta(minutes=11)


def test_it_goes_back_only_when_it_is_told_for_the_first_time() -> None:
    clock, _ = clock_at(1.0)
    clock.start_at(NOON)
    clock.start_at(NOON - timedelta(days=1))
    assert clock.now() == NOON - timedelta(days=1)


def test_a_station_behind_catches_up_and_stays_there() -> None:
    clock, monotonic = clock_at(1.0, behind=timedelta(hours=1), speed=361.0)
    clock.start_at(NOON)
    monotonic.now_s += 5
    assert clock.now() == NOON - timedelta(hours=1)
    assert clock.begin() == NOON - timedelta(hours=1)
    monotonic.now_s += 5
    assert clock.now() == NOON - timedelta(hours=1) + timedelta(seconds=5 * 361)
    monotonic.now_s += 5
    assert clock.now() == NOON - timedelta(hours=1) + timedelta(seconds=10 * 361)
    monotonic.now_s += 5
    assert clock.now() == NOON + timedelta(seconds=20)
    monotonic.now_s += 5
    assert clock.now() == NOON + timedelta(seconds=25)


@pytest.mark.parametrize(
    ("step_s", "between_s", "fine", "rate"),
    [
        (1.1, 1.1, True, 1.0),
        (1.15, 1.1, True, 1.0),
        (66.0, 1.1, True, 60.0),
        (0.0, 1.1, True, 0.0),
        (2.2, 1.1, True, 2.0),
        (1.0, 1.1, False, 1.0),
        (2.0, 1.1, False, 1.0),
        (0.0, 1.1, False, 0.0),
        (660.0, 1.1, False, 600.0),
        (-5.0, 1.1, True, 0.0),
    ],
)
def test_measuring(step_s: float, between_s: float, fine: bool, rate: float) -> None:
    clock, _ = clock_at(None)
    clock.measure(NOON, NOON + timedelta(seconds=step_s), between_s, fine=fine)
    assert clock.rate == pytest.approx(rate)


def test_real_seconds() -> None:
    assert clock_at(60.0)[0].real_s(300, at_rate_0=0.5) == 5.0
    assert clock_at(0.0)[0].real_s(300, at_rate_0=0.5) == 0.5


async def test_sleeping_until_a_time() -> None:
    clock = StationClock(3600.0)
    clock.start_at(NOON)
    assert await clock.sleep_until(NOON - timedelta(hours=1))
    assert await clock.sleep_until(NOON + timedelta(minutes=5))
    assert clock.now() >= NOON + timedelta(minutes=5)


async def test_being_woken() -> None:
    clock, wake = StationClock(1.0), asyncio.Event()
    clock.start_at(NOON)
    sleeping = asyncio.create_task(clock.sleep_until(NOON + timedelta(hours=1), wake))
    await asyncio.sleep(0)
    wake.set()
    assert not await sleeping
    assert not await clock.sleep_until(NOON + timedelta(hours=1), wake)


async def test_where_time_stands_still_only_an_answer_wakes() -> None:
    clock = StationClock(0.0)
    clock.start_at(NOON)
    sleeping = asyncio.create_task(clock.sleep_until(NOON + timedelta(hours=1)))
    for minutes in (10, 30, 60):
        await asyncio.sleep(0.01)
        assert not sleeping.done()
        clock.follow(NOON + timedelta(minutes=minutes))
    assert await sleeping
