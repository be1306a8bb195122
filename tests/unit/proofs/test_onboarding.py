"""The attester's judgement on a registration: what he signs, and what he does not."""

import base64
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from chargera.domain.errors import ChargEraError
from chargera.domain.station import ChargingStation
from chargera.proofs import records
from chargera.proofs.attestation import onboarding_identification
from chargera.proofs.chain_values import address_text, hex_text, parse_hex, topic_address
from chargera.proofs.entry import EntryKind, envelope_bytes
from chargera.proofs.evidence import LoggedRecord
from chargera.proofs.onboarding import RegistrationEvidence, judge_registration, shows_meter
from chargera.proofs.passport import (
    RegistrationRequest,
    consent_digest,
    key_hash,
    metadata_document,
    metadata_of,
    passport_domain,
    registration_digest,
    request_of,
)
from chargera.proofs.tree import inclusion_proof
from chargera.sim.meter import Identification, ReadingKind, SigningMeter
from tests.unit.proofs.sample_batch import CHAIN_ID, address, sign
from tests.unit.proofs.sample_receipt import (
    METER_KEY,
    METER_KEY_DER,
    START,
    STATION_ID,
    TOPIC,
    SampleLog,
    anchor_of,
    station,
    trust,
)
from tests.unit.proofs.sample_settlement import HOST

DOMAIN = passport_domain(CHAIN_ID, bytes.fromhex("88" * 20))
TRUST = trust()
NONCE = b"0123456789ABCDEF0123".ljust(32, b"\0")
WANTED = onboarding_identification(NONCE)


def reading(identification: str, *, key: Any = METER_KEY) -> str:
    meter = SigningMeter(key, "SIM-1")
    ocmf = meter.reading(
        1_000,
        START + timedelta(minutes=1),
        ReadingKind.BEGIN,
        Identification(identification),
    )
    return base64.b64encode(ocmf.encode()).decode()


@dataclass
class Onboarding:
    """A registration as an attester sees it, right but for what is `changed` in its record."""

    meter: bool = True
    signs_for: str | None = WANTED
    changed: dict[str, Any] = field(default_factory=dict)
    plate: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    log: SampleLog = field(default_factory=SampleLog)

    def __post_init__(self) -> None:
        where: ChargingStation = station(meter=self.meter)
        metadata = metadata_of(where, "NL*C4E")
        key = METER_KEY_DER.hex() if self.meter else None
        self.indexes = [
            self.log.append(
                EntryKind.STATION_REGISTERED, records.station_record(where) | self.plate
            )
        ]
        record = records.onboarding_record(
            station_id=STATION_ID,
            passport_id=hex_text(metadata.token_id),
            metadata=metadata_document(metadata) | self.metadata,
            host=address_text(address(HOST)),
            commission_bps=3_000,
            meter_key_hash=hex_text(key_hash(key)),
            station_key_hash=hex_text(bytes(32)),
            nonce=hex_text(NONCE),
            at=START,
        )
        self.indexes.append(self.log.append(EntryKind.ONBOARDING, record | self.changed))
        self.request = request_of(
            metadata,
            host=address(HOST),
            commission_bps=3_000,
            meter_key_hash=key_hash(key),
            station_key_hash=bytes(32),
            nonce=NONCE,
            topic=topic_address(TOPIC.topic_id),
            sequence_number=1,
            log_index=self.indexes[1],
        )
        if self.meter and self.signs_for is not None:
            self.indexes.append(self.show_meter(self.signs_for))

    def show_meter(self, identification: str) -> int:
        """Log a value that the meter signs, and return its index."""
        value = {
            "context": "Transaction.Begin",
            "ocmf_base64": reading(identification),
            "received_at": records.time_text(START),
            "session_id": "s",
        }
        return self.log.append(EntryKind.SIGNED_VALUE, value)

    def logged(self, index: int) -> LoggedRecord:
        tree = self.log.tree()
        envelope, record, salt = self.log.entries[index]
        path = tuple(inclusion_proof(index, tree.size, tree.node))
        return LoggedRecord(index, envelope_bytes(envelope), path, records.encode(record), salt)

    def evidence(self, **changes: Any) -> RegistrationEvidence:
        note = self.log.note()
        one = RegistrationEvidence(
            head=note,
            anchor=anchor_of(note),
            consent=sign(HOST, consent_digest(self.request, DOMAIN)),
            records=tuple(self.logged(index) for index in self.indexes),
        )
        return replace(one, **changes)


def refusal(case: Onboarding, **changes: Any) -> str:
    with pytest.raises(ChargEraError) as refused:
        judge_registration(case.evidence(**changes), DOMAIN, TRUST)
    return refused.value.message


def digest_of(request: RegistrationRequest) -> bytes:
    return registration_digest(request, DOMAIN)


@pytest.mark.parametrize("meter", [True, False])
def test_judge__honest_registration__the_digest_to_sign(*, meter: bool) -> None:
    case = Onboarding(meter=meter)
    assert judge_registration(case.evidence(), DOMAIN, TRUST) == digest_of(case.request)


def test_judge__meter_shows_itself_under_a_later_head__the_digest_to_sign() -> None:
    case = Onboarding(signs_for=None)
    before = case.evidence()
    shown = case.logged(case.show_meter(WANTED))
    under = {"reading": shown, "reading_head": case.log.note()}
    evidence = replace(before, **under)
    assert judge_registration(evidence, DOMAIN, TRUST) == digest_of(case.request)
    with pytest.raises(ChargEraError, match="names 0123456789ABCDEF0123"):
        judge_registration(replace(before, reading=shown), DOMAIN, TRUST)


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        (Onboarding(metadata={"operator_id": "DE*ABC"}), "DE*ABC"),
        (Onboarding(plate={"latitude": "51"}), "latitude"),
        (Onboarding(plate={"time_zone": "UTC"}), "time_zone"),
        (Onboarding(plate={"connectors": []}), "connectors"),
        (Onboarding(plate={"ocpp_versions": ["2.0.1"]}), "protocols"),
        (Onboarding(plate={"meter_key": None}), "meter key"),
        (Onboarding(plate={"connectors": None}), "misstates"),
        (Onboarding(changed={"passport_id": hex_text(bytes(32))}), "another passport"),
        (Onboarding(changed={"commission_bps": 1}), "consent"),
        (Onboarding(signs_for=None), "names 0123456789ABCDEF0123"),
        (Onboarding(signs_for="SOMEBODY"), "names 0123456789ABCDEF0123"),
    ],
)
def test_judge__not_what_was_registered_or_agreed__refused(case: Onboarding, fault: str) -> None:
    assert fault in refusal(case)


def test_judge__consent_of_somebody_else__refused() -> None:
    case = Onboarding()
    assert "consent" in refusal(case, consent=sign(1, consent_digest(case.request, DOMAIN)))


def test_judge__not_all_is_shown_or_something_twice__refused() -> None:
    case = Onboarding()
    evidence = case.evidence()
    assert "station_registered" in refusal(case, records=evidence.records[1:])
    assert "onboarding" in refusal(case, records=(*evidence.records, evidence.records[1]))


def test_judge__altered_record__refused() -> None:
    case = Onboarding()
    first, *rest = case.evidence().records
    assert "salt" in refusal(case, records=(replace(first, salt=b"\xff" * 32), *rest))


def test_judge__not_anchored__refused() -> None:
    case = Onboarding()
    anchor = anchor_of(case.log.note())
    assert "no topic message" in refusal(case, anchor=None)
    assert "no topic message" in refusal(case, anchor=anchor_of(b"another"))
    assert "running hash" in refusal(case, anchor=replace(anchor, running_hash=bytes(48)))
    for topics in ((), (replace(TOPIC, payer="0.0.9"),)):
        with pytest.raises(ChargEraError, match="not trusted"):
            judge_registration(case.evidence(), DOMAIN, replace(TRUST, topics=topics))


def test_shows_meter__only_what_that_meter_signed_for_that_identification() -> None:
    key = METER_KEY_DER.hex()
    assert shows_meter(reading("abc"), key, "ABC")
    assert not shows_meter(reading("abc"), key, "abd")
    forged = base64.b64decode(reading("abc")).replace(b"1.0", b"2.0")
    assert not shows_meter(base64.b64encode(forged).decode(), key, "abc")
    assert not shows_meter("!", key, "abc")
    assert not shows_meter(base64.b64encode(b"OCMF|{}").decode(), key, "abc")


def test_nonce__of_the_sample__is_its_own_identification() -> None:
    assert parse_hex(hex_text(NONCE), field="n")[:20].decode() == WANTED
