"""Charging stations: what is registered of one, and the short text in which EVSEs are given."""

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chargera.domain.errors import InvalidInput
from chargera.domain.word import Word

STATION_ID_PATTERN = re.compile(r"[A-Za-z0-9*+=|@._-]{1,48}")
"""OCPP 2.0.1 `identifierString` without `:`, which Basic authentication reserves."""

MAX_EVSES = 64
MAX_POWER_W = 2_000_000
MAX_TEXT = 64


class OcppVersion(Word):
    """A protocol version, by the name that people use."""

    V1_6 = "1.6"
    V2_0_1 = "2.0.1"


class ConnectorType(Word):
    """The plugs that a station may be registered with."""

    TYPE1 = "type1"
    TYPE2 = "type2"
    CCS1 = "ccs1"
    CCS2 = "ccs2"
    CHADEMO = "chademo"
    NACS = "nacs"


class ConnectorStatus(Word):
    """OCPP 2.0.1 `ConnectorStatusEnumType`, and `Unknown` before the first report."""

    AVAILABLE = "Available"
    OCCUPIED = "Occupied"
    RESERVED = "Reserved"
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Connector:
    """One connector of one EVSE; numbers count from 1 as in OCPP 2.0.1."""

    evse: int
    connector: int
    connector_type: ConnectorType
    power_w_max: int
    ocpp16_connector_id: int
    """Its place in the registered list, from 1: OCPP 1.6 knows no EVSEs."""


@dataclass(frozen=True, slots=True)
class ChargingStation:
    """What a station is registered as; none of it is taken from its own messages."""

    station_id: str
    manufacturer: str
    model: str
    serial_number: str
    latitude: str
    longitude: str
    time_zone: str
    connectors: tuple[Connector, ...]
    ocpp_versions: frozenset[OcppVersion]
    security_profile: int
    plain_allowed: bool
    meter_key_der_hex: str | None
    host_name: str | None
    registered_at: datetime

    def connector_of_1_6(self, connector_id: int) -> Connector | None:
        """Return the connector with this OCPP 1.6 number, None if there is none."""
        if 1 <= connector_id <= len(self.connectors):
            return self.connectors[connector_id - 1]
        return None

    def connector_of(self, evse: int, connector: int | None) -> Connector | None:
        """Return a connector by EVSE and number; without a number the EVSE's first."""
        for candidate in self.connectors:
            if candidate.evse == evse and connector in (None, candidate.connector):
                return candidate
        return None


def check_station_id(value: str) -> str:
    """Return `value` if it can identify a station; raise InvalidInput otherwise."""
    if not STATION_ID_PATTERN.fullmatch(value) or value in (".", ".."):
        raise InvalidInput(
            "a station id has 1 to 48 characters of A-Z a-z 0-9 * + = | @ . _ -, not dots alone",
            field="station_id",
            remedy="choose an id of these characters; ':' would break Basic authentication, and"
            " '..' every address",
        )
    return value


def parse_evses(text: str) -> tuple[Connector, ...]:
    """Read `N:TYPE:WATTS,...`; N repeated is that EVSE's next connector.

    Raises InvalidInput naming the part that is wrong.
    """
    parts = text.split(",")
    if len(parts) > MAX_EVSES:
        raise InvalidInput(
            f"at most {MAX_EVSES} connectors, got {len(parts)}",
            field="evse",
            remedy="register the rest as another station",
        )
    connectors: list[Connector] = []
    for place, part in enumerate(parts, start=1):
        fields = part.strip().split(":")
        if len(fields) != 3 or not fields[0].isdecimal() or not fields[2].isdecimal():
            raise _bad_evse(part)
        evse, power_w = int(fields[0][:9]), int(fields[2][:12])
        if fields[1].lower() not in list(ConnectorType) or not 1 <= evse <= MAX_EVSES:
            raise _bad_evse(part)
        if not 1 <= power_w <= MAX_POWER_W:
            raise _bad_evse(part)
        earlier = sum(1 for c in connectors if c.evse == evse)
        kind = ConnectorType(fields[1].lower())
        connectors.append(Connector(evse, earlier + 1, kind, power_w, place))
    return tuple(connectors)


def check_coordinate(value: str, *, field: str, limit: int) -> str:
    """Return a coordinate in degrees as plain decimal text with at most 7 decimals."""
    try:
        degrees = Decimal(value)
    except InvalidOperation:
        degrees = Decimal("NaN")
    if not degrees.is_finite() or abs(degrees) > limit:
        raise InvalidInput(
            f"'{value[:32]}' is not a coordinate in degrees within +-{limit}",
            field=field,
            remedy="give decimal degrees, such as 52.3702",
        )
    rounded = f"{round(degrees, 7):f}"
    return rounded.rstrip("0").rstrip(".") if "." in rounded else rounded


def check_text(value: str, *, field: str) -> str:
    """Return a name of 1 to 64 printable characters; raise InvalidInput otherwise."""
    if not 1 <= len(value) <= MAX_TEXT or not value.isprintable():
        raise InvalidInput(
            f"{field} must have 1 to {MAX_TEXT} printable characters",
            field=field,
            remedy="shorten it or remove control characters",
        )
    return value


def check_time_zone(name: str) -> str:
    """Return an IANA time zone name that this machine knows."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            f"'{name[:64]}' is not a known IANA time zone",
            field="time_zone",
            remedy="use a name such as Europe/Amsterdam or UTC",
        ) from error
    return name


def _bad_evse(part: str) -> InvalidInput:
    kinds = ", ".join(ConnectorType)
    return InvalidInput(
        f"'{part[:40]}' is not N:TYPE:WATTS with N 1 to {MAX_EVSES}, "
        f"TYPE one of {kinds} and WATTS 1 to {MAX_POWER_W}",
        field="evse",
        remedy='write for example "1:type2:22000,2:ccs2:150000"',
    )
