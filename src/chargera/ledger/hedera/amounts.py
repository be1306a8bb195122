"""The one place where Hedera's amounts are converted: tinybar, weibar, HBAR, dollars, C4E.

Everything inside is an integer of the smallest unit. The EVM of Hedera counts in tinybar (8
decimals), its JSON-RPC relays in weibar (18); dollars are integers of 10^-10 (`usd_e10`), C4E
has 6 decimals. A conversion that is not exact says which way it rounds, or is refused.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from chargera.domain.errors import InvalidInput

HBAR_DECIMALS = 8
WEIBAR_DECIMALS = 18
C4E_DECIMALS = 6

TINYBAR_PER_HBAR = 10**HBAR_DECIMALS
WEIBAR_PER_TINYBAR = 10**10
"""Their decimals differ by so many."""

TINYBAR_MAX = 50_000_000_000 * TINYBAR_PER_HBAR
"""All HBAR that there will ever be; it fits into the 63 bits of the network's own amounts."""

_DECIMAL = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,30}))?")


def weibar_of(tinybar: int) -> int:
    """Return the amount of a relay for an amount inside the EVM; always exact."""
    return _checked(tinybar) * WEIBAR_PER_TINYBAR


def tinybar_of(weibar: int) -> int:
    """Return the amount inside the EVM for an amount of a relay.

    Raises InvalidInput for a part of a tinybar: money would vanish on the way.
    """
    tinybar, rest = divmod(weibar, WEIBAR_PER_TINYBAR)
    if rest:
        raise InvalidInput(
            f"{weibar} weibar is no whole number of tinybar",
            field="value",
            remedy=f"give a multiple of {WEIBAR_PER_TINYBAR}",
        )
    return _checked(tinybar)


def tinybar_gas_price(weibar: int) -> int:
    """Return a relay's price of a gas in tinybar, rounded down as the network does."""
    return _checked(weibar // WEIBAR_PER_TINYBAR)


def amount_text(amount: int, decimals: int) -> str:
    """Return an amount as decimal text with all of its decimals: 150000000 is `1.50000000` HBAR."""
    sign, whole = ("-", -amount) if amount < 0 else ("", amount)
    digits = str(whole).rjust(decimals + 1, "0")
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}" if decimals else f"{sign}{digits}"


def parse_amount(text: str, decimals: int, *, field: str) -> int:
    """Return the amount in the decimal text; `1.5` HBAR is 150000000.

    Raises InvalidInput for more decimals than there are, however small what they say.
    """
    match = _DECIMAL.fullmatch(text)
    fraction = (match.group(2) or "") if match else ""
    if match is None or len(fraction) > decimals:
        raise InvalidInput(
            f"{field}: must be a decimal number with at most {decimals} decimals", field=field
        )
    return int(match.group(1) + fraction.ljust(decimals, "0"))


def hbar_text(tinybar: int) -> str:
    """Return HBAR as decimal text."""
    return amount_text(tinybar, HBAR_DECIMALS)


def parse_hbar(text: str, *, field: str = "hbar") -> int:
    """Return the tinybar in decimal text of HBAR. Raises InvalidInput."""
    return _checked(parse_amount(text, HBAR_DECIMALS, field=field))


def c4e_text(amount: int) -> str:
    """Return C4E as decimal text."""
    return amount_text(amount, C4E_DECIMALS)


def parse_c4e(text: str, *, field: str = "c4e") -> int:
    """Return the smallest units in decimal text of C4E. Raises InvalidInput."""
    return parse_amount(text, C4E_DECIMALS, field=field)


@dataclass(frozen=True, slots=True)
class ExchangeRate:
    """What HBAR cost by the network's own rate: `hbar` of them were worth `cents`.

    One tinybar is then cents/hbar units of 10^-10 dollars.
    """

    cents: int
    hbar: int
    expires_at: datetime

    @classmethod
    def of(cls, cents: int, hbar: int, expires_at_s: int) -> Self:
        """Return a rate. Raises InvalidInput unless both numbers are positive."""
        if cents <= 0 or hbar <= 0:
            raise InvalidInput("an exchange rate has positive numbers", field="exchange_rate")
        return cls(cents, hbar, datetime.fromtimestamp(expires_at_s, UTC))

    def usd_e10(self, tinybar: int) -> int:
        """Return what an amount is worth in 10^-10 dollars, rounded down."""
        return tinybar * self.cents // self.hbar

    def tinybar(self, usd_e10: int) -> int:
        """Return the least amount that is worth at least so many 10^-10 dollars."""
        return -(-usd_e10 * self.hbar // self.cents)


def _checked(tinybar: int) -> int:
    if not 0 <= tinybar <= TINYBAR_MAX:
        raise InvalidInput(
            f"an amount of tinybar lies between 0 and {TINYBAR_MAX}", field="tinybar"
        )
    return tinybar
