"""The price of a session: a tariff and what the meter said in, a bill with its breakdown out.

The meaning is that of OCPI 2.2.1 (mod_tariffs, mod_cdrs) and everything is exact: times are whole
microseconds, energy between two registers is spread evenly over time, and the session is cut at
every moment at which a restriction can flip, so that within a slice nothing changes. Rounding
happens once, when an exact sum becomes an integer in minor units.

What OCPI leaves open is decided so:

* Bounds are inclusive below and exclusive above, and a session is the half-open interval of its
  times: a FLAT fee that would begin to apply at its very end is not charged.
* `step_size` rounds up the total of what was priced, as OCPI's own example of parking that becomes
  free has it; quantities for which no component was active take no part.
* The last relevant component is the last one that priced a quantity above zero.
* The step of time goes to PARKING_TIME if any priced parking occurred, otherwise to TIME.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

from chargera.domain.bill import (
    ENERGY,
    PARKING,
    SLOTS,
    TIME,
    Bill,
    BillLine,
    BillPeriod,
    BillQuantity,
    Number,
    Rate,
    Slice,
    bill_as_json,
    make_bill,
    unit_of,
)
from chargera.domain.errors import InvalidInput
from chargera.domain.tariff import DayOfWeek, Restrictions, Tariff
from chargera.domain.word import Word
from chargera.domain.zones import (
    DAY_US,
    SECOND_US,
    offset_spans,
    offset_us,
    require_time_zone,
    to_us,
)

__all__ = [
    "Bill",
    "BillLine",
    "BillPeriod",
    "BillQuantity",
    "ChargingPeriod",
    "ChargingState",
    "MeteredSession",
    "RegisterValue",
    "StateChange",
    "bill_as_json",
    "price_periods",
    "price_session",
    "require_time_zone",
    "running_cost",
    "unit_of",
]

MAX_SESSION_DAYS = 366
MAX_READINGS = 100_000
MAX_REGISTER_WH = 10**12
"""1 TWh: beyond what any meter counts to."""
MAX_PERIODS = 10_000

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_WEEKDAYS = {day: number for number, day in enumerate(DayOfWeek)}
_NEVER = 10**30
"""Greater than every time in microseconds, every day and every energy in Wh."""


class ChargingState(Word):
    """Whether the session is charging, or parking while it is not."""

    CHARGING = "charging"
    IDLE = "idle"


class RegisterValue(NamedTuple):
    """What the import register showed `at` (aware), in Wh."""

    at: datetime
    register_wh: int


class StateChange(NamedTuple):
    """From `at` (aware) on the session was in `state`."""

    at: datetime
    state: ChargingState


@dataclass(frozen=True, slots=True)
class MeteredSession:
    """What is billed: a span of time, what the register showed, and when charging paused.

    Registers and state changes are in order of time. Readings from before the start or after the
    end count as taken at the start or the end, so that the energy is always last minus first
    register. The session charges from its start until the first change. `time_zone` is the IANA
    name of the station's zone; `ended_at` is None while the session runs.
    """

    started_at: datetime
    ended_at: datetime | None
    time_zone: str = "UTC"
    registers: tuple[RegisterValue, ...] = ()
    state_changes: tuple[StateChange, ...] = ()

    def __post_init__(self) -> None:
        """Refuse times without zone, sessions of more than a year, registers that fall."""
        require_time_zone(self.time_zone)
        if self.ended_at is not None:
            _require_span(self.started_at, self.ended_at)
        if max(len(self.registers), len(self.state_changes)) > MAX_READINGS:
            raise InvalidInput(
                f"a session has at most {MAX_READINGS} registers and state changes",
                field="registers",
                remedy="thin out the readings",
            )
        _require_rising(self.registers)
        for index, (one, other) in enumerate(pairwise(self.state_changes), 1):
            if other.at < one.at:
                raise InvalidInput(
                    "state changes must be in order of time", field=f"state_changes[{index}].at"
                )

    @property
    def energy_wh(self) -> int:
        """Last minus first register; 0 without any."""
        if not self.registers:
            return 0
        return self.registers[-1].register_wh - self.registers[0].register_wh


@dataclass(frozen=True, slots=True)
class ChargingPeriod:
    """A stretch of a session with its quantities, as an OCPI CDR lists them.

    It lasts until the next one begins. Energy in Wh, times in seconds, exact.
    """

    started_at: datetime
    energy_wh: Fraction = Fraction(0)
    charging_s: Fraction = Fraction(0)
    parking_s: Fraction = Fraction(0)


def price_session(tariff: Tariff, session: MeteredSession) -> Bill:
    """Price a session that has ended.

    Raises:
        InvalidInput: it has not ended, began outside of the tariff's validity, or would have more
            than `MAX_PERIODS` periods.
    """
    if session.ended_at is None:
        raise InvalidInput(
            "the session has not ended", field="ended_at", remedy="use its running cost"
        )
    _require_valid(tariff, session.started_at)
    plan = _plan_of(tariff)
    return make_bill(tariff.currency, _slices_of_session(plan, session, session.ended_at))


def running_cost(tariff: Tariff, session: MeteredSession, now: datetime) -> Bill:
    """Price a running session as if it ended `now` (or at its start, should `now` be earlier)."""
    return price_session(tariff, replace(session, ended_at=max(now, session.started_at)))


def price_periods(
    tariff: Tariff,
    periods: Sequence[ChargingPeriod],
    *,
    started_at: datetime,
    ended_at: datetime,
    time_zone: str = "UTC",
) -> Bill:
    """Price a session that is given as charging periods; restrictions count as of their starts.

    The energy at a period's start is the sum of the periods before it, and the duration the time
    since `started_at`.

    Raises:
        InvalidInput: no or too many periods, one that starts outside of the session, a negative
            quantity, or a session that began outside of the tariff's validity.
    """
    require_time_zone(time_zone)
    _require_span(started_at, ended_at)
    _require_valid(tariff, started_at)
    if not 1 <= len(periods) <= MAX_PERIODS:
        raise InvalidInput(f"a session has 1 to {MAX_PERIODS} periods", field="charging_periods")
    for index, period in enumerate(periods):
        if not started_at <= period.started_at <= ended_at:
            raise InvalidInput(
                "the period starts outside of the session",
                field=f"charging_periods[{index}].start_date_time",
            )
        if min(period.energy_wh, period.charging_s, period.parking_s) < 0:
            raise InvalidInput(
                "a quantity is negative", field=f"charging_periods[{index}].dimensions"
            )
    plan = _plan_of(tariff)
    return make_bill(tariff.currency, _slices_of_periods(plan, periods, started_at, time_zone))


# --- the tariff, made ready for arithmetic -------------------------------------------------------


class _Condition(NamedTuple):
    """Restrictions as half-open ranges of numbers."""

    from_of_day_us: int
    until_of_day_us: int
    from_day: int
    until_day: int
    weekdays: frozenset[int]
    from_wh: Fraction
    until_wh: Fraction
    from_elapsed_us: int
    until_elapsed_us: int

    @staticmethod
    def of(r: Restrictions) -> "_Condition":
        """Convert restrictions; what is not given becomes a range without end."""
        return _Condition(
            from_of_day_us=_minutes(r.start_time) * 60 * SECOND_US,
            until_of_day_us=(_minutes(r.end_time) * 60 * SECOND_US) or DAY_US,
            from_day=r.start_date.toordinal() - _EPOCH_DAY if r.start_date else -_NEVER,
            until_day=r.end_date.toordinal() - _EPOCH_DAY if r.end_date else _NEVER,
            weekdays=frozenset(_WEEKDAYS[day] for day in r.day_of_week or DayOfWeek),
            from_wh=Fraction(r.min_kwh or 0) * 1000,
            until_wh=Fraction(_NEVER) if r.max_kwh is None else Fraction(r.max_kwh) * 1000,
            from_elapsed_us=(r.min_duration_s or 0) * SECOND_US,
            until_elapsed_us=_NEVER if r.max_duration_s is None else r.max_duration_s * SECOND_US,
        )

    @property
    def is_local(self) -> bool:
        """Whether local time matters."""
        return self[:5] != (0, DAY_US, -_NEVER, _NEVER, frozenset(range(7)))

    def holds(self, local_us: int, energy_wh: Number, elapsed_us: Number) -> bool:
        """Say whether it holds; `local_us` is what local clocks show, since 1970."""
        day, of_day = divmod(local_us, DAY_US)
        if self.until_of_day_us < self.from_of_day_us:  # passes midnight
            in_time = of_day >= self.from_of_day_us or of_day < self.until_of_day_us
        else:
            in_time = self.from_of_day_us <= of_day < self.until_of_day_us
        return (
            in_time
            and self.from_day <= day < self.until_day
            and (day + 3) % 7 in self.weekdays  # 1970 began on a Thursday
            and self.from_wh <= energy_wh < self.until_wh
            and self.from_elapsed_us <= elapsed_us < self.until_elapsed_us
        )


class _Plan(NamedTuple):
    """A tariff's elements in order, and every value at which one of them may flip."""

    elements: tuple[tuple[_Condition | None, tuple[tuple[int, Rate], ...]], ...]
    energies_wh: frozenset[Fraction]
    durations_us: frozenset[int]
    of_day_us: frozenset[int]
    """Times of day, midnight among them; empty where local time does not matter."""

    @staticmethod
    def of(tariff: Tariff) -> "_Plan":
        """Make a tariff ready."""
        elements = tuple(
            (
                _Condition.of(element.restrictions) if element.restrictions else None,
                tuple((SLOTS[c.dimension], Rate.of(index, c)) for c in element.components),
            )
            for index, element in enumerate(tariff.elements)
        )
        conditions = [condition for condition, _ in elements if condition]
        return _Plan(
            elements,
            energies_wh=frozenset(wh for c in conditions for wh in (c.from_wh, c.until_wh)),
            durations_us=frozenset(
                us for c in conditions for us in (c.from_elapsed_us, c.until_elapsed_us)
            ),
            of_day_us=frozenset(
                us % DAY_US
                for c in conditions
                if c.is_local
                for us in (0, c.from_of_day_us, c.until_of_day_us)
            ),
        )

    def rates_at(
        self, local_us: int, energy_wh: Number, elapsed_us: Number
    ) -> tuple[Rate | None, Rate | None, Rate | None, Rate | None]:
        """Return for each slot the component of the first element that applies and has it."""
        found: list[Rate | None] = [None, None, None, None]
        for condition, rates in self.elements:
            if condition is None or condition.holds(local_us, energy_wh, elapsed_us):
                for slot, rate in rates:
                    found[slot] = found[slot] or rate
        return found[0], found[1], found[2], found[3]


_plan_of = lru_cache(maxsize=256)(_Plan.of)


def _minutes(of_day: time | None) -> int:
    """Return the minutes since midnight, 0 for none."""
    return of_day.hour * 60 + of_day.minute if of_day else 0


# --- the session, cut into slices ----------------------------------------------------------------


class _Path:
    """Energy over time: a line through the registers, which may stand still or jump."""

    def __init__(self, session: MeteredSession, start: int, end: int) -> None:
        """Draw the line from (start, 0) to (end, the session's energy)."""
        self._session, self._start, self._end = session, start, end

    @cached_property
    def us(self) -> list[int]:
        """When it bends."""
        start, end = self._start, self._end
        at = (to_us(register.at) for register in self._session.registers)
        return [start, *(min(max(us, start), end) for us in at), end]

    @cached_property
    def wh(self) -> list[int]:
        """How high it is there."""
        registers = self._session.registers
        first = registers[0].register_wh if registers else 0
        return [0, *(r.register_wh - first for r in registers), self._session.energy_wh]

    def energy_at(self, us: int) -> Number:
        """Return the energy until `us`; a jump at `us` itself comes after it."""
        after = bisect_left(self.us, us)
        if self.us[after] == us:
            return self.wh[after]
        us_before, wh_before = self.us[after - 1], self.wh[after - 1]
        slope = Fraction(self.wh[after] - wh_before, self.us[after] - us_before)
        return wh_before + slope * (us - us_before)

    def time_at(self, wh: Fraction) -> Number:
        """Return when the energy reached `wh` for the first time."""
        after = bisect_left(self.wh, wh)
        us_before, wh_before = self.us[after - 1], self.wh[after - 1]
        slope = Fraction(self.us[after] - us_before, self.wh[after] - wh_before)
        return us_before + slope * (wh - wh_before)


def _slices_of_session(plan: _Plan, session: MeteredSession, ended_at: datetime) -> list[Slice]:
    """Cut a session wherever something can change, and join neighbours that are alike."""
    start, end = to_us(session.started_at), to_us(ended_at)
    path = _Path(session, start, end)
    spans = offset_spans(session.time_zone, start, end) if plan.of_day_us else [(start, 0)]
    span_starts = [us for us, _ in spans]
    change_times = [to_us(change.at) for change in session.state_changes]
    states = [ChargingState.CHARGING, *(change.state for change in session.state_changes)]

    times = set(change_times)
    times.update(start + us for us in plan.durations_us)
    times.update(_wall_clock_cuts(plan.of_day_us, spans, end))
    cuts: list[tuple[Number, Number]] = [
        (us, path.energy_at(us)) for us in times if start < us < end
    ]
    total_wh = session.energy_wh
    cuts.extend((path.time_at(wh), wh) for wh in plan.energies_wh if 0 < wh <= total_wh)
    if len(cuts) >= MAX_PERIODS:
        raise InvalidInput(
            f"the bill would have more than {MAX_PERIODS} periods",
            field="ended_at",
            remedy="use fewer restrictions, or split the session",
        )
    first, last = (start, 0), (end, total_wh)
    cuts = [first, *sorted(cut for cut in cuts if cut < last), last]

    slices: list[Slice] = []
    state_before: ChargingState | None = None
    last_us = max(end - 1, start)  # energy of readings from after the end came before it
    for (us, wh), (next_us, next_wh) in pairwise(cuts):
        at = min(us, last_us)
        local_us = int(at // 1) + spans[bisect_right(span_starts, at) - 1][1]
        rates = plan.rates_at(local_us, wh, at - start)
        state = states[bisect_right(change_times, us)]
        energy_wh, duration_us = next_wh - wh, next_us - us
        if slices and state is state_before and rates == slices[-1].rates:
            before = slices.pop()
            at = before.us
            energy_wh += before.quantities[ENERGY]
            duration_us += before.quantities[TIME] + before.quantities[PARKING]
        charging_us = duration_us if state is ChargingState.CHARGING else 0
        slices.append(Slice(at, (0, energy_wh, charging_us, duration_us - charging_us), rates))
        state_before = state
    return slices


def _wall_clock_cuts(of_day_us: frozenset[int], spans: list[tuple[int, int]], end: int) -> set[int]:
    """Return when local clocks show one of `of_day_us`, or are put forward or back.

    Times just outside of their span come along; they cut where nothing flips and do no harm.
    """
    cuts: set[int] = set()
    for (us, offset), (until, _) in pairwise([*spans, (end, 0)]):
        cuts.add(us)
        for day in range((us + offset) // DAY_US, (until + offset) // DAY_US + 1):
            cuts.update(day * DAY_US + of_day - offset for of_day in of_day_us)
    return cuts


def _slices_of_periods(
    plan: _Plan, periods: Sequence[ChargingPeriod], started_at: datetime, time_zone: str
) -> Iterator[Slice]:
    """Turn the periods of a CDR into slices, in order of time."""
    start, energy_wh = to_us(started_at), Fraction(0)
    for period in sorted(periods, key=lambda period: period.started_at):
        us = to_us(period.started_at)
        yield Slice(
            us,
            (0, period.energy_wh, period.charging_s * SECOND_US, period.parking_s * SECOND_US),
            plan.rates_at(us + offset_us(time_zone, us), energy_wh, us - start),
        )
        energy_wh += period.energy_wh


# --- checks --------------------------------------------------------------------------------------


def _require_span(started_at: datetime, ended_at: datetime) -> None:
    """Refuse times without zone, an end before the start, and more than MAX_SESSION_DAYS."""
    for field, at in (("started_at", started_at), ("ended_at", ended_at)):
        if at.utcoffset() is None:
            raise InvalidInput(f"{field} needs a time zone", field=field, remedy="use UTC")
    if not timedelta(0) <= ended_at - started_at <= timedelta(days=MAX_SESSION_DAYS):
        raise InvalidInput(
            f"a session ends 0 to {MAX_SESSION_DAYS} days after its start",
            field="ended_at",
            remedy="check both times",
        )


def _require_rising(registers: Sequence[RegisterValue]) -> None:
    """Refuse registers out of order, falling, or beyond what meters count to."""
    before_at, before_wh = None, 0
    for index, (at, register_wh) in enumerate(registers):
        if not 0 <= register_wh <= MAX_REGISTER_WH:
            raise InvalidInput(
                f"a register lies in 0 to {MAX_REGISTER_WH} Wh",
                field=f"registers[{index}].register_wh",
            )
        if before_at is not None and at < before_at:
            raise InvalidInput("registers must be in order of time", field=f"registers[{index}].at")
        if register_wh < before_wh:
            raise InvalidInput(
                f"the register falls from {before_wh} to {register_wh} Wh",
                field=f"registers[{index}].register_wh",
                remedy="have the session reviewed: a meter was changed or reset",
            )
        before_at, before_wh = at, register_wh


def _require_valid(tariff: Tariff, started_at: datetime) -> None:
    """Refuse a tariff that could not be quoted when the session began."""
    if not tariff.is_valid_at(started_at):
        raise InvalidInput(
            f"tariff {tariff.tariff_id} was not valid when the session began",
            field="started_at",
            remedy="price with the tariff that was valid then",
        )
