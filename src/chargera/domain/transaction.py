"""The transaction: what a station meters, as state and pure decisions over its events.

One `Transaction` is one charging session of one driver. Events come late, twice, in any order
and with wrong clocks. `take` adds one to a transaction, whichever came before it, and says what
is odd about it; what happened in which order is decided by `metering.assemble` when the session
is billed, and to which transaction an event belongs by `belonging`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from chargera.domain.messages import (
    AuthorizationStatus,
    MeterSample,
    ReadingContext,
    TransactionEvent,
    TransactionEventKind,
    storable,
)
from chargera.domain.pricing import ChargingState
from chargera.domain.standard_run import is_run_identifier
from chargera.domain.station import OcppVersion
from chargera.domain.word import Word

EARLIEST = datetime.fromisoformat("2020-01-01T00:00:00+00:00")
"""A station whose clock is before this has none (MicroOcpp and others boot in 1970)."""

FUTURE_TOLERANCE = timedelta(minutes=5)

READINGS_MAX = 50_000
"""Rows of one session: five weeks at a value a minute. What comes beyond is in the message log."""


class SessionState(Word):
    """Where a charging session stands, as people and the API see it."""

    CHARGING = "charging"
    ENDED = "ended"
    BILLED = "billed"
    REVIEW = "review"
    REFUSED = "refused"


class Anomaly(Word):
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
    ENDED_TWICE = "ended_twice"
    REPEATED_END = "repeated_end"
    LINKED_BY_CONTENT = "linked_by_content"
    TOO_MANY_READINGS = "too_many_readings"
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
    STOPPED_BY_OTHER = "stopped_by_other"


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
        Anomaly.ENDED_TWICE,
        Anomaly.LINKED_BY_CONTENT,
        Anomaly.TOO_MANY_READINGS,
        Anomaly.SEQ_NO_REUSED,
        Anomaly.UNKNOWN_CONNECTOR,
    }
)
"""Anomalies with which a session is not billed until a person decides."""

CURABLE = frozenset({Anomaly.NO_START, Anomaly.NO_END, Anomaly.SUPERSEDED, Anomaly.SILENT})
"""Those that vanish when the missing event arrives after all."""

DERIVED = CURABLE | {
    Anomaly.NO_BEGIN_REGISTER,
    Anomaly.NO_END_REGISTER,
    Anomaly.NO_TARIFF,
    Anomaly.REGISTER_FELL,
    Anomaly.METER_SIGNATURE,
    Anomaly.METER_PAGE_GAP,
    Anomaly.IMPLAUSIBLE,
    Anomaly.ENDED_TWICE,
    Anomaly.REPEATED_END,
    Anomaly.TIME_NOT_MONOTONIC,
    Anomaly.SEQ_NO_HOLE,
    Anomaly.SEQ_NO_REUSED,
    Anomaly.READING_OUTSIDE_SESSION,
}
"""Those that follow from the logged rows, so that what was believed before does not count."""


class SessionEvent(NamedTuple):
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


class EventKey(NamedTuple):
    """What makes an event the same event, whatever its message id.

    Stations resend transaction messages under new message ids (libocpp issue 298), so it is
    the content that counts. Own rows have the same key as their events.
    """

    kind: TransactionEventKind
    seq_no: int | None
    at: datetime
    register_wh: int | None
    charging: ChargingState | None


class Arrival(NamedTuple):
    """An event as it came, with what every decision about it needs."""

    event: TransactionEvent
    received_at: datetime
    own: MeterSample | None
    """The sample that speaks for the event itself."""
    key: EventKey
    at: datetime
    """Its time as it stands: the station's, or ours."""
    distrusted: Anomaly | None
    """Why the station's time does not stand."""

    @staticmethod
    def of(event: TransactionEvent, received_at: datetime) -> "Arrival":
        """Look at an event."""
        own = _own_sample(event)
        register_wh = own.register_wh if own else None
        key = EventKey(event.kind, event.seq_no, event.at, register_wh, event.charging)
        at, distrusted = standing_time(event.at, received_at)
        return Arrival(event, received_at, own, key, at, distrusted)


TOKEN_OF_START = -1
TOKEN_OF_STOP = 2**62
"""Ranks of tokens. Of several in a transaction the one of least rank is its driver's: the start's,
then those of updates by number. Whoever stopped counts only while nothing else is known."""


@dataclass(slots=True, eq=False)
class Transaction:
    """The state of one transaction. Mutable: it is the cache of rows, replaced on failure."""

    session_id: str
    station_id: str
    evse: int
    """0: the station did not say, or said a number that is not registered."""
    connector: int
    ocpp_version: OcppVersion
    transaction_id: str
    generation: int
    """Stations reuse transaction ids after a reboot; each use is a generation."""
    received_at: datetime
    started_at: datetime
    state: SessionState = SessionState.CHARGING
    charging: bool = True
    started: bool = False
    ended: bool = False
    ended_at: datetime | None = None
    id_token_key: str | None = None
    id_token_status: AuthorizationStatus | None = None
    id_token_rank: int | None = None
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
    logged: set[Anomaly] = field(default_factory=set)
    """Those that have their log entry."""
    # What follows from the rows: `recall` makes it again.
    event_count: int = 0
    events_hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    """SHA-256 over the canonical list of the rows so far, without its closing bracket."""
    keys: set[EventKey] = field(default_factory=set)
    seq_nos: set[int] = field(default_factory=set)
    start_key: EventKey | None = None
    end_key: EventKey | None = None
    last_at: datetime = EARLIEST
    """The latest time of an event, as it stands."""
    placed_at: datetime = EARLIEST
    """The latest of those events that an end follows: by number, in OCPP 1.6 by register."""
    signed: set[bytes] = field(default_factory=set)
    """SHA-256 of each signed value that was taken."""
    signed_count: int = 0
    # How it stands with the database.
    stored: bool = False
    """A row of it exists."""
    written_at: datetime | None = None
    """When its row was last written."""
    bill_due: bool = False
    """Its bill is to be made, or made again."""

    @property
    def is_open(self) -> bool:
        """Whether the station may still be charging in it."""
        return not self.ended and self.state in (SessionState.CHARGING, SessionState.REFUSED)

    @property
    def is_numbered(self) -> bool:
        """Whether the station numbers its events."""
        return self.ocpp_version is not OcppVersion.V1_6


def row_key(row: SessionEvent) -> EventKey:
    """Return the key of the event whose own row this is."""
    return EventKey(row.kind, row.seq_no, row.at, row.register_wh, row.charging)


def standing_time(at: datetime, received_at: datetime) -> tuple[datetime, Anomaly | None]:
    """Return the time that counts, and why the station's own does not if so.

    A station's time stands unless it is before 2020 or more than five minutes ahead of ours.
    """
    if at > received_at and at > received_at + FUTURE_TOLERANCE:
        return received_at, Anomaly.TIME_IN_FUTURE
    if at < EARLIEST:
        return received_at, Anomaly.TIME_BEFORE_2020
    return at, None


def is_repeat(transaction: Transaction, arrival: Arrival) -> bool:
    """Say whether this very event was already taken into the transaction.

    A start that is sent again once the station has a clock is the same start: its register and
    number have not changed, and nothing has ended in between.
    """
    key, start = arrival.key, transaction.start_key
    if key in transaction.keys:
        return True
    if start is None or key.kind is not TransactionEventKind.STARTED or transaction.ended:
        return False
    same_but_for_its_time = key._replace(at=start.at) == start
    return same_but_for_its_time and min(key.at, start.at) < EARLIEST


def take(transaction: Transaction, arrival: Arrival) -> list[SessionEvent]:
    """Take a new event into the transaction and return the rows that it adds.

    The caller has made sure with `is_repeat` that the event is new. No row is added of what
    comes beyond `READINGS_MAX`.
    """
    event, anomalies = arrival.event, transaction.anomalies
    rows = _rows(transaction, arrival)
    if transaction.seq_nos and event.seq_no in transaction.seq_nos:
        anomalies.add(Anomaly.SEQ_NO_REUSED)
    if arrival.distrusted is not None:
        anomalies.add(arrival.distrusted)
    anomalies.discard(Anomaly.SILENT)
    if event.kind is TransactionEventKind.STARTED:
        _take_start(transaction, arrival)
    elif event.kind is TransactionEventKind.ENDED:
        _take_end(transaction, arrival)
    elif transaction.ended:
        anomalies.add(Anomaly.LATE_EVENT)
    if rows:
        _note_event(transaction, rows[0], arrival.key, arrival.at)
        for row in rows[1:]:
            _note_register(transaction, row.register_wh)
        transaction.event_count += len(rows)
    return rows


def recall(transaction: Transaction, events: Sequence[SessionEvent], joined: bytes) -> None:
    """Make again what follows from a transaction's rows, of which `joined` has the canonical bytes.

    They are joined by commas, as in the list that the close commits to.
    """
    count_rows(transaction, events, joined)
    for row in events:
        if not row.own:
            _note_register(transaction, row.register_wh)
            continue
        key = row_key(row)
        _note_event(transaction, row, key, standing_time(row.at, row.received_at)[0])
        if row.kind is TransactionEventKind.STARTED:
            transaction.start_key = key
        elif row.kind is TransactionEventKind.ENDED:
            transaction.end_key = _earlier_end(transaction.end_key, key)


def count_rows(transaction: Transaction, events: Sequence[SessionEvent], joined: bytes) -> None:
    """Make again the count and the hash of a transaction's rows, which is all that a bill needs."""
    transaction.event_count = len(events)
    if events:
        transaction.events_hash.update(b"[" + joined)


def add_to_hash(transaction: Transaction, row: SessionEvent, encoded: bytes) -> None:
    """Add the canonical bytes of a row, each in its turn, to the running hash."""
    transaction.events_hash.update((b"," if row.n else b"[") + encoded)


def offer_id_token(
    transaction: Transaction,
    key: str,
    status: AuthorizationStatus,
    login_id: str | None,
    rank: int,
) -> None:
    """Take a token that an event carries, if it comes before the one that is known.

    An accepted one comes before any that is not: who is refused may show another card.
    """
    known = transaction.id_token_rank
    if known is not None:
        accepted = AuthorizationStatus.ACCEPTED
        before = (known == TOKEN_OF_STOP, transaction.id_token_status is not accepted, known)
        if before <= (rank == TOKEN_OF_STOP, status is not accepted, rank):
            return
    transaction.id_token_key = key
    transaction.id_token_status = status
    transaction.id_token_rank = rank
    transaction.login_id = login_id


def settle_state(transaction: Transaction) -> None:
    """Set the state that follows from what is known; `billed` is set by billing alone.

    What is metered for a standard run is nobody's to pay, as if its identifier were refused.
    """
    anomalies = transaction.anomalies
    if transaction.started:
        if anomalies:
            anomalies.discard(Anomaly.NO_START)
        if transaction.id_token_rank == TOKEN_OF_STOP:
            # Whoever stopped is not who started.
            transaction.id_token_key = transaction.id_token_status = None
            transaction.id_token_rank = transaction.login_id = None
    else:
        anomalies.add(Anomaly.NO_START)
    if transaction.ended:
        anomalies -= CURABLE - {Anomaly.NO_START}
        if transaction.started and transaction.id_token_key is None:
            anomalies.add(Anomaly.NO_ID_TOKEN)
    if anomalies and transaction.id_token_key is not None:
        anomalies.discard(Anomaly.NO_ID_TOKEN)
    is_accepted = transaction.id_token_status in (None, AuthorizationStatus.ACCEPTED)
    if not is_accepted or is_run_identifier(transaction.id_token_key):
        transaction.state = SessionState.REFUSED
    elif anomalies and not anomalies.isdisjoint(BLOCKING if transaction.ended else CURABLE):
        transaction.state = SessionState.REVIEW
    elif transaction.ended:
        transaction.state = SessionState.ENDED
    else:
        transaction.state = SessionState.CHARGING


def register_of(event: TransactionEvent) -> int | None:
    """Return the event's own register: at its end for Ended, else at its beginning."""
    registers = [s for s in event.samples if s.register_wh is not None]
    if not registers:
        return None
    wanted = _WANTED_CONTEXT.get(event.kind)
    for sample in registers:
        if sample.context is wanted:
            return sample.register_wh
    pick = min if event.kind is TransactionEventKind.STARTED else max
    return pick(registers, key=lambda sample: sample.at).register_wh


_WANTED_CONTEXT = {
    TransactionEventKind.STARTED: ReadingContext.BEGIN,
    TransactionEventKind.ENDED: ReadingContext.END,
}


def _own_sample(event: TransactionEvent) -> MeterSample | None:
    """Return the sample that was taken at the event's time, best one with a register.

    Of several the one that says it is the begin or the end goes first.
    """
    samples = event.samples
    if len(samples) == 1:
        return samples[0] if samples[0].at == event.at else None
    wanted = _WANTED_CONTEXT.get(event.kind)
    best, best_rank = None, -1
    for sample in samples:
        if sample.at == event.at:
            rank = 2 * (sample.register_wh is not None) + (sample.context is wanted)
            if rank > best_rank:
                best, best_rank = sample, rank
    return best


def _rows(transaction: Transaction, arrival: Arrival) -> list[SessionEvent]:
    """Return the rows of an event, as far as there is room; the first carries the event itself."""
    event, received_at, own = arrival.event, arrival.received_at, arrival.own
    n, kind, seq_no = transaction.event_count, event.kind, event.seq_no
    if n >= READINGS_MAX and kind is TransactionEventKind.UPDATED:
        transaction.anomalies.add(Anomaly.TOO_MANY_READINGS)
        return []
    register_wh, power_w, context = None, None, ReadingContext.OTHER
    if own is not None:
        register_wh, power_w, context = own.register_wh, own.power_w, own.context
    row = SessionEvent(
        n, kind, True, event.at, received_at, seq_no, register_wh, power_w, context, event.charging
    )
    rows = [row]
    for sample in event.samples:
        if sample is own:
            continue
        n += 1
        if n >= READINGS_MAX:
            transaction.anomalies.add(Anomaly.TOO_MANY_READINGS)
            break
        register_wh, power_w, context = sample.register_wh, sample.power_w, sample.context
        rows.append(
            SessionEvent(
                n,
                kind,
                False,
                sample.at,
                received_at,
                seq_no,
                register_wh,
                power_w,
                context,
                None,
            )
        )
    return rows


def _note_event(transaction: Transaction, row: SessionEvent, key: EventKey, at: datetime) -> None:
    """Keep of an event what later ones are compared with and what pages show."""
    transaction.keys.add(key)
    if row.seq_no is not None:
        transaction.seq_nos.add(row.seq_no)
    _note_register(transaction, row.register_wh)
    if at > transaction.placed_at and _is_placed(row):
        transaction.placed_at = at
    if at < transaction.last_at:
        return
    transaction.last_at = at
    if transaction.ended:
        return
    if row.power_w is not None:
        transaction.last_power_w = row.power_w
    if row.charging is not None:
        transaction.charging = row.charging is ChargingState.CHARGING


def _is_placed(row: SessionEvent) -> bool:
    is_end = row.kind is TransactionEventKind.ENDED
    return not is_end and (row.seq_no is not None or row.register_wh is not None)


def _note_register(transaction: Transaction, register_wh: int | None) -> None:
    last_wh = transaction.last_register_wh
    if register_wh is not None and (last_wh is None or register_wh > last_wh):
        transaction.last_register_wh = register_wh


def _take_start(transaction: Transaction, arrival: Arrival) -> None:
    event = arrival.event
    if transaction.ended:
        transaction.anomalies.add(Anomaly.OUT_OF_ORDER)
    transaction.started = True
    transaction.started_at = arrival.at
    transaction.start_key = arrival.key
    transaction.meter_start_wh = register_of(event)
    transaction.remote_start_id = event.remote_start_id
    if transaction.ended_at is not None:
        transaction.ended_at = max(arrival.at, transaction.ended_at)


def _take_end(transaction: Transaction, arrival: Arrival) -> None:
    """Take an end; of two the earlier one counts, whichever came first.

    A time before what it follows does not stand: then ours counts, as in the bill.
    """
    event, key, known = arrival.event, arrival.key, transaction.end_key
    if known is not None:
        same = known.register_wh == key.register_wh
        transaction.anomalies.add(Anomaly.REPEATED_END if same else Anomaly.ENDED_TWICE)
    transaction.end_key = _earlier_end(known, key)
    if transaction.end_key is not key:
        return
    transaction.ended = True
    transaction.charging = False
    transaction.last_power_w = 0
    before_at = max(transaction.started_at, transaction.placed_at)
    has_place = event.seq_no is not None or key.register_wh is not None
    if has_place and arrival.at < before_at:
        transaction.ended_at = max(arrival.received_at, before_at)
    else:
        transaction.ended_at = max(arrival.at, transaction.started_at)
    transaction.meter_stop_wh = register_of(event)
    transaction.stop_reason = None if event.stop_reason is None else storable(event.stop_reason)


def _earlier_end(known: EventKey | None, other: EventKey) -> EventKey:
    """Return the end that counts: by number, in OCPP 1.6 by register, then by time."""
    if known is None:
        return other
    return min(known, other, key=end_order)


def end_order(end: EventKey | SessionEvent) -> tuple[int, int, datetime]:
    """Return what puts two ends of one transaction in order."""
    register_wh = end.register_wh if end.register_wh is not None else 2**63
    return (end.seq_no or 0, register_wh, end.at)
