"""The transaction: what a station meters, as state and pure decisions over its events.

One `Transaction` is one charging session of one driver. Events come late, twice, in any order
and with wrong clocks; the functions here decide whether an event is new and what it changes.
They never look at the order of arrival to decide what happened: `metering.assemble` puts a
session's events in order when it is billed.

A station may reuse a transaction id after a reboot. Each use is a *generation*; a repeated
message finds the generation that it belongs to by its content.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from chargera.domain.messages import (
    AuthorizationStatus,
    MeterSample,
    ReadingContext,
    TransactionEvent,
    TransactionEventKind,
)
from chargera.domain.pricing import ChargingState
from chargera.domain.station import OcppVersion

EARLIEST = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
"""A station whose clock is before this has none (MicroOcpp and others boot in 1970)."""

FUTURE_TOLERANCE = timedelta(minutes=5)


class SessionState(StrEnum):
    """Where a charging session stands, as people and the API see it."""

    CHARGING = "charging"
    ENDED = "ended"
    BILLED = "billed"
    REVIEW = "review"
    REFUSED = "refused"


class Anomaly(StrEnum):
    """What was odd about a session; each is also a log entry. Those in `BLOCKING` need a person."""

    NO_START = "no_start"
    NO_END = "no_end"
    NO_BEGIN_REGISTER = "no_begin_register"
    NO_END_REGISTER = "no_end_register"
    NO_TARIFF = "no_tariff"
    NO_ID_TOKEN = "no_id_token"  # noqa: S105 - the name of an anomaly, no secret
    REGISTER_FELL = "register_fell"
    METER_SIGNATURE = "meter_signature"
    METER_PAGE_GAP = "meter_page_gap"
    IMPLAUSIBLE = "implausible"
    SUPERSEDED = "superseded"
    SILENT = "silent"
    TIME_BEFORE_2020 = "time_before_2020"
    TIME_IN_FUTURE = "time_in_future"
    TIME_NOT_MONOTONIC = "time_not_monotonic"
    SEQ_NO_HOLE = "seq_no_hole"
    SEQ_NO_REUSED = "seq_no_reused"
    TRANSACTION_ID_REUSED = "transaction_id_reused"
    READING_OUTSIDE_SESSION = "reading_outside_session"
    LATE_EVENT = "late_event"
    OUT_OF_ORDER = "out_of_order"
    UNKNOWN_CONNECTOR = "unknown_connector"
    UNNUMBERED_STOP = "unnumbered_stop"


BLOCKING = frozenset(
    {
        Anomaly.NO_START,
        Anomaly.NO_END,
        Anomaly.NO_BEGIN_REGISTER,
        Anomaly.NO_END_REGISTER,
        Anomaly.NO_TARIFF,
        Anomaly.NO_ID_TOKEN,
        Anomaly.REGISTER_FELL,
        Anomaly.METER_SIGNATURE,
        Anomaly.IMPLAUSIBLE,
        Anomaly.SUPERSEDED,
        Anomaly.SILENT,
        Anomaly.SEQ_NO_REUSED,
        Anomaly.UNKNOWN_CONNECTOR,
    }
)
"""Anomalies with which a session is not billed until a person decides."""

CURABLE = frozenset({Anomaly.NO_START, Anomaly.NO_END, Anomaly.SUPERSEDED, Anomaly.SILENT})
"""Those that vanish when the missing event arrives after all."""


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One row of what a station said of a session, in order of arrival (`n` from 0).

    `at` is the station's own time, uncorrected. `own` marks the row that carries the event
    itself; further samples of the same message are rows with `own` False.
    """

    n: int
    kind: TransactionEventKind
    own: bool
    at: datetime
    received_at: datetime
    seq_no: int | None
    register_wh: int | None
    power_w: int | None
    context: ReadingContext
    charging: ChargingState | None


EventKey = tuple[str, int | None, datetime, int | None]


@dataclass(slots=True)
class Transaction:
    """The state of one transaction. Mutable: it is the cache of rows, replaced on failure."""

    session_id: str
    station_id: str
    evse: int
    connector: int
    ocpp_version: OcppVersion
    transaction_id: str
    generation: int
    received_at: datetime
    started_at: datetime
    state: SessionState = SessionState.CHARGING
    charging: bool = True
    started: bool = False
    ended: bool = False
    ended_at: datetime | None = None
    id_token_key: str | None = None
    id_token_status: AuthorizationStatus | None = None
    login_id: str | None = None
    remote_start_id: int | None = None
    meter_start_wh: int | None = None
    meter_stop_wh: int | None = None
    last_register_wh: int | None = None
    last_power_w: int | None = None
    stop_reason: str | None = None
    tariff_id: str | None = None
    tariff_version: int | None = None
    currency: str | None = None
    anomalies: set[Anomaly] = field(default_factory=set)
    events: list[SessionEvent] = field(default_factory=list)
    keys: set[EventKey] = field(default_factory=set)
    start_key: EventKey | None = None
    stored: bool = False
    """A row of it exists in the database."""
    bill_due: bool = False
    """Its bill is to be made, or made again."""

    @property
    def is_open(self) -> bool:
        """Whether the station may still be charging in it."""
        return not self.ended and self.state in (SessionState.CHARGING, SessionState.REFUSED)


def event_key(event: TransactionEvent) -> EventKey:
    """Return what makes an event the same event, whatever its message id.

    Stations resend transaction messages under new message ids (libocpp issue 298), so the
    key is the kind, the sequence number, the station's time and the register.
    """
    own = _own_sample(event)
    return (event.kind, event.seq_no, event.at, own.register_wh if own else None)


def row_key(row: SessionEvent) -> EventKey:
    """Return the key of the event whose own row this is; it equals `event_key` of the event."""
    return (row.kind, row.seq_no, row.at, row.register_wh)


def register_of(event: TransactionEvent) -> int | None:
    """Return the event's own register: at its end for Ended, else at its beginning."""
    registers = [s for s in event.samples if s.register_wh is not None]
    if not registers:
        return None
    wanted = {
        TransactionEventKind.STARTED: ReadingContext.BEGIN,
        TransactionEventKind.ENDED: ReadingContext.END,
    }.get(event.kind)
    for sample in registers:
        if sample.context is wanted:
            return sample.register_wh
    pick = min if event.kind is TransactionEventKind.STARTED else max
    return pick(registers, key=lambda sample: sample.at).register_wh


def standing_time(at: datetime, received_at: datetime) -> tuple[datetime, Anomaly | None]:
    """Return the time that counts, and why the station's own does not if so.

    A station's time stands unless it is before 2020 or more than five minutes ahead of ours.
    """
    if at < EARLIEST:
        return received_at, Anomaly.TIME_BEFORE_2020
    if at > received_at + FUTURE_TOLERANCE:
        return received_at, Anomaly.TIME_IN_FUTURE
    return at, None


def is_repeat(transaction: Transaction, event: TransactionEvent) -> bool:
    """Say whether this very event was already taken into the transaction."""
    return event_key(event) in transaction.keys


def generation_of(generations: list[Transaction], event: TransactionEvent) -> Transaction | None:
    """Return the generation that an event belongs to; None: it opens a new one.

    `generations` are the known transactions of this id, oldest first. An event that was
    already taken belongs where it was taken. A Started event that differs from the known
    start is a new use of the id; every other event belongs to the newest.
    """
    for transaction in generations:
        if is_repeat(transaction, event):
            return transaction
    if not generations:
        return None
    newest = generations[-1]
    if event.kind is TransactionEventKind.STARTED and newest.started:
        return None
    return newest


def rows_of(
    transaction: Transaction, event: TransactionEvent, received_at: datetime
) -> list[SessionEvent]:
    """Return the rows that an event adds; the first carries the event itself."""
    own = _own_sample(event)
    first = len(transaction.events)
    rows = [
        SessionEvent(
            first,
            event.kind,
            True,
            event.at,
            received_at,
            event.seq_no,
            own.register_wh if own else None,
            own.power_w if own else None,
            own.context if own else ReadingContext.OTHER,
            event.charging,
        )
    ]
    for sample in event.samples:
        if sample is not own:
            rows.append(
                SessionEvent(
                    first + len(rows),
                    event.kind,
                    False,
                    sample.at,
                    received_at,
                    event.seq_no,
                    sample.register_wh,
                    sample.power_w,
                    sample.context,
                    None,
                )
            )
    return rows


def take(
    transaction: Transaction, event: TransactionEvent, received_at: datetime
) -> list[SessionEvent]:
    """Take a new event into the transaction and return its rows.

    The caller has made sure with `is_repeat` that the event is new.
    """
    rows = rows_of(transaction, event, received_at)
    if event.seq_no is not None and any(key[1] == event.seq_no for key in transaction.keys):
        transaction.anomalies.add(Anomaly.SEQ_NO_REUSED)
    if transaction.ended:
        transaction.anomalies.add(
            Anomaly.OUT_OF_ORDER
            if event.kind is TransactionEventKind.STARTED
            else Anomaly.LATE_EVENT
        )
    transaction.events.extend(rows)
    transaction.keys.add(event_key(event))
    at, why = standing_time(event.at, received_at)
    if why is not None:
        transaction.anomalies.add(why)
    if event.charging is not None and not transaction.ended:
        transaction.charging = event.charging is ChargingState.CHARGING
    for row in rows:
        if row.register_wh is not None:
            transaction.last_register_wh = max(row.register_wh, transaction.last_register_wh or 0)
        if row.power_w is not None and not transaction.ended:
            transaction.last_power_w = row.power_w
    match event.kind:
        case TransactionEventKind.STARTED:
            _take_start(transaction, event, at)
        case TransactionEventKind.ENDED:
            _take_end(transaction, event, at)
        case TransactionEventKind.UPDATED:
            pass
    return rows


def settle_state(transaction: Transaction) -> None:
    """Set the state that follows from what is known; `billed` is set by billing alone."""
    missing = transaction.anomalies
    for present, anomaly in (
        (transaction.started, Anomaly.NO_START),
        (transaction.ended, Anomaly.NO_END),
    ):
        if present:
            missing.discard(anomaly)
    if transaction.started and transaction.ended:
        missing -= CURABLE
    elif transaction.ended:
        missing.add(Anomaly.NO_START)
    if transaction.state in (SessionState.REFUSED, SessionState.BILLED):
        return
    if missing & BLOCKING and (transaction.ended or missing & CURABLE):
        transaction.state = SessionState.REVIEW
    elif transaction.ended:
        transaction.state = SessionState.ENDED
    else:
        transaction.state = SessionState.CHARGING


def _take_start(transaction: Transaction, event: TransactionEvent, at: datetime) -> None:
    transaction.started = True
    transaction.started_at = at
    transaction.start_key = event_key(event)
    transaction.meter_start_wh = register_of(event)
    transaction.remote_start_id = event.remote_start_id


def _take_end(transaction: Transaction, event: TransactionEvent, at: datetime) -> None:
    transaction.ended = True
    transaction.charging = False
    transaction.last_power_w = 0
    transaction.ended_at = max(at, transaction.started_at)
    transaction.meter_stop_wh = register_of(event)
    transaction.stop_reason = event.stop_reason


def _own_sample(event: TransactionEvent) -> MeterSample | None:
    """Return the sample that speaks for the event itself."""
    register = register_of(event)
    for sample in event.samples:
        if register is not None and sample.register_wh == register and sample.at == event.at:
            return sample
    return next((sample for sample in event.samples if sample.at == event.at), None)
