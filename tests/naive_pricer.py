"""A second price engine, slow and plain, that judges the first: it shares no code with it.

It takes the session apart into cells, one for every minute of the clock (all zones turn on whole
minutes), cut further at readings, state changes, and where the tariff names a duration or an
energy. A cell's price is looked up in its middle, where no bound can be hit by accident, by
asking the calendar. Everything is a Fraction.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

from chargera.domain.pricing import MeteredSession
from chargera.domain.tariff import Restrictions, Tariff

TICK = Fraction(1, 10**6)


@dataclass
class NaiveBill:
    """Exact sums by (dimension, VAT rate), what was billed of each, and the rounded totals."""

    exact: dict
    billed: dict
    net_minor: int
    vat_minor: int


def naive_price(tariff: Tariff, session: MeteredSession, digits: int = 2) -> NaiveBill:
    """Price a session that has ended; `digits` are the currency's."""
    length = _seconds(session.ended_at - session.started_at)
    corners = _corners(tariff, session, length)
    if len(corners) == 1:
        corners = corners * 2

    used = []  # (dimension, quantity, component) in order of time; h and kWh
    flat = None
    for (at, wh), (next_at, next_wh) in pairwise(corners):
        middle = min((at + next_at) / 2, max(length - TICK, Fraction(0)))
        energy = (wh + next_wh) / 2
        charging = True
        for change in session.state_changes:
            if _seconds(change.at - session.started_at) <= middle:
                charging = change.state == "charging"
        found = _components(tariff, session, middle, energy)
        if flat is None:
            flat = found.get("FLAT")
        used.append(("ENERGY", (next_wh - wh) / 1000, found.get("ENERGY")))
        kind = "TIME" if charging else "PARKING_TIME"
        used.append((kind, (next_at - at) / 3600, found.get(kind)))

    exact: dict = {}
    billed: dict = {}

    def add(kind, quantity, component):
        key = kind, component.vat
        billed[key] = billed.get(key, 0) + quantity
        exact[key] = exact.get(key, 0) + quantity * Fraction(component.price)

    if flat:
        add("FLAT", 1, flat)
    priced = [(k, q, c) for k, q, c in used if c is not None and q > 0]
    for kind, quantity, component in priced:
        add(kind, quantity, component)
    parked = any(kind == "PARKING_TIME" for kind, _, _ in priced)
    for kind, base in (("ENERGY", 1000), ("PARKING_TIME" if parked else "TIME", 3600)):
        of_kind = [(q, c) for k, q, c in priced if k == kind]
        if of_kind and of_kind[-1][1].step_size:
            last = of_kind[-1][1]
            step = Fraction(last.step_size, base)
            total = sum(q for q, _ in of_kind)
            blocks = 0 if total == 0 else -(-total // step)
            add(kind, blocks * step - total, last)
    return _rounded(exact, billed, digits)


def _rounded(exact: dict, billed: dict, digits: int) -> NaiveBill:
    def half_up(value: Fraction) -> int:
        whole = int(value)
        return whole + 1 if value - whole >= Fraction(1, 2) else whole

    minor = {key: half_up(value * 10**digits) for key, value in exact.items()}
    vat = 0
    for rate in {rate for _, rate in exact if rate is not None}:
        net = sum(amount for (_, of_rate), amount in minor.items() if of_rate == rate)
        vat += half_up(net * Fraction(rate) / 100)
    return NaiveBill(exact, billed, sum(minor.values()), vat)


def _corners(tariff: Tariff, session: MeteredSession, length: Fraction) -> list:
    """Return [(seconds since start, Wh)], rising in both, so that nothing flips in between."""
    line = [(Fraction(0), Fraction(0))]
    for value in session.registers:
        at = min(max(_seconds(value.at - session.started_at), Fraction(0)), length)
        line.append((at, Fraction(value.register_wh - session.registers[0].register_wh)))
    line.append((length, line[-1][1]))

    times = {_seconds(change.at - session.started_at) for change in session.state_changes}
    to_minute = 60 - session.started_at.second - Fraction(session.started_at.microsecond, 10**6)
    while to_minute < length:
        times.add(to_minute)
        to_minute += 60
    thresholds = set()
    for element in tariff.elements:
        r = element.restrictions or Restrictions()
        times |= {Fraction(d) for d in (r.min_duration_s, r.max_duration_s) if d is not None}
        thresholds |= {Fraction(e) * 1000 for e in (r.min_kwh, r.max_kwh) if e is not None}

    corners = []
    for (at, wh), (next_at, next_wh) in pairwise(line):
        corners.append((at, wh))
        corners += [
            (cut, wh + (next_wh - wh) * (cut - at) / (next_at - at))
            for cut in times
            if at < cut < next_at
        ]
        corners += [
            (at + (next_at - at) * (cut - wh) / (next_wh - wh), cut)
            for cut in thresholds
            if wh < cut < next_wh
        ]
    corners.append(line[-1])
    return sorted(set(corners))


def _components(tariff: Tariff, session: MeteredSession, at: Fraction, wh: Fraction) -> dict:
    instant = session.started_at + timedelta(microseconds=int(at * 10**6))
    local = instant.astimezone(ZoneInfo(session.time_zone)).replace(tzinfo=None)
    found: dict = {}
    for element in tariff.elements:
        if _applies(element.restrictions or Restrictions(), local, at, wh / 1000):
            for component in element.components:
                found.setdefault(component.dimension.value, component)
    return found


def _applies(r: Restrictions, local: datetime, elapsed: Fraction, kwh: Fraction) -> bool:
    begin = r.start_time or time(0)
    end = None if r.end_time in (None, time(0)) else r.end_time
    if end is not None and end < begin:
        in_time = not end <= local.time() < begin
    else:
        in_time = begin <= local.time() and (end is None or local.time() < end)
    day = local.strftime("%A").upper()
    return (
        in_time
        and (r.start_date is None or local.date() >= r.start_date)
        and (r.end_date is None or local.date() < r.end_date)
        and (not r.day_of_week or day in r.day_of_week)
        and kwh >= (r.min_kwh or Decimal(0))
        and (r.max_kwh is None or kwh < r.max_kwh)
        and elapsed >= (r.min_duration_s or 0)
        and (r.max_duration_s is None or elapsed < r.max_duration_s)
    )


def _seconds(span: timedelta) -> Fraction:
    return Fraction(span // timedelta(microseconds=1), 10**6)
