"""JSON with exact numbers, and values that know their path."""

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput, Unreadable, Unsupported
from chargera.proofs import ocpi_json
from chargera.proofs.ocpi_json import (
    Fields,
    calendar_date,
    decimal,
    encode_json,
    instant,
    list_of,
    located,
    one_of,
    parse_json,
    text,
    time_of_day,
    whole,
)


class Colour(StrEnum):
    RED = "RED"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals(-(10**9), 10**9, places=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_encode_json__any_document__comes_back_exactly(document):
    def with_str(value):
        return str(value) if isinstance(value, Decimal) else value

    again = parse_json(encode_json(document))
    assert again == document
    assert json.dumps(again, default=with_str) == json.dumps(document, default=with_str)


def test_encode_json__decimals__numbers_as_they_are():
    document = {"a": [Decimal("0.10"), Decimal("1E+3"), Decimal("1E-7"), 3, True, None, "é\n"]}
    assert encode_json(document) == '{"a":[0.10,1000,0.0000001,3,true,null,"é\\n"]}'.encode()


@pytest.mark.parametrize("value", [0.5, {1, 2}, object()])
def test_encode_json__what_json_has_not__type_error(value):
    with pytest.raises(TypeError):
        encode_json({"a": value})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"3",
        b'{"a": 1',
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999999999999999999999}',
        b'{"a": "\xff"}',
        b"[" * 100_000,
        b" " * (ocpi_json.MAX_BYTES + 1),
    ],
)
def test_parse_json__no_document__unreadable(data):
    with pytest.raises(Unreadable):
        parse_json(data)


def test_parse_json__text_or_bytes__decimals_exact():
    for data in ('{"a": 0.10}', b'{"a": 0.10}'):
        assert str(parse_json(data)["a"]) == "0.10"


@pytest.mark.parametrize(
    ("reader", "value", "read"),
    [
        (text(3), "abc", "abc"),
        (whole, 7, 7),
        (whole, Decimal("7.0"), 7),
        (decimal, 7, Decimal(7)),
        (decimal, Decimal("0.2500"), Decimal("0.25")),
        (decimal, "0.2500", Decimal("0.25")),
        (decimal, "-3", Decimal(-3)),
        (decimal, Decimal("0.000"), Decimal(0)),
        (instant, "2026-03-29T01:30:00Z", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        (instant, "2026-03-29T01:30:00", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        (instant, "2026-03-29T01:30:00.5", datetime(2026, 3, 29, 1, 30, 0, 500_000, UTC)),
        (instant, "2026-03-29T03:30:00+02:00", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        (time_of_day, "07:30", time(7, 30)),
        (calendar_date, "2026-02-28", date(2026, 2, 28)),
        (one_of(Colour), "RED", Colour.RED),
        (list_of(whole, 2), [1, 2], (1, 2)),
    ],
)
def test_readers__right_value__read(reader, value, read):
    assert reader(value, "x") == read
    assert type(reader(value, "x")) is type(read)


@pytest.mark.parametrize(
    ("reader", "value"),
    [
        (text(3), ""),
        (text(3), "abcd"),
        (text(3), "a\n"),
        (text(3), 3),
        (whole, "7"),
        (whole, True),
        (whole, Decimal("7.5")),
        (whole, Decimal("1E+40")),
        (whole, Decimal("NaN")),
        (whole, 7.0),
        (decimal, True),
        (decimal, None),
        (decimal, 0.5),
        (decimal, "0,5"),
        (decimal, "1e5"),
        (decimal, "01"),
        (decimal, " 1"),
        (decimal, "1" * 31),
        (decimal, "1" * 29),
        (decimal, Decimal("Infinity")),
        (decimal, Decimal("1E+29")),
        (decimal, Decimal("1E-29")),
        (instant, "2026-03-29"),
        (instant, "2026-02-30T00:00:00Z"),
        (instant, "2026-03-29T24:00:01Z"),
        (instant, "0001-01-01T00:00:00+02:00"),
        (instant, "20260329T013000Z"),
        (instant, 1_700_000_000),
        (time_of_day, "7:30"),
        (time_of_day, "24:00"),
        (time_of_day, "07:30:00"),
        (time_of_day, 730),
        (calendar_date, "2026-02-30"),
        (calendar_date, "20260228"),
        (calendar_date, None),
        (one_of(Colour), "red"),
        (one_of(Colour), ["RED"]),
        (list_of(whole, 2), [1, 2, 3]),
        (list_of(whole, 2), {"0": 1}),
    ],
)
def test_readers__wrong_value__refused_with_its_path(reader, value):
    with pytest.raises(InvalidInput) as refused:
        reader(value, "a.b[2]")
    assert refused.value.field == "a.b[2]"
    assert refused.value.remedy


def test_readers__float__told_how_to_read_exactly():
    with pytest.raises(InvalidInput) as refused:
        decimal(0.1, "price")
    assert "parse_json" in refused.value.remedy


def test_readers__long_value__shortened_in_the_message():
    with pytest.raises(InvalidInput) as refused:
        whole("x" * 1000, "a")
    assert len(refused.value.message) < 100


def test_list_of__wrong_item__path_has_its_index():
    with pytest.raises(InvalidInput) as refused:
        list_of(list_of(whole, 5), 5)([[1], [2, "x"]], "rows")
    assert refused.value.field == "rows[1][1]"


def test_fields__null_and_absent__the_same():
    fields = Fields.of({"a": None, "b": 1}, "root", frozenset({"a", "b"}))
    assert fields.optional("a", whole) is None
    assert fields.optional("c", whole) is None
    assert fields.required("b", whole) == 1
    with pytest.raises(InvalidInput, match=r"root\.a is missing") as refused:
        fields.required("a", whole)
    assert refused.value.field == "root.a"


def test_fields__unknown_member__unsupported_by_name_unless_null():
    Fields.of({"x": None}, "", frozenset({"a"}))
    with pytest.raises(Unsupported) as refused:
        Fields.of({"x": 0}, "", frozenset({"a"}))
    assert refused.value.field == "x"


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_fields__no_object__refused(value):
    with pytest.raises(InvalidInput) as refused:
        Fields.of(value, "")
    assert refused.value.field is None


def test_located__error_of_the_domain__path_and_name_of_json():
    with pytest.raises(Unsupported) as refused, located("a[1]", {"tariff_id": "id"}):
        raise Unsupported("no", field="tariff_id", remedy="other")
    assert refused.value.as_dict() == {
        "code": "unsupported",
        "message": "no",
        "field": "a[1].id",
        "remedy": "other",
    }
    with pytest.raises(InvalidInput) as refused, located("a", {"b": "c"}):
        raise InvalidInput("no", field="price")
    assert refused.value.field == "a.price"
