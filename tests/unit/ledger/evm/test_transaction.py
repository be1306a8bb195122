"""EIP-1559 transactions: as eth-account makes them, and nothing but well-formed ones."""

import pytest
import rlp
from eth_account import Account as Web3Account
from hypothesis import given
from hypothesis import strategies as st

from chargera.app.chain_ports import BadTransaction
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.transaction import RAW_BYTES_MAX, contract_address, parse, sign
from chargera.proofs.keccak import keccak256
from chargera.proofs.secp256k1 import N

KEY = ChainKey(b"\x07" * 32)
TO = b"\x22" * 20
FIELDS = st.fixed_dictionaries(
    {
        "chain_id": st.integers(1, 2**48),
        "nonce": st.integers(0, 2**32),
        "to": st.none() | st.binary(min_size=20, max_size=20),
        "data": st.binary(max_size=300),
        "gas_limit": st.integers(0, 2**40),
        "max_fee": st.integers(0, 2**90),
    }
)


@given(FIELDS, st.integers(1, N - 1))
def test_sign__equals_eth_account__and_parse_gives_it_back(fields, secret):
    key = ChainKey(secret.to_bytes(32))
    raw = sign(key, **fields)
    theirs = Web3Account.sign_transaction(
        {
            "type": 2,
            "chainId": fields["chain_id"],
            "nonce": fields["nonce"],
            "to": b"" if fields["to"] is None else fields["to"],
            "data": fields["data"],
            "gas": fields["gas_limit"],
            "maxFeePerGas": fields["max_fee"],
            "maxPriorityFeePerGas": 0,
            "value": 0,
        },
        secret.to_bytes(32),
    )
    assert raw == theirs.raw_transaction
    request = parse(raw)
    assert request.hash == theirs.hash == keccak256(raw)
    assert request.sender == key.address
    given_back = {name: getattr(request, name) for name in fields}
    assert given_back == fields
    assert (request.value, request.max_priority_fee) == (0, 0)


def fields_of(raw: bytes) -> list:
    return rlp.decode(raw[1:])


def encoded(fields: list) -> bytes:
    return b"\x02" + rlp.encode(fields)


RAW = sign(KEY, chain_id=5, nonce=3, to=TO, data=b"abc", gas_limit=60_000)


@pytest.mark.parametrize("size", range(0, len(RAW), 7))
def test_parse__cut_short__is_refused(size):
    with pytest.raises(BadTransaction):
        parse(RAW[:size])


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, b"\0\5", "out of range"),
        (1, b"\1" * 9, "out of range"),
        (4, b"\0", "out of range"),
        (5, b"\1" * 19, "20 bytes"),
        (5, [], "wrong type"),
        (7, [b"a"], "wrong type"),
        (8, b"", "wrong type"),
        (8, [[TO, []]], "access lists are not supported"),
        (9, b"\2", "signature is out of range"),
        (10, b"", "signature is out of range"),
        (10, N.to_bytes(32), "signature is out of range"),
        (10, (5).to_bytes(1), "no key made this signature"),
        (11, b"", "signature is out of range"),
        (11, (N // 2 + 1).to_bytes(32), "signature is out of range"),
    ],
)
def test_parse__a_field_is_wrong__is_refused_by_name(place, value, said):
    fields = fields_of(RAW)
    fields[place] = value
    with pytest.raises(BadTransaction, match=said):
        parse(encoded(fields))


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "type 2"),
        (b"\x01" + RAW[1:], "type 2"),
        (RAW[1:], "type 2"),
        (RAW + b"\0", "not RLP"),
        (b"\x02\xc0", "12 fields"),
        (encoded([*fields_of(RAW), b""]), "12 fields"),
        (b"\x02" + b"\0" * RAW_BYTES_MAX, "at most"),
    ],
)
def test_parse__not_such_a_transaction__is_refused(raw, said):
    with pytest.raises(BadTransaction, match=said):
        parse(raw)


def test_parse__the_other_s_of_the_same_signature__is_refused():
    """Else a third party could make a second hash of the same transaction (EIP-2)."""
    fields = fields_of(RAW)
    fields[11] = (N - int.from_bytes(fields[11])).to_bytes(32)
    fields[9] = b"" if fields[9] else b"\1"
    with pytest.raises(BadTransaction, match="out of range"):
        parse(encoded(fields))


@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_parse__a_changed_byte__is_refused_or_another_sender(place, change):
    changed = bytearray(RAW)
    changed[place] ^= change
    try:
        request = parse(bytes(changed))
    except BadTransaction:
        return
    assert request.sender != KEY.address


@given(
    st.integers(1, len(RAW) - 1), st.binary(max_size=3), st.integers(0, 3), st.sampled_from([0, 60])
)
def test_parse__takes_no_form_that_a_strict_reader_of_rlp_refuses(place, put, taken, more):
    """One transaction has one form, else it had two hashes."""
    raw = sign(KEY, chain_id=5, nonce=3, to=TO, data=b"abc" + bytes(more), gas_limit=60_000)
    changed = raw[:place] + put + raw[place + taken :]
    try:
        request = parse(changed)
    except BadTransaction:
        return
    fields = rlp.decode(changed[1:], strict=True)
    assert encoded(fields) == changed
    assert (request.to or b"", request.data) == (fields[5], fields[7])
    assert keccak256(changed) == request.hash


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("8103", "a length that is not the shortest"),
        ("b803616263", "a length that is not the shortest"),
        ("b90001ff", "a length that is not the shortest"),
        ("83", "it ends too early"),
        ("b9", "a length that is not the shortest"),
        ("f838", "it ends too early"),
    ],
)
def test_parse__an_item_that_is_no_rlp__is_refused(payload, said):
    item = bytes.fromhex(payload)
    with pytest.raises(BadTransaction, match=f"not RLP: {said}"):
        parse(b"\x02" + bytes([0xC0 + len(item)]) + item)


def test_contract_address__examples_of_others():
    """The example that explains CREATE in many a tutorial: the first contracts of one account."""
    sender = bytes.fromhex("6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0")
    assert contract_address(sender, 0).hex() == "cd234a471b72ba2f1ccf0a70fcaba648a5eecd8d"
    assert contract_address(sender, 1).hex() == "343c43a37d37dff08ae8c4a11544c718abb4fcf8"
    assert contract_address(sender, 2).hex() == "f778b86fa74e846c4f0a1fbd1335fe81c00a0c91"
