"""What a station's messages do: the use case behind the OCPP channel.

`Charging.handle` decides a batch of messages over cached station states and leaves rows and
log entries in the unit of work. The channel commits and only then answers; when the commit
fails it calls `forget`, and the next batch starts from what the database holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chargera.app.ports import (
    BootReport,
    Changes,
    ChannelWork,
    Clock,
    ConnectorReport,
    Entropy,
    InboundCall,
    KnownIdToken,
    LiveEvent,
    NewEntry,
    QuotedTariff,
    SignedValueRow,
    StationState,
)
from chargera.domain.errors import NotFound
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
    ReadingContext,
    StatusNotification,
    TransactionAnswer,
    TransactionEvent,
    TransactionEventKind,
    UnservedCall,
)
from chargera.domain.station import Connector, OcppVersion
from chargera.domain.transaction import (
    CURABLE,
    Anomaly,
    SessionState,
    Transaction,
    event_key,
    generation_of,
    is_repeat,
    settle_state,
    standing_time,
    take,
)
from chargera.proofs import records
from chargera.proofs.entry import EntryKind

NUMBERS_AT_ONCE = 32
CLOSED_KEPT = 4
"""How many ended transactions of a station stay cached for repeats of their messages."""

UNNUMBERED = "-1"
"""What an OCPP 1.6 station sends as transaction id when it never learned one."""


@dataclass(frozen=True, slots=True)
class ChargingPolicy:
    """What the operator sets for the channel."""

    heartbeat_interval_s: int = 300


class Charging:
    """Decides the messages of all stations; one instance owns the cache of their states."""

    def __init__(self, clock: Clock, entropy: Entropy, policy: ChargingPolicy) -> None:
        """Start with an empty cache; states are loaded when their stations speak."""
        self._clock = clock
        self._entropy = entropy
        self._policy = policy
        self._states: dict[str, StationState] = {}
        self._numbers: list[int] = []
        self._live: list[LiveEvent] = []

    def forget(self, station_ids: Sequence[str]) -> None:
        """Drop cached states: after a failed commit, or when a registration changed."""
        for station_id in station_ids:
            self._states.pop(station_id, None)

    def take_live_events(self) -> list[LiveEvent]:
        """Return what pages should be told once the last batch is committed."""
        events, self._live = self._live, []
        return events

    async def handle(self, work: ChannelWork, calls: Sequence[InboundCall]) -> list[Answer]:
        """Decide the calls in order and return their answers.

        Raises NotFound if a station is not registered, and what the database raises.
        """
        known = await self._load(work, calls)
        batch = _Batch(work, known, self._numbers, self._entropy, self._policy, self._live)
        answers = [
            batch.decide(call, self._state(call.station_id), self._clock.now()) for call in calls
        ]
        work.write(batch.changes)
        return answers

    def _state(self, station_id: str) -> StationState:
        try:
            return self._states[station_id]
        except KeyError:
            raise NotFound(f"no station {station_id} is registered", field="station_id") from None

    async def _load(
        self, work: ChannelWork, calls: Sequence[InboundCall]
    ) -> dict[str, KnownIdToken]:
        """Fetch in a few queries whatever the batch will ask for."""
        missing = {c.station_id for c in calls} - self._states.keys()
        if missing:
            self._states.update(await work.load_stations(sorted(missing)))
        transactions: set[tuple[str, str]] = set()
        tokens: set[str] = set()
        starts = 0
        for call in calls:
            message = call.message
            if isinstance(message, TransactionEvent):
                state = self._states.get(call.station_id)
                number = message.transaction_id
                if number is None:
                    starts += 1
                elif state is not None and number not in state.transactions:
                    transactions.add((call.station_id, number))
            if isinstance(message, TransactionEvent | Authorize) and message.id_token is not None:
                tokens.add(message.id_token.key)
        if transactions:
            for (station_id, number), found in (
                await work.load_transactions(sorted(transactions))
            ).items():
                self._states[station_id].transactions[number] = found
        if starts > len(self._numbers):
            self._numbers += await work.next_transaction_numbers(max(starts, NUMBERS_AT_ONCE))
        return await work.load_id_tokens(sorted(tokens)) if tokens else {}


class _Batch:
    """One batch under decision: what it knows and what it will leave behind."""

    def __init__(
        self,
        work: ChannelWork,
        id_tokens: dict[str, KnownIdToken],
        numbers: list[int],
        entropy: Entropy,
        policy: ChargingPolicy,
        live: list[LiveEvent],
    ) -> None:
        self.changes = Changes()
        self._work = work
        self._id_tokens = id_tokens
        self._numbers = numbers
        self._entropy = entropy
        self._policy = policy
        self._live = live

    def decide(self, call: InboundCall, state: StationState, now: datetime) -> Answer:
        """Return the answer to one call; its effects are in `changes` and the log."""
        if call.deviation is not None:
            self._log(
                call,
                EntryKind.DEVIATION,
                None,
                {"action": call.action, "fault": call.deviation, "message_id": call.message_id},
            )
        match call.message:
            case TransactionEvent() as event:
                return self._on_transaction_event(call, state, event)
            case MeterValues():
                return Acknowledged()
            case Heartbeat():
                return HeartbeatAnswer(now)
            case StatusNotification() as report:
                return self._on_status(call, state, report)
            case Authorize(id_token):
                return self._on_authorize(call, id_token)
            case BootNotification() as boot:
                return self._on_boot(call, state, boot, now)
            case DataTransfer():
                return DataTransferAnswer()
            case UnservedCall(action):
                return NotServed(action)

    def _on_boot(
        self, call: InboundCall, state: StationState, boot: BootNotification, now: datetime
    ) -> BootAnswer:
        state.booted = True
        self.changes.boots[call.station_id] = BootReport(
            call.station_id,
            boot.vendor,
            boot.model,
            boot.firmware_version,
            call.ocpp_version,
            call.received_at,
        )
        self._tell("station", call.station_id)
        return BootAnswer(now, self._policy.heartbeat_interval_s)

    def _on_authorize(self, call: InboundCall, id_token: IdTokenRef) -> AuthorizeAnswer:
        status, expires_at, _ = self._status_of(id_token, call.received_at)
        self._log(
            call,
            EntryKind.AUTHORIZE,
            None,
            {"id_token": id_token.value, "id_token_type": id_token.kind, "status": str(status)},
        )
        return AuthorizeAnswer(status, expires_at)

    def _on_status(
        self, call: InboundCall, state: StationState, report: StatusNotification
    ) -> Acknowledged:
        at, _ = standing_time(report.at or call.received_at, call.received_at)
        if report.evse is None:
            found = state.station.connector_of_1_6(report.connector)
            targets = [found] if found else []
            if report.connector == 0:
                targets = []
        else:
            found = state.station.connector_of(report.evse, report.connector)
            targets = [found] if found else []
        for connector in targets:
            key = (call.station_id, connector.evse, connector.connector)
            self.changes.connectors[key] = ConnectorReport(
                *key, str(report.status), report.detail, at
            )
            self._status_of_transaction(call, state, connector, report)
        self._tell("station", call.station_id)
        return Acknowledged()

    def _status_of_transaction(
        self,
        call: InboundCall,
        state: StationState,
        connector: Connector,
        report: StatusNotification,
    ) -> None:
        """Let a 1.6 status turn its connector's transaction to charging or parking."""
        if call.ocpp_version is not OcppVersion.V1_6:
            return
        transaction = _open_on(state, connector)
        if transaction is None:
            return
        if report.charging is not None:
            event = TransactionEvent(
                kind=TransactionEventKind.UPDATED,
                transaction_id=transaction.transaction_id,
                seq_no=None,
                evse=None,
                connector=report.connector,
                at=report.at or call.received_at,
                id_token=None,
                samples=(),
                signed=(),
                charging=report.charging,
                stop_reason=None,
                offline=False,
                remote_start_id=None,
            )
            self._take(call, state, transaction, event)
        elif report.detail == "Available":
            # The car is gone and no StopTransaction came: it may still, and then cures this.
            self._give_up(call, transaction, Anomaly.NO_END)

    def _on_transaction_event(
        self, call: InboundCall, state: StationState, event: TransactionEvent
    ) -> TransactionAnswer:
        transaction = self._find(state, event, call)
        if transaction is None:
            transaction = self._open(call, state, event)
        if is_repeat(transaction, event):
            call.outcome = "repeat"
        else:
            self._take(call, state, transaction, event)
        status, expires_at = None, None
        if event.id_token is not None:
            status, expires_at, _ = self._status_of(event.id_token, call.received_at)
        return TransactionAnswer(transaction.transaction_id, status, expires_at)

    def _find(
        self, state: StationState, event: TransactionEvent, call: InboundCall
    ) -> Transaction | None:
        """Return the transaction that the event belongs to; None: it opens one."""
        number = event.transaction_id
        if number is None:
            return self._find_start(state, event)
        if number == UNNUMBERED:
            return self._find_unnumbered(state, event)
        found = generation_of(state.transactions.get(number, []), event)
        if found is None and state.transactions.get(number):
            call.outcome = "transaction id reused"
        return found

    def _find_start(self, state: StationState, event: TransactionEvent) -> Transaction | None:
        """Return the transaction that a repeated 1.6 StartTransaction opened."""
        key = event_key(event)
        token = event.id_token.key if event.id_token else None
        connector = state.station.connector_of_1_6(event.connector or 0)
        for generations in state.transactions.values():
            for transaction in generations:
                same_place = connector is None or (
                    (transaction.evse, transaction.connector)
                    == (connector.evse, connector.connector)
                )
                if (
                    same_place
                    and transaction.start_key == key
                    and transaction.id_token_key == token
                ):
                    return transaction
        return None

    def _find_unnumbered(self, state: StationState, event: TransactionEvent) -> Transaction | None:
        """Return what a 1.6 stop with id -1 closes: the open transaction of the same token."""
        token = event.id_token.key if event.id_token else None
        candidates = [t for g in state.transactions.values() for t in g]
        for transaction in candidates:
            if is_repeat(transaction, event):
                return transaction
        for transaction in reversed(candidates):
            if not transaction.ended and token is not None and transaction.id_token_key == token:
                transaction.anomalies.add(Anomaly.UNNUMBERED_STOP)
                return transaction
        return None

    def _open(self, call: InboundCall, state: StationState, event: TransactionEvent) -> Transaction:
        """Make the session of a transaction that was not known."""
        number = event.transaction_id
        if number is None:
            number = str(self._numbers.pop(0))
        generations = state.transactions.setdefault(number, [])
        connector = _connector_of(state, event)
        started_at, _ = standing_time(event.at, call.received_at)
        transaction = Transaction(
            session_id=self._entropy.session_id(call.received_at),
            station_id=call.station_id,
            evse=connector.evse if connector else event.evse or event.connector or 0,
            connector=connector.connector if connector else 1,
            ocpp_version=call.ocpp_version,
            transaction_id=number,
            generation=generations[-1].generation + 1 if generations else 0,
            received_at=call.received_at,
            started_at=started_at,
        )
        if connector is None and (event.evse or event.connector):
            transaction.anomalies.add(Anomaly.UNKNOWN_CONNECTOR)
        if generations and number != UNNUMBERED:
            transaction.anomalies.add(Anomaly.TRANSACTION_ID_REUSED)
        generations.append(transaction)
        if connector is not None and event.kind is TransactionEventKind.STARTED:
            self._supersede(call, state, connector, transaction)
        _trim(state)
        return transaction

    def _supersede(
        self,
        call: InboundCall,
        state: StationState,
        connector: Connector,
        newcomer: Transaction,
    ) -> None:
        """A connector serves one car: what was open there has ended without a word."""
        for generations in state.transactions.values():
            for other in generations:
                same_place = (other.evse, other.connector) == (connector.evse, connector.connector)
                earlier = other.started_at <= newcomer.started_at
                if other is not newcomer and other.is_open and same_place and earlier:
                    self._give_up(call, other, Anomaly.SUPERSEDED)

    def _give_up(self, call: InboundCall, transaction: Transaction, why: Anomaly) -> None:
        before = set(transaction.anomalies)
        transaction.anomalies.add(why)
        settle_state(transaction)
        self._record_change(call, transaction, before)

    def _take(
        self,
        call: InboundCall,
        state: StationState,
        transaction: Transaction,
        event: TransactionEvent,
    ) -> None:
        """Take a new event: rows, state, entries."""
        before = set(transaction.anomalies)
        was = (transaction.state, transaction.charging, transaction.started, transaction.ended)
        was_ended = transaction.ended
        rows = take(transaction, event, call.received_at)
        self._identify(transaction, event, call.received_at)
        if event.kind is TransactionEventKind.STARTED:
            self._quote(transaction, state)
        if transaction.ended and transaction.id_token_key is None and transaction.started:
            transaction.anomalies.add(Anomaly.NO_ID_TOKEN)
        settle_state(transaction)
        self.changes.events.extend((transaction.session_id, row) for row in rows)
        if event.kind is TransactionEventKind.STARTED:
            self._log_start(call, state, transaction, event)
        for value in event.signed:
            self._keep_signed(call, transaction, value.context, value.raw)
        if event.kind is TransactionEventKind.ENDED:
            self._log_end(call, transaction, event)
        elif was_ended and event.kind is TransactionEventKind.UPDATED:
            for row in rows:
                record = {"event": records.event_record(row), "session_id": transaction.session_id}
                self._log(call, EntryKind.METER_VALUE_LATE, transaction, record)
        if transaction.ended and transaction.started:
            transaction.bill_due = transaction.state is not SessionState.REFUSED
        now_is = (transaction.state, transaction.charging, transaction.started, transaction.ended)
        if now_is != was or transaction.anomalies != before or transaction.bill_due:
            self._record_change(call, transaction, before)
        elif not transaction.stored:
            self.changes.sessions[transaction.session_id] = transaction
        self._tell("session", transaction.session_id)

    def _record_change(
        self, call: InboundCall, transaction: Transaction, before: set[Anomaly]
    ) -> None:
        self.changes.sessions[transaction.session_id] = transaction
        for anomaly in sorted(transaction.anomalies - before):
            record = {
                "code": str(anomaly),
                "session_id": transaction.session_id,
                "transaction_id": transaction.transaction_id,
            }
            self._log(call, EntryKind.ANOMALY, transaction, record)

    def _identify(
        self, transaction: Transaction, event: TransactionEvent, received_at: datetime
    ) -> None:
        """Take the driver's token from the first event that carries one."""
        if event.id_token is None or transaction.id_token_key is not None:
            return
        if event.kind is TransactionEventKind.ENDED and transaction.started:
            return
        status, _, known = self._status_of(event.id_token, received_at)
        transaction.id_token_key = event.id_token.key
        transaction.id_token_status = status
        transaction.login_id = known.login_id if known else None
        if status is not AuthorizationStatus.ACCEPTED:
            transaction.state = SessionState.REFUSED

    def _quote(self, transaction: Transaction, state: StationState) -> None:
        """Freeze the tariff that is in force at the start."""
        quoted = tariff_at(state, transaction.started_at)
        if quoted is None:
            transaction.anomalies.add(Anomaly.NO_TARIFF)
            return
        transaction.tariff_id = quoted.tariff_id
        transaction.tariff_version = quoted.version
        transaction.currency = quoted.tariff.currency

    def _status_of(
        self, id_token: IdTokenRef, now: datetime
    ) -> tuple[AuthorizationStatus, datetime | None, KnownIdToken | None]:
        known = self._id_tokens.get(id_token.key)
        if known is None or not _same_type(known.ref, id_token):
            return AuthorizationStatus.INVALID, None, None
        if known.blocked:
            return AuthorizationStatus.BLOCKED, known.expires_at, known
        if known.expires_at is not None and known.expires_at <= now:
            return AuthorizationStatus.EXPIRED, known.expires_at, known
        return AuthorizationStatus.ACCEPTED, known.expires_at, known

    def _log_start(
        self,
        call: InboundCall,
        state: StationState,
        transaction: Transaction,
        event: TransactionEvent,
    ) -> None:
        quoted = tariff_at(state, transaction.started_at)
        record = {
            "connector": transaction.connector,
            "evse": transaction.evse,
            "id_token": event.id_token.value if event.id_token else None,
            "id_token_status": transaction.id_token_status and str(transaction.id_token_status),
            "meter_start_wh": transaction.meter_start_wh,
            "ocpp_version": str(transaction.ocpp_version),
            "offline": event.offline,
            "session_id": transaction.session_id,
            "started_at": records.time_text(transaction.started_at),
            "station_id": transaction.station_id,
            "station_time": records.time_text(event.at),
            "tariff": quoted and _tariff_reference(quoted),
            "time_zone": state.station.time_zone,
            "transaction_id": transaction.transaction_id,
        }
        self._log(call, EntryKind.SESSION_STARTED, transaction, record)

    def _log_end(
        self, call: InboundCall, transaction: Transaction, event: TransactionEvent
    ) -> None:
        rows = [records.encode(records.event_record(row)) for row in transaction.events]
        ended_at = transaction.ended_at or call.received_at
        record = {
            "ended_at": records.time_text(ended_at),
            "events": records.events_summary(rows),
            "meter_stop_wh": transaction.meter_stop_wh,
            "session_id": transaction.session_id,
            "station_time": records.time_text(event.at),
            "stop_reason": transaction.stop_reason,
            "transaction_id": transaction.transaction_id,
        }
        self._log(call, EntryKind.SESSION_ENDED, transaction, record)

    def _keep_signed(
        self, call: InboundCall, transaction: Transaction, context: ReadingContext, raw: bytes
    ) -> None:
        self.changes.signed_values.append(
            SignedValueRow(transaction.session_id, str(context), raw, call.received_at)
        )
        record = records.signed_value_record(
            transaction.session_id, str(context), raw, call.received_at
        )
        self._log(call, EntryKind.SIGNED_VALUE, transaction, record)

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
        self._live.append(LiveEvent(topic, key))


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


def _tariff_reference(quoted: QuotedTariff) -> records.Record:
    return {
        "digest": quoted.digest,
        "log_index": quoted.log_index,
        "tariff_id": quoted.tariff_id,
        "version": quoted.version,
    }


def _same_type(known: IdTokenRef, presented: IdTokenRef) -> bool:
    """A 1.6 idTag has no type and matches any; 2.x types must agree."""
    return presented.kind is None or known.kind is None or known.kind == presented.kind


def _connector_of(state: StationState, event: TransactionEvent) -> Connector | None:
    if event.evse is not None:
        return state.station.connector_of(event.evse, event.connector)
    if event.connector is not None:
        return state.station.connector_of_1_6(event.connector)
    return None


def _open_on(state: StationState, connector: Connector) -> Transaction | None:
    for generations in state.transactions.values():
        for transaction in generations:
            place = (transaction.evse, transaction.connector)
            here = place == (connector.evse, connector.connector)
            if here and not transaction.ended and not transaction.anomalies & CURABLE:
                return transaction
    return None


def _trim(state: StationState) -> None:
    """Keep the open transactions and the last few that ended."""
    closed = [
        number
        for number, generations in state.transactions.items()
        if all(not t.is_open for t in generations)
    ]
    for number in closed[:-CLOSED_KEPT]:
        if not any(t.bill_due and not t.stored for t in state.transactions[number]):
            del state.transactions[number]
