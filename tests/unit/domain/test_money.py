"""Currencies, rounding and decimal strings."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from babel.core import Locale, get_global
from babel.numbers import get_territory_currencies
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import InvalidInput
from chargera.domain.money import (
    MINOR_DIGITS,
    decimal_string,
    format_minor,
    from_minor,
    minor_digits,
    round_half_up,
    to_minor,
)


@pytest.mark.parametrize(
    ("currency", "digits"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("CHF", 2), ("ISK", 0)]
)
def test_minor_digits__currency_of_iso_4217__its_decimals(currency, digits):
    assert minor_digits(currency) == digits


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "XAU", "XTS", "XXX", "ABC"])
def test_minor_digits__no_currency__refused(currency):
    with pytest.raises(InvalidInput) as refused:
        minor_digits(currency)
    assert refused.value.field == "currency"


def test_minor_digits__legal_tender_of_every_country__known():
    territories = [code for code in Locale("en").territories if len(code) == 2]
    tender = {
        currency
        for territory in territories
        if territory in get_global("territory_currencies")
        for currency in get_territory_currencies(territory, date(2026, 1, 1))
    }
    assert len(tender) > 150
    assert tender - set(MINOR_DIGITS) <= {"BGN"}  # replaced by EUR on 2026-01-01


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (Fraction(1, 2), 1),
        (Fraction(5, 2), 3),
        (Fraction(-1, 2), 0),
        (Fraction(-3, 2), -1),
        (Fraction(49, 100), 0),
        (Fraction(10**40 + 1, 2 * 10**20), 5 * 10**19),
        (7, 7),
        (0, 0),
    ],
)
def test_round_half_up__value__nearest_and_ties_up(value, rounded):
    assert round_half_up(value) == rounded


@given(st.fractions())
def test_round_half_up__any_value__at_most_half_away_and_never_below_by_half(value):
    assert Fraction(-1, 2) < round_half_up(value) - value <= Fraction(1, 2)


def test_to_minor__amount__rounded_in_the_decimals_of_the_currency():
    assert to_minor(Fraction("5.125"), "EUR") == 513
    assert to_minor(Fraction("5.125"), "JPY") == 5
    assert to_minor(Fraction("5.125"), "KWD") == 5125


@pytest.mark.parametrize(
    ("minor", "currency", "written"),
    [(1234, "EUR", "12.34"), (-5, "EUR", "-0.05"), (0, "KWD", "0.000"), (-1200, "JPY", "-1200")],
)
def test_format_minor__amount__decimals_of_the_currency(minor, currency, written):
    assert format_minor(minor, currency) == written
    assert from_minor(minor, currency) == Decimal(written)
    assert str(from_minor(minor, currency)) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (-3, "-3"),
        (Fraction(41, 2), "20.5"),
        (Fraction(-1, 16), "-0.0625"),
        (Fraction(7, 10**25), "0.0000000000000000000000007"),
        (Fraction(1, 3), "0.33333333333333333333"),
        (Fraction(2, 3), "0.66666666666666666667"),
        (Fraction(-2, 3), "-0.66666666666666666667"),
        (Fraction(6), "6"),
    ],
)
def test_decimal_string__value__exact_or_twenty_decimals(value, written):
    assert decimal_string(value) == written


@given(st.decimals(allow_nan=False, allow_infinity=False, places=12))
def test_decimal_string__any_finite_decimal__comes_back(value):
    written = decimal_string(Fraction(value))
    assert Fraction(written) == Fraction(value)
    assert "." not in written or written[-1] != "0"


@given(st.fractions())
def test_decimal_string__any_fraction__off_by_half_of_the_last_decimal_at_most(value):
    assert abs(Fraction(decimal_string(value)) - value) <= Fraction(1, 2 * 10**20)
