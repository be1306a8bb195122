"""An attester's judgement on a registration: whether its facts are what the log has of a station.

A pure function of what he has gathered himself: the onboarding and what it rests on, opened
against the log, the topic message that anchors it, and the host's consent. Whether serial number
and meter key are free, the contract itself knows.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chargera.domain.errors import ChargEraError, InvalidInput
from chargera.domain.passport import protocol_of
from chargera.domain.station import OcppVersion
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.attestation import onboarding_identification
from chargera.proofs.chain_values import (
    ZERO_WORD,
    hex_text,
    parse_address,
    parse_hex,
    topic_address,
)
from chargera.proofs.checkpoint import open_checkpoint
from chargera.proofs.eip712 import Domain
from chargera.proofs.entry import EntryKind
from chargera.proofs.evidence import LoggedRecord, Opened, anchored_head, open_record
from chargera.proofs.meter_checks import verify_meter
from chargera.proofs.meter_key import load_meter_key
from chargera.proofs.ocmf import parse_ocmf
from chargera.proofs.passport import (
    RegistrationRequest,
    consent_digest,
    key_hash,
    parse_metadata,
    registration_digest,
    request_of,
)
from chargera.proofs.secp256k1 import recover
from chargera.proofs.trust import Trust

_STRANGE = (KeyError, TypeError, ValueError, AttributeError, IndexError)

_SAME = ("latitude", "longitude", "manufacturer", "model", "serial_number", "station_id")


@dataclass(frozen=True, slots=True)
class RegistrationEvidence:
    """What an attester holds of one registration.

    `head` is the signed note that the onboarding entry stands under, `anchor` the topic message as
    mirrors showed it, `records` the station's registration and the onboarding entry in the order
    of the log. Of a station whose meter signs, `reading` names the onboarding; it came later and
    stands under `reading_head`, which need not be anchored.
    """

    head: bytes
    anchor: AnchoredMessage | None
    consent: bytes
    records: tuple[LoggedRecord, ...]
    reading_head: bytes | None = None
    reading: LoggedRecord | None = None


def judge_registration(evidence: RegistrationEvidence, domain: Domain, trust: Trust) -> bytes:
    """Return the digest to sign. Raises InvalidInput naming what is wrong."""
    try:
        return _judge(evidence, domain, trust)
    except ChargEraError:
        raise
    except _STRANGE as error:
        raise InvalidInput(f"a record lacks or misstates {error}", field="record") from None


def _judge(evidence: RegistrationEvidence, domain: Domain, trust: Trust) -> bytes:
    head = anchored_head(evidence.head, evidence.anchor, trust).head
    opened = [open_record(logged, head) for logged in evidence.records]
    station = _one(opened, EntryKind.STATION_REGISTERED)
    onboarding = _one(opened, EntryKind.ONBOARDING)
    anchor = evidence.anchor
    assert anchor is not None, "the head is anchored"
    request = _request(onboarding, anchor)
    if request.operator_id != trust.operator_id:
        raise InvalidInput(f"of {request.operator_id}, not of {trust.operator_id}", field="record")
    check_station(station.record, onboarding.record)
    if hex_text(request.token_id) != onboarding.record["passport_id"]:
        raise InvalidInput("the onboarding names another passport", field="passport_id")
    if recover(consent_digest(request, domain), evidence.consent) != request.host:
        raise InvalidInput("the consent is not the host's", field="consent")
    if request.meter_key_hash != ZERO_WORD:
        if evidence.reading is not None and evidence.reading_head is not None:
            later = open_checkpoint(evidence.reading_head, trust.origin, trust.log_keys)
            opened.append(open_record(evidence.reading, later))
        _check_reading(opened, station.record["meter_key"], request.nonce)
    return registration_digest(request, domain)


def _one(opened: Sequence[Opened], kind: EntryKind) -> Opened:
    found = [one for one in opened if one.kind is kind]
    if len(found) != 1:
        raise InvalidInput(f"not one {kind} entry is shown", field="records")
    return found[0]


def _request(onboarding: Opened, anchor: AnchoredMessage) -> RegistrationRequest:
    record = onboarding.record
    return request_of(
        parse_metadata(record["metadata"]),
        host=parse_address(record["host"], field="host"),
        commission_bps=record["commission_bps"],
        meter_key_hash=parse_hex(record["meter_key_hash"], 32, field="meter_key_hash"),
        station_key_hash=parse_hex(record["station_key_hash"], 32, field="station_key_hash"),
        nonce=parse_hex(record["nonce"], 32, field="nonce"),
        topic=topic_address(anchor.topic_id),
        sequence_number=anchor.sequence_number,
        log_index=onboarding.index,
    )


def check_station(station: Mapping[str, Any], onboarding: Mapping[str, Any]) -> None:
    """The onboarding's facts are those that the station was registered with."""
    metadata = onboarding["metadata"]
    for name in (*_SAME, "time_zone"):
        if metadata[name] != station[name]:
            raise InvalidInput(f"the station is registered with another {name}", field=name)
    plugs = [
        {name: plug[name] for name in ("connector", "connector_type", "evse", "power_w_max")}
        for plug in station["connectors"]
    ]
    if metadata["connectors"] != plugs:
        raise InvalidInput("registered with other connectors", field="connectors")
    versions = {str(protocol_of(OcppVersion(name))) for name in station["ocpp_versions"]}
    if set(metadata["protocols"]) != versions:
        raise InvalidInput("registered with other protocols", field="protocols")
    if onboarding["meter_key_hash"] != hex_text(key_hash(station["meter_key"])):
        raise InvalidInput("registered with another meter key", field="meter_key_hash")


def _check_reading(opened: Sequence[Opened], meter_key: str, nonce: bytes) -> None:
    """The registered meter has signed a reading for this onboarding."""
    wanted = onboarding_identification(nonce)
    for one in opened:
        if one.kind is EntryKind.SIGNED_VALUE and shows_meter(
            one.record["ocmf_base64"], meter_key, wanted
        ):
            return
    raise InvalidInput(f"no reading of the registered meter names {wanted}", field="reading")


def shows_meter(ocmf_base64: str, meter_key: str, identification: str) -> bool:
    """Say whether the meter with this key has signed this value for that identification."""
    try:
        raw = base64.b64decode(ocmf_base64, validate=True)
        if parse_ocmf(raw).identification.casefold() != identification.casefold():
            return False
        return verify_meter([raw], load_meter_key(meter_key)).is_signed
    except (ChargEraError, ValueError):
        return False
