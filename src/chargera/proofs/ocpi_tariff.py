"""OCPI 2.2.1 Tariff objects: to and from tariffs that can be priced, and their digest.

A Tariff has two JSON forms here. The one of OCPI writes prices as numbers. The *normalised
document* is what is stored, logged and digested, because the log's profile of RFC 8785 has no
numbers with a point: members that are null are left out, the numbers of `NUMBERS` are plain
decimal strings without superfluous zeros (`0.250` and `"0.25"` both become `"0.25"`), every other
number is an integer, and texts stay as they are. Every function takes either form.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from chargera.domain.money import decimal_string
from chargera.domain.tariff import (
    MAX_ELEMENTS,
    MAX_ID_LENGTH,
    DayOfWeek,
    Dimension,
    PriceComponent,
    Restrictions,
    Tariff,
    TariffElement,
    TariffType,
)
from chargera.proofs import canonical
from chargera.proofs.ocpi_json import (
    Fields,
    calendar_date,
    decimal,
    instant,
    join,
    list_of,
    located,
    one_of,
    text,
    time_of_day,
    whole,
)

NUMBERS = frozenset({"price", "vat", "min_kwh", "max_kwh", "percentage", "amount"})
"""Members that hold an OCPI `number`; all others with a number hold an `int`."""

_TARIFF = frozenset(
    {
        "country_code",
        "party_id",
        "id",
        "currency",
        "type",
        "tariff_alt_text",
        "tariff_alt_url",
        "elements",
        "start_date_time",
        "end_date_time",
        "energy_mix",
        "last_updated",
    }
)
"""What a tariff may hold. Missing, as it would change the price: min_price, max_price."""
_ELEMENT = frozenset({"price_components", "restrictions"})
_COMPONENT = frozenset({"type", "price", "vat", "step_size"})
_RESTRICTIONS = frozenset(
    {
        "start_time",
        "end_time",
        "start_date",
        "end_date",
        "min_kwh",
        "max_kwh",
        "min_duration",
        "max_duration",
        "day_of_week",
    }
)
"""Missing: min_current, max_current, min_power, max_power, reservation."""
_NAMES = {"tariff_id": "id", "min_duration_s": "min_duration", "max_duration_s": "max_duration"}
"""Attributes of the domain that OCPI calls otherwise."""


def tariff_from_ocpi(document: Mapping[str, object]) -> Tariff:
    """Return what an OCPI 2.2.1 Tariff object means.

    `country_code`, `party_id` and `last_updated` may be missing: they change no price.

    Raises:
        Unsupported: a member that would change the price, or is not known; named by its path.
        InvalidInput: a member is missing, of the wrong type or out of bounds.
    """
    fields = Fields.of(document, "", _TARIFF)
    for name, limit in (("country_code", 2), ("party_id", 3)):
        fields.optional(name, text(limit))
    fields.optional("last_updated", instant)
    tariff_id = fields.required("id", text(MAX_ID_LENGTH))
    currency = fields.required("currency", text(3))
    elements = fields.required("elements", list_of(_element, MAX_ELEMENTS))
    tariff_type = fields.optional("type", one_of(TariffType))
    start, end = (fields.optional(f"{edge}_date_time", instant) for edge in ("start", "end"))
    with located("", _NAMES):
        return Tariff(tariff_id, currency, elements, tariff_type, start, end)


def tariff_to_ocpi(
    tariff: Tariff, *, country_code: str, party_id: str, last_updated: datetime
) -> dict[str, object]:
    """Return a tariff as a normalised document, complete for OCPI."""
    document: dict[str, object] = {
        "country_code": country_code,
        "party_id": party_id,
        "id": tariff.tariff_id,
        "currency": tariff.currency,
        "type": tariff.tariff_type and tariff.tariff_type.value,
        "elements": [_element_to_ocpi(element) for element in tariff.elements],
        "start_date_time": tariff.start_date_time and _utc(tariff.start_date_time),
        "end_date_time": tariff.end_date_time and _utc(tariff.end_date_time),
        "last_updated": _utc(last_updated),
    }
    return normalise_tariff(document)


def normalise_tariff(document: Mapping[str, object]) -> dict[str, object]:
    """Return the normalised document of a Tariff object, which `canonical.encode` can write.

    Raises:
        InvalidInput: a number that is none, named by its path. What the tariff means is not
            checked: `tariff_from_ocpi` does that.
    """
    return {
        name: _normalised(member, name, name)
        for name, member in document.items()
        if member is not None
    }


def tariff_digest(document: Mapping[str, object]) -> str:
    """Return the SHA-256 of the normalised document's canonical bytes, in hex."""
    return hashlib.sha256(canonical.encode(normalise_tariff(document))).hexdigest()


def with_numbers(document: Mapping[str, object]) -> dict[str, object]:
    """Return a Tariff object as OCPI writes it: with numbers, as `Decimal`, for `encode_json`."""
    return {name: _with_numbers(member, name) for name, member in document.items()}


def _element(value: object, path: str) -> TariffElement:
    fields = Fields.of(value, path, _ELEMENT)
    components = fields.required("price_components", list_of(_component, MAX_ELEMENTS))
    restrictions = fields.optional("restrictions", _restrictions)
    with located(path, _NAMES):
        return TariffElement(components, restrictions)


def _component(value: object, path: str) -> PriceComponent:
    fields = Fields.of(value, path, _COMPONENT)
    dimension = fields.required("type", one_of(Dimension))
    price = fields.required("price", decimal)
    vat = fields.optional("vat", decimal)
    step_size = fields.required("step_size", whole)
    with located(path, _NAMES):
        return PriceComponent(dimension, price, vat, step_size)


def _restrictions(value: object, path: str) -> Restrictions:
    fields = Fields.of(value, path, _RESTRICTIONS)
    start_time, end_time = (
        fields.optional(name, time_of_day) for name in ("start_time", "end_time")
    )
    start_date, end_date = (
        fields.optional(name, calendar_date) for name in ("start_date", "end_date")
    )
    min_kwh, max_kwh = (fields.optional(name, decimal) for name in ("min_kwh", "max_kwh"))
    shortest, longest = (fields.optional(name, whole) for name in ("min_duration", "max_duration"))
    days = fields.optional("day_of_week", list_of(one_of(DayOfWeek), len(DayOfWeek))) or ()
    with located(path, _NAMES):
        return Restrictions(
            start_time,
            end_time,
            start_date,
            end_date,
            min_kwh,
            max_kwh,
            min_duration_s=shortest,
            max_duration_s=longest,
            day_of_week=frozenset(days),
        )


def _element_to_ocpi(element: TariffElement) -> dict[str, object]:
    components = [
        {
            "type": component.dimension.value,
            "price": component.price,
            "vat": component.vat,
            "step_size": component.step_size,
        }
        for component in element.components
    ]
    r = element.restrictions
    if r is None:
        return {"price_components": components}
    restrictions: dict[str, object] = {
        "start_time": r.start_time and r.start_time.isoformat("minutes"),
        "end_time": r.end_time and r.end_time.isoformat("minutes"),
        "start_date": r.start_date and r.start_date.isoformat(),
        "end_date": r.end_date and r.end_date.isoformat(),
        "min_kwh": r.min_kwh,
        "max_kwh": r.max_kwh,
        "min_duration": r.min_duration_s,
        "max_duration": r.max_duration_s,
        "day_of_week": [day.value for day in DayOfWeek if day in r.day_of_week] or None,
    }
    return {"price_components": components, "restrictions": restrictions}


def _normalised(value: object, name: str, path: str) -> object:
    """Normalise the value at `path`; `name` is that of the member that it is in."""
    if isinstance(value, dict):
        return {
            key: _normalised(member, key, join(path, key))
            for key, member in value.items()
            if member is not None
        }
    if isinstance(value, list | tuple):
        return [_normalised(item, name, f"{path}[{index}]") for index, item in enumerate(value)]
    if name in NUMBERS:
        return decimal_string(Fraction(decimal(value, path)))
    if isinstance(value, int | str):  # bool is an int
        return value
    return whole(value, path)


def _with_numbers(value: object, name: str) -> object:
    if isinstance(value, dict):
        return {key: _with_numbers(member, key) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_with_numbers(item, name) for item in value]
    return Decimal(value) if name in NUMBERS and isinstance(value, str) else value


def _utc(at: datetime) -> str:
    """Write a time as OCPI wants it, `Z` at its end."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
