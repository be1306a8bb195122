"""OCPI Tariff objects in both directions, and their digest."""

import copy
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from hypothesis import given, settings

from chargera.domain.errors import InvalidInput, Unsupported
from chargera.domain.tariff import (
    DayOfWeek,
    Dimension,
    PriceComponent,
    Restrictions,
    Tariff,
    TariffElement,
    TariffType,
)
from chargera.proofs import canonical
from chargera.proofs.ocpi import (
    encode_json,
    normalise_tariff,
    parse_json,
    tariff_digest,
    tariff_from_ocpi,
    tariff_to_ocpi,
    with_numbers,
)
from tests.unit.domain.test_pricing_properties import tariffs

FULL = """{
  "country_code": "NL", "party_id": "C4E", "id": "NIGHT", "currency": "EUR", "type": "REGULAR",
  "tariff_alt_text": [{"language": "en", "text": "0.10 more by day"}],
  "tariff_alt_url": "https://example.org/night",
  "min_price": null,
  "elements": [
    {
      "price_components": [
        {"type": "ENERGY", "price": 0.250, "vat": 21.0, "step_size": 1},
        {"type": "FLAT", "price": 1, "vat": null, "step_size": 1.0}
      ],
      "restrictions": {
        "start_time": "22:00", "end_time": "06:00",
        "start_date": "2026-01-01", "end_date": "2027-01-01",
        "min_kwh": 1, "max_kwh": 50.5, "min_duration": 60, "max_duration": 7200,
        "day_of_week": ["SATURDAY", "FRIDAY"]
      }
    },
    {"price_components": [{"type": "PARKING_TIME", "price": 6.00, "vat": 0, "step_size": 300}]}
  ],
  "start_date_time": "2026-01-01T00:00:00Z", "end_date_time": "2027-01-01T00:00:00",
  "energy_mix": {"is_green_energy": true,
                 "energy_sources": [{"source": "WIND", "percentage": 99.5}],
                 "environ_impact": [{"category": "CARBON_DIOXIDE", "amount": 3}]},
  "last_updated": "2025-12-01T00:00:00Z"
}"""

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MEANING = Tariff(
    "NIGHT",
    "EUR",
    (
        TariffElement(
            (
                PriceComponent(Dimension.ENERGY, Decimal("0.25"), Decimal(21), 1),
                PriceComponent(Dimension.FLAT, Decimal(1), None, 1),
            ),
            Restrictions(
                time(22),
                time(6),
                date(2026, 1, 1),
                date(2027, 1, 1),
                Decimal(1),
                Decimal("50.5"),
                60,
                7200,
                frozenset({DayOfWeek.FRIDAY, DayOfWeek.SATURDAY}),
            ),
        ),
        TariffElement((PriceComponent(Dimension.PARKING_TIME, Decimal(6), Decimal(0), 300),)),
    ),
    TariffType.REGULAR,
    NEW_YEAR,
    datetime(2027, 1, 1, tzinfo=UTC),
)


def smallest():
    return {
        "id": "T",
        "currency": "EUR",
        "elements": [{"price_components": [{"type": "ENERGY", "price": "1", "step_size": 1}]}],
    }


def changed(path, value):
    """Return the smallest tariff with one member set; `path` in steps."""
    document = smallest()
    place = document
    for step in path[:-1]:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    place[path[-1]] = value
    return document


COMPONENT = ("elements", 0, "price_components", 0)
RESTRICTIONS = ("elements", 0, "restrictions")


def test_tariff_from_ocpi__every_member__means_what_it_says():
    assert tariff_from_ocpi(parse_json(FULL)) == MEANING


def test_tariff_from_ocpi__either_form__the_same_tariff_and_digest():
    document = parse_json(FULL)
    normalised = normalise_tariff(document)
    assert tariff_from_ocpi(normalised) == MEANING
    assert normalise_tariff(normalised) == normalised
    assert tariff_digest(normalised) == tariff_digest(document)
    assert normalise_tariff(with_numbers(normalised)) == normalised
    assert parse_json(encode_json(with_numbers(normalised))) == with_numbers(normalised)


def test_normalise_tariff__numbers__strings_and_integers_and_no_null():
    normalised = normalise_tariff(parse_json(FULL))
    component, flat = normalised["elements"][0]["price_components"]
    assert component == {"type": "ENERGY", "price": "0.25", "vat": "21", "step_size": 1}
    assert flat == {"type": "FLAT", "price": "1", "step_size": 1}
    assert normalised["elements"][0]["restrictions"]["max_kwh"] == "50.5"
    assert normalised["elements"][0]["restrictions"]["min_duration"] == 60
    assert normalised["energy_mix"] == {
        "is_green_energy": True,
        "energy_sources": [{"source": "WIND", "percentage": "99.5"}],
        "environ_impact": [{"category": "CARBON_DIOXIDE", "amount": "3"}],
    }
    assert "min_price" not in normalised
    assert canonical.decode(canonical.encode(normalised)) == normalised


def test_tariff_digest__published_value__stays():
    assert (
        tariff_digest(parse_json(FULL))
        == "51e369ea3a6995803c97252f8e7b2e48d83aa47e78515ec8db83ecdf96a12dc9"
    )


@pytest.mark.parametrize("value", [0.5, "cheap", [True]])
def test_normalise_tariff__no_number_where_one_belongs__named(value):
    with pytest.raises(InvalidInput) as refused:
        normalise_tariff(changed((*COMPONENT, "price"), value))
    assert refused.value.field.startswith("elements[0].price_components[0].price")


@pytest.mark.parametrize("value", [Decimal("1.5"), 1.5])
def test_normalise_tariff__point_where_an_integer_belongs__named(value):
    with pytest.raises(InvalidInput) as refused:
        normalise_tariff(changed((*COMPONENT, "step_size"), value))
    assert refused.value.field == "elements[0].price_components[0].step_size"


@settings(max_examples=60)
@given(tariffs)
def test_tariff_to_ocpi__any_tariff__comes_back(tariff):
    document = tariff_to_ocpi(tariff, country_code="NL", party_id="C4E", last_updated=NEW_YEAR)
    assert tariff_from_ocpi(document) == tariff
    assert tariff_from_ocpi(parse_json(encode_json(with_numbers(document)))) == tariff
    assert document["last_updated"] == "2026-01-01T00:00:00Z"
    assert canonical.decode(canonical.encode(document)) == document


def test_tariff_to_ocpi__every_member__the_full_document():
    document = tariff_to_ocpi(MEANING, country_code="NL", party_id="C4E", last_updated=NEW_YEAR)
    assert document["type"] == "REGULAR"
    assert document["start_date_time"] == "2026-01-01T00:00:00Z"
    assert document["elements"][0]["restrictions"]["day_of_week"] == ["FRIDAY", "SATURDAY"]
    assert tariff_from_ocpi(document) == MEANING


def test_tariff_from_ocpi__input__is_left_alone():
    document = parse_json(FULL)
    before = copy.deepcopy(document)
    tariff_from_ocpi(document)
    tariff_digest(document)
    with_numbers(document)
    assert document == before


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("min_price",), {"excl_vat": 1}),
        (("max_price",), {"excl_vat": 1}),
        (("tax_included",), "YES"),
        (("Currency",), "EUR"),
        (("type",), "GOLD"),
        (("elements", 0, "restriction"), {}),
        ((*COMPONENT, "discount"), 1),
        ((*COMPONENT, "type"), "RESERVATION_TIME"),
        ((*COMPONENT, "type"), "energy"),
        ((*RESTRICTIONS, "min_current"), 6),
        ((*RESTRICTIONS, "max_current"), 32),
        ((*RESTRICTIONS, "min_power"), 6),
        ((*RESTRICTIONS, "max_power"), 6),
        ((*RESTRICTIONS, "reservation"), "RESERVATION"),
        ((*RESTRICTIONS, "day_of_week"), ["SOMEDAY"]),
    ],
)
def test_tariff_from_ocpi__what_cannot_be_priced__unsupported_by_name(path, value):
    with pytest.raises(Unsupported) as refused:
        tariff_from_ocpi(changed(path, value))
    named = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    assert refused.value.field.removesuffix("[0]") == named.removeprefix(".")


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("id",), None, "id"),
        (("id",), "x" * 37, "id"),
        (("id",), "é", "id"),
        (("currency",), None, "currency"),
        (("currency",), "ABC", "currency"),
        (("country_code",), "NLD", "country_code"),
        (("party_id",), 7, "party_id"),
        (("elements",), [], "elements"),
        (("elements",), None, "elements"),
        (("elements",), {}, "elements"),
        (("elements", 0), [], "elements[0]"),
        (("elements", 0, "price_components"), None, "elements[0].price_components"),
        (("elements", 0, "price_components"), [], "elements[0].price_components"),
        ((*COMPONENT, "price"), None, "elements[0].price_components[0].price"),
        ((*COMPONENT, "price"), "-1", "elements[0].price_components[0].price"),
        ((*COMPONENT, "price"), 0.25, "elements[0].price_components[0].price"),
        ((*COMPONENT, "vat"), 101, "elements[0].price_components[0].vat"),
        ((*COMPONENT, "step_size"), None, "elements[0].price_components[0].step_size"),
        ((*COMPONENT, "step_size"), -1, "elements[0].price_components[0].step_size"),
        ((*RESTRICTIONS, "start_time"), "25:00", "elements[0].restrictions.start_time"),
        ((*RESTRICTIONS, "end_date"), "soon", "elements[0].restrictions.end_date"),
        ((*RESTRICTIONS, "min_duration"), -1, "elements[0].restrictions.min_duration"),
        ((*RESTRICTIONS, "max_duration"), 10**9, "elements[0].restrictions.max_duration"),
        ((*RESTRICTIONS, "max_kwh"), -1, "elements[0].restrictions.max_kwh"),
        (("start_date_time",), "yesterday", "start_date_time"),
        (("last_updated",), "2026", "last_updated"),
    ],
)
def test_tariff_from_ocpi__missing_or_wrong__named_by_path(path, value, field):
    with pytest.raises(InvalidInput) as refused:
        tariff_from_ocpi(changed(path, value))
    assert refused.value.field == field


def test_tariff_from_ocpi__two_prices_of_a_dimension_in_one_element__refused():
    document = smallest()
    document["elements"][0]["price_components"] *= 2
    with pytest.raises(InvalidInput) as refused:
        tariff_from_ocpi(document)
    assert refused.value.field == "elements[0].price_components"


def test_tariff_from_ocpi__empty_restrictions__hold_always():
    assert (
        tariff_from_ocpi(changed(RESTRICTIONS, {"day_of_week": []})).elements[0].restrictions
        == Restrictions()
    )
