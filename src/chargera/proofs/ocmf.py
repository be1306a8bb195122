"""The Open Charge Metering Format: what a signing meter says, taken from the exact bytes it signed.

An OCMF string is `OCMF|payload|signature` (OCMF 1.4.1, S.A.F.E. e.V.). What is signed are the
bytes of the payload as they stand; both sections are JSON objects with two-letter names. Reading
one decides nothing about its truth: that is `meter_checks`.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum

from chargera.domain.errors import Unreadable
from chargera.proofs.nesting import check_nesting

RECORD_BYTES_MAX = 65_536
READINGS_MAX = 1_000
TEXT_LENGTH_MAX = 1_024
EXPONENT_MAX = 12
"""A number is below 10^12 and has at most 12 decimals: no conversion between units rounds."""

WH_EXPONENT: Mapping[str, int] = {"Wh": 0, "kWh": 3}
"""Units of energy: the power of ten that makes them Wh."""


class TimeStatus(StrEnum):
    """How far a time of the meter's clock can be relied upon (OCMF table 19)."""

    UNSYNCHRONIZED = "U"
    INFORMATIVE = "I"
    RELATIVE = "R"
    SYNCHRONIZED = "S"


class EnergyFlow(StrEnum):
    """Which way the energy that a register counts has gone."""

    IMPORT = "import"
    EXPORT = "export"


class IdentificationLevel(IntEnum):
    """How surely the meter knows for whom it measures (OCMF table 11), the higher the surer."""

    NONE = 0
    HEARSAY = 1
    TRUSTED = 2
    VERIFIED = 3
    CERTIFIED = 4
    SECURE = 5


class Page(StrEnum):
    """The two series of page numbers that a meter counts (OCMF table 2)."""

    TRANSACTION = "T"
    FISCAL = "F"


BEGIN_REASON = "B"
ERROR_REASON = "X"

END_REASONS = frozenset("ELRAP")
"""Last readings: end, ended locally, remotely, by an error (abort), by a power failure."""

MIDDLE_REASONS = frozenset("CXST")
"""Between begin and end: charging, error, suspended, tariff change."""

IDENTIFICATION_ERRORS = frozenset({"MISMATCH", "INVALID", "OUTDATED", "UNKNOWN"})

FLAG_LEVELS: Mapping[str, IdentificationLevel] = {
    "RFID_PLAIN": IdentificationLevel.HEARSAY,
    "RFID_RELATED": IdentificationLevel.TRUSTED,
    "RFID_PSK": IdentificationLevel.SECURE,
    "OCPP_RS": IdentificationLevel.HEARSAY,
    "OCPP_AUTH": IdentificationLevel.HEARSAY,
    "OCPP_RS_TLS": IdentificationLevel.TRUSTED,
    "OCPP_AUTH_TLS": IdentificationLevel.TRUSTED,
    "OCPP_CACHE": IdentificationLevel.HEARSAY,
    "OCPP_WHITELIST": IdentificationLevel.HEARSAY,
    "OCPP_CERTIFIED": IdentificationLevel.CERTIFIED,
    "ISO15118_PNC": IdentificationLevel.SECURE,
    "PLMN_RING": IdentificationLevel.HEARSAY,
    "PLMN_SMS": IdentificationLevel.HEARSAY,
}
"""The level that a flag (OCMF tables 13 to 16) is worth where the meter names no level."""

REGISTER_FLOWS: Mapping[str, EnergyFlow] = {
    "1": EnergyFlow.IMPORT,
    **dict.fromkeys(("B0", "B1", "B2", "B3"), EnergyFlow.IMPORT),
    **dict.fromkeys(("C0", "C1", "C2", "C3"), EnergyFlow.EXPORT),
}
"""Value group C of the OBIS codes that a bill may rest upon: total import, and the registers of
OCMF for the mains side (0, 2) and the vehicle side (1, 3), in all (0, 1) or by transaction."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading; what it leaves out it takes from the reading before it in the same record."""

    at: datetime
    """Aware UTC."""
    time_status: TimeStatus
    reason: str | None
    """OCMF TX: B begin, C charging, X error, E L R A P end, S suspended, T tariff change."""
    value: Decimal | None
    """OCMF RV, exact; None when the reading only tells of an event."""
    register: str | None
    """OCMF RI, an OBIS code as the meter writes it."""
    unit: str | None
    meter_status: str | None
    """OCMF ST: G good, anything else a fault."""
    error_flags: str
    """OCMF EF: E energy, t time not usable for billing."""
    error_count: str | None
    """OCMF EI, the meter's event counter of the early revisions."""
    cumulated_loss: Decimal | None
    """OCMF CL, in the unit of the value."""

    @property
    def value_wh(self) -> Decimal | None:
        """The value in Wh, exact; None where there is none or it is no energy."""
        exponent = WH_EXPONENT.get(self.unit or "")
        if self.value is None or exponent is None:
            return None
        return self.value.scaleb(exponent)

    @property
    def flow(self) -> EnergyFlow | None:
        """What the register counts; None for one that no bill may rest upon."""
        code = _OBIS.fullmatch(self.register or "")
        return REGISTER_FLOWS.get(code[1]) if code else None


@dataclass(frozen=True, slots=True)
class OcmfSignature:
    """The signature section: nothing in it is protected by the signature."""

    algorithm: str
    """OCMF SA."""
    value: bytes
    """OCMF SD, decoded."""
    extensions: tuple[str, ...]
    """Names of fields that OCMF does not know, which are never used."""


@dataclass(frozen=True, slots=True)
class OcmfRecord:
    """One OCMF string."""

    payload: bytes
    """What is signed, byte for byte."""
    signature: OcmfSignature
    page_series: Page
    page_number: int
    gateway_serial: str
    meter_serial: str
    """Empty when the meter is the gateway itself, which `gateway_serial` then names."""
    is_identified: bool
    """OCMF IS: the meter says that it knows for whom it measures."""
    identification_level: str | None
    identification_flags: tuple[str, ...]
    identification_type: str
    identification: str
    loss_compensation: tuple[tuple[str, str], ...] | None
    """OCMF LC as sorted pairs of name and text; None when the meter states none."""
    readings: tuple[Reading, ...]

    @property
    def page(self) -> str:
        """The page as the meter writes it, such as `T12`."""
        return f"{self.page_series}{self.page_number}"

    @property
    def level(self) -> IdentificationLevel:
        """The identification level that is stated or else implied by the best flag."""
        stated = IdentificationLevel.__members__.get(self.identification_level or "")
        if stated is not None or not self.is_identified:
            return stated or IdentificationLevel.NONE
        implied = (FLAG_LEVELS.get(flag) for flag in self.identification_flags)
        return max((level for level in implied if level), default=IdentificationLevel.HEARSAY)


DEFAULT_ALGORITHM = "ECDSA-secp256r1-SHA256"

_SIGNATURE_FIELDS = frozenset({"SA", "SE", "SM", "SD"})
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)[,.](\d{3})(?:([+-])(\d\d):?(\d\d)|Z) ([UIRS])", re.ASCII
)
_NUMBER = re.compile(r"-?\d{1,24}(\.\d{1,24})?([eE][+-]?\d{1,2})?", re.ASCII)
_OBIS = re.compile(r"\w{1,3}-\w{1,3}:0*([0-9A-C]{1,2})\.0*8\.\w{1,3}([*.].*)?", re.ASCII)
_PAGE = re.compile(r"([TF])(0|[1-9]\d{0,17})", re.ASCII)


def parse_ocmf(raw: bytes) -> OcmfRecord:
    """Return what the OCMF string `raw` says.

    Raises Unreadable (with the two-letter name as `field` where there is one) for anything that is
    not exactly one OCMF string: other separators, JSON with a name twice or a number that is not
    one, a field of the wrong type, more than the limits above.
    """
    if len(raw) > RECORD_BYTES_MAX:
        raise _unreadable(f"an OCMF string has at most {RECORD_BYTES_MAX} bytes")
    sections = raw.split(b"|")
    if len(sections) != 3 or sections[0] != b"OCMF":
        raise _unreadable("an OCMF string is OCMF|payload|signature, with exactly two separators")
    payload = _Fields(_json_object(sections[1], "payload"))
    page = _PAGE.fullmatch(payload.text("PG"))
    if page is None:
        raise _unreadable("the page is T or F and a number", "PG")
    return OcmfRecord(
        payload=sections[1],
        signature=_parse_signature(_json_object(sections[2], "signature")),
        page_series=Page(page[1]),
        page_number=int(page[2]),
        gateway_serial=payload.text("GS", ""),
        meter_serial=payload.text("MS", ""),
        is_identified=payload.boolean("IS"),
        identification_level=payload.text("IL", "") or None,
        identification_flags=payload.texts("IF"),
        identification_type=payload.text("IT", "NONE"),
        identification=payload.text("ID", ""),
        loss_compensation=payload.pairs("LC"),
        readings=_parse_readings(payload.list("RD")),
    )


def _unreadable(message: str, field: str | None = None) -> Unreadable:
    return Unreadable(
        f"{field}: {message}" if field else message,
        field=field,
        remedy="pass the OCMF string exactly as the station sent it",
    )


def _json_object(section: bytes, name: str) -> dict[str, object]:
    try:
        check_nesting(section)
        value = json.loads(
            section.decode(),
            parse_float=_exact_number,
            parse_int=_exact_number,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique_names,
        )
    except Unreadable:
        raise
    except ValueError as error:
        raise _unreadable(f"the {name} section is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _unreadable(f"the {name} section is not a JSON object")
    return value


def _exact_number(text: str) -> Decimal:
    """Return the number as written: its decimals say how fine the meter's register is."""
    if not _NUMBER.fullmatch(text):
        raise _unreadable("a number is too long or not a number")
    value = Decimal(text)
    exponent = int(value.as_tuple().exponent)
    if exponent < -EXPONENT_MAX or value.adjusted() >= EXPONENT_MAX:
        raise _unreadable(f"a number is not below 10^{EXPONENT_MAX} or has too many decimals")
    return value


def _refuse_constant(text: str) -> object:
    raise _unreadable(f"{text} is not a number")


def _unique_names(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Two readers that differ in which one of two they take would see two different bills.
    names = dict(pairs)
    if len(names) != len(pairs):
        raise _unreadable("a name stands twice in one object")
    return names


def _parse_signature(section: dict[str, object]) -> OcmfSignature:
    fields = _Fields(section)
    extensions = tuple(sorted(section.keys() - _SIGNATURE_FIELDS))
    for name in extensions:
        # Without this the loss of one letter would silently bring a default into force.
        if any(_differs_in_one_letter(name, known) for known in _SIGNATURE_FIELDS):
            raise _unreadable(f"{name!r} is a damaged name of a signature field")
    if fields.text("SM", "application/x-der") != "application/x-der":
        raise _unreadable("the only kind of signature is application/x-der", "SM")
    return OcmfSignature(
        algorithm=fields.text("SA", DEFAULT_ALGORITHM),
        value=_decode_signature(fields.text("SD"), fields.text("SE", "hex")),
        extensions=extensions,
    )


def _differs_in_one_letter(name: str, known: str) -> bool:
    return len(name) == len(known) and sum(a != b for a, b in zip(name, known, strict=True)) == 1


_ENCODINGS: Mapping[str, tuple[Callable[[str], bytes], Callable[[bytes], tuple[str, ...]]]] = {
    "hex": (bytes.fromhex, lambda value: (value.hex(), value.hex().upper())),
    "base64": (base64.b64decode, lambda value: (base64.b64encode(value).decode(),)),
}
"""How SD is written: the decoder, and the spellings of a value that are read.

One spelling only, so that no byte of the string can change unnoticed.
"""


def _decode_signature(text: str, encoding: str) -> bytes:
    if encoding not in _ENCODINGS:
        raise _unreadable("a signature is written in hex or base64", "SE")
    decode, spellings = _ENCODINGS[encoding]
    try:
        value = decode(text)
    except ValueError:
        value = b""
    if not value or text not in spellings(value):
        raise _unreadable(f"the signature is not {encoding}", "SD")
    return value


def _parse_readings(items: list[object]) -> tuple[Reading, ...]:
    if not 1 <= len(items) <= READINGS_MAX:
        raise _unreadable(f"a record has 1 to {READINGS_MAX} readings", "RD")
    readings: list[Reading] = []
    known: dict[str, object] = {}
    for item in items:
        if not isinstance(item, dict):
            raise _unreadable("a reading is a JSON object", "RD")
        # What a reading does not repeat holds on; but one without a value only tells of an event.
        known = {name: value for name, value in known.items() if name != "RV"} | item
        readings.append(_parse_reading(_Fields(known)))
    return tuple(readings)


def _parse_reading(fields: "_Fields") -> Reading:
    at, time_status = _parse_time(fields.text("TM"))
    return Reading(
        at=at,
        time_status=time_status,
        reason=fields.text("TX", "") or None,
        value=fields.number("RV"),
        register=fields.text("RI", "") or None,
        unit=fields.text("RU", "") or None,
        meter_status=fields.text("ST", "") or None,
        error_flags=fields.text("EF", ""),
        error_count=fields.text("EI", "") or None,
        cumulated_loss=fields.number("CL"),
    )


def _parse_time(text: str) -> tuple[datetime, TimeStatus]:
    parts = _TIME.fullmatch(text)
    if parts is None:
        raise _unreadable("a time is like 2018-07-24T13:22:04,000+0200 S", "TM")
    local, milliseconds, sign, hours, minutes, status = parts.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        zone = timezone(-offset if sign == "-" else offset)
        at = datetime.fromisoformat(local).replace(
            microsecond=int(milliseconds) * 1000, tzinfo=zone
        )
        return at.astimezone(UTC), TimeStatus(status)
    except (ValueError, OverflowError):
        raise _unreadable("there is no such time", "TM") from None


class _Fields:
    """Reads the members of one JSON object by name and type."""

    __slots__ = ("_members",)

    def __init__(self, members: Mapping[str, object]) -> None:
        self._members = members

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; a number that a meter writes in its place is taken as its digits."""
        value = self._members.get(name)
        if value is None:
            value = default
        if isinstance(value, Decimal):
            value = str(value)
        if not isinstance(value, str) or not value.isprintable() or len(value) > TEXT_LENGTH_MAX:
            raise _unreadable(
                f"a printable text of at most {TEXT_LENGTH_MAX} characters is needed", name
            )
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._members.get(name, [])
        if not isinstance(value, list):
            raise _unreadable("a list of texts is needed", name)
        return tuple(_Fields({name: item}).text(name) for item in value)

    def boolean(self, name: str) -> bool:
        value = self._members.get(name, False)
        if not isinstance(value, bool):
            raise _unreadable("true or false is needed", name)
        return value

    def number(self, name: str) -> Decimal | None:
        """Return an exact number, which some meters write as text padded with spaces."""
        value = self._members.get(name)
        if isinstance(value, str):
            value = _exact_number(value.strip(" "))
        if value is not None and not isinstance(value, Decimal):
            raise _unreadable("a number is needed", name)
        return value

    def list(self, name: str) -> list[object]:
        value = self._members.get(name)
        if not isinstance(value, list):
            raise _unreadable("a list is needed", name)
        return value

    def pairs(self, name: str) -> tuple[tuple[str, str], ...] | None:
        value = self._members.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise _unreadable("an object is needed", name)
        members = _Fields(value)
        return tuple((member, members.text(member)) for member in sorted(value))
