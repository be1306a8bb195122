"""Values of the chain as text: addresses with their checksum (EIP-55), words and bytes in hex.

Inside, an address is 20 bytes and a word 32. Outside, both are `0x` and hex digits; each value
has one text that documents may hold, and people may also write addresses in lower case.
"""

import re
from functools import lru_cache

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.keccak import keccak256
from chargera.proofs.running_hash import parse_entity_id

ADDRESS_BYTES = 20
WORD_BYTES = 32
ZERO_ADDRESS = bytes(ADDRESS_BYTES)
ZERO_WORD = bytes(WORD_BYTES)
OPERATOR_WORD_BYTES = 8
ENTITY_NUMBER_BYTES = 8
"""Of a long-zero address, at its end."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_BYTES = re.compile(r"0x(?:[0-9a-f]{2})*")
_OPERATOR_ID = re.compile(r"[A-Z]{2}\*[A-Z0-9]{3}")
_ENTITY_LIMITS = (2**32, 2**64, 2**64)
"""Shard, realm and number in the 4, 8 and 8 bytes of a long-zero address."""


@lru_cache(maxsize=4_096)
def address_text(address: bytes) -> str:
    """Return an address with its EIP-55 checksum in the case of its letters."""
    assert len(address) == ADDRESS_BYTES, "an address has 20 bytes"
    digits = address.hex()
    marks = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(mark, 16) >= 8 else digit
        for digit, mark in zip(digits, marks, strict=False)
    )


def parse_address(text: object, *, field: str) -> bytes:
    """Return the 20 bytes of an address in lower case or with a right checksum.

    Raises Unreadable, naming `field`, for anything else: a wrong checksum is a mistyped address.
    """
    if isinstance(text, str) and _ADDRESS.fullmatch(text):
        address = bytes.fromhex(text[2:])
        if text in (address_text(address), f"0x{address.hex()}"):
            return address
    raise Unreadable(
        "not an address: 0x and 40 hex digits, in lower case or with the checksum of EIP-55",
        field=field,
        remedy="copy the address again",
    )


def parse_signer(text: object, *, field: str) -> bytes:
    """Return the 20 bytes of an address whose owner is to sign typed data (EIP-712).

    Raises Unreadable as `parse_address`, InvalidInput for an address that Hedera makes of an
    account's number: no signature leads to it. An account with an ED25519 key has no other.
    """
    address = parse_address(text, field=field)
    if any(address) and not any(address[:-ENTITY_NUMBER_BYTES]):
        raise InvalidInput(
            f"{text} is an account of Hedera by its number, which cannot sign typed data",
            field=field,
            remedy="name the alias of an account with an ECDSA key; one with an ED25519 key has"
            " none and cannot sign for contracts",
        )
    return address


def document_address(text: object, *, field: str) -> bytes:
    """Return the address that a document names; Unreadable unless it is written with checksum."""
    address = parse_address(text, field=field)
    if text != address_text(address):
        raise Unreadable("an address without its checksum (EIP-55)", field=field)
    return address


def hex_text(data: bytes) -> str:
    """Return bytes as `0x` and lower-case hex digits."""
    return f"0x{data.hex()}"


def parse_hex(text: object, size: int | None = None, *, field: str) -> bytes:
    """Return the bytes of lower-case hex text; Unreadable unless there are `size` of them."""
    if isinstance(text, str) and _BYTES.fullmatch(text):
        data = bytes.fromhex(text[2:])
        if size in (None, len(data)):
            return data
    digits = "an even number of" if size is None else 2 * size
    raise Unreadable(f"not 0x and {digits} lower-case hex digits", field=field)


def parse_passport_id(text: object) -> int:
    """Return the number of a passport's token. Raises Unreadable for what is no passport id."""
    try:
        return int.from_bytes(parse_hex(text, WORD_BYTES, field="passport_id"))
    except Unreadable as error:
        raise Unreadable(
            f"a passport id is 0x and {2 * WORD_BYTES} lower-case hex digits",
            field="passport_id",
            remedy="`chargera passport show STATION` shows that of a station",
        ) from error


def operator_word(operator_id: str) -> bytes:
    """Return an operator id (`NL*C4E`) as the contracts write it: ASCII, padded to 8 bytes."""
    if not _OPERATOR_ID.fullmatch(operator_id):
        raise InvalidInput(
            "an operator id is an OCPI country code, '*' and a party id",
            field="operator_id",
            remedy="write it like NL*C4E",
        )
    return operator_id.encode().ljust(OPERATOR_WORD_BYTES, b"\0")


def topic_address(topic_id: str) -> bytes:
    """Return the long-zero address of a topic: shard, realm and number in 4, 8 and 8 bytes."""
    parts = parse_entity_id(topic_id, "topic")
    if any(part >= limit for part, limit in zip(parts, _ENTITY_LIMITS, strict=True)):
        raise InvalidInput("topic: its shard does not fit into an address", field="topic")
    shard, realm, number = parts
    return shard.to_bytes(4, "big") + realm.to_bytes(8, "big") + number.to_bytes(8, "big")


def topic_of_address(address: bytes) -> str:
    """Return the topic id that a long-zero address stands for."""
    shard, realm, number = address[:4], address[4:12], address[12:]
    return ".".join(str(int.from_bytes(part, "big")) for part in (shard, realm, number))
