"""Bills: priced slices of a session in, exact sums, rounded integers and the breakdown out.

Quantities are in base units inside (sessions, Wh, microseconds, microseconds) and in the units of
`unit_of` outside.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from chargera.domain.money import decimal_string, minor_digits, round_half_up
from chargera.domain.tariff import Dimension, PriceComponent
from chargera.domain.zones import SECOND_US, from_us

FLAT, ENERGY, TIME, PARKING = range(4)
"""Slots of the dimensions in the tuples below: the order of `Dimension`."""
SLOTS = {dimension: slot for slot, dimension in enumerate(Dimension)}
_DIMENSIONS = tuple(Dimension)

Number = Fraction | int

_ZERO = Fraction(0)


class _Unit(NamedTuple):
    """Base units in the unit of a price, in one of `step_size`, and in the unit that is shown."""

    priced: int
    step: int
    shown: int
    name: str


_UNITS = (
    _Unit(1, 1, 1, "session"),
    _Unit(1000, 1, 1000, "kWh"),
    _Unit(3600 * SECOND_US, SECOND_US, SECOND_US, "s"),
    _Unit(3600 * SECOND_US, SECOND_US, SECOND_US, "s"),
)
"""By slot. Time is shown in seconds: in hours most of it would be a repeating decimal."""


class BillQuantity(NamedTuple):
    """What a period had of one dimension.

    `quantity` is what was measured and `billed` what was paid for (they differ where `step_size`
    rounded up), in the unit `unit_of(dimension)`; `element` is the index of the tariff element
    that priced it, None where none did; `exact` is the cost without VAT in major units.
    """

    dimension: Dimension
    quantity: Fraction
    billed: Fraction
    element: int | None
    exact: Fraction


class BillPeriod(NamedTuple):
    """A stretch of the session during which the same components applied, from `started_at`."""

    started_at: datetime
    quantities: tuple[BillQuantity, ...]

    @property
    def exact(self) -> Fraction:
        """Cost of the period without VAT, in major units."""
        total = _ZERO
        for quantity in self.quantities:
            if quantity.exact:
                total = total + quantity.exact if total else quantity.exact
        return total


class BillLine(NamedTuple):
    """The sum over all periods of one dimension at one VAT rate, without VAT.

    `quantity` is what is billed; `exact` in major units; `minor` the same rounded half up.
    """

    dimension: Dimension
    vat_rate: Decimal | None
    quantity: Fraction
    exact: Fraction
    minor: int


@dataclass(frozen=True, slots=True)
class Bill:
    """The price of a session: exact sums in major units, integers in minor units, and why."""

    currency: str
    lines: tuple[BillLine, ...]
    periods: tuple[BillPeriod, ...]
    net_exact: Fraction
    vat_exact: Fraction
    net_minor: int
    vat_minor: int

    @property
    def gross_exact(self) -> Fraction:
        """Net plus VAT before any rounding."""
        return self.net_exact + self.vat_exact

    @property
    def gross_minor(self) -> int:
        """What is to be paid."""
        return self.net_minor + self.vat_minor


def unit_of(dimension: Dimension) -> str:
    """Return the unit of a dimension's quantities in bills: `kWh`, `s`, or `session` for FLAT."""
    return _UNITS[SLOTS[dimension]].name


def bill_as_json(bill: Bill) -> dict[str, object]:
    """Return a bill as JSON values, without floats: exact values as decimal strings.

    `{currency, net_exact, vat_exact, gross_exact, net_minor, vat_minor, gross_minor, lines:
    [{dimension, vat_rate, quantity, unit, exact, minor}], periods: [{started_at, exact,
    dimensions: [{dimension, quantity, billed, unit, element, exact}]}]}`. Repeating decimals are
    rounded as `money.decimal_string` says; `vat_rate` and `element` may be null.
    """
    return {
        "currency": bill.currency,
        "net_exact": decimal_string(bill.net_exact),
        "vat_exact": decimal_string(bill.vat_exact),
        "gross_exact": decimal_string(bill.gross_exact),
        "net_minor": bill.net_minor,
        "vat_minor": bill.vat_minor,
        "gross_minor": bill.gross_minor,
        "lines": [
            {
                "dimension": line.dimension.value,
                "vat_rate": None if line.vat_rate is None else _percentage(line.vat_rate),
                "quantity": decimal_string(line.quantity),
                "unit": unit_of(line.dimension),
                "exact": decimal_string(line.exact),
                "minor": line.minor,
            }
            for line in bill.lines
        ],
        "periods": [
            {
                "started_at": period.started_at.isoformat().replace("+00:00", "Z"),
                "exact": decimal_string(period.exact),
                "dimensions": [
                    {
                        "dimension": quantity.dimension.value,
                        "quantity": decimal_string(quantity.quantity),
                        "billed": decimal_string(quantity.billed),
                        "unit": unit_of(quantity.dimension),
                        "element": quantity.element,
                        "exact": decimal_string(quantity.exact),
                    }
                    for quantity in period.quantities
                ],
            }
            for period in bill.periods
        ],
    }


@lru_cache(maxsize=256)
def _percentage(vat_rate: Decimal) -> str:
    return decimal_string(Fraction(vat_rate))


class Rate(NamedTuple):
    """A price component, per base unit, and the index of the element that has it."""

    element: int
    price: Fraction
    vat: Decimal | None
    step: int

    @staticmethod
    def of(element: int, component: PriceComponent) -> "Rate":
        """Convert a component to base units."""
        unit = _UNITS[SLOTS[component.dimension]]
        return Rate(
            element,
            Fraction(component.price) / unit.priced,
            component.vat,
            component.step_size * unit.step,
        )


class Slice(NamedTuple):
    """Part of a session, from `us` on, within which the same rates apply; all four by slot.

    The quantity of FLAT is 0: `make_bill` charges it.
    """

    us: Number
    quantities: tuple[Number, Number, Number, Number]
    rates: tuple[Rate | None, Rate | None, Rate | None, Rate | None]


def make_bill(currency: str, slices: Iterable[Slice]) -> Bill:
    """Charge FLAT once, round up by `step_size` once a kind, add up, and round once a line."""
    slices = _with_flat(slices)
    extra = _steps(slices)
    sums: dict[tuple[int, Decimal | None], tuple[Number, Fraction]] = {}
    periods = []
    for index, (us, quantities, rates) in enumerate(slices):
        shown = []
        for slot, quantity in enumerate(quantities):
            if not quantity:
                continue
            rate = rates[slot]
            billed = quantity + extra.get((index, slot), 0)
            exact = _ZERO
            if rate:
                exact = rate.price * billed
                known = sums.get((slot, rate.vat))
                sums[slot, rate.vat] = (
                    (known[0] + billed, known[1] + exact) if known else (billed, exact)
                )
            element = rate.element if rate else None
            shown.append(_bill_quantity(slot, quantity, billed, element, exact))
        periods.append(BillPeriod(from_us(int(us // 1)), tuple(shown)))

    digits = 10 ** minor_digits(currency)
    lines = tuple(
        BillLine(
            dimension=_DIMENSIONS[slot],
            vat_rate=vat,
            quantity=Fraction(billed, _UNITS[slot].shown),
            exact=exact,
            minor=round_half_up(exact * digits),
        )
        for (slot, vat), (billed, exact) in sorted(sums.items(), key=_order_of_lines)
    )
    return _add_up(currency, lines, tuple(periods))


def _bill_quantity(
    slot: int, quantity: Number, billed: Number, element: int | None, exact: Fraction
) -> BillQuantity:
    unit = _UNITS[slot].shown
    shown = Fraction(quantity, unit)
    return BillQuantity(
        dimension=_DIMENSIONS[slot],
        quantity=shown,
        billed=shown if billed == quantity else Fraction(billed, unit),
        element=element,
        exact=exact,
    )


def _add_up(currency: str, lines: tuple[BillLine, ...], periods: tuple[BillPeriod, ...]) -> Bill:
    """Sum the lines; VAT is taken on the rounded net of each rate."""
    net_by_rate: dict[Decimal, int] = {}
    net_exact = vat_exact = _ZERO
    for line in lines:
        net_exact = net_exact + line.exact if net_exact else line.exact
        if line.vat_rate:
            net_by_rate[line.vat_rate] = net_by_rate.get(line.vat_rate, 0) + line.minor
            vat = line.exact * _share(line.vat_rate)
            vat_exact = vat_exact + vat if vat_exact else vat
    return Bill(
        currency=currency,
        lines=lines,
        periods=periods,
        net_exact=net_exact,
        vat_exact=vat_exact,
        net_minor=sum(line.minor for line in lines),
        vat_minor=sum(round_half_up(_share(rate) * net) for rate, net in net_by_rate.items()),
    )


@lru_cache(maxsize=256)
def _share(vat_rate: Decimal) -> Fraction:
    """Return a percentage as the part of the whole that it is."""
    return Fraction(vat_rate) / 100


def _with_flat(slices: Iterable[Slice]) -> list[Slice]:
    """Give the first slice in which a FLAT component is active the quantity 1 of it."""
    listed = list(slices)
    for index, one in enumerate(listed):
        if one.rates[FLAT]:
            listed[index] = one._replace(quantities=(1, *one.quantities[1:]))
            break
    return listed


def _steps(slices: Sequence[Slice]) -> dict[tuple[int, int], Number]:
    """Return what `step_size` adds, by (index of the slice, slot)."""
    totals: list[Number] = [0, 0, 0, 0]
    last: list[tuple[int, int] | None] = [None, None, None, None]
    for index, (_, quantities, rates) in enumerate(slices):
        for slot in (ENERGY, TIME, PARKING):
            rate = rates[slot]
            if rate and quantities[slot]:
                totals[slot] += quantities[slot]
                last[slot] = index, rate.step
    extra: dict[tuple[int, int], Number] = {}
    for slot in (ENERGY, PARKING if last[PARKING] else TIME):
        relevant = last[slot]
        if relevant and relevant[1]:
            index, step = relevant
            extra[index, slot] = -totals[slot] % step
    return extra


def _order_of_lines(
    item: tuple[tuple[int, Decimal | None], tuple[Number, Fraction]],
) -> tuple[int, Decimal]:
    """Sort by dimension, then by VAT rate, none before 0 %."""
    (slot, vat), _ = item
    return slot, Decimal(-1) if vat is None else vat
