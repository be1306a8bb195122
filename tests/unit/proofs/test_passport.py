"""Passports: ids, digests with eth-account as the foreign judge, and the metadata document."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from eth_abi import encode
from eth_account.messages import encode_typed_data
from eth_utils import keccak

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.domain.passport import CustodyKind, Protocol
from chargera.domain.station import Connector, ConnectorType
from chargera.proofs import canonical
from chargera.proofs.chain_values import address_text, hex_text, parse_hex
from chargera.proofs.passport import (
    PassportMetadata,
    RegistrationRequest,
    abi_request,
    consent_digest,
    custody_digest,
    custody_value,
    custody_words,
    key_hash,
    metadata_digest,
    metadata_document,
    metadata_of,
    parse_metadata,
    passport_domain,
    registration_digest,
    registration_hash,
    request_of,
    token_id,
)
from tests.unit.proofs.sample_batch import CHAIN_ID, address
from tests.unit.proofs.sample_receipt import METER_KEY_DER, station
from tests.unit.proofs.vector_files import FOLDER

CONTRACT = bytes.fromhex("88" * 20)
DOMAIN = passport_domain(CHAIN_ID, CONTRACT)
METADATA = PassportMetadata(
    operator_id="NL*C4E",
    station_id="CP-1",
    manufacturer="Acme",
    model="X",
    serial_number=" sn 7 ",
    latitude="52.3702",
    longitude="-4.5",
    time_zone="Europe/Amsterdam",
    connectors=(
        Connector(1, 1, ConnectorType.TYPE2, 22_000, 1),
        Connector(1, 2, ConnectorType.CCS2, 50_000, 2),
        Connector(2, 1, ConnectorType.CCS2, 150_000, 3),
    ),
    protocols=(Protocol.OCPP_1_6, Protocol.OCPP_2_0_1),
)


def request(**changes: object) -> RegistrationRequest:
    one = request_of(
        METADATA,
        host=address(5),
        commission_bps=3_000,
        meter_key_hash=key_hash(METER_KEY_DER.hex()),
        station_key_hash=bytes(32),
        nonce=b"nonce".ljust(32, b"\0"),
        topic=bytes(18) + b"\x03\xe9",
        sequence_number=4,
        log_index=17,
    )
    return replace(one, **changes)  # type: ignore[arg-type]  # members by name


def foreign_digest(primary: str, members: list[tuple[str, str, object]]) -> bytes:
    signable = encode_typed_data(
        full_message={
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"},
                    {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"},
                    {"name": "verifyingContract", "type": "address"},
                ],
                primary: [{"name": name, "type": kind} for name, kind, _ in members],
            },
            "primaryType": primary,
            "domain": {
                "name": "ChargEra Passport",
                "version": "1",
                "chainId": CHAIN_ID,
                "verifyingContract": address_text(CONTRACT),
            },
            "message": {name: value for name, _, value in members},
        }
    )
    return keccak(b"\x19\x01" + signable.header + signable.body)


def identity(one: RegistrationRequest) -> list[tuple[str, str, object]]:
    return [
        ("tokenId", "bytes32", one.token_id),
        ("operatorId", "bytes8", b"NL*C4E\0\0"),
        ("host", "address", address_text(one.host)),
        ("metadataDigest", "bytes32", one.metadata_digest),
        ("meterKeyHash", "bytes32", one.meter_key_hash),
        ("stationKeyHash", "bytes32", one.station_key_hash),
        ("commissionBps", "uint16", one.commission_bps),
    ]


def test_token_id__as_abi_encoded_texts_in_one_spelling() -> None:
    assert token_id("Acme", " sn 7") == keccak(encode(["string", "string"], ["ACME", "SN 7"]))
    long = "X" * 64
    assert token_id(long, long[:33]) == keccak(encode(["string", "string"], [long, long[:33]]))
    assert METADATA.token_id == token_id("ACME ", "SN 7")


def test_token_id__texts_moved_from_one_to_the_other__another_id() -> None:
    assert token_id("AB", "C") != token_id("A", "BC")


def test_digests__as_a_wallet_makes_them() -> None:
    one = request()
    consent = foreign_digest("HostConsent", [*identity(one), ("nonce", "bytes32", one.nonce)])
    assert consent_digest(one, DOMAIN) == consent
    onboarding = foreign_digest(
        "Onboarding",
        [
            *identity(one),
            ("topic", "address", address_text(one.topic)),
            ("sequenceNumber", "uint64", 4),
            ("logIndex", "uint64", 17),
            ("consentDigest", "bytes32", consent),
        ],
    )
    assert registration_hash(one, DOMAIN) == onboarding
    registration = foreign_digest(
        "Registration",
        [
            ("registrationHash", "bytes32", onboarding),
            ("latE7", "int32", 523_702_000),
            ("lonE7", "int32", -45_000_000),
            ("protocols", "uint32", 3),
            ("ratedW", "uint32", 200_000),
            ("evseCount", "uint16", 2),
        ],
    )
    assert registration_digest(one, DOMAIN) == registration


def test_custody_digest__as_a_wallet_makes_it() -> None:
    value = custody_value(CustodyKind.LOCATION, (523_702_000, -45_000_000))
    ours = custody_digest(
        METADATA.token_id, 2, CustodyKind.LOCATION, b"r" * 32, 99, value, domain=DOMAIN
    )
    assert ours == foreign_digest(
        "Custody",
        [
            ("tokenId", "bytes32", METADATA.token_id),
            ("number", "uint256", 2),
            ("kind", "uint8", 4),
            ("recordDigest", "bytes32", b"r" * 32),
            ("logIndex", "uint64", 99),
            ("value", "bytes32", value),
        ],
    )


@pytest.mark.parametrize(
    ("kind", "value", "word"),
    [
        (CustodyKind.OWNER, address(5), "00" * 12 + address(5).hex()),
        (CustodyKind.OPERATOR, "DE*ABC", b"DE*ABC".hex() + "00" * 26),
        (CustodyKind.METER, b"m" * 32, "6d" * 32),
        (CustodyKind.LOCATION, (1, -1), "00" * 24 + "00000001" + "ffffffff"),
        (CustodyKind.FIRMWARE, None, "00" * 32),
        (CustodyKind.REPAIR, None, "00" * 32),
        (CustodyKind.RETIREMENT, None, "00" * 32),
    ],
)
def test_custody_value__by_kind__the_word_of_the_contract(
    kind: CustodyKind, value: Any, word: str
) -> None:
    assert custody_value(kind, value).hex() == word


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (CustodyKind.OWNER, None),
        (CustodyKind.METER, b"m"),
        (CustodyKind.REPAIR, b"m" * 32),
        (CustodyKind.OPERATOR, "x"),
    ],
)
def test_custody_value__not_of_that_kind__refused(kind: CustodyKind, value: Any) -> None:
    with pytest.raises(InvalidInput):
        custody_value(kind, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("manufacturer", "acme"), ("serial", " SN 7"), ("commission_bps", 8_001)],
)
def test_request__not_normalised_or_over_the_commission__refused(name: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refusal:
        request(**{name: value})
    assert refusal.value.field == name


def test_abi_request__encodes_as_the_struct_of_the_contract() -> None:
    struct = (
        "(string,string,bytes8,address,bytes32,bytes32,bytes32,uint16,int32,int32,uint32,uint32,"
        "uint16,address,uint64,uint64,bytes32)"
    )
    assert b"ACME" in encode([struct], [abi_request(request())])


def test_key_hash__of_the_der_bytes__zero_without_key() -> None:
    assert key_hash(METER_KEY_DER.hex()) == hashlib.sha256(METER_KEY_DER).digest()
    assert key_hash(None) == bytes(32)


def test_metadata__of_a_station__written_and_read_again() -> None:
    made = metadata_of(station(), "NL*C4E")
    assert (made.rated_w, made.evse_count) == (22_000, 1)
    assert (METADATA.rated_w, METADATA.evse_count) == (200_000, 2)
    assert made.protocols == (Protocol.OCPP_1_6,)
    for metadata in (made, METADATA):
        document = json.loads(canonical.encode(metadata_document(metadata)))
        assert parse_metadata(document) == metadata
    digest = hashlib.sha256(canonical.encode(metadata_document(METADATA))).digest()
    assert metadata_digest(METADATA) == digest


FAULTS: dict[str, Callable[[Any], object]] = {
    "no members": lambda d: d.clear(),
    "format": lambda d: d.update(format="x"),
    "model is no text": lambda d: d.update(model=1),
    "operator": lambda d: d.update(operator_id="x"),
    "station": lambda d: d.update(station_id=""),
    "zone": lambda d: d.update(time_zone="Nowhere/Land"),
    "model is empty": lambda d: d.update(model=""),
    "latitude": lambda d: d.update(latitude="91"),
    "latitude with zeros": lambda d: d.update(latitude="52.3700"),
    "connectors": lambda d: d.update(connectors=[]),
    "connector": lambda d: d["connectors"].append(1),
    "connector members": lambda d: d["connectors"][0].pop("evse"),
    "connector number type": lambda d: d["connectors"][0].update(evse=True),
    "connector number": lambda d: d["connectors"][0].update(evse=65),
    "connector power": lambda d: d["connectors"][0].update(power_w_max=0),
    "connector type": lambda d: d["connectors"][0].update(connector_type="plug"),
    "connector twice": lambda d: d["connectors"].append(d["connectors"][0]),
    "protocols": lambda d: d.update(protocols="ocpp1.6"),
    "protocols in another order": lambda d: d["protocols"].reverse(),
    "protocol": lambda d: d["protocols"].append("ocpp9"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_parse_metadata__not_of_the_form__unreadable(fault: str) -> None:
    document = json.loads(canonical.encode(metadata_document(METADATA)))
    FAULTS[fault](document)
    with pytest.raises(Unreadable):
        parse_metadata(document)


def test_parse_metadata__no_object__unreadable() -> None:
    with pytest.raises(Unreadable):
        parse_metadata([])


def test_vectors__passports__have_their_ids_and_digests() -> None:
    """The same file is read by the tests of the contracts."""
    vectors = json.loads((FOLDER / "settlement" / "passports.json").read_bytes())
    for vector in vectors["requests"]:
        fields = dict(vector["request"])
        for name in ("host", "topic"):
            fields[name] = bytes.fromhex(fields[name][2:])
        for name in ("metadata_digest", "meter_key_hash", "station_key_hash", "nonce"):
            fields[name] = parse_hex(fields[name], 32, field=name)
        one = RegistrationRequest(**fields)
        contract = bytes.fromhex(vector["passport"][2:])
        domain = passport_domain(vector["chain_id"], contract)
        assert hex_text(one.token_id) == vector["token_id"]
        assert hex_text(consent_digest(one, domain)) == vector["consent_digest"]
        assert hex_text(registration_hash(one, domain)) == vector["registration_hash"]
        assert hex_text(registration_digest(one, domain)) == vector["registration_digest"]
    for vector in vectors["custody"]:
        digest = custody_digest(
            parse_hex(vector["token_id"], field="t"),
            vector["number"],
            CustodyKind(vector["kind"]),
            parse_hex(vector["record_digest"], field="r"),
            vector["log_index"],
            parse_hex(vector["value"], field="v"),
            domain=passport_domain(vector["chain_id"], bytes.fromhex(vector["passport"][2:])),
        )
        assert hex_text(digest) == vector["digest"]


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (CustodyKind.OWNER, address(6), address_text(address(6))),
        (CustodyKind.OPERATOR, "DE*ABC", "DE*ABC"),
        (CustodyKind.METER, b"\1" * 32, "0x" + "01" * 32),
        (CustodyKind.METER, bytes(32), ""),
        (CustodyKind.LOCATION, (519_225_000, -44_791_700), "51.9225, -4.47917"),
        (CustodyKind.REPAIR, None, ""),
    ],
)
def test_custody_words__what_a_word_of_the_chain_says(
    kind: CustodyKind, value: Any, words: str
) -> None:
    assert custody_words(kind, custody_value(kind, value)) == words
