"""Passports: identity texts, protocols, kinds of custody, when a passport earns."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput
from chargera.domain.passport import (
    CustodyKind,
    PassportFacts,
    PassportStatus,
    Protocol,
    ProtocolEvidence,
    degrees_e7,
    degrees_text,
    normalised,
    protocol_bits,
    protocol_of,
    protocol_standing,
    protocols_of,
)
from chargera.domain.station import OcppVersion, check_coordinate

FACTS = PassportFacts(
    status=PassportStatus.MINTED,
    operator_id="NL*C4E",
    host=bytes(20),
    lat_e7=0,
    lon_e7=0,
    protocols=1,
    rated_w=22_000,
    evse_count=1,
    commission_bps=3_000,
    requested_at=50,
    registered_at=100,
    retired_at=0,
    metadata_digest=bytes(32),
    meter_key_hash=bytes(32),
    station_key_hash=bytes(32),
    registration_hash=bytes(32),
)


def test_normalised__trimmed_and_in_upper_case() -> None:
    assert normalised("  Acme charge-1 ", field="serial") == "ACME CHARGE-1"
    assert normalised("x" * 64, field="serial") == "X" * 64


@pytest.mark.parametrize("text", ["", "   ", "x" * 65, "Ü", "\tX", "a\x00", "ß"])
def test_normalised__two_ways_to_write_it_or_none__refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        normalised(text, field="serial")
    assert refusal.value.field == "serial"


def test_protocols__bits_of_the_contract_and_back() -> None:
    every = tuple(Protocol)
    assert protocol_bits(every) == 0b1_0000_0111
    assert protocol_bits([Protocol.OCPP_2_0_1, Protocol.OCPP_2_0_1]) == 2
    assert protocols_of(0b1_0000_0111) == every
    assert protocols_of(0) == ()
    with pytest.raises(InvalidInput, match="0x9"):
        protocols_of(0b1001)


def test_protocol_of__every_version_that_is_spoken() -> None:
    assert [protocol_of(v) for v in OcppVersion][:2] == [Protocol.OCPP_1_6, Protocol.OCPP_2_0_1]


def test_protocol_standing__the_best_that_speaks_for_each() -> None:
    standing = protocol_standing(
        declared=[Protocol.OCPP_2_0_1, Protocol.OCPP_1_6, Protocol.OCPP_2_1],
        observed=[Protocol.OCPP_2_0_1, Protocol.OCPP_2_1],
        tested=[Protocol.OCPP_2_1],
    )
    assert list(standing.items()) == [
        (Protocol.OCPP_1_6, ProtocolEvidence.DECLARED),
        (Protocol.OCPP_2_0_1, ProtocolEvidence.OBSERVED),
        (Protocol.OCPP_2_1, ProtocolEvidence.TESTED),
    ]


def test_custody_kind__numbers_are_those_of_the_contract() -> None:
    assert [kind.number for kind in CustodyKind] == list(range(7))
    assert CustodyKind.LOCATION.number == 4


@pytest.mark.parametrize(
    ("registered_at", "retired_at", "end", "earns"),
    [
        (100, 0, 100, True),
        (100, 0, 99, False),
        (0, 0, 100, False),
        (100, 200, 200, True),
        (100, 200, 201, False),
    ],
)
def test_earns_at__from_registration_to_retirement(
    registered_at: int, retired_at: int, end: int, *, earns: bool
) -> None:
    facts = replace(FACTS, registered_at=registered_at, retired_at=retired_at)
    assert facts.earns_at(end) is earns


@given(st.integers(-1_800_000_000, 1_800_000_000))
def test_degrees__ten_millionths_and_back__in_the_form_of_registrations(e7: int) -> None:
    text = degrees_text(e7)
    assert degrees_e7(text) == e7
    assert check_coordinate(text, field="longitude", limit=180) == text


def test_degrees__known_places() -> None:
    assert degrees_e7("52.3702") == 523_702_000
    assert degrees_text(-1) == "-0.0000001"
    assert degrees_text(100_000_000) == "10"
