"""Keccak, addresses and words: the values of the chain as text."""

import pytest
from eth_utils import keccak, to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.chain_values import (
    address_text,
    document_address,
    hex_text,
    operator_word,
    parse_address,
    parse_hex,
    parse_passport_id,
    parse_signer,
    topic_address,
    topic_of_address,
)
from chargera.proofs.keccak import keccak256


@given(st.binary(max_size=300))
def test_keccak256__any_bytes__as_another_library(data: bytes) -> None:
    assert keccak256(data) == keccak(data)


@given(st.binary(min_size=20, max_size=20))
def test_address__any__written_with_checksum_and_read_again(address: bytes) -> None:
    text = address_text(address)
    assert text == to_checksum_address(address)
    assert parse_address(text, field="a") == parse_address(text.lower(), field="a") == address
    assert document_address(text, field="a") == address


# The example addresses of EIP-55, one of each group.
@pytest.mark.parametrize(
    "text",
    [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    ],
)
def test_address__examples_of_the_standard__have_their_checksum(text: str) -> None:
    assert address_text(bytes.fromhex(text[2:])) == text


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",  # a letter's case is wrong
        "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed\n",
    ],
)
def test_address__anything_else__refused_by_field(text: object) -> None:
    with pytest.raises(Unreadable) as refusal:
        parse_address(text, field="holder")
    assert refusal.value.field == "holder"


def test_document_address__lower_case__refused() -> None:
    lower = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"
    assert parse_address(lower, field="a")
    with pytest.raises(Unreadable, match="checksum"):
        document_address(lower, field="a")


@given(st.binary(max_size=70))
def test_hex__any_bytes__written_and_read_again(data: bytes) -> None:
    assert parse_hex(hex_text(data), field="x") == data
    assert parse_hex(hex_text(data), len(data), field="x") == data


@pytest.mark.parametrize("text", [5, "ab", "0xA0", "0x1", "0xabcd"])
def test_hex__not_of_that_size_or_form__refused(text: object) -> None:
    with pytest.raises(Unreadable, match="hex digits"):
        parse_hex(text, 1, field="x")


def test_operator_word__ascii_padded_with_zeros() -> None:
    assert operator_word("NL*C4E") == b"NL*C4E\0\0"


@pytest.mark.parametrize("text", ["", "NLC4E", "nl*c4e", "NL*C4EX", "NL*C4E\n", "NL*C4"])
def test_operator_word__no_operator_id__refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="operator id"):
        operator_word(text)


@pytest.mark.parametrize("topic", ["0.0.1001", "1.2.3", f"{2**32 - 1}.0.{10**17}"])
def test_topic_address__long_zero_and_back(topic: str) -> None:
    assert topic_of_address(topic_address(topic)) == topic


def test_topic_address__number_in_the_lowest_bytes() -> None:
    assert topic_address("0.0.1001") == bytes(18) + b"\x03\xe9"


@pytest.mark.parametrize("topic", ["1001", f"{2**32}.0.1"])
def test_topic_address__no_topic_or_too_large__refused(topic: str) -> None:
    with pytest.raises(InvalidInput):
        topic_address(topic)


@pytest.mark.parametrize("address", ["00" * 20, "00" * 11 + "01" + "00" * 8, "ff" * 20])
def test_signer__an_address_that_a_key_may_have__read(address: str) -> None:
    assert parse_signer(f"0x{address}", field="host").hex() == address


@pytest.mark.parametrize("address", ["00" * 18 + "03ea", "00" * 12 + "ff" * 8, "00" * 19 + "01"])
def test_signer__an_account_by_its_number__told_that_it_cannot_sign(address: str) -> None:
    with pytest.raises(InvalidInput, match="cannot sign typed data") as refusal:
        parse_signer(f"0x{address}", field="host")
    assert refusal.value.field == "host"
    assert "ED25519" in refusal.value.remedy


def test_signer__no_address__unreadable() -> None:
    with pytest.raises(Unreadable):
        parse_signer("0x12", field="host")


def test_passport_id__its_number__and_what_is_none_says_where_to_find_one() -> None:
    assert parse_passport_id(f"0x{'0' * 63}7") == 7
    for wrong in ("DEMO-10", "0x07", f"0x{'A' * 64}", 7):
        with pytest.raises(Unreadable, match="a passport id is 0x and 64") as caught:
            parse_passport_id(wrong)
        assert (caught.value.field, "passport show" in caught.value.remedy) == ("passport_id", True)
