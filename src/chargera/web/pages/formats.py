"""Numbers, energy, money and times as people of a locale write them.

Everything that comes in is an integer in base units or an exact decimal; nothing becomes a float.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from babel import Locale
from babel.dates import format_datetime, format_timedelta
from babel.numbers import format_currency, format_decimal
from babel.units import format_unit
from markupsafe import Markup

from chargera.domain.money import from_minor

TimeStyle = Literal["full", "short", "clock"]

_TIME_PATTERNS: dict[TimeStyle, str] = {
    "full": "d MMM y, HH:mm:ss 'UTC'",
    "short": "d MMM, HH:mm 'UTC'",
    "clock": "HH:mm:ss 'UTC'",
}
"""What the server writes; a script turns each into the reader's own time zone."""

PRICE_DECIMALS_MAX = 6
DAY_S = 86_400

DASH = "\N{EN DASH}"
NOTHING = Markup('<span aria-hidden="true">\N{EN DASH}</span>')
"""What stands where there is no value; a screen reader says nothing."""

_TIME = Markup('<time datetime="{}" title="{}" data-style="{}">{}</time>')


@dataclass(frozen=True, slots=True)
class Formats:
    """How one locale writes things; the names are those of the template filters."""

    locale: Locale

    def number(self, value: int | Decimal) -> str:
        """Return `12,345`."""
        return format_decimal(value, locale=self.locale)

    def energy(self, energy_wh: int) -> str:
        """Return `18.4 kWh`."""
        return self._unit(_kilo(energy_wh, 1), "kilowatt-hour", 1)

    def energy_exact(self, energy_wh: int) -> str:
        """Return `18.412 kWh`, to the Wh."""
        return self._unit(_kilo(energy_wh, 3), "kilowatt-hour", 3)

    def power(self, power_w: int) -> str:
        """Return `11.0 kW`."""
        return self._unit(_kilo(power_w, 1), "kilowatt", 1)

    def energy_max(self, energy_wh: int) -> str:
        """Return `20 kWh`: the end of a scale, with a decimal only where it has one."""
        if energy_wh % 1000:
            return self.energy(energy_wh)
        return self._unit(_kilo(energy_wh, 0), "kilowatt-hour", 0)

    def power_max(self, power_w: int) -> str:
        """Return `22 kW`: a rating, with a decimal only where it has one."""
        return (
            self.power(power_w) if power_w % 1000 else self._unit(_kilo(power_w, 0), "kilowatt", 0)
        )

    def money(self, amount_minor: int, currency: str) -> str:
        """Return `€7.36`, with the decimals of the currency."""
        return format_currency(from_minor(amount_minor, currency), currency, locale=self.locale)

    def price(self, exact: str | Decimal, currency: str) -> str:
        """Return an exact amount in major units with the decimals that it has, at least two."""
        value = Decimal(exact)
        exponent = value.normalize().as_tuple().exponent
        decimals = min(max(2, -exponent if isinstance(exponent, int) else 0), PRICE_DECIMALS_MAX)
        return format_currency(
            value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP),
            currency,
            f"¤#,##0.{'0' * decimals}",
            locale=self.locale,
            currency_digits=False,
        )

    def asset(self, amount: int, decimals: int, symbol: str) -> str:
        """Return `12.345678 C4E`: an amount in an asset's minor units, with all its digits."""
        pattern = f"#,##0.{'0' * min(2, decimals)}{'#' * max(0, decimals - 2)}"
        value = format_decimal(Decimal(amount).scaleb(-decimals), pattern, locale=self.locale)
        return f"{value}\N{NO-BREAK SPACE}{symbol}"

    def percent(self, part: int, whole: int) -> str:
        """Return `12.5 %` for 125 of 1000, to a hundredth."""
        share = (Decimal(part) * 100 / Decimal(whole)).quantize(Decimal("0.01"), ROUND_HALF_UP)
        return f"{format_decimal(share, locale=self.locale)}\N{NO-BREAK SPACE}%"

    def quantity(self, dimension: str, quantity: Decimal) -> str | None:
        """Return a quantity of a bill in its unit; None for FLAT, which is one session."""
        match dimension:
            case "ENERGY":
                return self._unit(quantity.quantize(Decimal("0.001")), "kilowatt-hour", 3)
            case "TIME" | "PARKING_TIME":
                return self.duration(timedelta(seconds=int(quantity)))
            case _:
                return None

    def time(self, at: datetime | None, style: TimeStyle = "full") -> Markup:
        """Return a `time` element in UTC, which a script shows in local time."""
        if at is None:
            return NOTHING
        utc = at.astimezone(UTC)
        full, shown = (self._time(utc, name) for name in ("full", style))
        machine = utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return _TIME.format(machine, full, style, shown)

    def ago(self, at: datetime, now: datetime) -> str:
        """Return `12 sec ago`."""
        delta = min(at - now, timedelta(seconds=-1))
        return format_timedelta(
            delta, add_direction=True, format="short", threshold=1.5, locale=self.locale
        )

    def duration(self, lasted: timedelta) -> str:
        """Return `1 h 12 min`, or `45 sec` below a minute."""
        seconds = max(int(lasted.total_seconds()), 0)
        hours, minutes = seconds // 3600, seconds % 3600 // 60
        if hours:
            return f"{self._short(hours, 'hour')} {self._short(minutes, 'minute')}"
        if minutes:
            return self._short(minutes, "minute")
        return self._short(seconds, "second")

    def period(self, seconds: int) -> str:
        """Return `49 days` for whole days, else as `duration` does."""
        days, rest = divmod(seconds, DAY_S)
        return self.duration(timedelta(seconds=seconds)) if rest else self._long(days, "day")

    def _long(self, value: int, unit: str) -> str:
        return format_unit(value, f"duration-{unit}", length="long", locale=self.locale)

    def _short(self, value: int, unit: str) -> str:
        return format_unit(value, f"duration-{unit}", length="short", locale=self.locale)

    def _unit(self, value: Decimal, unit: str, decimals: int) -> str:
        pattern = f"#,##0.{'0' * decimals}" if decimals else "#,##0"
        text = format_unit(value, unit, length="short", format=pattern, locale=self.locale)
        return text.replace(" ", "\N{NO-BREAK SPACE}")

    def _time(self, utc: datetime, style: TimeStyle) -> str:
        return format_datetime(utc, _TIME_PATTERNS[style], locale=self.locale)


def _kilo(value: int, decimals: int) -> Decimal:
    return Decimal(value).scaleb(-3).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
