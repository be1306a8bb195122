"""Microseconds, time zones, and when their clocks are put forward or back."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput
from chargera.domain.zones import (
    DAY_US,
    SECOND_US,
    from_us,
    offset_spans,
    offset_us,
    require_time_zone,
    to_us,
)

HOUR_US = 3600 * SECOND_US


@given(st.datetimes(timezones=st.just(UTC)))
def test_from_us__any_time__comes_back(at):
    assert from_us(to_us(at)) == at


def test_to_us__another_offset__same_instant():
    at = datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    assert to_us(at) == 0


@pytest.mark.parametrize("name", ["UTC", "Europe/Amsterdam", "America/Argentina/Buenos_Aires"])
def test_require_time_zone__known__nothing(name):
    require_time_zone(name)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../etc/passwd", "/etc/hosts", "Europe", "\0"]
)
def test_require_time_zone__unknown__refused(name):
    with pytest.raises(InvalidInput) as refused:
        require_time_zone(name)
    assert refused.value.field == "time_zone"


@pytest.mark.parametrize(
    ("zone", "changes"),
    [
        ("UTC", []),
        ("Asia/Kathmandu", []),
        ("Europe/Amsterdam", [("2026-03-29T01:00", 2), ("2026-10-25T01:00", 1)]),
        ("America/New_York", [("2026-03-08T07:00", -4), ("2026-11-01T06:00", -5)]),
        ("Australia/Lord_Howe", [("2026-04-04T15:00", 10.5), ("2026-10-03T15:30", 11)]),
    ],
)
def test_offset_spans__a_year__starts_and_changes(zone, changes):
    start = to_us(datetime(2026, 1, 1, tzinfo=UTC))
    spans = offset_spans(zone, start, start + 365 * DAY_US)
    expected = [
        (to_us(datetime.fromisoformat(at).replace(tzinfo=UTC)), int(hours * HOUR_US))
        for at, hours in changes
    ]
    assert spans == [(start, offset_us(zone, start)), *expected]


def test_offset_spans__change_at_either_edge__told_once():
    change = to_us(datetime(2026, 3, 29, 1, tzinfo=UTC))
    assert offset_spans("Europe/Amsterdam", change, change + 1) == [(change, 2 * HOUR_US)]
    assert offset_spans("Europe/Amsterdam", change - 1, change) == [(change - 1, HOUR_US)]
    assert len(offset_spans("Europe/Amsterdam", change - 1, change + 1)) == 2


@given(
    st.sampled_from(["Europe/London", "America/St_Johns", "Africa/Casablanca", "Pacific/Apia"]),
    st.datetimes(datetime(2009, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    st.integers(0, 40 * 24 * 60),
)
def test_offset_spans__any_moment__the_span_says_what_the_calendar_says(zone, start, minutes):
    begin = to_us(start)
    at = start + timedelta(minutes=minutes)
    spans = offset_spans(zone, begin, begin + 50 * DAY_US)
    offset = [offset for us, offset in spans if us <= to_us(at)][-1]
    assert timedelta(microseconds=offset) == at.astimezone(ZoneInfo(zone)).utcoffset()
