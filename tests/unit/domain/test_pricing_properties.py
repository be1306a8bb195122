"""Random tariffs and sessions cost to the minor unit, and exactly, what the naive pricer says."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargera.domain.money import minor_digits
from chargera.domain.pricing import (
    ChargingPeriod,
    ChargingState,
    MeteredSession,
    RegisterValue,
    StateChange,
    price_periods,
    price_session,
    running_cost,
)
from chargera.domain.tariff import (
    DayOfWeek,
    Dimension,
    PriceComponent,
    Restrictions,
    Tariff,
    TariffElement,
)
from tests.naive_pricer import naive_price

pytestmark = pytest.mark.untraced  # what these run is run by others

ZONES = ("UTC", "Europe/Amsterdam", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu")
# Ordinary days, and days on which clocks are put forward or back in one of the zones.
DAYS = (
    (2026, 3, 28),
    (2026, 3, 29),
    (2026, 10, 24),
    (2026, 10, 25),
    (2026, 4, 4),
    (2026, 10, 3),
    (2026, 3, 8),
    (2026, 11, 1),
    (2026, 7, 14),
    (2026, 12, 31),
)

prices = st.sampled_from(["0", "0.25", "0.3471", "1.2", "2", "5.005", "0.000001"]).map(Decimal)
vats = st.sampled_from([None, "0", "9", "21", "7.7"]).map(lambda v: v and Decimal(v))


@st.composite
def elements(draw):
    dimensions = draw(st.lists(st.sampled_from(list(Dimension)), min_size=1, unique=True))
    components = tuple(
        PriceComponent(
            dimension,
            draw(prices),
            draw(vats),
            draw(st.sampled_from([0, 1, 7, 60, 300, 500, 900])),
        )
        for dimension in dimensions
    )
    return TariffElement(components, draw(st.none() | restrictions()))


@st.composite
def restrictions(draw):
    """One to three restrictions: all at once would hardly ever hold."""
    times = st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 30, 59]))
    kwh = st.sampled_from(["0", "0.5", "1", "1", "3.333", "12"]).map(Decimal)
    seconds = st.sampled_from([0, 1, 600, 1800, 3599, 7200])
    dates = st.sampled_from([date(*day) for day in DAYS]).flatmap(
        lambda day: st.sampled_from([day, day + timedelta(days=1)])
    )
    possible = {
        "start_time": times,
        "end_time": times,
        "start_date": dates,
        "end_date": dates,
        "min_kwh": kwh,
        "max_kwh": kwh,
        "min_duration_s": seconds,
        "max_duration_s": seconds,
        "day_of_week": st.frozensets(st.sampled_from(list(DayOfWeek)), min_size=2, max_size=5),
    }
    names = draw(st.lists(st.sampled_from(sorted(possible)), min_size=1, max_size=3, unique=True))
    return Restrictions(**{name: draw(possible[name]) for name in names})


tariffs = st.builds(
    Tariff,
    tariff_id=st.just("T"),
    currency=st.sampled_from(["EUR", "JPY", "KWD"]),
    elements=st.lists(elements(), min_size=1, max_size=5).map(tuple),
)


@st.composite
def sessions(draw):
    """Readings and state changes anywhere, also outside of the session and at the same moment."""
    started_at = datetime(*draw(st.sampled_from(DAYS)), tzinfo=UTC) + timedelta(
        minutes=draw(st.integers(0, 24 * 60 - 1)),
        milliseconds=draw(st.sampled_from([0, 0, 12_345])),
    )
    length_ms = draw(
        st.sampled_from([0, 1, 1000, 3_600_000, 8 * 3_600_000])
        | st.integers(0, 4 * 3_600_000)
        | st.just(30 * 3_600_000 + 1)
    )
    ended_at = started_at + timedelta(milliseconds=length_ms)
    moments = st.integers(-2000, length_ms + 2000) | st.integers(0, length_ms // 60_000).map(
        lambda minute: minute * 60_000
    )
    times = sorted(draw(st.lists(moments, max_size=6)))
    register = draw(st.sampled_from([0, 123_456_789]))
    registers = []
    for ms in times:
        registers.append(RegisterValue(started_at + timedelta(milliseconds=ms), register))
        register += draw(st.sampled_from([0, 0, 1, 500, 1000, 3333, 11_000]))
    changes = tuple(
        StateChange(started_at + timedelta(milliseconds=ms), draw(st.sampled_from(ChargingState)))
        for ms in sorted(draw(st.lists(moments, max_size=3)))
    )
    zone = draw(st.sampled_from(ZONES))
    return MeteredSession(started_at, ended_at, zone, tuple(registers), changes)


def sums(bill):
    return {(line.dimension.value, line.vat_rate): line.exact for line in bill.lines}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tariff=tariffs, session=sessions())
def test_a_bill__any_tariff_and_session__is_what_the_naive_pricer_says(tariff, session):
    bill = price_session(tariff, session)
    naive = naive_price(tariff, session, minor_digits(tariff.currency))

    assert sums(bill) == naive.exact
    assert (bill.net_minor, bill.vat_minor) == (naive.net_minor, naive.vat_minor)


@settings(max_examples=100, deadline=None)
@given(tariff=tariffs, session=sessions())
def test_the_breakdown__any_bill__adds_up(tariff, session):
    bill = price_session(tariff, session)
    quantities = [q for period in bill.periods for q in period.quantities]
    measured = {
        dimension: sum(q.quantity for q in quantities if q.dimension is dimension)
        for dimension in Dimension
    }
    length = session.ended_at - session.started_at

    assert measured[Dimension.ENERGY] * 1000 == session.energy_wh
    assert measured[Dimension.TIME] + measured[Dimension.PARKING_TIME] == Fraction(
        length // timedelta(microseconds=1), 10**6
    )
    assert sum(period.exact for period in bill.periods) == bill.net_exact
    assert all(q.billed >= q.quantity for q in quantities)
    assert [p.started_at for p in bill.periods] == sorted(p.started_at for p in bill.periods)
    assert bill.periods[0].started_at == session.started_at


@settings(max_examples=60, deadline=None)
@given(tariff=tariffs, session=sessions(), at_ms=st.integers(-1000, 30 * 3_600_000))
def test_running_cost__any_moment__is_the_price_of_a_session_that_ends_there(
    tariff, session, at_ms
):
    now = session.started_at + timedelta(milliseconds=at_ms)
    live = MeteredSession(
        session.started_at, None, session.time_zone, session.registers, session.state_changes
    )
    ended = MeteredSession(
        session.started_at,
        max(now, session.started_at),
        session.time_zone,
        session.registers,
        session.state_changes,
    )

    assert running_cost(tariff, live, now) == price_session(tariff, ended)


@settings(max_examples=100, deadline=None)
@given(tariff=tariffs, session=sessions())
def test_price_periods__the_periods_of_any_bill__make_the_same_bill(tariff, session):
    bill = price_session(tariff, session)
    periods = []
    for period in bill.periods:
        used = {q.dimension: q.quantity for q in period.quantities}
        periods.append(
            ChargingPeriod(
                period.started_at,
                used.get(Dimension.ENERGY, Fraction(0)) * 1000,
                used.get(Dimension.TIME, Fraction(0)),
                used.get(Dimension.PARKING_TIME, Fraction(0)),
            )
        )
    again = price_periods(
        tariff,
        periods,
        started_at=session.started_at,
        ended_at=session.ended_at,
        time_zone=session.time_zone,
    )
    assert again == bill
