import struct
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.store import binary


def test_text__is_its_length_and_bytes() -> None:
    assert binary.text("é") == b"\0\0\0\2\xc3\xa9"
    assert binary.text(None) == b"\xff\xff\xff\xff"


def test_text__what_the_database_refuses__is_replaced() -> None:
    assert binary.text("a\0b") == binary.text("a\ufffdb")
    assert binary.text("\ud800") == binary.text("?")


@pytest.mark.parametrize("value", ["BENCH-1", "", None])
def test_word__is_text(value: str | None) -> None:
    assert binary.word(value) == binary.text(value)


def test_fields__of_other_kinds() -> None:
    assert binary.bytea(b"\0\1") == b"\0\0\0\2\0\1"
    assert binary.bytea(None) == binary.int4(None) == binary.int8(None) == binary.NULL
    assert binary.int4(-2) == struct.pack("!ii", 4, -2)
    assert binary.int8(2**40) == struct.pack("!iq", 8, 2**40)
    assert (binary.boolean(True), binary.boolean(False)) == (b"\0\0\0\1\1", b"\0\0\0\1\0")
    assert binary.timestamp(None) == binary.NULL


@given(st.datetimes(timezones=st.just(UTC)))
def test_timestamp__comes_back_as_it_went(at: datetime) -> None:
    field = binary.timestamp(at)
    assert field[:4] == b"\0\0\0\x08"
    assert binary.moment(field[4:]) == at


def test_timestamp__of_another_zone__is_the_same_instant() -> None:
    at = datetime(2026, 11, 24, 12, tzinfo=timezone(timedelta(hours=2)))
    assert binary.timestamp(at) == binary.timestamp(at.astimezone(UTC))


@given(st.integers(-(2**63), 2**63 - 1))
def test_plain_int8__comes_back_as_it_went(value: int) -> None:
    assert binary.integer(binary.plain_int8(value)) == value


def test_plain_int4__has_four_bytes() -> None:
    assert binary.plain_int4(7) == b"\0\0\0\7"


def test_results__that_cannot_be_null__are_not() -> None:
    for read in (binary.integer, binary.string):
        with pytest.raises(AssertionError):
            read(None)


def test_array__has_shape_kind_and_fields() -> None:
    fields = [binary.text("a"), binary.NULL]
    head = struct.pack("!iiiii", 1, 0, 25, 2, 1)
    assert binary.array(binary.TEXT, fields) == head + b"\0\0\0\1a\xff\xff\xff\xff"
    assert binary.array(binary.INT4, []) == struct.pack("!iii", 0, 0, 23)
