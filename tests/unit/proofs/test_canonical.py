"""Canonical JSON: the general RFC 8785 form, and the log's profile of it against slow code."""

import base64
import json
import math
import struct
from enum import IntEnum, StrEnum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.canonical import DEPTH_MAX, decode, encode, rfc8785
from tests.unit.proofs.vector_files import load

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
INTEGER = st.integers(-(2**53) + 1, 2**53 - 1)
SCALAR = st.none() | st.booleans() | INTEGER | TEXT
ASCII_KEY = st.text(st.characters(max_codepoint=127), max_size=10)


def nested(key: st.SearchStrategy[str], scalar: st.SearchStrategy[object]):
    return st.recursive(
        scalar,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(key, inner, max_size=4),
        max_leaves=20,
    )


def slow_string(text: str) -> str:
    """RFC 8785, section 3.2.2.2, character by character."""
    named = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
    out = ""
    for char in text:
        code = ord(char)
        out += named.get(code) or (f"\\u{code:04x}" if code < 32 else char)
    return f'"{out}"'


def slow_form(value: object) -> str:
    """RFC 8785 without floats, written from the text of the RFC."""
    if isinstance(value, str):
        return slow_string(value)
    if isinstance(value, list):
        return "[" + ",".join(map(slow_form, value)) + "]"
    if isinstance(value, dict):

        def units(key: str) -> list[int]:
            data = key.encode("utf-16-be")
            return list(struct.unpack(f">{len(data) // 2}H", data))

        keys = sorted(value, key=units)
        return "{" + ",".join(f"{slow_string(k)}:{slow_form(value[k])}" for k in keys) + "}"
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


@pytest.mark.parametrize("vector", load("rfc8785")["vectors"], ids=lambda vector: vector["name"])
def test_rfc8785__published_vector__exact_bytes(vector):
    value = json.loads(base64.b64decode(vector["input_b64"]))
    assert rfc8785(value) == base64.b64decode(vector["canonical_b64"])


# RFC 8785, appendix B, and the limits between the notations of ECMAScript.
@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_rfc8785__float__as_ecmascript_prints_it(bits, text):
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert rfc8785(number) == text.encode()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rfc8785__any_float__reads_back_as_itself(number):
    text = rfc8785(number)
    assert float(text) == number
    mantissa, _, _ = text.partition(b"e")
    assert b"." not in mantissa or not mantissa.endswith(b"0")


@given(nested(TEXT, SCALAR))
@example({"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "ö": 7})
def test_rfc8785__any_value_without_floats__same_as_slow_code(value):
    assert rfc8785(value) == slow_form(value).encode()


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, 2**53, "\ud800", {"\udfff": 1}, {1: 1}, [b""], (1,)],
    ids=repr,
)
def test_rfc8785__no_i_json__refused(value):
    with pytest.raises(InvalidInput):
        rfc8785(value)


def test_rfc8785__nested_without_end__refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(InvalidInput, match="deeper"):
        rfc8785(value)


@given(nested(ASCII_KEY, SCALAR))
def test_encode__profile__is_rfc8785_and_decodes_to_the_same(value):
    data = encode(value)
    assert data == slow_form(value).encode() == rfc8785(value)
    decoded = decode(data)
    assert decoded == value
    assert encode(decoded) == data


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (1.0, None),
        ({"lines": [{"price": 1}, {"price": 1.5}]}, "lines[1].price"),
        ([2**53], "[0]"),
        ({"a": -(2**53)}, "a"),
        ({"ö": 1}, None),
        ({"a": {1: 2}}, "a"),
        ({"a": "\ud800"}, "a"),
        ({"a": (1,)}, "a"),
        ({"a": b""}, "a"),
    ],
    ids=repr,
)
def test_encode__outside_the_profile__refused_by_path(value, path):
    with pytest.raises(InvalidInput) as caught:
        encode(value)
    assert caught.value.field == path
    assert not isinstance(caught.value, Unreadable)


def test_encode__enum_members__only_those_of_text():
    class Colour(StrEnum):
        RED = "red"

    class Number(IntEnum):
        ONE = 1

    assert encode(Colour.RED) == b'"red"'
    with pytest.raises(InvalidInput):
        encode(Number.ONE)


def test_encode__depth__limit_is_exact():
    for wrap in (lambda inner: [inner], lambda inner: {"k": inner}):
        value: object = 0
        for _ in range(DEPTH_MAX):
            value = wrap(value)
        assert decode(encode(value)) == value
        with pytest.raises(InvalidInput, match="deeper"):
            encode(wrap(value))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" 1",
        b"1\n",
        b"{ }",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b"01",
        b"+1",
        b"-0",
        b"1.0",
        b"1e3",
        b"1E3",
        b"9007199254740992",
        b"NaN",
        b"Infinity",
        b"[1,]",
        b"'a'",
        b'"\\u0041"',
        b'"\\/"',
        b'"\\u000A"',
        b'"\\u0008"',
        b'"\\ud83d\\ude00"',
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\xc0\xaf"',
        b'"\n"',
        b"\xef\xbb\xbf1",
        "[1]".encode("utf-16"),
        b"truE",
        b"null null",
        '{"ö":1}'.encode(),
        b"[" * 33 + b"]" * 33,
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"1" * 5_000,
    ],
    ids=lambda data: data[:24].decode("latin-1"),
)
def test_decode__not_canonical__unreadable(data):
    with pytest.raises(Unreadable):
        decode(data)


RECORD = {
    "amount_minor": 1234,
    "evse": {"id": 2, "names": ["a\nb", "ü", '"', "\\"]},
    "ok": True,
    "reason": None,
}


@given(st.integers(0, len(encode(RECORD)) - 1), st.integers(1, 255))
def test_decode__one_byte_changed__refused_or_another_value(position, difference):
    data = bytearray(encode(RECORD))
    data[position] ^= difference
    try:
        value = decode(bytes(data))
    except Unreadable:
        return
    assert value != RECORD
    assert encode(value) == data


@given(st.binary(max_size=60))
def test_decode__any_bytes__unreadable_or_canonical(data):
    try:
        value = decode(data)
    except Unreadable:
        return
    assert encode(value) == data
