"""What a tariff may be made of."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import pytest

from chargera.domain.errors import InvalidInput
from chargera.domain.tariff import (
    MAX_ELEMENTS,
    Dimension,
    PriceComponent,
    Restrictions,
    Tariff,
    TariffElement,
)

ENERGY = PriceComponent(Dimension.ENERGY, Decimal("0.25"))
ELEMENT = TariffElement((ENERGY,))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"price": Decimal("-0.01")}, "price"),
        ({"price": Decimal(10**9 + 1)}, "price"),
        ({"price": Decimal("1E-13")}, "price"),
        ({"price": Decimal("NaN")}, "price"),
        ({"price": Decimal("Infinity")}, "price"),
        ({"vat": Decimal("100.1")}, "vat"),
        ({"vat": Decimal(-1)}, "vat"),
        ({"step_size": -1}, "step_size"),
        ({"step_size": 10**7 + 1}, "step_size"),
    ],
)
def test_price_component__out_of_bounds__refused_by_name(change, field):
    values = {"dimension": Dimension.ENERGY, "price": Decimal(1), "vat": Decimal(21)}
    with pytest.raises(InvalidInput) as refused:
        PriceComponent(**(values | change))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_kwh", Decimal(-1)),
        ("max_kwh", Decimal(10**6 + 1)),
        ("min_duration_s", -1),
        ("max_duration_s", 10**8 + 1),
        ("start_time", time(12, 0, 1)),
        ("end_time", time(12, 0, 0, 1)),
        ("end_time", time(12, tzinfo=UTC)),
    ],
)
def test_restrictions__out_of_bounds__refused_by_name(field, value):
    with pytest.raises(InvalidInput) as refused:
        Restrictions(**{field: value})
    assert refused.value.field == field


def test_values__exactly_at_their_bounds__accepted():
    PriceComponent(Dimension.TIME, Decimal(10**9), Decimal(100), 10**7)
    PriceComponent(Dimension.TIME, Decimal("0.000000000001"), Decimal(0), 0)
    Restrictions(min_kwh=Decimal(0), max_kwh=Decimal(10**6), max_duration_s=10**8)
    Tariff("x" * 36, "EUR", (ELEMENT,) * MAX_ELEMENTS)


@pytest.mark.parametrize("components", [(), (ENERGY, ENERGY)])
def test_element__no_or_ambiguous_components__refused(components):
    with pytest.raises(InvalidInput) as refused:
        TariffElement(components)
    assert refused.value.field == "price_components"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"currency": "EURO"}, "currency"),
        ({"elements": ()}, "elements"),
        ({"elements": (ELEMENT,) * (MAX_ELEMENTS + 1)}, "elements"),
        ({"tariff_id": ""}, "tariff_id"),
        ({"tariff_id": "x" * 37}, "tariff_id"),
        ({"tariff_id": "prix d'été"}, "tariff_id"),
        ({"tariff_id": "a\n"}, "tariff_id"),
        ({"start_date_time": datetime(2026, 1, 1)}, "start_date_time"),
        ({"end_date_time": datetime(2026, 1, 1)}, "end_date_time"),
    ],
)
def test_tariff__out_of_bounds__refused_by_name(change, field):
    values = {"tariff_id": "T", "currency": "EUR", "elements": (ELEMENT,)}
    with pytest.raises(InvalidInput) as refused:
        Tariff(**(values | change))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("start", "end", "valid"),
    [
        (None, None, True),
        (NOON, None, True),
        (NOON + timedelta(seconds=1), None, False),
        (None, NOON, False),
        (None, NOON + timedelta(seconds=1), True),
    ],
)
def test_is_valid_at__start_and_end__inclusive_and_exclusive(start, end, valid):
    tariff = Tariff("T", "EUR", (ELEMENT,), None, start, end)
    assert tariff.is_valid_at(NOON) is valid
