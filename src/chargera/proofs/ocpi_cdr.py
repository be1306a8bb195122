"""OCPI 2.2.1 CDR objects: a bill as one that any partner can price again, and back.

Volumes of a CDR have four decimals, so an hour loses its seconds. They are cut off cumulatively:
the volumes of a dimension up to any period sum to its exact quantity rounded down. A step_size of
one second or one Wh, or any coarser one, then rounds the total up to what was billed, and energy
thresholds are met where they were; between two prices of one bill at most a ten-thousandth of a
unit is on the wrong side. Periods start where the bill's do, milliseconds rounded down.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from chargera.domain.errors import InvalidInput
from chargera.domain.money import from_minor
from chargera.domain.pricing import MAX_PERIODS, Bill, ChargingPeriod
from chargera.domain.tariff import Dimension
from chargera.proofs.ocpi_json import Fields, decimal, instant, list_of, one_of, text
from chargera.proofs.ocpi_tariff import with_numbers

VOLUME_DECIMALS = 4
_SECONDS_IN_HOUR = 3600

_LENGTHS = {
    "id": 39,
    "session_id": 36,
    "authorization_reference": 36,
    "meter_id": 255,
    "remark": 255,
    "cdr_token.uid": 36,
    "cdr_token.contract_id": 36,
    "cdr_location.id": 36,
    "cdr_location.name": 255,
    "cdr_location.address": 45,
    "cdr_location.city": 45,
    "cdr_location.postal_code": 10,
    "cdr_location.country": 3,
    "cdr_location.evse_uid": 36,
    "cdr_location.evse_id": 48,
    "cdr_location.connector_id": 36,
}
"""Greatest lengths of OCPI for texts that come from outside."""


class AuthMethod(StrEnum):
    """OCPI AuthMethod: how the driver was let in."""

    AUTH_REQUEST = "AUTH_REQUEST"
    COMMAND = "COMMAND"
    WHITELIST = "WHITELIST"


class CdrTokenType(StrEnum):
    """OCPI TokenType."""

    AD_HOC_USER = "AD_HOC_USER"
    APP_USER = "APP_USER"
    OTHER = "OTHER"
    RFID = "RFID"


class CdrDimensionType(StrEnum):
    """OCPI CdrDimensionType, without RESERVATION_TIME: reservations are not priced."""

    ENERGY = "ENERGY"
    TIME = "TIME"
    PARKING_TIME = "PARKING_TIME"
    CURRENT = "CURRENT"
    ENERGY_EXPORT = "ENERGY_EXPORT"
    ENERGY_IMPORT = "ENERGY_IMPORT"
    MAX_CURRENT = "MAX_CURRENT"
    MIN_CURRENT = "MIN_CURRENT"
    MAX_POWER = "MAX_POWER"
    MIN_POWER = "MIN_POWER"
    POWER = "POWER"
    STATE_OF_CHARGE = "STATE_OF_CHARGE"


_PRICED = (CdrDimensionType.ENERGY, CdrDimensionType.TIME, CdrDimensionType.PARKING_TIME)
"""The others inform, and change no price: restrictions on current and power are refused."""


@dataclass(frozen=True, slots=True)
class CdrToken:
    """Who charged: OCPI CdrToken. `country_code` and `party_id` are the eMSP's."""

    country_code: str
    party_id: str
    uid: str
    token_type: CdrTokenType
    contract_id: str


@dataclass(frozen=True, slots=True)
class CdrLocation:
    """Where: OCPI CdrLocation. `country` is ISO 3166-1 alpha-3; coordinates decimal degrees."""

    location_id: str
    address: str
    city: str
    country: str
    latitude: str
    longitude: str
    evse_uid: str
    evse_id: str
    connector_id: str
    connector_standard: str
    connector_format: str
    connector_power_type: str
    name: str | None = None
    postal_code: str | None = None


@dataclass(frozen=True, slots=True)
class SignedValue:
    """One signed meter value; `nature` is Start, End or Intermediate, `signed_data` base64."""

    nature: str
    plain_data: str
    signed_data: str


@dataclass(frozen=True, slots=True)
class SignedData:
    """OCPI SignedData: the meter's own proof. `public_key` is base64."""

    encoding_method: str
    signed_values: tuple[SignedValue, ...]
    encoding_method_version: int | None = None
    public_key: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class CdrFacts:
    """What a CDR says beside the bill.

    `country_code` and `party_id` are the CPO's. With `credit_reference_id`, the id of the CDR
    that it takes back, it is a credit CDR: the same, its total cost negated.
    """

    cdr_id: str
    country_code: str
    party_id: str
    session_id: str | None
    started_at: datetime
    ended_at: datetime
    token: CdrToken
    auth_method: AuthMethod
    location: CdrLocation
    last_updated: datetime
    authorization_reference: str | None = None
    meter_id: str | None = None
    signed_data: SignedData | None = None
    remark: str | None = None
    credit_reference_id: str | None = None


@dataclass(frozen=True, slots=True)
class MeteredCdr:
    """What a CDR says was used: enough to price it again."""

    currency: str
    started_at: datetime
    ended_at: datetime
    periods: tuple[ChargingPeriod, ...]


def cdr_from_ocpi(document: Mapping[str, object]) -> MeteredCdr:
    """Read of a CDR what a price needs, and nothing else.

    Raises:
        Unsupported: a dimension that is not of OCPI 2.2.1, or RESERVATION_TIME.
        InvalidInput: a member is missing or wrong, named by its path.
    """
    fields = Fields.of(document, "")
    return MeteredCdr(
        currency=fields.required("currency", text(3)),
        started_at=fields.required("start_date_time", instant),
        ended_at=fields.required("end_date_time", instant),
        periods=fields.required("charging_periods", list_of(_period, MAX_PERIODS)),
    )


def cdr_to_ocpi(bill: Bill, facts: CdrFacts, tariff: Mapping[str, object]) -> dict[str, object]:
    """Return the CDR object of a bill, with its tariff inside, for `encode_json`.

    `tariff` is the Tariff object, in either form, that the bill was made with; what OCPI demands
    and it lacks is taken from the facts. Costs of single dimensions are without VAT, since VAT is
    taken on the sum of each rate.

    Raises:
        InvalidInput: a text of the facts is empty or longer than OCPI allows.
    """
    credit = facts.credit_reference_id is not None
    sign = -1 if credit else 1
    periods, totals = _charging_periods(bill, tariff["id"])
    charging, parking = totals[Dimension.TIME], totals[Dimension.PARKING_TIME]
    cdr: dict[str, object] = {
        "country_code": facts.country_code,
        "party_id": facts.party_id,
        "id": facts.cdr_id,
        "start_date_time": _utc(facts.started_at),
        "end_date_time": _utc(facts.ended_at),
        "session_id": facts.session_id,
        "cdr_token": _token(facts.token),
        "auth_method": facts.auth_method.value,
        "authorization_reference": facts.authorization_reference,
        "cdr_location": _location(facts.location),
        "meter_id": facts.meter_id,
        "currency": bill.currency,
        "tariffs": [_embedded(tariff, facts)],
        "charging_periods": periods,
        "signed_data": facts.signed_data and _signed(facts.signed_data),
        "total_cost": {
            "excl_vat": from_minor(sign * bill.net_minor, bill.currency),
            "incl_vat": from_minor(sign * bill.gross_minor, bill.currency),
        },
        "total_fixed_cost": _cost(bill, Dimension.FLAT),
        "total_energy": totals[Dimension.ENERGY],
        "total_energy_cost": _cost(bill, Dimension.ENERGY),
        "total_time": charging + parking,
        "total_time_cost": _cost(bill, Dimension.TIME),
        "total_parking_time": parking or None,
        "total_parking_cost": _cost(bill, Dimension.PARKING_TIME),
        "remark": facts.remark,
        "credit": credit or None,
        "credit_reference_id": facts.credit_reference_id,
        "last_updated": _utc(facts.last_updated),
    }
    _check_lengths(cdr)
    return _without_none(cdr)


def _period(value: object, path: str) -> ChargingPeriod:
    fields = Fields.of(value, path)
    used: dict[CdrDimensionType, Fraction] = {}
    for kind, volume in fields.required("dimensions", list_of(_dimension, 100)):
        if kind in used:
            raise InvalidInput(
                f"{kind} occurs twice in a period",
                field=f"{path}.dimensions",
                remedy="add the two volumes up",
            )
        used[kind] = volume
    energy_kwh, charging_h, parking_h = (used.get(kind, Fraction(0)) for kind in _PRICED)
    return ChargingPeriod(
        started_at=fields.required("start_date_time", instant),
        energy_wh=energy_kwh * 1000,
        charging_s=charging_h * _SECONDS_IN_HOUR,
        parking_s=parking_h * _SECONDS_IN_HOUR,
    )


def _dimension(value: object, path: str) -> tuple[CdrDimensionType, Fraction]:
    fields = Fields.of(value, path)
    kind = fields.required("type", one_of(CdrDimensionType))
    return kind, Fraction(fields.required("volume", decimal))


def _charging_periods(
    bill: Bill, tariff_id: object
) -> tuple[list[dict[str, object]], dict[Dimension, Decimal]]:
    """Return the periods, and the sum of their volumes by dimension."""
    exact = dict.fromkeys(Dimension, Fraction(0))
    given = dict.fromkeys(Dimension, Decimal(0))
    periods: list[dict[str, object]] = []
    for period in bill.periods:
        dimensions = []
        for quantity in period.quantities:
            dimension = quantity.dimension
            if dimension is Dimension.FLAT:
                continue
            hours = dimension is not Dimension.ENERGY
            exact[dimension] += quantity.quantity / (_SECONDS_IN_HOUR if hours else 1)
            volume = _cut(exact[dimension]) - given[dimension]
            given[dimension] += volume
            dimensions.append({"type": dimension.value, "volume": volume})
        periods.append(
            {
                "start_date_time": _utc(period.started_at),
                # OCPI wants one dimension at least, also of a session without any length.
                "dimensions": dimensions or [{"type": "TIME", "volume": Decimal(0)}],
                "tariff_id": tariff_id,
            }
        )
    return periods, given


def _cut(exact: Fraction) -> Decimal:
    """Round down to four decimals."""
    return Decimal(exact * 10**VOLUME_DECIMALS // 1).scaleb(-VOLUME_DECIMALS)


def _cost(bill: Bill, dimension: Dimension) -> dict[str, object] | None:
    minors = [line.minor for line in bill.lines if line.dimension is dimension]
    return {"excl_vat": from_minor(sum(minors), bill.currency)} if minors else None


def _embedded(tariff: Mapping[str, object], facts: CdrFacts) -> dict[str, object]:
    """Return the tariff as OCPI demands it."""
    return {
        "country_code": facts.country_code,
        "party_id": facts.party_id,
        "last_updated": _utc(facts.started_at),
        **_without_none(with_numbers(tariff)),
    }


def _token(token: CdrToken) -> dict[str, object]:
    return {
        "country_code": token.country_code,
        "party_id": token.party_id,
        "uid": token.uid,
        "type": token.token_type.value,
        "contract_id": token.contract_id,
    }


def _location(location: CdrLocation) -> dict[str, object]:
    return {
        "id": location.location_id,
        "name": location.name,
        "address": location.address,
        "city": location.city,
        "postal_code": location.postal_code,
        "country": location.country,
        "coordinates": {
            "latitude": format(Decimal(location.latitude), ".6f"),
            "longitude": format(Decimal(location.longitude), ".6f"),
        },
        "evse_uid": location.evse_uid,
        "evse_id": location.evse_id,
        "connector_id": location.connector_id,
        "connector_standard": location.connector_standard,
        "connector_format": location.connector_format,
        "connector_power_type": location.connector_power_type,
    }


def _signed(signed: SignedData) -> dict[str, object]:
    return {
        "encoding_method": signed.encoding_method,
        "encoding_method_version": signed.encoding_method_version,
        "public_key": signed.public_key,
        "signed_values": [
            {
                "nature": value.nature,
                "plain_data": value.plain_data,
                "signed_data": value.signed_data,
            }
            for value in signed.signed_values
        ],
        "url": signed.url,
    }


def _check_lengths(cdr: Mapping[str, object]) -> None:
    """Refuse texts that a partner would refuse."""
    for path, limit in _LENGTHS.items():
        value: object = cdr
        for name in path.split("."):
            value = value[name] if isinstance(value, Mapping) else None
        if value is not None:
            text(limit)(value, path)


def _without_none(members: Mapping[str, object]) -> dict[str, object]:
    """Leave out what is absent, in every object inside."""
    return {
        name: _without_none(member) if isinstance(member, dict) else member
        for name, member in members.items()
        if member is not None
    }


def _utc(at: datetime) -> str:
    """Write a time as OCPI wants it: at most 25 characters, milliseconds rounded down, `Z`."""
    precision = "milliseconds" if at.microsecond else "seconds"
    return at.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
