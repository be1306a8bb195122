"""Random tariffs, among them every kind of restriction, as OCPI documents."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from random import Random
from typing import Any

from chargera.domain.tariff import (
    DayOfWeek,
    Dimension,
    PriceComponent,
    Restrictions,
    Tariff,
    TariffElement,
)
from chargera.proofs.ocpi import tariff_to_ocpi

CURRENCIES = ("EUR", "SEK", "JPY", "KWD")
PRICES = ("0", "0.25", "0.3471", "1.2", "5.005", "0.000001")
VATS = (None, "0", "9", "21", "7.7")
STEPS = (0, 1, 7, 60, 300, 500, 900)
DATES = (date(2026, 10, 20), date(2026, 10, 25), date(2026, 10, 26), date(2026, 11, 2))

RESTRICTIONS: dict[str, Any] = {
    "start_time": lambda r: time(r.randrange(24), r.choice((0, 1, 30, 59))),
    "end_time": lambda r: time(r.randrange(24), r.choice((0, 1, 30, 59))),
    "start_date": lambda r: r.choice(DATES),
    "end_date": lambda r: r.choice(DATES),
    "min_kwh": lambda r: Decimal(r.choice(("0", "0.5", "3.333", "12"))),
    "max_kwh": lambda r: Decimal(r.choice(("1", "5", "8.25", "20"))),
    "min_duration_s": lambda r: r.choice((0, 1, 600, 1800, 3599)),
    "max_duration_s": lambda r: r.choice((600, 1800, 7200)),
    "day_of_week": lambda r: frozenset(r.sample(list(DayOfWeek), r.randint(2, 5))),
}


def random_tariff(tariff_id: str, number: int, random: Random) -> dict[str, object]:
    """Return the `number`-th tariff: its first element has the restriction of that number.

    The last element has none and prices every dimension, so that no session is free of charge.
    """
    names = list(RESTRICTIONS)
    elements = []
    for place in range(random.randint(1, 4)):
        chosen = {names[number % len(names)]} if place == 0 else set()
        chosen |= set(random.sample(names, random.randint(0 if chosen else 1, 2)))
        restrictions = Restrictions(**{name: RESTRICTIONS[name](random) for name in chosen})
        dimensions = random.sample(list(Dimension), random.randint(1, 4))
        elements.append(_element(dimensions, restrictions, random))
    elements.append(_element(list(Dimension), None, random))
    tariff = Tariff(tariff_id, CURRENCIES[number % len(CURRENCIES)], tuple(elements))
    updated = datetime(2026, 10, 1, tzinfo=UTC)
    return tariff_to_ocpi(tariff, country_code="NL", party_id="C4E", last_updated=updated)


def _element(
    dimensions: list[Dimension], restrictions: Restrictions | None, random: Random
) -> TariffElement:
    components = tuple(
        PriceComponent(
            dimension,
            Decimal(random.choice(PRICES)),
            None if (vat := random.choice(VATS)) is None else Decimal(vat),
            random.choice(STEPS),
        )
        for dimension in dimensions
    )
    return TariffElement(components, restrictions)
