"""Amounts of money: currencies, integers in minor units, exact values and how they are rounded."""

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from chargera.domain.errors import InvalidInput

REPEATING_PLACES = 20
"""Decimals kept of a value that no finite decimal can express (a third, say)."""

_DIGITS_OTHER_THAN_TWO: dict[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_TWO_DIGITS = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
    CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
    GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL
    MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR
    PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
    TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""
MINOR_DIGITS: dict[str, int] = dict.fromkeys(_TWO_DIGITS.split(), 2) | {
    code: digits for digits, codes in _DIGITS_OTHER_THAN_TWO.items() for code in codes.split()
}
"""Decimals of the minor unit of every currency of ISO 4217 (metals, tests and units of account of
several currencies have none and are left out)."""


def minor_digits(currency: str) -> int:
    """Return how many decimals the minor unit of `currency` (ISO 4217, upper case) has.

    Raises:
        InvalidInput: no such currency.
    """
    digits = MINOR_DIGITS.get(currency)
    if digits is None:
        raise InvalidInput(
            f"{currency!r} is not a currency of ISO 4217",
            field="currency",
            remedy="use three capital letters, such as EUR",
        )
    return digits


def round_half_up(value: Fraction | int) -> int:
    """Return the nearest integer, the upper one of two that are equally near.

    Bills are rounded when they are made and are never negative; a credit negates the rounded
    integers of its bill instead of rounding a second time.
    """
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def to_minor(exact: Fraction, currency: str) -> int:
    """Round an exact amount in major units half up to the minor unit of `currency`."""
    return round_half_up(exact * 10 ** minor_digits(currency))


def from_minor(amount_minor: int, currency: str) -> Decimal:
    """Return an amount in major units with exactly the decimals of `currency`."""
    return Decimal(amount_minor).scaleb(-minor_digits(currency))


def format_minor(amount_minor: int, currency: str) -> str:
    """Return an amount as a plain decimal string in major units, `-0.05` or `1200`."""
    return _point(amount_minor, minor_digits(currency))


def decimal_string(value: Fraction | int) -> str:
    """Return `value` as a plain decimal string without superfluous zeros.

    A value that a finite decimal can express is written exactly, however long that is; any other
    is rounded half up to `REPEATING_PLACES` decimals, all of them written.
    """
    denominator = value.denominator
    if denominator == 1:
        return str(value.numerator)
    places = _places(denominator)
    if places is None:
        return _point(round_half_up(value * 10**REPEATING_PLACES), REPEATING_PLACES)
    return _point(value.numerator * 10**places // denominator, places)


@lru_cache(maxsize=1024)
def _places(denominator: int) -> int | None:
    """Return the decimals that a denominator needs, None if no finite number of them will do."""
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0:
        rest //= 5
        fives += 1
    return max(twos, fives) if rest == 1 else None


def _point(scaled: int, places: int) -> str:
    """Write the integer `scaled` with its decimal point moved `places` to the left."""
    if not places:
        return str(scaled)
    digits = str(abs(scaled)).rjust(places + 1, "0")
    return f"{'-' if scaled < 0 else ''}{digits[:-places]}.{digits[-places:]}"
