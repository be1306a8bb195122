"""The judgement of an attester on a custody record: that it happened so, and that the host agrees.

A pure function as that on registrations: the record and what it rests on, opened against the log,
the topic message that anchors it, what the chain says of the passport, and the host's signature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chargera.domain.errors import ChargEraError, InvalidInput
from chargera.domain.passport import CustodyKind, PassportFacts, PassportStatus, degrees_e7
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.attestation import onboarding_identification
from chargera.proofs.chain_values import WORD_BYTES, ZERO_WORD, parse_hex
from chargera.proofs.eip712 import Domain
from chargera.proofs.entry import EntryKind
from chargera.proofs.evidence import LoggedRecord, Opened, anchored_head, open_record
from chargera.proofs.onboarding import shows_meter
from chargera.proofs.passport import custody_digest, custody_value, key_hash
from chargera.proofs.records import custody_record_digest
from chargera.proofs.secp256k1 import recover
from chargera.proofs.trust import Trust

_STRANGE = (KeyError, TypeError, ValueError, AttributeError)

_WITHOUT_VALUE = (CustodyKind.FIRMWARE, CustodyKind.REPAIR)
_OF_STATION = (CustodyKind.METER, CustodyKind.LOCATION)
"""Kinds that say again what a station is registered as."""


@dataclass(frozen=True, slots=True)
class CustodyEvidence:
    """What an attester holds of one custody record.

    `records`: the custody entry; of a new meter or a move the station's new registration; of a
    meter that signs a reading by it, whose identification is that of the record's digest.
    """

    head: bytes
    anchor: AnchoredMessage | None
    host_signature: bytes
    records: tuple[LoggedRecord, ...]


@dataclass(frozen=True, slots=True)
class PassportNow:
    """What the chain says of the passport: its id, its facts, how many custody records it has."""

    passport: bytes
    facts: PassportFacts
    custody_count: int


def judge_custody(
    evidence: CustodyEvidence, now: PassportNow, domain: Domain, trust: Trust
) -> bytes:
    """Return the digest to sign. Raises InvalidInput naming what is wrong."""
    try:
        return _judge(evidence, now, domain, trust)
    except ChargEraError:
        raise
    except _STRANGE as error:
        raise InvalidInput(f"a record lacks or misstates {error}", field="record") from None


def custody_identification(record: Mapping[str, Any]) -> str:
    """Return the identification by which a new meter signs for its custody record."""
    return onboarding_identification(custody_record_digest(record))


def _judge(evidence: CustodyEvidence, now: PassportNow, domain: Domain, trust: Trust) -> bytes:
    head = anchored_head(evidence.head, evidence.anchor, trust).head
    opened = [open_record(logged, head) for logged in evidence.records]
    custody = _one(opened, EntryKind.CUSTODY)
    record = custody.record
    if parse_hex(record["passport_id"], field="passport_id") != now.passport:
        raise InvalidInput("of another passport", field="passport_id")
    if now.facts.status is not PassportStatus.MINTED:
        raise InvalidInput("the passport is not in force", field="passport_id")
    if now.facts.operator_id != trust.operator_id:
        raise InvalidInput("of another operator's charger", field="passport_id")
    if record["number"] != now.custody_count:
        raise InvalidInput(f"its number must be {now.custody_count}", field="number")
    kind = CustodyKind(record["kind"])
    value = parse_hex(record["value"], WORD_BYTES, field="value")
    _check_value(kind, value)
    if kind in _OF_STATION:
        _check_station(kind, value, opened, custody)
    digest = custody_digest(
        now.passport,
        record["number"],
        kind,
        custody_record_digest(record),
        custody.index,
        value,
        domain=domain,
    )
    if recover(digest, evidence.host_signature) != now.facts.host:
        raise InvalidInput("not signed by the host", field="host_signature")
    return digest


def _check_value(kind: CustodyKind, value: bytes) -> None:
    """See that the word is one that a record of that kind can carry."""
    match kind:
        case CustodyKind.RETIREMENT:
            raise InvalidInput("only the host retires a charger, by himself", field="kind")
        case CustodyKind.OWNER:
            is_one = value == custody_value(kind, value[-20:]) and value != ZERO_WORD
        case CustodyKind.OPERATOR:
            is_one = value == custody_value(kind, value.rstrip(b"\0").decode("ascii", "replace"))
        case CustodyKind.LOCATION:
            is_one = value[:-8] == bytes(WORD_BYTES - 8)
        case _:
            is_one = kind not in _WITHOUT_VALUE or value == ZERO_WORD
    if not is_one:
        raise InvalidInput(f"not a value of kind {kind}", field="value")


def _check_station(
    kind: CustodyKind, value: bytes, opened: Sequence[Opened], custody: Opened
) -> None:
    """The station is registered as the record says, and a new meter has signed for it."""
    station = _one(opened, EntryKind.STATION_REGISTERED).record
    if station["station_id"] != custody.record["station_id"]:
        raise InvalidInput("the registration is of another station", field="station_id")
    if kind is CustodyKind.LOCATION:
        place = (degrees_e7(station["latitude"]), degrees_e7(station["longitude"]))
        if custody_value(kind, place) != value:
            raise InvalidInput("the station is registered at another place", field="value")
        return
    if key_hash(station["meter_key"]) != value:
        raise InvalidInput("the station is registered with another meter key", field="value")
    if value == ZERO_WORD:
        return
    wanted = custody_identification(custody.record)
    for one in opened:
        if one.kind is EntryKind.SIGNED_VALUE and shows_meter(
            one.record["ocmf_base64"], station["meter_key"], wanted
        ):
            return
    raise InvalidInput(f"no reading of the new meter names {wanted}", field="reading")


def _one(opened: Sequence[Opened], kind: EntryKind) -> Opened:
    found = [one for one in opened if one.kind is kind]
    if len(found) != 1:
        raise InvalidInput(f"not one {kind} entry is shown", field="records")
    return found[0]
