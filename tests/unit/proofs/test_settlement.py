"""Leaves and batches: their words, their digests, with eth-account as the foreign judge."""

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from eth_abi import encode
from eth_account.messages import encode_typed_data
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.domain.settlement import Rail
from chargera.proofs.batch_file import batch_document, leaf_document, parse_batch
from chargera.proofs.chain_values import (
    address_text,
    hex_text,
    operator_word,
    parse_address,
    parse_hex,
)
from chargera.proofs.settlement import (
    Attestation,
    Batch,
    Health,
    Leaf,
    abi_attestation,
    abi_batch,
    batch_digest,
    escrow_id,
    leaf_of_cdr,
    leaf_words,
    lower_digest,
    open_digest,
    parse_leaf,
)
from chargera.proofs.tree import leaf_hash
from tests.unit.proofs.sample_batch import (
    CHAIN_ID,
    EURO,
    HUB,
    PASSPORT,
    address,
    batch,
    leaf,
)
from tests.unit.proofs.vector_files import FOLDER

DOMAIN = {
    "name": "ChargEra Settlement",
    "version": "1",
    "chainId": CHAIN_ID,
    "verifyingContract": address_text(HUB),
}
BATCH_TYPES = [
    ("operatorId", "bytes8"),
    ("asset", "address"),
    ("checkpoint", "bytes32"),
    ("treeSize", "uint64"),
    ("topic", "address"),
    ("sequenceNumber", "uint64"),
    ("validUntil", "uint64"),
    ("proposer", "address"),
    ("c4eRate", "uint128"),
    ("gateway", "address"),
    ("fiatTotal", "uint128"),
    ("passports", "bytes32[]"),
    ("leaves", "uint256[]"),
    ("health", "uint256[]"),
]


def bits(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**count - 1) | st.sampled_from([0, 2**count - 1])


LEAVES = st.builds(
    Leaf,
    evidence_digest=st.binary(min_size=32, max_size=32),
    payer=st.binary(min_size=20, max_size=20),
    cdr_no=bits(48),
    log_index=bits(48),
    amount=bits(64),
    vat=bits(64),
    session_key=st.binary(min_size=16, max_size=16),
    start=bits(40),
    end=bits(40),
    import_wh=bits(48),
    export_wh=bits(48),
    passport_index=bits(8),
    evse=bits(8),
    rail=st.sampled_from(Rail),
    proof_level=bits(8),
    policy_version=bits(32),
)
BATCHES = st.builds(
    batch,
    c4e_rate=bits(128),
    fiat_total=bits(128),
    tree_size=st.integers(0, 2**53 - 1),
    passports=st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    leaves=st.lists(LEAVES, max_size=4).map(tuple),
    health=st.lists(st.builds(Health, bits(8), bits(40), bits(16), bits(16)), max_size=3).map(
        tuple
    ),
)


def foreign_digest(primary: str, types: list[tuple[str, str]], message: dict[str, Any]) -> bytes:
    """The digest as eth-account makes it."""
    signable = encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                primary: [{"name": name, "type": kind} for name, kind in types],
            },
            "primaryType": primary,
            "domain": DOMAIN,
            "message": message,
        }
    )
    return keccak(b"\x19\x01" + signable.header + signable.body)


def words_of(one: Leaf) -> list[int]:
    data = leaf_words(one)
    return [int.from_bytes(data[i : i + 32], "big") for i in range(0, 128, 32)]


@given(BATCHES)
@settings(max_examples=40)
def test_batch_digest__any_batch__as_a_wallet_makes_it(one: Batch) -> None:
    values = [
        operator_word(one.operator_id),
        address_text(one.asset),
        one.checkpoint,
        one.tree_size,
        address_text(one.topic),
        one.sequence_number,
        one.valid_until,
        address_text(one.proposer),
        one.c4e_rate,
        address_text(one.gateway),
        one.fiat_total,
        list(one.passports),
        [word for each in one.leaves for word in words_of(each)],
        [report.word for report in one.health],
    ]
    message = dict(zip([name for name, _ in BATCH_TYPES], values, strict=True))
    assert batch_digest(one, CHAIN_ID, HUB) == foreign_digest("Batch", BATCH_TYPES, message)


def test_batch_digest__any_member_changed__another() -> None:
    one = batch()
    digest = batch_digest(one, CHAIN_ID, HUB)
    changes = {
        "operator_id": "DE*ABC",
        "passports": (bytes(32),),
        "leaves": one.leaves[:1],
        "health": (),
    }
    for member in fields(one):
        value = getattr(one, member.name)
        if member.name not in changes:
            changes[member.name] = value + 1 if type(value) is int else bytes(len(value))
        changed = replace(one, **{member.name: changes[member.name]})
        assert batch_digest(changed, CHAIN_ID, HUB) != digest, member.name
    assert batch_digest(one, CHAIN_ID + 1, HUB) != digest
    assert batch_digest(one, CHAIN_ID, EURO) != digest


@given(LEAVES)
def test_leaf__any__words_and_back(one: Leaf) -> None:
    words = leaf_words(one)
    assert len(words) == 128
    assert parse_leaf(words) == one


def test_leaf_words__each_member_in_its_bits() -> None:
    one = leaf(
        payer=address(7),
        cdr_no=1,
        log_index=2,
        amount=3,
        vat=4,
        start=5,
        end=6,
        import_wh=7,
        export_wh=8,
        passport_index=9,
        evse=10,
        proof_level=2,
        policy_version=11,
    )
    evidence, party, money, meter = words_of(one)
    assert evidence.to_bytes(32, "big") == one.evidence_digest
    assert party == int(address(7).hex() + "000000000001" + "000000000002", 16)
    assert money == int("0000000000000003" + "0000000000000004" + "66" * 16, 16)
    assert meter == int(
        "0000000005" + "0000000006" + "000000000007" + "000000000008"
        "09" + "0a" + "01" + "02" + "0000000b" + "0000",
        16,
    )


@pytest.mark.parametrize("place", [0, 120, 124, 126])
def test_parse_leaf__what_is_never_written__refused(place: int) -> None:
    words = bytearray(leaf_words(leaf()))
    if place == 0:
        del words[0]
    else:
        words[place] = 0xFF
    if place == 124:  # the policy version: any is fine
        assert parse_leaf(bytes(words)).policy_version != 1
        return
    with pytest.raises(Unreadable):
        parse_leaf(bytes(words))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("evidence_digest", b"x"),
        ("payer", bytes(19)),
        ("session_key", bytes(17)),
        ("amount", 2**64),
        ("vat", -1),
        ("cdr_no", 2**48),
        ("evse", 256),
        ("policy_version", 2**32),
    ],
)
def test_leaf__member_that_does_not_fit__refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refusal:
        leaf(**{name: value})
    assert refusal.value.field == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("operator_id", "x"),
        ("asset", bytes(21)),
        ("checkpoint", bytes(31)),
        ("tree_size", 2**64),
        ("c4e_rate", 2**128),
        ("passports", (b"x",)),
        ("passports", (PASSPORT,) * 49),
        ("leaves", (leaf(),) * 49),
        ("health", (Health(0, 0, 0, 0),) * 49),
    ],
)
def test_batch__member_that_does_not_fit__refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refusal:
        batch(**{name: value})
    assert refusal.value.field == name


def test_health__member_that_does_not_fit__refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="uptime_bps"):
        Health(0, 0, 2**16, 0)
    assert Health(1, 2, 3, 4).word == 1 << 72 | 2 << 32 | 3 << 16 | 4


def test_batch__totals__vat_only_from_wallets() -> None:
    one = batch()
    assert one.total_of(Rail.FIAT) == 3_000_000
    assert one.total_of(Rail.WALLET) == 3_630_000
    assert one.passport_of(one.leaves[0]) == PASSPORT
    with pytest.raises(InvalidInput, match="number 0"):
        one.passport_of(leaf(passport_index=1))


def test_attestation__signatures_by_index__ascending_with_their_bits() -> None:
    attestation = Attestation.of({5: b"five", 0: b"zero"})
    assert attestation == Attestation(0b100001, (b"zero", b"five"))
    assert attestation.indexes == (0, 5)
    assert abi_attestation(attestation) == (0b100001, [b"zero", b"five"])


def test_abi_batch__encodes_as_the_struct_of_the_contracts() -> None:
    one = batch()
    leaves = "(bytes32,uint256,uint256,uint256)[]"
    struct = (
        "(bytes8,address,bytes32,uint64,address,uint64,uint64,address,uint128,address,uint128,"
        f"bytes32[],{leaves},uint256[])"
    )
    encoded = encode([struct], [abi_batch(one)])
    assert b"".join(leaf_words(each) for each in one.leaves) in encoded


def test_escrow_id__hash_of_the_three() -> None:
    key = bytes.fromhex("66" * 16)
    expected = keccak(
        encode(["address", "bytes8", "bytes16"], [address_text(address(7)), b"NL*C4E\0\0", key])
    )
    assert escrow_id(address(7), "NL*C4E", key) == expected


def test_open_and_lower__as_a_wallet_makes_them() -> None:
    key = bytes.fromhex("66" * 16)
    types = [
        ("operatorId", "bytes8"),
        ("sessionKey", "bytes16"),
        ("asset", "address"),
        ("max", "uint64"),
        ("deadline", "uint64"),
    ]
    message = {
        "operatorId": b"NL*C4E\0\0",
        "sessionKey": key,
        "asset": address_text(EURO),
        "max": 5,
        "deadline": 6,
    }
    ours = open_digest("NL*C4E", key, EURO, 5, 6, chain_id=CHAIN_ID, hub=HUB)
    assert ours == foreign_digest("Open", types, message)
    escrow = escrow_id(address(7), "NL*C4E", key)
    types = [("escrowId", "bytes32"), ("max", "uint64"), ("deadline", "uint64")]
    message = {"escrowId": escrow, "max": 5, "deadline": 6}
    ours = lower_digest(escrow, 5, 6, chain_id=CHAIN_ID, hub=HUB)
    assert ours == foreign_digest("Lower", types, message)


CDR: dict[str, Any] = {
    "ended_at": "2026-05-04T09:00:00.999Z",
    "energy_wh": 10_000,
    "evse": 1,
    "proof_level": "L2",
    "settlement": {
        "amount": "3000000",
        "asset": address_text(EURO),
        "c4e_rate": None,
        "cdr_no": 4,
        "chain_id": CHAIN_ID,
        "hub": address_text(HUB),
        "passport_id": hex_text(PASSPORT),
        "payer": None,
        "policy_version": 1,
        "rail": "fiat",
        "session_key": "0x" + "66" * 16,
        "vat": "630000",
    },
    "started_at": "2026-05-04T08:00:00.001Z",
}


def test_leaf_of_cdr__a_function_of_record_entry_and_place() -> None:
    one = leaf_of_cdr(CDR, 12, b"an entry", 3)
    assert one == leaf(
        evidence_digest=leaf_hash(b"an entry"),
        log_index=12,
        cdr_no=4,
        passport_index=3,
        proof_level=2,
    )


def test_leaf_of_cdr__paid_by_a_wallet__its_address() -> None:
    terms = CDR["settlement"] | {"payer": address_text(address(7)), "rail": "wallet"}
    one = leaf_of_cdr(CDR | {"settlement": terms}, 12, b"an entry", 3)
    assert one is not None
    assert (one.payer, one.rail) == (address(7), Rail.WALLET)


def test_leaf_of_cdr__not_settled_on_chain__none() -> None:
    assert leaf_of_cdr(CDR | {"settlement": None}, 12, b"an entry", 3) is None


def test_vectors__batches__have_their_words_and_digests() -> None:
    """The same file is read by the tests of the contracts."""
    vectors = json.loads((FOLDER / "settlement" / "batches.json").read_bytes())
    for vector in vectors["batches"]:
        one = parse_batch(vector["batch"])
        assert batch_document(one) == vector["batch"]
        hub = parse_address(vector["hub"], field="hub")
        assert hex_text(batch_digest(one, vector["chain_id"], hub)) == vector["digest"]
        words = [hex_text(leaf_words(each)) for each in one.leaves]
        assert words == vector["leaf_words"]
        for text, each in zip(words, one.leaves, strict=True):
            assert parse_leaf(parse_hex(text, field="leaf")) == each
            assert leaf_document(each) in vector["batch"]["leaves"]
