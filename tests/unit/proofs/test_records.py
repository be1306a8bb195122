"""Records: their one form, and what is no reading."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import Unreadable
from chargera.domain.messages import ReadingContext, TransactionEventKind
from chargera.domain.pricing import ChargingState
from chargera.domain.transaction import SessionEvent
from chargera.proofs import canonical, records

AT = datetime(2026, 5, 4, 8, 0, 0, 123_000, tzinfo=UTC)

counts = st.none() | st.integers(-(2**53) + 1, 2**53 - 1)
times = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(
    lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=UTC)
)
readings = st.builds(
    SessionEvent,
    st.integers(0, 2**31),
    st.sampled_from(TransactionEventKind),
    st.booleans(),
    times,
    times,
    counts,
    counts,
    counts,
    st.sampled_from(ReadingContext),
    st.none() | st.sampled_from(ChargingState),
)


def reading() -> SessionEvent:
    return SessionEvent(
        0,
        TransactionEventKind.STARTED,
        True,
        AT,
        AT,
        0,
        1000,
        None,
        ReadingContext.BEGIN,
        ChargingState.IDLE,
    )


@given(readings)
def test_event_bytes__the_fast_way__equals_the_canonical_one(event: SessionEvent) -> None:
    encoded = records.event_bytes(event)
    assert encoded == canonical.encode(records.event_record(event))
    assert records.event_from_record(canonical.decode(encoded), field="e") == event  # type: ignore[arg-type] # an object


def test_time_text__any_zone__utc_with_milliseconds() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=2)))
    assert records.time_text(elsewhere) == records.time_text(AT) == "2026-05-04T08:00:00.123Z"
    assert records.time_value("2026-05-04T08:00:00.123Z", field="at") == AT


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "",
        "2026-05-04T08:00:00Z",
        "2026-05-04T08:00:00.123z",
        "2026-05-04 08:00:00.123Z",
        "2026-13-04T08:00:00.123Z",
        "2026-05-04T08:00:00.12+Z",
    ],
)
def test_time_value__another_form__unreadable(text: object) -> None:
    with pytest.raises(Unreadable) as caught:
        records.time_value(text, field="at")
    assert caught.value.field == "at"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("more", 1),
        ("n", None),
        ("n", True),
        ("seq_no", "1"),
        ("register_wh", 1.5),
        ("power_w", []),
        ("own", 1),
        ("kind", "Paused"),
        ("context", "Later"),
        ("charging", "maybe"),
        ("at", "now"),
        ("received_at", 0),
    ],
)
def test_event_from_record__wrong_member__unreadable(member: str, value: Any) -> None:
    with pytest.raises(Unreadable) as caught:
        records.event_from_record({**records.event_record(reading()), member: value}, field="e")
    assert (caught.value.field or "").startswith("e")


def test_events_digest__empty_and_not__of_the_canonical_list() -> None:
    one = records.event_bytes(reading())
    assert records.events_summary([])["digest"] == records.events_digest([])
    assert records.events_digest([one, one]) == records.events_summary([one, one])["digest"]
    assert records.events_digest([one]) != records.events_digest([one, one])


def test_deviation_record__names_the_frame_by_its_digest() -> None:
    record = records.deviation_record("Boot", "1", "too long", b"[]")
    assert len(record["frame_sha256"]) == 64
    assert records.authorize_record("ABC", None, "Accepted")["id_token_type"] is None
