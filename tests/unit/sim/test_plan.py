"""Plans: cars draw what physics allows, come in order, and the same seed brings the same cars."""

from datetime import timedelta
from itertools import islice, pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from chargera.sim.plan import (
    MS_PER_HOUR,
    ChargingCurve,
    ObservedSession,
    PlannedSession,
    busy_days,
    some_sessions,
)

CURVES = st.builds(
    ChargingCurve, st.integers(500, 400_000), st.integers(1, 120_000), st.integers(0, 60)
)


@given(CURVES, st.lists(st.integers(0, 40 * MS_PER_HOUR), min_size=2, max_size=20))
def test_energy_only_grows_and_never_faster_than_the_power_allows(
    curve: ChargingCurve, moments: list[int]
) -> None:
    moments.sort()
    for earlier, later in pairwise(moments):
        gained_wh = curve.energy_at(later) - curve.energy_at(earlier)
        assert 0 <= gained_wh <= curve.power_w * (later - earlier) / MS_PER_HOUR + 1


@given(CURVES)
def test_the_car_gets_exactly_its_energy_and_then_no_power(curve: ChargingCurve) -> None:
    assert curve.energy_at(0) == 0
    assert curve.energy_at(curve.full_after_ms - 1) <= curve.energy_wh
    assert curve.energy_at(curve.full_after_ms) == curve.energy_wh
    assert curve.power_at(curve.full_after_ms) == 0
    assert curve.power_at(curve.full_after_ms + MS_PER_HOUR) == 0


@given(CURVES, st.integers(0, 40 * MS_PER_HOUR))
def test_power_keeps_to_its_limit_and_falls_at_the_end(curve: ChargingCurve, at: int) -> None:
    assert 0 <= curve.power_at(at + 1) <= curve.power_at(at) <= curve.power_w


def test_the_taper() -> None:
    curve = ChargingCurve(power_w=10_000, energy_wh=10_000)
    assert curve.constant_ms == 48 * 60_000
    assert curve.taper_ms == 24 * 60_000
    assert curve.energy_at(curve.constant_ms) == 8_000
    assert curve.power_at(curve.constant_ms - 1) == 10_000
    half = curve.constant_ms + curve.taper_ms // 2
    assert curve.power_at(half) == 5_000
    assert curve.energy_at(half) == 9_500


def test_a_connector_limits_a_car() -> None:
    session = PlannedSession(timedelta(0), timedelta(hours=1), 5_000, 50_000, "AB")
    assert session.curve(22_000).power_w == 22_000
    assert session.curve(150_000).power_w == 50_000


def test_some_sessions_take_turns_and_end_full() -> None:
    sessions = list(some_sessions(5, Random(1), ["A", "B"], evses=(1, 2)))
    assert [session.evse for session in sessions] == [1, 2, 1, 2, 1]
    assert sessions[0].arrives_after == timedelta(0)
    for session in sessions:
        full = timedelta(milliseconds=session.curve(11_000).full_after_ms)
        assert session.parked_for > full
        assert session.id_token in {"A", "B"}
    assert sessions == list(some_sessions(5, Random(1), ["A", "B"], evses=(1, 2)))


OBSERVED = [
    ObservedSession(arrived_s=hour * 3600, parked_s=3600, energy_wh=5000, power_w=50_000)
    for hour in range(6, 20)
]


def test_days_repeat_without_end_and_begin_at_the_hour_given() -> None:
    days = busy_days(OBSERVED, {1: 22_000, 2: 11_000}, Random(3), ["A"], begins_s=12 * 3600)
    sessions = list(islice(days, 40))
    arrivals = [session.arrives_after for session in sessions]
    assert arrivals == sorted(arrivals)
    assert arrivals[0] >= timedelta(0)
    assert arrivals[-1] > timedelta(days=5)
    for session in sessions:
        hour = (session.arrives_after + timedelta(hours=12)) % timedelta(days=1)
        assert timedelta(hours=6) <= hour <= timedelta(hours=19)
        assert session.power_w == {1: 22_000, 2: 11_000}[session.evse]
    again = busy_days(OBSERVED, {1: 22_000, 2: 11_000}, Random(3), ["A"], begins_s=12 * 3600)
    assert list(islice(again, 40)) == sessions


def test_few_records_are_enough() -> None:
    days = busy_days(OBSERVED[:1], {1: 7_000}, Random(3), ["A"], begins_s=0, per_day=9)
    assert len(list(islice(days, 3))) == 3
