"""One account is one holder, by whichever of its addresses it is named."""

from typing import Any

import pytest

from chargera.domain.errors import InvalidInput, NotFound, Refused
from chargera.ledger.hedera.accounts import (
    Accounts,
    account_of,
    check_signs_typed_data,
    is_long_zero,
    long_zero,
)
from chargera.ledger.hedera.mirror import MirrorAccount
from tests.unit.ledger.hedera.fakes import mirror_answering, paths

ALIAS = bytes.fromhex("cafe" * 10)
NUMBERED = long_zero("0.0.1002")


def account(number: int, address: bytes, key_type: str | None = "ECDSA_SECP256K1") -> Any:
    return {
        "account": f"0.0.{number}",
        "balance": {"balance": 5},
        "deleted": number == 1009,
        "ethereum_nonce": 3,
        "evm_address": f"0x{address.hex()}",
        "key": None if key_type is None else {"_type": key_type, "key": "02" * 33},
    }


def network() -> dict[str, Any]:
    ecdsa = account(1002, ALIAS)
    return {
        "/accounts/0.0.1002": ecdsa,
        f"/accounts/0x{ALIAS.hex()}": ecdsa,
        f"/accounts/0x{NUMBERED.hex()}": ecdsa,
        "/accounts/0.0.1003": account(1003, long_zero("0.0.1003"), "ED25519"),
        f"/accounts/0x{long_zero('0.0.1003').hex()}": account(
            1003, long_zero("0.0.1003"), "ED25519"
        ),
        f"/accounts/0x{bytes(19).hex()}07": account(7, long_zero("0.0.7"), "ProtobufEncoded"),
        f"/accounts/0x{'aa' * 20}": account(1008, b"\xaa" * 20, None),
        f"/accounts/0x{'bb' * 20}": account(1009, b"\xbb" * 20),
    }


def accounts() -> Accounts:
    return Accounts(mirror_answering(paths(network())))


def test_long_zero__the_number_in_the_last_eight_bytes() -> None:
    assert NUMBERED.hex() == "00" * 18 + "03ea"
    assert account_of(NUMBERED) == "0.0.1002"
    assert is_long_zero(NUMBERED)
    assert not is_long_zero(ALIAS)
    assert not is_long_zero(bytes(20))  # nobody
    assert not is_long_zero(b"\x01" + bytes(19))


async def test_canonical__both_addresses_of_an_account__its_alias() -> None:
    known = accounts()
    assert await known.canonical(ALIAS) == ALIAS
    assert await known.canonical(NUMBERED) == ALIAS
    assert await known.canonical(NUMBERED) == ALIAS  # kept


async def test_canonical__no_alias_or_no_account__itself() -> None:
    known = accounts()
    for account_id in ("0.0.1003", "0.0.4242"):
        address = long_zero(account_id)
        assert await known.canonical(address) == address
    assert await known.canonical(bytes(20)) == bytes(20)


async def test_canonical__an_account_that_gets_its_alias_later__is_asked_again() -> None:
    documents = network()
    known = Accounts(mirror_answering(paths(documents)))
    address = long_zero("0.0.1003")
    assert await known.canonical(address) == address
    documents["/accounts/0.0.1003"] = account(1003, b"\x77" * 20)
    assert await known.canonical(address) == b"\x77" * 20


async def test_address__of_an_id() -> None:
    assert await accounts().address("0.0.1002") == ALIAS
    with pytest.raises(NotFound):
        await accounts().address("0.0.4242")
    with pytest.raises(InvalidInput):
        await accounts().address("/../0.0.1")


async def test_sender__no_account__told_how_to_get_one() -> None:
    assert (await accounts().sender(ALIAS)).account_id == "0.0.1002"
    with pytest.raises(Refused, match="no account on Hedera") as raised:
        await accounts().sender(b"\x99" * 20)
    assert "transfer some HBAR" in raised.value.remedy
    with pytest.raises(Refused, match=r"0\.0\.1009 is deleted"):
        await accounts().sender(b"\xbb" * 20)


async def mirrored(named: str | bytes, documents: dict[str, Any] | None = None) -> MirrorAccount:
    return await mirror_answering(paths(documents or network())).account(named)


async def test_typed_data__ecdsa_and_new_accounts__may_sign() -> None:
    check_signs_typed_data(await mirrored(ALIAS))
    check_signs_typed_data(await mirrored(b"\xaa" * 20))


async def test_typed_data__an_account_that_has_not_signed_yet__may() -> None:
    """A mirror shows an empty key list for one that a transfer has made."""
    hollow = account(1010, b"\xcc" * 20) | {"key": {"_type": "ProtobufEncoded", "key": "3200"}}
    check_signs_typed_data(await mirrored("0.0.1010", {"/accounts/0.0.1010": hollow}))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (long_zero("0.0.1003"), r"0\.0\.1003 has an ED25519 key, which cannot sign typed data"),
        (long_zero("0.0.7"), "a list of keys"),
    ],
)
async def test_typed_data__other_keys__told_that_they_cannot(address: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words) as raised:
        check_signs_typed_data(await mirrored(address))
    assert "ECDSA" in raised.value.remedy
