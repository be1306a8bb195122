"""The bill of a session as it is shown: its lines, its periods, and what was taken back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from markupsafe import Markup

from chargera.app.views import CdrView, SessionView
from chargera.web.pages.rendering import View

SECONDS_AN_HOUR = 3600


@dataclass(frozen=True, slots=True)
class BillLine:
    """A line of the bill; `how` says how much of what."""

    dimension: str
    how: Markup
    minor: int


@dataclass(frozen=True, slots=True)
class PeriodLine:
    """What one dimension cost in one stretch of time, before VAT and rounding."""

    started_at: datetime
    dimension: str
    measured: str
    exact: str


@dataclass(frozen=True, slots=True)
class Bill:
    """A bill as it is shown; `cdr_id` None: what it would be if the session ended now."""

    currency: str
    lines: tuple[BillLine, ...]
    periods: tuple[PeriodLine, ...]
    net_minor: int
    vat_minor: int
    gross_minor: int
    cdr_id: str | None = None
    tariff_id: str | None = None
    tariff_version: int | None = None
    credits: tuple[CdrView, ...] = ()

    @property
    def is_final(self) -> bool:
        """It is a CDR."""
        return self.cdr_id is not None


def bill_of(view: View, session: SessionView) -> Bill | None:
    """Return the bill that stands, or what it would be now; None if there is neither."""
    if session.live is not None and session.live.cost_so_far is not None:
        return _shown_bill(view, session.live.cost_so_far)
    final = [cdr for cdr in session.cdrs if not cdr.is_credit]
    if not final:
        return None
    record = next(
        (e.record for e in session.entries if e.log_index == final[-1].log_index and e.record),
        None,
    )
    if record is None:
        return _bare_bill(final[-1])
    taken_back = tuple(cdr for cdr in session.cdrs if cdr.is_credit)
    return _shown_bill(view, record["bill"], record, taken_back)


def _bare_bill(cdr: CdrView) -> Bill:
    """Return the amounts alone: its breakdown was erased, or is not for this viewer."""
    return Bill(cdr.currency, (), (), cdr.net_minor, cdr.vat_minor, cdr.gross_minor, cdr.cdr_id)


def _shown_bill(
    view: View,
    bill: Mapping[str, Any],
    record: Mapping[str, Any] | None = None,
    taken_back: tuple[CdrView, ...] = (),
) -> Bill:
    tariff = record["tariff"] if record else {}
    return Bill(
        currency=bill["currency"],
        lines=tuple(
            BillLine(line["dimension"], _how(view, line, bill["currency"]), line["minor"])
            for line in bill["lines"]
        ),
        periods=tuple(
            PeriodLine(
                datetime.fromisoformat(period["started_at"]),
                part["dimension"],
                _quantity(view, part["dimension"], part["billed"]),
                part["exact"],
            )
            for period in bill["periods"]
            for part in period["dimensions"]
            if part["element"] is not None
        ),
        net_minor=bill["net_minor"],
        vat_minor=bill["vat_minor"],
        gross_minor=bill["gross_minor"],
        cdr_id=record["cdr_id"] if record else None,
        tariff_id=tariff.get("tariff_id"),
        tariff_version=tariff.get("version"),
        credits=taken_back,
    )


def _how(view: View, line: Mapping[str, Any], currency: str) -> Markup:
    """Say what a line was for: so much at that price, where all of it had one price."""
    amount = _quantity(view, line["dimension"], line["quantity"])
    if price := _unit_price(line):
        shown = view.formats.price(price, currency)
        unit = view.texts(f"price_unit.{line['dimension']}")
        amount = view.texts("bill.times", quantity=amount, price=shown, unit=unit)
    if line["vat_rate"] is None:
        return view.texts("bill.line_no_vat", quantity=amount)
    return view.texts("bill.line", quantity=amount, rate=line["vat_rate"])


def _unit_price(line: Mapping[str, Any]) -> Decimal | None:
    """Return the price per kWh or hour if it comes out even: then the line had one price."""
    quantity, cost = Decimal(line["quantity"]), Decimal(line["exact"])
    if line["dimension"] == "FLAT" or not quantity:
        return None
    if line["dimension"] != "ENERGY":
        quantity /= SECONDS_AN_HOUR
    price = (cost / quantity).quantize(Decimal("0.000001"))
    return price if price * quantity == cost else None


def _quantity(view: View, dimension: str, quantity: str) -> str:
    """Write a quantity of `bill_as_json`: kWh, seconds, or once."""
    return view.formats.quantity(dimension, Decimal(quantity)) or view.texts("bill.quantity_FLAT")
