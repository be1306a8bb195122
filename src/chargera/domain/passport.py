"""Passports of charging stations: what is fixed at birth, what may change, and the words for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from chargera.domain.errors import InvalidInput
from chargera.domain.station import OcppVersion
from chargera.domain.word import Word

COMMISSION_BPS_MAX = 8_000
TEXT_BYTES_MAX = 64
DEGREE_E7 = 10**7


class Protocol(Word):
    """A protocol that a passport can name."""

    OCPP_1_6 = "ocpp1.6"
    OCPP_2_0_1 = "ocpp2.0.1"
    OCPP_2_1 = "ocpp2.1"
    OCPI_2_2_1 = "ocpi2.2.1"


PROTOCOL_BITS: Mapping[Protocol, int] = {
    Protocol.OCPP_1_6: 0,
    Protocol.OCPP_2_0_1: 1,
    Protocol.OCPP_2_1: 2,
    Protocol.OCPI_2_2_1: 8,
}
"""Where each protocol stands in the `protocols` of a passport on chain."""


class ProtocolEvidence(Word):
    """What speaks for it that a station has a protocol; each says more than the one before."""

    DECLARED = "declared"
    """Who registered it said so."""
    OBSERVED = "observed"
    """The station has spoken it on its authenticated connection."""
    TESTED = "tested"
    """It passed the standard run on its connection, and the log has the entry."""


class PassportStatus(Word):
    """How far a passport is; the order is that of `Status` in the contract."""

    NONE = "none"
    PENDING = "pending"
    MINTED = "minted"
    RETIRED = "retired"


class CustodyKind(Word):
    """What a custody record changes; the order is that of `CustodyKind` in the contract."""

    OWNER = "owner"
    OPERATOR = "operator"
    METER = "meter"
    FIRMWARE = "firmware"
    LOCATION = "location"
    REPAIR = "repair"
    RETIREMENT = "retirement"

    @property
    def number(self) -> int:
        """Its value on chain."""
        return _CUSTODY_ORDER.index(self)


_CUSTODY_ORDER = tuple(CustodyKind)


@dataclass(frozen=True, slots=True)
class PassportFacts:
    """What the chain says of a passport.

    Addresses are 20 bytes, digests and keys' hashes 32 (all zero: none), times Unix seconds
    (0: not yet), coordinates in ten-millionths of a degree, `rated_w` the sum over the EVSEs.
    """

    status: PassportStatus
    operator_id: str
    host: bytes
    lat_e7: int
    lon_e7: int
    protocols: int
    rated_w: int
    evse_count: int
    commission_bps: int
    requested_at: int
    registered_at: int
    retired_at: int
    metadata_digest: bytes
    meter_key_hash: bytes
    station_key_hash: bytes
    registration_hash: bytes

    def earns_at(self, end: int) -> bool:
        """Say whether a session that ended at that second can be settled for this passport."""
        is_retired = self.retired_at != 0 and end > self.retired_at
        return self.registered_at != 0 and self.registered_at <= end and not is_retired


def normalised(text: str, *, field: str) -> str:
    """Return a manufacturer or serial number as it makes an identity: trimmed, in upper case.

    Raises InvalidInput unless 1 to 64 printable ASCII characters remain, so that one thing cannot
    be written in two ways.
    """
    plain = text.strip(" ")
    if not 0 < len(plain) <= TEXT_BYTES_MAX or not (plain.isascii() and plain.isprintable()):
        raise InvalidInput(
            f"{field}: must have 1 to {TEXT_BYTES_MAX} printable ASCII characters",
            field=field,
            remedy="write it in ASCII, as on the type plate",
        )
    return plain.upper()


def protocol_bits(protocols: Iterable[Protocol]) -> int:
    """Return the bits of protocols as they stand on chain."""
    return sum(1 << PROTOCOL_BITS[protocol] for protocol in set(protocols))


def protocols_of(bits: int) -> tuple[Protocol, ...]:
    """Return the protocols of bits from the chain, in order. InvalidInput for an unknown bit."""
    found = tuple(protocol for protocol, bit in PROTOCOL_BITS.items() if bits >> bit & 1)
    if protocol_bits(found) != bits:
        raise InvalidInput(f"{bits:#x} names a protocol that is not known", field="protocols")
    return found


def protocol_of(version: OcppVersion) -> Protocol:
    """Return the protocol that an OCPP version is."""
    return Protocol(f"ocpp{version}")


def protocol_standing(
    declared: Iterable[Protocol], observed: Iterable[Protocol], tested: Iterable[Protocol]
) -> dict[Protocol, ProtocolEvidence]:
    """Return the best evidence for each protocol, in the order of `Protocol`."""
    best: dict[Protocol, ProtocolEvidence] = {}
    for evidence, protocols in zip(ProtocolEvidence, (declared, observed, tested), strict=True):
        best.update(dict.fromkeys(protocols, evidence))
    return {protocol: best[protocol] for protocol in Protocol if protocol in best}


def degrees_e7(text: str) -> int:
    """Return a coordinate with at most 7 decimals in ten-millionths of a degree."""
    return int(Decimal(text) * DEGREE_E7)


def degrees_text(e7: int) -> str:
    """Return a coordinate as plain decimal text without superfluous zeros."""
    text = f"{Decimal(e7) / DEGREE_E7:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
