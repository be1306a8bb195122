"""Passports as a stranger recomputes them: identity, metadata, and what host and attesters sign.

All digests but the metadata's are EIP-712 in the domain of the ChargerPassport contract.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.domain.passport import (
    COMMISSION_BPS_MAX,
    CustodyKind,
    Protocol,
    degrees_e7,
    degrees_text,
    normalised,
    protocol_bits,
    protocol_of,
)
from chargera.domain.station import (
    MAX_EVSES,
    MAX_POWER_W,
    ChargingStation,
    Connector,
    ConnectorType,
    check_coordinate,
    check_station_id,
    check_text,
    check_time_zone,
)
from chargera.proofs import canonical
from chargera.proofs.chain_values import (
    ADDRESS_BYTES,
    WORD_BYTES,
    ZERO_WORD,
    address_text,
    hex_text,
    operator_word,
)
from chargera.proofs.eip712 import (
    Domain,
    address_word,
    bytes_word,
    int_word,
    struct_hash,
    typed_digest,
    uint_word,
)
from chargera.proofs.keccak import keccak256

FORMAT = "chargera.passport/1"
METADATA_BYTES_MAX = 64 * 1024

_MEMBERS = {
    "connectors",
    "format",
    "latitude",
    "longitude",
    "manufacturer",
    "model",
    "operator_id",
    "protocols",
    "serial_number",
    "station_id",
    "time_zone",
}
_CONNECTOR_MEMBERS = {"connector", "connector_type", "evse", "power_w_max"}


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """What is asked of the passport contract; the members are those of its interface.

    `manufacturer` and `serial` are normalised; `operator_id` is text, addresses are 20 bytes,
    digests 32, of which zero stands for none; `topic` is a long-zero address.
    """

    manufacturer: str
    serial: str
    operator_id: str
    host: bytes
    metadata_digest: bytes
    meter_key_hash: bytes
    station_key_hash: bytes
    commission_bps: int
    lat_e7: int
    lon_e7: int
    protocols: int
    rated_w: int
    evse_count: int
    topic: bytes
    sequence_number: int
    log_index: int
    nonce: bytes

    def __post_init__(self) -> None:
        """Raise InvalidInput for a text that is not normalised or a commission over 80 %."""
        for name in ("manufacturer", "serial"):
            text = getattr(self, name)
            if normalised(text, field=name) != text:
                raise InvalidInput(f"{name}: not trimmed and in upper case", field=name)
        if not 0 <= self.commission_bps <= COMMISSION_BPS_MAX:
            raise InvalidInput(
                f"commission_bps: must be 0 to {COMMISSION_BPS_MAX}", field="commission_bps"
            )

    @property
    def token_id(self) -> bytes:
        """The passport's id."""
        return token_id(self.manufacturer, self.serial)


def token_id(manufacturer: str, serial: str) -> bytes:
    """Return the id of the passport of that manufacturer's station with that serial number.

    keccak256(abi.encode(manufacturer, serial)) of the normalised texts. Raises InvalidInput for a
    text that cannot be normalised.
    """
    texts = (
        normalised(manufacturer, field="manufacturer").encode(),
        normalised(serial, field="serial_number").encode(),
    )
    tails = [uint_word(len(text)) + text + bytes(-len(text) % WORD_BYTES) for text in texts]
    second = 2 * WORD_BYTES + len(tails[0])
    return keccak256(uint_word(2 * WORD_BYTES) + uint_word(second) + b"".join(tails))


def passport_domain(chain_id: int, passport: bytes) -> Domain:
    """Return the EIP-712 domain of the ChargerPassport contract at `passport`."""
    return Domain("ChargEra Passport", "1", chain_id, passport)


def consent_digest(request: RegistrationRequest, domain: Domain) -> bytes:
    """Return what the host signs: these facts, this commission, this onboarding."""
    struct = struct_hash(
        "HostConsent(bytes32 tokenId,bytes8 operatorId,address host,bytes32 metadataDigest,"
        "bytes32 meterKeyHash,bytes32 stationKeyHash,uint16 commissionBps,bytes32 nonce)",
        *_identity_words(request),
        request.nonce,
    )
    return typed_digest(domain, struct)


def registration_hash(request: RegistrationRequest, domain: Domain) -> bytes:
    """Return the registration hash, which the passport carries for ever."""
    struct = struct_hash(
        "Onboarding(bytes32 tokenId,bytes8 operatorId,address host,bytes32 metadataDigest,"
        "bytes32 meterKeyHash,bytes32 stationKeyHash,uint16 commissionBps,address topic,"
        "uint64 sequenceNumber,uint64 logIndex,bytes32 consentDigest)",
        *_identity_words(request),
        address_word(request.topic),
        uint_word(request.sequence_number),
        uint_word(request.log_index),
        consent_digest(request, domain),
    )
    return typed_digest(domain, struct)


def registration_digest(request: RegistrationRequest, domain: Domain) -> bytes:
    """Return what attesters sign: the registration hash and the typed facts beside it."""
    struct = struct_hash(
        "Registration(bytes32 registrationHash,int32 latE7,int32 lonE7,uint32 protocols,"
        "uint32 ratedW,uint16 evseCount)",
        registration_hash(request, domain),
        int_word(request.lat_e7),
        int_word(request.lon_e7),
        uint_word(request.protocols),
        uint_word(request.rated_w),
        uint_word(request.evse_count),
    )
    return typed_digest(domain, struct)


def custody_digest(
    passport: bytes,
    number: int,
    kind: CustodyKind,
    record_digest: bytes,
    log_index: int,
    value: bytes,
    *,
    domain: Domain,
) -> bytes:
    """Return what attesters and host sign of the custody record with that number, from 0."""
    struct = struct_hash(
        "Custody(bytes32 tokenId,uint256 number,uint8 kind,bytes32 recordDigest,uint64 logIndex,"
        "bytes32 value)",
        passport,
        uint_word(number),
        uint_word(kind.number),
        record_digest,
        uint_word(log_index),
        value,
    )
    return typed_digest(domain, struct)


def custody_value(kind: CustodyKind, value: bytes | str | tuple[int, int] | None) -> bytes:
    """Return the word that a custody record of a kind carries.

    `value`: the new host's address, the new operator id, the new meter key's hash, latitude and
    longitude in ten-millionths of a degree; None for the kinds that change no fact.
    """
    match kind, value:
        case CustodyKind.OWNER, bytes(address):
            return address_word(address)
        case CustodyKind.OPERATOR, str(operator_id):
            return bytes_word(operator_word(operator_id))
        case CustodyKind.METER, bytes(key_hash) if len(key_hash) == WORD_BYTES:
            return key_hash
        case CustodyKind.LOCATION, (int(lat_e7), int(lon_e7)):
            both = lat_e7.to_bytes(4, "big", signed=True) + lon_e7.to_bytes(4, "big", signed=True)
            return both.rjust(WORD_BYTES, b"\0")
        case CustodyKind.FIRMWARE | CustodyKind.REPAIR | CustodyKind.RETIREMENT, None:
            return bytes(WORD_BYTES)
        case _:
            raise InvalidInput(f"not a value of a custody record of kind {kind}", field="value")


def custody_words(kind: CustodyKind, value: bytes) -> str:
    """Return what the word of a custody record says, as people write it; empty where it is none."""
    match kind:
        case CustodyKind.OWNER:
            return address_text(value[-ADDRESS_BYTES:])
        case CustodyKind.OPERATOR:
            return value.rstrip(b"\0").decode("ascii", "replace")
        case CustodyKind.METER:
            return hex_text(value) if value != ZERO_WORD else ""
        case CustodyKind.LOCATION:
            both = (value[-8:-4], value[-4:])
            return ", ".join(degrees_text(int.from_bytes(e7, "big", signed=True)) for e7 in both)
        case _:
            return ""


def key_hash(der_hex: str | None) -> bytes:
    """Return SHA-256 of a key's SubjectPublicKeyInfo (DER in hex); zero where there is no key."""
    return bytes(WORD_BYTES) if der_hex is None else hashlib.sha256(bytes.fromhex(der_hex)).digest()


# Metadata --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PassportMetadata:
    """What a passport says of its station, fixed by digest when it is registered.

    `protocols` are those that were declared then.
    """

    operator_id: str
    station_id: str
    manufacturer: str
    model: str
    serial_number: str
    latitude: str
    longitude: str
    time_zone: str
    connectors: tuple[Connector, ...]
    protocols: tuple[Protocol, ...]

    @property
    def rated_w(self) -> int:
        """The sum of what its EVSEs can give: each as much as its strongest connector."""
        by_evse: dict[int, int] = {}
        for connector in self.connectors:
            strongest = max(by_evse.get(connector.evse, 0), connector.power_w_max)
            by_evse[connector.evse] = strongest
        return sum(by_evse.values())

    @property
    def evse_count(self) -> int:
        """How many EVSEs it has."""
        return len({connector.evse for connector in self.connectors})

    @property
    def token_id(self) -> bytes:
        """The id of the passport."""
        return token_id(self.manufacturer, self.serial_number)


def metadata_of(station: ChargingStation, operator_id: str) -> PassportMetadata:
    """Return the metadata of a registered station; its OCPP versions are what it declares."""
    ocpp = {protocol_of(version) for version in station.ocpp_versions}
    return PassportMetadata(
        operator_id=operator_id,
        station_id=station.station_id,
        manufacturer=station.manufacturer,
        model=station.model,
        serial_number=station.serial_number,
        latitude=station.latitude,
        longitude=station.longitude,
        time_zone=station.time_zone,
        connectors=station.connectors,
        protocols=tuple(p for p in Protocol if p in ocpp),
    )


def metadata_document(metadata: PassportMetadata) -> dict[str, Any]:
    """Return the metadata as JSON values."""
    return {
        "connectors": [
            {
                "connector": connector.connector,
                "connector_type": str(connector.connector_type),
                "evse": connector.evse,
                "power_w_max": connector.power_w_max,
            }
            for connector in metadata.connectors
        ],
        "format": FORMAT,
        "latitude": metadata.latitude,
        "longitude": metadata.longitude,
        "manufacturer": metadata.manufacturer,
        "model": metadata.model,
        "operator_id": metadata.operator_id,
        "protocols": [str(protocol) for protocol in metadata.protocols],
        "serial_number": metadata.serial_number,
        "station_id": metadata.station_id,
        "time_zone": metadata.time_zone,
    }


def metadata_digest(metadata: PassportMetadata) -> bytes:
    """Return SHA-256 of the canonical JSON of the metadata."""
    return hashlib.sha256(canonical.encode(metadata_document(metadata))).digest()


def parse_metadata(document: object) -> PassportMetadata:
    """Read a metadata document. Raises Unreadable, naming the member, for any other form."""
    if not isinstance(document, dict) or document.keys() != _MEMBERS:
        raise _unreadable("metadata", f"must have exactly {', '.join(sorted(_MEMBERS))}")
    if document["format"] != FORMAT:
        raise _unreadable("format", f"not {FORMAT}")
    texts = _MEMBERS - {"connectors", "format", "protocols"}
    for name in sorted(texts):
        if not isinstance(document[name], str):
            raise _unreadable(name, "not text")
    try:
        operator_word(document["operator_id"])
        check_station_id(document["station_id"])
        check_time_zone(document["time_zone"])
        for name in ("manufacturer", "model", "serial_number"):
            check_text(document[name], field=name)
        for name, limit in (("latitude", 90), ("longitude", 180)):
            if check_coordinate(document[name], field=name, limit=limit) != document[name]:
                raise _unreadable(name, "not in its shortest form")
    except InvalidInput as error:
        raise _unreadable(error.field or "metadata", error.message) from None
    return PassportMetadata(
        **{name: document[name] for name in texts},
        connectors=_connectors(document["connectors"]),
        protocols=_protocols(document["protocols"]),
    )


def request_of(
    metadata: PassportMetadata,
    *,
    host: bytes,
    commission_bps: int,
    meter_key_hash: bytes,
    station_key_hash: bytes,
    nonce: bytes,
    topic: bytes,
    sequence_number: int,
    log_index: int,
) -> RegistrationRequest:
    """Return what is asked of the contract for a station with that metadata."""
    return RegistrationRequest(
        manufacturer=normalised(metadata.manufacturer, field="manufacturer"),
        serial=normalised(metadata.serial_number, field="serial_number"),
        operator_id=metadata.operator_id,
        host=host,
        metadata_digest=metadata_digest(metadata),
        meter_key_hash=meter_key_hash,
        station_key_hash=station_key_hash,
        commission_bps=commission_bps,
        lat_e7=degrees_e7(metadata.latitude),
        lon_e7=degrees_e7(metadata.longitude),
        protocols=protocol_bits(metadata.protocols),
        rated_w=metadata.rated_w,
        evse_count=metadata.evse_count,
        topic=topic,
        sequence_number=sequence_number,
        log_index=log_index,
        nonce=nonce,
    )


def abi_request(request: RegistrationRequest) -> tuple[object, ...]:
    """Return a request as the tuple that ABI encoders take for `RegistrationRequest`."""
    return (
        request.manufacturer,
        request.serial,
        operator_word(request.operator_id),
        request.host,
        request.metadata_digest,
        request.meter_key_hash,
        request.station_key_hash,
        request.commission_bps,
        request.lat_e7,
        request.lon_e7,
        request.protocols,
        request.rated_w,
        request.evse_count,
        request.topic,
        request.sequence_number,
        request.log_index,
        request.nonce,
    )


def _identity_words(request: RegistrationRequest) -> tuple[bytes, ...]:
    """Return the first seven members, which consent and registration hash share."""
    return (
        request.token_id,
        bytes_word(operator_word(request.operator_id)),
        address_word(request.host),
        request.metadata_digest,
        request.meter_key_hash,
        request.station_key_hash,
        uint_word(request.commission_bps),
    )


def _connectors(value: object) -> tuple[Connector, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_EVSES:
        raise _unreadable("connectors", f"not a list of 1 to {MAX_EVSES}")
    connectors = []
    for place, row in enumerate(value, start=1):
        field = f"connectors[{place - 1}]"
        if not isinstance(row, Mapping) or row.keys() != _CONNECTOR_MEMBERS:
            raise _unreadable(field, "its members are not those of a connector")
        numbers = (row["evse"], row["connector"], row["power_w_max"])
        if any(type(number) is not int for number in numbers):
            raise _unreadable(field, "a number is none")
        evse, connector, power_w_max = numbers
        within = 1 <= evse <= MAX_EVSES and 1 <= connector <= MAX_EVSES
        if not within or not 1 <= power_w_max <= MAX_POWER_W:
            raise _unreadable(field, "a number is out of its range")
        if row["connector_type"] not in set(ConnectorType):
            raise _unreadable(field, "not a type of connector")
        kind = ConnectorType(row["connector_type"])
        connectors.append(Connector(evse, connector, kind, power_w_max, place))
    if len({(c.evse, c.connector) for c in connectors}) != len(connectors):
        raise _unreadable("connectors", "one of them twice")
    return tuple(connectors)


def _protocols(value: object) -> tuple[Protocol, ...]:
    known = [str(protocol) for protocol in Protocol]
    if not isinstance(value, list) or value != [name for name in known if name in value]:
        raise _unreadable("protocols", f"not a list of some of {', '.join(known)}, in this order")
    return tuple(Protocol(name) for name in value)


def _unreadable(field: str, fault: str) -> Unreadable:
    return Unreadable(
        f"passport: {field}: {fault}", field=field, remedy="use the document as it was issued"
    )
