"""One batch of stations' messages under decision: what it knows and what it leaves behind."""

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter

from chargera.app.ports import (
    BootReport,
    Changes,
    ChannelWork,
    ConnectorReport,
    ConnectorStatement,
    Entropy,
    InboundCall,
    KnownIdToken,
    LiveEvent,
    NewEntry,
    NotedDeviation,
    QuotedTariff,
    SignedValueRow,
    StationState,
)
from chargera.domain import belonging
from chargera.domain.belonging import UNNUMBERED, Place
from chargera.domain.messages import (
    Acknowledged,
    Answer,
    AuthorizationStatus,
    Authorize,
    AuthorizeAnswer,
    BootAnswer,
    BootNotification,
    DataTransfer,
    DataTransferAnswer,
    Heartbeat,
    HeartbeatAnswer,
    IdTokenRef,
    MeterValues,
    NotServed,
    StatusNotification,
    TransactionAnswer,
    TransactionEvent,
    TransactionEventKind,
    UnservedCall,
    storable,
)
from chargera.domain.station import ConnectorStatus, OcppVersion
from chargera.domain.transaction import (
    TOKEN_OF_START,
    TOKEN_OF_STOP,
    Anomaly,
    Arrival,
    SessionEvent,
    SessionState,
    Transaction,
    add_to_hash,
    is_repeat,
    offer_id_token,
    settle_state,
    standing_time,
    take,
)
from chargera.proofs import records
from chargera.proofs.entry import EntryKind

ROW_INTERVAL = timedelta(seconds=5)
"""How old the power and register in a running session's row may be, while values come in."""

SEEN_INTERVAL = timedelta(seconds=60)

DEVIATION_PAUSE = timedelta(hours=1)
"""How long a sort of breach is not logged again at a station; it is counted meanwhile."""

DEVIATIONS_MAX = 16
OTHER_DEVIATIONS = 0

_STARTED, _ENDED = TransactionEventKind.STARTED, TransactionEventKind.ENDED


class Batch:
    """Decides calls one after the other; `changes` and the log hold the effects."""

    def __init__(
        self,
        work: ChannelWork,
        id_tokens: Mapping[str, Sequence[KnownIdToken]],
        numbers: deque[int],
        entropy: Entropy,
        now: datetime,
        heartbeat_interval_s: int,
        live: dict[tuple[str, str], LiveEvent],
    ) -> None:
        """`numbers` are fresh ones for OCPP 1.6 transactions, at least one a start."""
        self.changes = Changes()
        self._work = work
        self._id_tokens = id_tokens
        self._numbers = numbers
        self._entropy = entropy
        self._now = now
        self._heartbeat_interval_s = heartbeat_interval_s
        self._live = live
        self.events_taken = 0
        """How many events were taken into transactions."""
        self.opened: set[str] = set()
        """Stations that have opened a transaction."""
        self._escrow_users: dict[str, str] = {}
        """Sessions by the escrow's identifier that they use."""

    def decide(self, call: InboundCall, state: StationState) -> Answer:
        """Return the answer to one call."""
        seen_at = state.seen_at
        if seen_at is None or call.received_at - seen_at >= SEEN_INTERVAL:
            state.seen_at = self.changes.seen[call.station_id] = call.received_at
        if call.deviation is not None:
            self._note_deviation(call, state, call.deviation)
        match call.message:
            case TransactionEvent() as event:
                return self._on_transaction_event(call, state, event)
            case Heartbeat():
                return HeartbeatAnswer(self._now)
            case StatusNotification() as report:
                return self._on_status(call, state, report)
            case MeterValues():
                return Acknowledged()
            case Authorize(id_token):
                return self._on_authorize(call, id_token)
            case BootNotification() as boot:
                return self._on_boot(call, boot)
            case DataTransfer():
                return DataTransferAnswer()
            case UnservedCall(action):
                return NotServed(action)

    def _note_deviation(self, call: InboundCall, state: StationState, fault: str) -> None:
        """Log a breach of a schema, of each sort at most once an hour.

        Stations repeat theirs with every message, all of which are in the message log. Beyond so
        many sorts all others are one.
        """
        known, now = state.deviations, call.received_at
        sort = hash((call.action, fault))
        if sort not in known and len(known) >= DEVIATIONS_MAX:
            for old in [each for each, noted in known.items() if now - noted.at >= DEVIATION_PAUSE]:
                del known[old]
            sort = sort if len(known) < DEVIATIONS_MAX else OTHER_DEVIATIONS
        noted = known.get(sort)
        if noted is not None and now - noted.at < DEVIATION_PAUSE:
            noted.followed += 1
            return
        known[sort] = NotedDeviation(now)
        record = records.deviation_record(
            call.action,
            storable(call.message_id),
            storable(fault),
            call.frame,
            followed=noted.followed if noted else 0,
        )
        self._log(call, EntryKind.DEVIATION, None, record)

    # Messages outside transactions --------------------------------------------------------

    def _on_boot(self, call: InboundCall, boot: BootNotification) -> BootAnswer:
        firmware = boot.firmware_version
        self.changes.boots[call.station_id] = BootReport(
            call.station_id,
            storable(boot.vendor),
            storable(boot.model),
            None if firmware is None else storable(firmware),
            call.ocpp_version,
            call.received_at,
        )
        self._tell("station", call.station_id)
        return BootAnswer(self._now, self._heartbeat_interval_s)

    def _on_authorize(self, call: InboundCall, id_token: IdTokenRef) -> AuthorizeAnswer:
        status, known = self._status_of(id_token, call.received_at)
        kind = None if id_token.kind is None else storable(id_token.kind)
        record = records.authorize_record(storable(id_token.value), kind, str(status))
        self._log(call, EntryKind.AUTHORIZE, None, record)
        return AuthorizeAnswer(status, known.expires_at if known else None)

    def _on_status(
        self, call: InboundCall, state: StationState, report: StatusNotification
    ) -> Acknowledged:
        if report.evse is None:
            connector = state.station.connector_of_1_6(report.connector)
        else:
            connector = state.station.connector_of(report.evse, report.connector)
        if connector is not None:
            place = (connector.evse, connector.connector)
            at, _ = standing_time(report.at or call.received_at, call.received_at)
            statement = None
            if call.ocpp_version is OcppVersion.V1_6:
                statement = state.statuses[place] = ConnectorStatement(at, report.charging)
            self.changes.connectors[call.station_id, *place] = ConnectorReport(
                call.station_id, *place, str(report.status), storable(report.detail), at, statement
            )
            if statement is not None and statement.charging is not None:
                running = belonging.running_at(_known(state), place, at)
                if running is not None:
                    self._take_statement(call, state, running, statement)
            elif report.status is ConnectorStatus.AVAILABLE:
                self._on_available(call, state, place, at)
        self._tell("station", call.station_id)
        return Acknowledged()

    def _on_available(
        self, call: InboundCall, state: StationState, place: Place, at: datetime
    ) -> None:
        """The car is gone and no end came: it may still, and then cures this.

        In OCPP 2.x a transaction may begin before a car is there, so that only one that has
        charged is known to be over.
        """
        for transaction in _known(state):
            here = (transaction.evse, transaction.connector) == place and transaction.is_open
            began_wh, last_wh = transaction.meter_start_wh, transaction.last_register_wh
            had_car = not transaction.is_numbered or (began_wh or 0) < (last_wh or 0)
            since = transaction.last_at if transaction.is_numbered else transaction.started_at
            if here and had_car and since < at:
                self._give_up(call, transaction, Anomaly.NO_END)

    def _take_statement(
        self,
        call: InboundCall,
        state: StationState,
        transaction: Transaction,
        statement: ConnectorStatement,
    ) -> None:
        """Let a 1.6 status turn its connector's transaction to charging or parking."""
        event = _statement_event(transaction.transaction_id, statement)
        arrival = Arrival.of(event, call.received_at)
        if not is_repeat(transaction, arrival):
            self._take(call, state, transaction, arrival)

    # Transactions -------------------------------------------------------------------------

    def _on_transaction_event(
        self, call: InboundCall, state: StationState, event: TransactionEvent
    ) -> TransactionAnswer:
        arrival = Arrival.of(event, call.received_at)
        transaction = self._running(call, state, arrival)
        if transaction is not None:
            self._take_value(call, state, transaction, arrival)
        else:
            transaction = self._find(call, state, arrival) or self._open(call, state, arrival)
            if is_repeat(transaction, arrival):
                call.outcome = "repeat"
                self._keep_signed(call, transaction, event)
            else:
                self._take(call, state, transaction, arrival)
        if event.id_token is None:
            return TransactionAnswer(transaction.transaction_id, None, None)
        status, known = self._status_in(transaction, event.id_token, call.received_at)
        expires_at = known.expires_at if known else None
        return TransactionAnswer(transaction.transaction_id, status, expires_at)

    def _running(
        self, call: InboundCall, state: StationState, arrival: Arrival
    ) -> Transaction | None:
        """Return the transaction that the event plainly continues and leaves as it is."""
        event = arrival.event
        uses = state.transactions.get(event.transaction_id or "")
        if uses is None or len(uses) != 1 or event.id_token is not None or event.signed:
            return None
        running = uses[0]
        if running.ocpp_version is not call.ocpp_version or running.evse == 0:
            return None
        is_plain = running.state is SessionState.CHARGING and belonging.continues(running, arrival)
        return running if is_plain else None

    def _find(self, call: InboundCall, state: StationState, arrival: Arrival) -> Transaction | None:
        """Return the transaction that the event belongs to; None: it opens one."""
        number = arrival.event.transaction_id
        if number is None:
            return self._find_start(state, arrival)
        if number == UNNUMBERED and arrival.event.seq_no is None:
            place, _ = _place_of(state, arrival.event, call.ocpp_version)
            found, is_guess = belonging.owner_of_unnumbered(_known(state), arrival, place)
            if found is not None and arrival.event.kind is _ENDED and found.started:
                found.anomalies.add(Anomaly.UNNUMBERED_STOP)
            if found is not None and is_guess:
                found.anomalies.add(Anomaly.LINKED_BY_CONTENT)
            return found
        uses = state.transactions.get(storable(number), ())
        return belonging.owner_by_id(
            [use for use in uses if use.ocpp_version is call.ocpp_version], arrival
        )

    def _find_start(self, state: StationState, arrival: Arrival) -> Transaction | None:
        """Return the transaction that a 1.6 start has opened before, or one that waits for it."""
        place, _ = _place_of(state, arrival.event, OcppVersion.V1_6)
        known = _known(state)
        found = belonging.repeated_start(known, arrival, place)
        if found is not None:
            return found
        found = belonging.waiting_for_start(known, arrival, place)
        if found is not None:
            uses = state.transactions[found.transaction_id]
            uses.remove(found)
            if not uses:
                del state.transactions[found.transaction_id]
            found.transaction_id = str(self._numbers.popleft())
            found.anomalies.add(Anomaly.LINKED_BY_CONTENT)
            state.transactions[found.transaction_id] = [found]
        return found

    def _open(self, call: InboundCall, state: StationState, arrival: Arrival) -> Transaction:
        """Make the session of a transaction that was not known."""
        event = arrival.event
        number = event.transaction_id
        number = str(self._numbers.popleft()) if number is None else storable(number)
        uses = state.transactions.setdefault(number, [])
        place, _ = _place_of(state, event, call.ocpp_version)
        transaction = Transaction(
            session_id=self._entropy.session_id(call.received_at),
            station_id=call.station_id,
            evse=place[0],
            connector=place[1],
            ocpp_version=call.ocpp_version,
            transaction_id=number,
            generation=uses[-1].generation + 1 if uses else 0,
            received_at=call.received_at,
            started_at=arrival.at,
        )
        if uses and number != UNNUMBERED:
            transaction.anomalies.add(Anomaly.TRANSACTION_ID_REUSED)
        uses.append(transaction)
        self.opened.add(call.station_id)
        return transaction

    def _take_value(
        self, call: InboundCall, state: StationState, transaction: Transaction, arrival: Arrival
    ) -> None:
        """Take the next value of what runs, which is most of what stations send.

        Only its row may have to be renewed: for pages, or because it has turned to parking.
        """
        was_charging = transaction.charging
        self._keep_rows(state, transaction, take(transaction, arrival))
        written_at = transaction.written_at
        if (
            written_at is None
            or call.received_at - written_at >= ROW_INTERVAL
            or transaction.charging is not was_charging
            or not transaction.anomalies <= transaction.logged
        ):
            self._record_change(call, transaction)
        self._tell("session", transaction.session_id)

    def _keep_rows(
        self, state: StationState, transaction: Transaction, rows: list[SessionEvent]
    ) -> None:
        session_id, events = transaction.session_id, self.changes.events
        for row in rows:
            encoded = records.event_bytes(row)
            add_to_hash(transaction, row, encoded)
            events.append((session_id, row.n, encoded))
        self.events_taken += 1
        state.events_held += 1

    def _take(
        self, call: InboundCall, state: StationState, transaction: Transaction, arrival: Arrival
    ) -> None:
        """Take a new event: rows, state, entries."""
        event = arrival.event
        was, was_ended = _summary(transaction), transaction.ended
        rows = take(transaction, arrival)
        self._keep_rows(state, transaction, rows)
        is_start = event.kind is _STARTED
        if is_start or transaction.evse == 0:
            self._place(state, transaction, event, call.ocpp_version)
        if event.id_token is not None:
            self._identify(transaction, event.id_token, arrival)
        if is_start:
            self._quote(transaction, state)
        settle_state(transaction)
        if is_start:
            self._log_start(call, state, transaction, arrival)
        if event.signed:
            self._keep_signed(call, transaction, event)
        if transaction.ended:
            if not was_ended:
                self._log_end(call, transaction, arrival)
            elif not is_start:
                for row in rows:
                    record = records.late_event_record(transaction.session_id, row)
                    self._log(call, EntryKind.METER_VALUE_LATE, transaction, record)
            self._ask_for_bill(transaction)
        written_at = transaction.written_at
        if (
            written_at is None
            or call.received_at - written_at >= ROW_INTERVAL
            or transaction.bill_due
            or not transaction.anomalies <= transaction.logged
            or _summary(transaction) != was
        ):
            self._record_change(call, transaction)
        if is_start:
            self._after_start(call, state, transaction)
        self._tell("session", transaction.session_id)

    def _after_start(
        self, call: InboundCall, state: StationState, transaction: Transaction
    ) -> None:
        """See what a start shows of others, and what was said of it before it came."""
        for other in belonging.superseded_by(_known(state), transaction):
            self._give_up(call, other, Anomaly.SUPERSEDED)
        statement = state.statuses.get((transaction.evse, transaction.connector))
        if statement is not None and statement.charging is not None:
            ended_at = transaction.ended_at
            ran = transaction.started_at <= statement.at
            if ran and (ended_at is None or statement.at < ended_at):
                self._take_statement(call, state, transaction, statement)
        if not transaction.is_numbered:
            newest = state.newest_start_at
            at = transaction.start_key.at if transaction.start_key else transaction.started_at
            state.newest_start_at = at if newest is None else max(at, newest)

    def _give_up(self, call: InboundCall, transaction: Transaction, why: Anomaly) -> None:
        if why in transaction.anomalies:
            return
        transaction.anomalies.add(why)
        settle_state(transaction)
        self._record_change(call, transaction)
        self._tell("session", transaction.session_id)

    def _record_change(self, call: InboundCall, transaction: Transaction) -> None:
        """Have the session's row written, and each new anomaly logged."""
        transaction.written_at = call.received_at
        self.changes.sessions[transaction.session_id] = transaction
        for anomaly in sorted(transaction.anomalies - transaction.logged):
            record = records.anomaly_record(
                transaction.session_id, transaction.transaction_id, str(anomaly)
            )
            self._log(call, EntryKind.ANOMALY, transaction, record)
        transaction.logged |= transaction.anomalies

    def _ask_for_bill(self, transaction: Transaction) -> None:
        complete = transaction.ended and transaction.started
        transaction.bill_due = complete and transaction.state is not SessionState.REFUSED

    # What a transaction is made of --------------------------------------------------------

    def _place(
        self,
        state: StationState,
        transaction: Transaction,
        event: TransactionEvent,
        version: OcppVersion,
    ) -> None:
        """Find where it is: where the start says, else the first event that does."""
        if event.evse is None and event.connector is None:
            return
        place, is_known = _place_of(state, event, version)
        transaction.evse, transaction.connector = place
        if is_known:
            transaction.anomalies.discard(Anomaly.UNKNOWN_CONNECTOR)
        else:
            transaction.anomalies.add(Anomaly.UNKNOWN_CONNECTOR)

    def _identify(self, transaction: Transaction, id_token: IdTokenRef, arrival: Arrival) -> None:
        """Find whose transaction it is: whoever started it, not whoever stopped it."""
        event = arrival.event
        status, known = self._status_in(transaction, id_token, arrival.at)
        rank = event.seq_no or 0
        if event.kind is _STARTED:
            rank = TOKEN_OF_START
        elif event.kind is _ENDED:
            rank = TOKEN_OF_STOP
        other = transaction.id_token_key
        ends = TOKEN_OF_STOP in (rank, transaction.id_token_rank)
        if ends and transaction.started and other not in (None, id_token.key):
            transaction.anomalies.add(Anomaly.STOPPED_BY_OTHER)
        login_id = known.login_id if known else None
        offer_id_token(transaction, id_token.key, status, login_id, rank)

    def _quote(self, transaction: Transaction, state: StationState) -> None:
        """Freeze the tariff that is in force at the start."""
        quoted = tariff_at(state, transaction.started_at)
        if quoted is None:
            transaction.anomalies.add(Anomaly.NO_TARIFF)
            return
        transaction.tariff_id = quoted.tariff_id
        transaction.tariff_version = quoted.version
        transaction.currency = quoted.tariff.currency

    def _status_in(
        self, transaction: Transaction, id_token: IdTokenRef, at: datetime
    ) -> tuple[AuthorizationStatus, KnownIdToken | None]:
        """As `_status_of`, in a transaction: an escrow's identifier is for one, at its station."""
        status, known = self._status_of(id_token, at)
        if known is None or known.escrow_at is None or status is not AuthorizationStatus.ACCEPTED:
            return status, known
        if known.escrow_at != transaction.station_id:
            return AuthorizationStatus.INVALID, known
        own = transaction.session_id
        user = self._escrow_users.setdefault(id_token.key, known.used_by or own)
        return status if user == own else AuthorizationStatus.CONCURRENT_TX, known

    def _status_of(
        self, id_token: IdTokenRef, at: datetime
    ) -> tuple[AuthorizationStatus, KnownIdToken | None]:
        known = _meant(self._id_tokens.get(id_token.key, ()), id_token)
        if known is None:
            return AuthorizationStatus.INVALID, None
        if known.blocked:
            return AuthorizationStatus.BLOCKED, known
        if known.expires_at is not None and known.expires_at <= at:
            return AuthorizationStatus.EXPIRED, known
        return AuthorizationStatus.ACCEPTED, known

    # The log ------------------------------------------------------------------------------

    def _log_start(
        self, call: InboundCall, state: StationState, transaction: Transaction, arrival: Arrival
    ) -> None:
        event = arrival.event
        quoted = tariff_at(state, transaction.started_at)
        record = records.session_started_record(
            transaction,
            id_token=storable(event.id_token.value) if event.id_token else None,
            offline=event.offline,
            station_time=event.at,
            tariff=_tariff_reference(quoted) if quoted else None,
            time_zone=state.station.time_zone,
        )
        self._log(call, EntryKind.SESSION_STARTED, transaction, record)

    def _log_end(self, call: InboundCall, transaction: Transaction, arrival: Arrival) -> None:
        record = records.session_ended_record(
            transaction,
            ended_at=transaction.ended_at or arrival.at,
            station_time=arrival.event.at,
        )
        self._log(call, EntryKind.SESSION_ENDED, transaction, record)

    def _keep_signed(
        self, call: InboundCall, transaction: Transaction, event: TransactionEvent
    ) -> None:
        """Keep the signed values of an event that are new; they may change a bill."""
        for value in event.signed:
            digest = hashlib.sha256(value.raw).digest()
            if digest in transaction.signed:
                continue
            transaction.signed.add(digest)
            context, session_id = str(value.context), transaction.session_id
            self.changes.signed_values.append(
                SignedValueRow(
                    session_id, transaction.signed_count, context, value.raw, call.received_at
                )
            )
            transaction.signed_count += 1
            record = records.signed_value_record(session_id, context, value.raw, call.received_at)
            self._log(call, EntryKind.SIGNED_VALUE, transaction, record)
            self._ask_for_bill(transaction)
            self.changes.sessions[session_id] = transaction

    def _log(
        self,
        call: InboundCall,
        kind: EntryKind,
        transaction: Transaction | None,
        record: records.Record,
    ) -> None:
        session_id = transaction.session_id if transaction else None
        self._work.append(NewEntry(kind, call.station_id, session_id, record, call.received_at))

    def _tell(self, topic: str, key: str) -> None:
        if (topic, key) not in self._live:
            self._live[topic, key] = LiveEvent(topic, key)


def tariff_at(state: StationState, at: datetime) -> QuotedTariff | None:
    """Return the tariff in force at the station at a time; None if it never had one.

    A session that started before the station's first tariff, which a replay from an offline
    station may, is quoted that first one.
    """
    best = state.tariffs[0].quoted if state.tariffs else None
    for entry in state.tariffs:
        if entry.from_at <= at:
            best = entry.quoted
    return best


def _known(state: StationState) -> list[Transaction]:
    return [use for uses in state.transactions.values() for use in uses]


_summary = attrgetter(
    "state",
    "charging",
    "started",
    "ended",
    "evse",
    "connector",
    "id_token_rank",
    "id_token_status",
)
"""What of a transaction is written at once when it changes."""


def _tariff_reference(quoted: QuotedTariff) -> records.Record:
    return {
        "digest": quoted.digest,
        "log_index": quoted.log_index,
        "tariff_id": quoted.tariff_id,
        "version": quoted.version,
    }


def _meant(registered: Sequence[KnownIdToken], presented: IdTokenRef) -> KnownIdToken | None:
    """Return which of the tokens of one value is presented; None if none of them is.

    In OCPP 2.x value and type tell. A 1.6 idTag has no type and may be any of them, and what
    cannot be told apart may do what each of them may: it is blocked if one is, expires with the
    first, and is a login's only if all are.
    """
    if presented.kind is not None:
        return next((one for one in registered if one.ref.kind == presented.kind), None)
    if len(registered) < 2:
        return registered[0] if registered else None
    expiries = [one.expires_at for one in registered if one.expires_at is not None]
    login_ids = {one.login_id for one in registered}
    return replace(
        registered[0],
        blocked=any(one.blocked for one in registered),
        expires_at=min(expiries, default=None),
        login_id=login_ids.pop() if len(login_ids) == 1 else None,
    )


def _place_of(
    state: StationState, event: TransactionEvent, version: OcppVersion
) -> tuple[Place, bool]:
    """Return where an event says that it is, and whether that is registered.

    An event that names no EVSE is at the station's only one, if it has one alone.
    """
    station, evse, number = state.station, event.evse, event.connector
    if version is OcppVersion.V1_6:
        plug = station.connector_of_1_6(number or 0)
        if plug is not None:
            return (plug.evse, plug.connector), True
        return (0, number or 0), number is None
    if evse is not None:
        plug = station.connector_of(evse, number)
        if plug is not None:
            return (plug.evse, plug.connector), True
        return (evse, number or 1), False
    evses = {plug.evse for plug in station.connectors}
    return (evses.pop() if len(evses) == 1 else 0, 1), True


def _statement_event(transaction_id: str, statement: ConnectorStatement) -> TransactionEvent:
    """Return what a 1.6 status says of a transaction as an event of it."""
    return TransactionEvent(
        kind=TransactionEventKind.UPDATED,
        transaction_id=transaction_id,
        seq_no=None,
        evse=None,
        connector=None,
        at=statement.at,
        id_token=None,
        samples=(),
        signed=(),
        charging=statement.charging,
        stop_reason=None,
        offline=False,
        remote_start_id=None,
    )
