"""How numbers, money and times are written: exactly, and the same on every page."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from chargera.web.pages.formats import NOTHING, Formats

EN = Formats(Locale("en", "GB"))
DE = Formats(Locale("de"))
AT = datetime(2026, 11, 24, 9, 41, 30, 120_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("energy_wh", "rounded", "exact"),
    [
        (0, "0.0 kWh", "0.000 kWh"),
        (49, "0.0 kWh", "0.049 kWh"),
        (50, "0.1 kWh", "0.050 kWh"),
        (18_412, "18.4 kWh", "18.412 kWh"),
        (1_234_567, "1,234.6 kWh", "1,234.567 kWh"),
    ],
)
def test_energy(energy_wh: int, rounded: str, exact: str) -> None:
    assert EN.energy(energy_wh).replace("\N{NO-BREAK SPACE}", " ") == rounded
    assert EN.energy_exact(energy_wh).replace("\N{NO-BREAK SPACE}", " ") == exact


@given(st.integers(0, 10**12))
def test_exact_energy_can_be_read_back(energy_wh: int) -> None:
    text = EN.energy_exact(energy_wh).removesuffix("\N{NO-BREAK SPACE}kWh")
    assert Decimal(text.replace(",", "")) * 1000 == energy_wh


def test_numbers_and_their_units_are_not_torn_apart() -> None:
    for text in (EN.energy(1), EN.energy_exact(1), EN.power(1), EN.power_max(1000)):
        assert " " not in text


def test_ends_of_scales_have_decimals_only_where_they_need_them() -> None:
    assert EN.power_max(22_000).endswith("22\N{NO-BREAK SPACE}kW")
    assert EN.power_max(3_700).startswith("3.7")
    assert EN.energy_max(20_000).startswith("20\N{NO-BREAK SPACE}")
    assert EN.energy_max(500).startswith("0.5")


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [(736, "EUR", "€7.36"), (-5, "EUR", "-€0.05"), (1200, "JPY", "JP¥1,200"), (1234, "KWD", "KWD")],
)
def test_money_has_the_decimals_of_its_currency(
    amount_minor: int, currency: str, text: str
) -> None:
    assert text in EN.money(amount_minor, currency)


def test_money_is_written_as_the_locale_does() -> None:
    assert DE.money(736, "EUR") == "7,36\N{NO-BREAK SPACE}€"


@pytest.mark.parametrize(
    ("exact", "text"),
    [
        ("0.39", "€0.39"),
        ("3", "€3.00"),
        ("0.00385", "€0.00385"),
        ("9.1845", "€9.1845"),
        ("0.33333333333333333333", "€0.333333"),
        ("0.500", "€0.50"),
        ("100", "€100.00"),
    ],
)
def test_a_price_keeps_the_decimals_that_it_has(exact: str, text: str) -> None:
    assert EN.price(exact, "EUR") == text


def test_quantities_of_bills() -> None:
    assert EN.quantity("ENERGY", Decimal("23.55")) == "23.550\N{NO-BREAK SPACE}kWh"
    assert EN.quantity("PARKING_TIME", Decimal(4321)) == "1 hr 12 mins"
    assert EN.quantity("TIME", Decimal(45)) == "45 secs"
    assert EN.quantity("FLAT", Decimal(1)) is None


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("full", "24 Nov 2026, 09:41:30 UTC"),
        ("short", "24 Nov, 09:41 UTC"),
        ("clock", "09:41:30 UTC"),
    ],
)
def test_a_time_is_shown_in_utc_and_readable_by_machines(style: str, text: str) -> None:
    element = EN.time(AT.astimezone(timezone(timedelta(hours=5))), style)  # type: ignore[arg-type]  # the styles are listed above
    assert f">{text}<" in element
    assert 'datetime="2026-11-24T09:41:30.120Z"' in element
    assert 'title="24 Nov 2026, 09:41:30 UTC"' in element
    assert f'data-style="{style}"' in element


def test_no_time_is_a_dash() -> None:
    assert EN.time(None) == NOTHING


@pytest.mark.parametrize(
    ("since", "text"),
    [
        (timedelta(0), "1 sec ago"),
        (timedelta(seconds=12), "12 sec ago"),
        (timedelta(minutes=5), "5 min ago"),
        (timedelta(hours=-1), "1 sec ago"),
    ],
)
def test_ages_never_lie_in_the_future(since: timedelta, text: str) -> None:
    assert EN.ago(AT - since, AT) == text


@pytest.mark.parametrize(
    ("lasted", "text"),
    [
        (timedelta(seconds=45), "45 secs"),
        (timedelta(minutes=59, seconds=59), "59 mins"),
        (timedelta(hours=2, minutes=5), "2 hrs 5 mins"),
        (timedelta(days=1), "24 hrs 0 mins"),
        (timedelta(seconds=-3), "0 secs"),
    ],
)
def test_durations(lasted: timedelta, text: str) -> None:
    assert EN.duration(lasted) == text
