"""Tariffs as OCPI 2.2.1 means them, as far as ChargEra can price them, as values.

Every value checks itself when it is made, so that whoever holds a `Tariff` can price with it.
The `field` of an error is the name of the attribute; `proofs.ocpi` puts the JSON path before it.
"""

from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal

from chargera.domain.errors import InvalidInput
from chargera.domain.money import minor_digits
from chargera.domain.word import Word

MAX_ELEMENTS = 100
MAX_ID_LENGTH = 36
"""OCPI: CiString(36)."""
MAX_PRICE = Decimal(10**9)
MAX_KWH = Decimal(10**6)
MAX_DECIMALS = 12
"""OCPI asks for four decimals; prices derived from a price with VAT have more."""
MAX_STEP_SIZE = 10**7
"""Wh or seconds; 10 MWh, or more than a hundred days."""
MAX_DURATION_S = 10**8


class Dimension(Word):
    """What is priced: OCPI TariffDimensionType."""

    FLAT = "FLAT"
    ENERGY = "ENERGY"
    TIME = "TIME"
    PARKING_TIME = "PARKING_TIME"


class DayOfWeek(Word):
    """OCPI DayOfWeek, in the order of `date.weekday()`."""

    MONDAY = "MONDAY"
    TUESDAY = "TUESDAY"
    WEDNESDAY = "WEDNESDAY"
    THURSDAY = "THURSDAY"
    FRIDAY = "FRIDAY"
    SATURDAY = "SATURDAY"
    SUNDAY = "SUNDAY"


class TariffType(Word):
    """OCPI TariffType: for whom a tariff is meant; it changes no price."""

    AD_HOC_PAYMENT = "AD_HOC_PAYMENT"
    PROFILE_CHEAP = "PROFILE_CHEAP"
    PROFILE_FAST = "PROFILE_FAST"
    PROFILE_GREEN = "PROFILE_GREEN"
    REGULAR = "REGULAR"


@dataclass(frozen=True, slots=True)
class PriceComponent:
    """What one dimension costs.

    `price` is without VAT per kWh, per hour or (FLAT) per session; `vat` a percentage, None where
    no VAT applies; `step_size` in Wh or seconds, without meaning for FLAT; 0, which OCPI leaves
    open, rounds nothing.
    """

    dimension: Dimension
    price: Decimal
    vat: Decimal | None = None
    step_size: int = 1

    def __post_init__(self) -> None:
        """Refuse what no bill can be made from."""
        _require_decimal(self.price, MAX_PRICE, "price")
        if self.vat is not None:
            _require_decimal(self.vat, Decimal(100), "vat")
        _require_int(self.step_size, MAX_STEP_SIZE, "step_size")


@dataclass(frozen=True, slots=True)
class Restrictions:
    """When an element applies: all that is given must hold (OCPI TariffRestrictions).

    Times and dates are local to the station. Every lower bound is inclusive, every upper bound
    exclusive. `end_time` before `start_time` passes midnight; an `end_time` of 00:00 is the end
    of the day. Energy and duration are counted from the start of the session.
    """

    start_time: time | None = None
    end_time: time | None = None
    start_date: date | None = None
    end_date: date | None = None
    min_kwh: Decimal | None = None
    max_kwh: Decimal | None = None
    min_duration_s: int | None = None
    max_duration_s: int | None = None
    day_of_week: frozenset[DayOfWeek] = frozenset()

    def __post_init__(self) -> None:
        """Refuse negative and absurd bounds, and times of day finer than a minute."""
        for name in ("min_kwh", "max_kwh"):
            kwh = getattr(self, name)
            if kwh is not None:
                _require_decimal(kwh, MAX_KWH, name)
        for name in ("min_duration_s", "max_duration_s"):
            duration = getattr(self, name)
            if duration is not None:
                _require_int(duration, MAX_DURATION_S, name)
        for name in ("start_time", "end_time"):
            of_day = getattr(self, name)
            if of_day is not None and (of_day.tzinfo or of_day.second or of_day.microsecond):
                raise InvalidInput(
                    f"{name} must be a local time in whole minutes", field=name, remedy="use HH:MM"
                )


@dataclass(frozen=True, slots=True)
class TariffElement:
    """Price components that apply under the same restrictions, at most one a dimension."""

    components: tuple[PriceComponent, ...]
    restrictions: Restrictions | None = None

    def __post_init__(self) -> None:
        """Refuse an element without components and one that prices a dimension twice."""
        dimensions = [component.dimension for component in self.components]
        if not dimensions or len(set(dimensions)) != len(dimensions):
            raise InvalidInput(
                "an element needs one to four price components, at most one for each dimension",
                field="price_components",
                remedy="put the second price of a dimension into an element of its own",
            )


@dataclass(frozen=True, slots=True)
class Tariff:
    """A price list: per dimension the first element that applies and has the component counts.

    It may be quoted to sessions that start in [start_date_time, end_date_time).
    """

    tariff_id: str
    currency: str
    elements: tuple[TariffElement, ...]
    tariff_type: TariffType | None = None
    start_date_time: datetime | None = None
    end_date_time: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse unknown currencies, empty and oversized lists, ids that OCPI cannot carry."""
        minor_digits(self.currency)
        if not 1 <= len(self.elements) <= MAX_ELEMENTS:
            raise InvalidInput(
                f"a tariff has 1 to {MAX_ELEMENTS} elements, not {len(self.elements)}",
                field="elements",
                remedy="shorten the list, or add at least one element",
            )
        printable = all(" " <= character <= "~" for character in self.tariff_id)
        if not (1 <= len(self.tariff_id) <= MAX_ID_LENGTH and printable):
            raise InvalidInput(
                f"a tariff id has 1 to {MAX_ID_LENGTH} printable ASCII characters",
                field="tariff_id",
                remedy="choose a shorter or simpler id",
            )
        for name in ("start_date_time", "end_date_time"):
            at = getattr(self, name)
            if at is not None and at.utcoffset() is None:
                raise InvalidInput(f"{name} needs a time zone", field=name, remedy="use UTC")

    def is_valid_at(self, at: datetime) -> bool:
        """Say whether a session that starts `at` (aware) may be quoted this tariff."""
        return (self.start_date_time is None or self.start_date_time <= at) and (
            self.end_date_time is None or at < self.end_date_time
        )


def _require_decimal(value: Decimal, limit: Decimal, field: str) -> None:
    """Refuse what is not a finite decimal in [0, limit] of at most MAX_DECIMALS decimals."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -MAX_DECIMALS or not 0 <= value <= limit:
        raise InvalidInput(
            f"{field} must lie in 0 to {limit} and have at most {MAX_DECIMALS} decimals",
            field=field,
            remedy="give a plain decimal number",
        )


def _require_int(value: int, limit: int, field: str) -> None:
    """Refuse what lies outside of [0, limit]."""
    if not 0 <= value <= limit:
        raise InvalidInput(
            f"{field} must lie in 0 to {limit}", field=field, remedy="give a whole number"
        )
