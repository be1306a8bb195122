"""From a session's rows, in whatever order they came, to what can be priced.

`assemble` is the one place that decides the order of a session's values and which clock
counts. It is pure and works on the logged rows alone, so a stranger recomputes the same.
Rules: interface of bills (a station's time stands unless it is before 2020, more than five
minutes ahead, or earlier than its predecessor by sequence number, in OCPP 1.6 by register).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from chargera.domain.errors import InvalidInput
from chargera.domain.messages import ReadingContext, TransactionEventKind
from chargera.domain.pricing import ChargingState, MeteredSession, RegisterValue, StateChange
from chargera.domain.transaction import (
    EARLIEST,
    FUTURE_TOLERANCE,
    Anomaly,
    SessionEvent,
    end_order,
    standing_time,
)

ROUNDING_WH = 1
"""Values are rounded to whole Wh, some up and some down: a fall by so much is none."""

_STARTED, _UPDATED, _ENDED = TransactionEventKind


@dataclass(frozen=True, slots=True)
class Metering:
    """What a session's rows say together.

    `session` is None where the begin or the end is missing. `holes` are ranges (first, last)
    of sequence numbers that never came. `suspect` holds the `n` of rows left out.
    """

    session: MeteredSession | None
    anomalies: frozenset[Anomaly]
    holes: tuple[tuple[int, int], ...]
    suspect: frozenset[int]

    @property
    def energy_wh(self) -> int | None:
        """Energy from the first to the last register, None if either is missing."""
        if self.session is None:
            return None
        return self.session.registers[-1].register_wh - self.session.registers[0].register_wh


class _Placed(NamedTuple):
    """A row with the time that counts."""

    row: SessionEvent
    at: datetime


def assemble(events: Sequence[SessionEvent], *, numbered: bool, time_zone: str) -> Metering:
    """Put the rows of one session in order and return what can be priced.

    `numbered`: the station numbers its events (OCPP 2.x `seqNo`); without, values are ordered
    by register (1.6). `time_zone` is the station's IANA zone.
    """
    if _is_plain(events, numbered=numbered):
        return _plain(events, time_zone)
    anomalies: set[Anomaly] = set()
    suspect = _second_ends(events, anomalies)
    events = [e for e in events if e.n not in suspect]
    begin_wh = _register(events, _STARTED, ReadingContext.BEGIN)
    end_wh = _register(events, _ENDED, ReadingContext.END)
    if numbered:
        ordered = _by_number(events, anomalies)
    else:
        beyond = {e.n for e in events if _is_beyond(e, begin_wh, end_wh)}
        if beyond:
            anomalies.add(Anomaly.REGISTER_FELL)
            suspect |= beyond
        rest = [e for e in events if e.n not in beyond]
        ordered = _by_register(rest, begin_wh, end_wh, anomalies)
    placed = _with_times(ordered, anomalies)
    start = next((p for p in placed if p.row.own and p.row.kind is _STARTED), None)
    end = next((p for p in placed if p.row.own and p.row.kind is _ENDED), None)
    for missing, anomaly in (
        (start is None, Anomaly.NO_START),
        (end is None, Anomaly.NO_END),
        (start is not None and begin_wh is None, Anomaly.NO_BEGIN_REGISTER),
        (end is not None and end_wh is None, Anomaly.NO_END_REGISTER),
    ):
        if missing:
            anomalies.add(anomaly)
    holes = _holes(events) if numbered else ()
    if holes:
        anomalies.add(Anomaly.SEQ_NO_HOLE)
    if start is None or end is None or begin_wh is None or end_wh is None:
        return Metering(None, frozenset(anomalies), holes, frozenset(suspect))
    ended_at = max(end.at, start.at)
    registers = _registers(placed, (start.at, begin_wh), (ended_at, end_wh), anomalies, suspect)
    changes = _state_changes(placed, start.at, ended_at)
    session = _session(start.at, ended_at, time_zone, registers, changes)
    if session is None:
        anomalies.add(Anomaly.IMPLAUSIBLE)
    return Metering(session, frozenset(anomalies), holes, frozenset(suspect))


def _session(
    started_at: datetime,
    ended_at: datetime,
    time_zone: str,
    registers: tuple[RegisterValue, ...],
    changes: tuple[StateChange, ...],
) -> MeteredSession | None:
    """Return what is priced; None if no session is like that.

    It is longer than a year, or a register is where no meter reaches: a person must look.
    """
    try:
        return MeteredSession(started_at, ended_at, time_zone, registers, changes)
    except InvalidInput:
        return None


# Sessions without a question -------------------------------------------------------------------


def _is_plain(events: Sequence[SessionEvent], *, numbered: bool) -> bool:
    """Say whether nothing is odd about the order of rows, which nearly all sessions are like.

    A start that says that it is the begin, values, and an end that says so: each with a register
    and a time that stands, none before its predecessor in any of them, and numbered without a
    hole. Whatever order would be made of these is the order they have.
    """
    if len(events) < 2 or events[0].context is not ReadingContext.BEGIN:
        return False
    if events[-1].context is not ReadingContext.END or numbered is (events[0].seq_no is None):
        return False
    kind, ends = _STARTED, len(events) - 1
    before_at, before_wh, next_no = EARLIEST, 0, events[0].seq_no
    for place, (_, row_kind, own, at, received_at, seq_no, register_wh, _, _, _) in enumerate(
        events
    ):
        if place:
            kind = _UPDATED if place < ends else _ENDED
        if (
            row_kind is not kind
            or not own
            or register_wh is None
            or register_wh < before_wh
            or at < before_at
            or (at > received_at and at > received_at + FUTURE_TOLERANCE)
            or seq_no != next_no
        ):
            return False
        if next_no is not None:
            next_no += 1
        before_at, before_wh = at, register_wh
    return True


def _plain(events: Sequence[SessionEvent], time_zone: str) -> Metering:
    """Return what rows say about whose order there is no question."""
    started_at, ended_at = events[0].at, events[-1].at
    registers: list[RegisterValue] = []
    changes: list[StateChange] = []
    current = ChargingState.CHARGING
    last_at, last_wh = None, -1
    for _, _, _, at, _, _, register_wh, _, _, charging in events:
        assert register_wh is not None, "that is plain"
        if register_wh > last_wh or at != last_at:
            registers.append(RegisterValue(at, register_wh))
            last_at, last_wh = at, register_wh
        if charging is not None and charging is not current and at < ended_at:
            changes.append(StateChange(at, charging))
            current = charging
    session = _session(started_at, ended_at, time_zone, tuple(registers), tuple(changes))
    return Metering(session, _NOTHING if session else _IMPLAUSIBLE, (), frozenset())


_NOTHING: frozenset[Anomaly] = frozenset()
_IMPLAUSIBLE = frozenset({Anomaly.IMPLAUSIBLE})


# Order and time --------------------------------------------------------------------------------


def _second_ends(events: Sequence[SessionEvent], anomalies: set[Anomaly]) -> set[int]:
    """Return the `n` of ends beside the one that counts."""
    ends = sorted((e for e in events if e.own and e.kind is _ENDED), key=end_order)
    for other in ends[1:]:
        same = other.register_wh == ends[0].register_wh
        anomalies.add(Anomaly.REPEATED_END if same else Anomaly.ENDED_TWICE)
    return {other.n for other in ends[1:]}


def _is_beyond(event: SessionEvent, begin_wh: int | None, end_wh: int | None) -> bool:
    """Say whether a register is not between begin and end, so that nothing orders it."""
    if event.register_wh is None or (event.own and event.kind is not _UPDATED):
        return False
    if begin_wh is not None and event.register_wh < begin_wh - ROUNDING_WH:
        return True
    return end_wh is not None and event.register_wh > end_wh + ROUNDING_WH


def _by_number(events: Sequence[SessionEvent], anomalies: set[Anomaly]) -> list[SessionEvent]:
    """Order by sequence number; an event's own row before its further samples."""
    own = [e.seq_no for e in events if e.own]
    if len(set(own)) < len(own):
        anomalies.add(Anomaly.SEQ_NO_REUSED)
    return sorted(events, key=lambda e: (e.seq_no or 0, not e.own, e.at, e.n))


def _by_register(
    events: Sequence[SessionEvent],
    begin_wh: int | None,
    end_wh: int | None,
    anomalies: set[Anomaly],
) -> list[SessionEvent]:
    """Order rows without numbers, whose registers lie between begin and end.

    Registers never fall, so their order is the order of values. Where the station's times
    contradict it, the order of arrival tells which of the two is wrong, if it agrees with one:
    registers that rise as they arrived mean that the clock jumped, times that do mean that the
    register fell.
    """
    values = [e for e in events if e.register_wh is not None]
    times = {e.n: standing_time(e.at, e.received_at)[0] for e in values}
    if not _rising(sorted(values, key=lambda e: (times[e.n], e.register_wh, e.n))):
        by_arrival = sorted(values, key=lambda e: e.n)
        in_time = all(times[a.n] <= times[b.n] for a, b in pairwise(by_arrival))
        if in_time and not _rising(by_arrival):
            anomalies.add(Anomaly.REGISTER_FELL)

    def place(event: SessionEvent) -> tuple[int, datetime, int, int]:
        register_wh = event.register_wh or 0
        if begin_wh is not None:
            register_wh = max(register_wh, begin_wh)
        if end_wh is not None:
            register_wh = min(register_wh, end_wh)
        return register_wh, times[event.n], _RANK[event.kind] if event.own else 1, event.n

    changes = [e for e in events if e.register_wh is None]
    return sorted(values, key=place) + sorted(changes, key=lambda e: (e.at, e.n))


_RANK = {_STARTED: 0, _UPDATED: 1, _ENDED: 2}


def _rising(rows: Sequence[SessionEvent]) -> bool:
    return all(
        (a.register_wh or 0) <= (b.register_wh or 0) + ROUNDING_WH for a, b in pairwise(rows)
    )


def _with_times(ordered: Sequence[SessionEvent], anomalies: set[Anomaly]) -> list[_Placed]:
    """Give every row the time that counts.

    Only an event's own row is compared with its predecessor: further samples of a message may
    repeat earlier moments. Rows without a register in 1.6 follow no order of registers, so
    they are only checked against the calendar.
    """
    placed: list[_Placed] = []
    previous: datetime | None = None
    event_at: datetime | None = None
    event_replaced = False
    for row in ordered:
        at, why = standing_time(row.at, row.received_at)
        follows = row.own and (row.seq_no is not None or row.register_wh is not None)
        if follows:
            if why is None and previous is not None and at < previous:
                at, why = max(row.received_at, previous), Anomaly.TIME_NOT_MONOTONIC
            at = at if previous is None else max(at, previous)
            previous, event_at, event_replaced = at, at, why is not None
        elif not row.own and row.seq_no is not None and event_replaced and event_at is not None:
            at = event_at
        if why is not None:
            anomalies.add(why)
        placed.append(_Placed(row, at))
    return placed


# What is priced ---------------------------------------------------------------------------------


def _register(
    events: Sequence[SessionEvent], kind: TransactionEventKind, context: ReadingContext
) -> int | None:
    """Return the register at the begin or the end.

    It is a value of the event itself that says so, else any other value that says so, else the
    event's own value, of several the one nearest to the begin or end.
    """
    anchor = next((e for e in events if e.own and e.kind is kind), None)
    values = [e for e in events if e.register_wh is not None]
    of_event = [e for e in values if e.kind is kind and anchor and e.seq_no == anchor.seq_no]
    marked = [e for e in values if e.context is context]
    sign = 1 if kind is _STARTED else -1
    for candidates in ([e for e in of_event if e.context is context], marked, of_event):
        if candidates:
            at = anchor.at if anchor else candidates[0].at
            nearest = min(
                candidates,
                key=lambda e: (not e.own, abs(e.at - at), sign * (e.register_wh or 0), e.n),
            )
            return nearest.register_wh
    return None


def _registers(
    placed: Sequence[_Placed],
    begin: tuple[datetime, int],
    end: tuple[datetime, int],
    anomalies: set[Anomaly],
    suspect: set[int],
) -> tuple[RegisterValue, ...]:
    """Return the registers from begin to end, not falling; what is left out becomes suspect."""
    (started_at, begin_wh), (ended_at, end_wh) = begin, end
    if end_wh < begin_wh:
        if end_wh < begin_wh - ROUNDING_WH:
            anomalies.add(Anomaly.REGISTER_FELL)
        end_wh = begin_wh
    registers = [RegisterValue(started_at, begin_wh)]
    inner = sorted((p for p in placed if p.row.register_wh is not None), key=lambda p: p.at)
    for value in inner:
        last_wh = registers[-1].register_wh
        register_wh = value.row.register_wh or 0
        if not started_at <= value.at <= ended_at:
            suspect.add(value.row.n)
            anomalies.add(Anomaly.READING_OUTSIDE_SESSION)
        elif not last_wh - ROUNDING_WH <= register_wh <= end_wh + ROUNDING_WH:
            suspect.add(value.row.n)
            anomalies.add(Anomaly.REGISTER_FELL)
        else:
            register_wh = min(max(register_wh, last_wh), end_wh)
            if value.at > registers[-1].at or register_wh > last_wh:
                registers.append(RegisterValue(value.at, register_wh))
    if registers[-1] != RegisterValue(ended_at, end_wh):
        registers.append(RegisterValue(ended_at, end_wh))
    return tuple(registers)


def _state_changes(
    placed: Sequence[_Placed], started_at: datetime, ended_at: datetime
) -> tuple[StateChange, ...]:
    """Return when it turned from charging to parking and back, within the session."""
    changes: list[StateChange] = []
    current = ChargingState.CHARGING
    for item in sorted((p for p in placed if p.row.charging is not None), key=lambda p: p.at):
        state = item.row.charging
        if state is None or state is current or item.at >= ended_at:
            continue
        changes.append(StateChange(max(item.at, started_at), state))
        current = state
    return tuple(changes)


def _holes(events: Sequence[SessionEvent]) -> tuple[tuple[int, int], ...]:
    """Return the ranges of sequence numbers between the first event and the last that lack.

    The first is the start's, or 0 while that has not come. The work is that of the events,
    however large the numbers are.
    """
    seen = sorted({e.seq_no for e in events if e.seq_no is not None})
    started = [e.seq_no for e in events if e.kind is _STARTED and e.seq_no is not None]
    expected = min(started, default=0)
    holes: list[tuple[int, int]] = []
    for number in seen:
        if number > expected:
            holes.append((expected, number - 1))
        expected = max(expected, number + 1)
    return tuple(holes)
