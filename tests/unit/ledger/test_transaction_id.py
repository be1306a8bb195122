"""Transaction ids are Hedera's, and one of them per millisecond and distinction."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput
from chargera.ledger.transaction_id import (
    HederaTransactionId,
    timestamp_ns,
    timestamp_text,
    to_ns,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, 5000, tzinfo=UTC)


@given(st.integers(0, 2**63))
def test_an_id_is_valid_already_where_a_clock_is_five_seconds_behind(distinction: int) -> None:
    made = HederaTransactionId.new("0.0.1002", NOW, distinction)
    assert to_ns(NOW) - 10**6 <= made.valid_start_ns + 5 * 10**9 < to_ns(NOW)
    assert HederaTransactionId.parse(str(made)) == made


def test_ids_of_one_moment_differ() -> None:
    assert len({str(HederaTransactionId.new("0.0.1", NOW, n)) for n in range(1000)}) == 1000


def test_the_text_has_nine_digits() -> None:
    assert str(HederaTransactionId("0.0.1002", 5)) == "0.0.1002@0.000000005"
    assert str(HederaTransactionId.new("0.0.1002", NOW, 7)) == "0.0.1002@1772366395.004000007"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.0.1002",
        "0.0.1002@1772366400",
        "0.0.1002@1772366400.1",
        "0.0@1772366400.000000001",
        "0.0.1002@01.000000001",
        "0.0.1002@1772366400.000000001 ",
        "0.0.1002-1772366400-000000001",
    ],
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        HederaTransactionId.parse(text)
    assert caught.value.field == "hedera_transaction_id"


def test_an_id_expires_after_two_minutes() -> None:
    made = HederaTransactionId.new("0.0.1002", NOW, 0)
    assert not made.is_expired(NOW + timedelta(seconds=114))
    assert made.is_expired(NOW + timedelta(seconds=115))


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_times_are_exact(time: datetime) -> None:
    nanoseconds = to_ns(time)
    assert nanoseconds % 1000 == 0
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000) == time
    assert timestamp_ns(timestamp_text(nanoseconds)) == nanoseconds


def test_a_timestamp_may_leave_out_digits() -> None:
    assert timestamp_ns("5") == 5 * 10**9
    assert timestamp_ns("5.25") == 5_250_000_000
    for text in ("", "a", "5.", "5.0000000001", "-5", "12345678901"):
        with pytest.raises(InvalidInput):
            timestamp_ns(text)
