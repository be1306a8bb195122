"""Doubles of the interfaces in `ports`, `billing`, `receipts` and `access`: a database in memory.

It keeps rows, not objects: what a unit of work did not commit is gone, and what is loaded is made
anew from rows, as after a restart. The same contract tests run against it and PostgreSQL.
"""

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from random import Random

from chargera.app.access import StationLogin
from chargera.app.billing import (
    BillingCase,
    BillingOutcome,
    BillingResult,
    CdrRow,
    CurrentCdr,
    NumberedCdr,
    SilentSession,
)
from chargera.app.clock import uuid7
from chargera.app.numbering import Payable
from chargera.app.ports import (
    BootReport,
    Changes,
    ConnectorReport,
    Entropy,
    KnownIdToken,
    Loaded,
    MessageRow,
    NewEntry,
    QuotedTariff,
    SignedValueRow,
    StationState,
    StoredEntry,
    TariffInForce,
    Wanted,
)
from chargera.app.receipts import ReceiptHead, StoredSettlement
from chargera.domain.errors import Unreadable
from chargera.domain.messages import ReadingContext
from chargera.domain.proof_level import ProofLevel
from chargera.domain.station import ChargingStation, OcppVersion
from chargera.domain.transaction import (
    CURABLE,
    DERIVED,
    Anomaly,
    SessionEvent,
    SessionState,
    Transaction,
    recall,
)
from chargera.proofs import canonical, records
from chargera.proofs.cdr import SignedMeterValue
from chargera.proofs.entry import SALT_BYTES, EntryKind, Envelope, commit, envelope_bytes
from chargera.proofs.ocmf import parse_ocmf

RECENT = 4
AROUND = timedelta(minutes=5)


class SeededEntropy:
    """Randomness that a seed repeats."""

    def __init__(self, seed: int) -> None:
        """Draw from this seed."""
        self._random = Random(seed)  # noqa: S311 - it is for tests

    def bytes(self, count: int) -> bytes:
        """Return that many bytes."""
        return self._random.randbytes(count)

    def session_id(self, now: datetime) -> str:
        """Return a UUIDv7 for that time."""
        return uuid7(now, self.bytes(10))


@dataclass(slots=True)
class MemorySession:
    """A row of a session: what the channel knows of it, and what billing found."""

    transaction: Transaction
    proof_level: ProofLevel = ProofLevel.L0
    gross_minor: int | None = None
    cdr_log_index: int | None = None
    bill_due: bool = False

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self.transaction.state


class MemoryDatabase:
    """Tables in memory. `fail_commit` is raised by the next commit, before anything is kept."""

    def __init__(self, entropy: Entropy | None = None) -> None:
        """Start empty."""
        self.entropy = entropy or SeededEntropy(0)
        self.stations: dict[str, ChargingStation] = {}
        self.tariffs: dict[str, list[TariffInForce]] = {}
        self.id_tokens: dict[str, list[KnownIdToken]] = {}
        """Those of a value by its key (`IdTokenRef.key`)."""
        self.sessions: dict[str, MemorySession] = {}
        self.events: dict[str, list[bytes]] = {}
        self.signed: dict[str, list[SignedValueRow]] = {}
        self.messages: list[MessageRow] = []
        self.connectors: dict[tuple[str, int, int], ConnectorReport] = {}
        self.boots: dict[str, BootReport] = {}
        self.seen: dict[str, datetime] = {}
        self.entries: list[StoredEntry] = []
        self.cdrs: list[CdrRow] = []
        self.numbered: list[NumberedCdr] = []
        self.payables: dict[str, Payable] = {}
        """What can be settled, by session id."""
        self.heads: list[tuple[int, ReceiptHead]] = []
        self.settlements: dict[str, StoredSettlement] = {}
        self.numbers_given = 0
        self.loads = 0
        self.fail_commit: Exception | None = None

    def channel_work(self) -> AbstractAsyncContextManager["MemoryWork"]:
        """Open a unit of work for the channel."""
        return self.work()

    @asynccontextmanager
    async def work(self) -> AsyncIterator["MemoryWork"]:
        """Open a unit of work; what it does not commit is gone."""
        yield MemoryWork(self)

    def of_kind(self, kind: EntryKind) -> list[StoredEntry]:
        """Return the log's entries of a kind."""
        return [entry for entry in self.entries if entry.kind is kind]

    def remember(self, session_id: str) -> tuple[Transaction, list[SessionEvent]]:
        """Return a transaction made anew from its rows, with its readings."""
        row = self.sessions[session_id].transaction
        transaction = _copy(row)
        transaction.logged = set(row.anomalies)
        transaction.stored, transaction.bill_due = True, False
        encoded = self.events.get(session_id, [])
        events = [_event(record) for record in encoded]
        recall(transaction, events, b",".join(encoded))
        for value in self.signed.get(session_id, []):
            transaction.signed.add(hashlib.sha256(value.raw).digest())
            transaction.signed_count = value.n + 1
        return transaction, events


@dataclass
class MemoryWork:
    """One unit of work: a `ChannelWork`, `BillingWork`, `SilenceWork` and `ReceiptWork`."""

    database: MemoryDatabase
    _changes: list[Changes] = field(default_factory=list)
    _entries: list[NewEntry] = field(default_factory=list)
    _marked: list[str] = field(default_factory=list)
    _bills: BillingResult = field(default_factory=BillingResult)

    # The channel --------------------------------------------------------------------------

    async def load(self, wanted: Wanted) -> Loaded:
        """Return what there is of what is wanted."""
        database = self.database
        database.loads += 1
        loaded = Loaded()
        found: set[str] = set()
        for station_id in wanted.stations & database.stations.keys():
            loaded.stations[station_id] = self._state(station_id)
            found |= self._recent(station_id)
        for station_id, number, at in wanted.transactions:
            found |= self._looked_up(station_id, number, at)
        for station_id, at in wanted.starts:
            found |= {
                t.session_id
                for t in self._of_1_6(station_id)
                if (start := database.remember(t.session_id)[0].start_key) and start.at == at
            }
        remembered = [database.remember(session_id)[0] for session_id in found]
        remembered.sort(key=lambda t: (t.received_at, t.generation))
        loaded.transactions = remembered
        for key in wanted.id_tokens & database.id_tokens.keys():
            loaded.id_tokens[key] = database.id_tokens[key]
        first = database.numbers_given + 1
        loaded.numbers = list(range(first, first + wanted.numbers))
        database.numbers_given += wanted.numbers
        return loaded

    def write(self, changes: Changes) -> None:
        """Take rows; they are kept at `commit`."""
        self._changes.append(changes)

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log; it gets its index at `commit`."""
        self._entries.append(entry)

    async def commit(self) -> None:
        """Keep everything, or nothing."""
        database = self.database
        if database.fail_commit is not None:
            error, database.fail_commit = database.fail_commit, None
            raise error
        for changes in self._changes:
            self._keep(changes)
        first = len(database.entries)
        for entry in self._entries:
            self._log(entry)
        for session_id in self._marked:
            _mark_silent(database.sessions[session_id].transaction)
        for outcome in self._bills.outcomes:
            _settle(database.sessions[outcome.transaction.session_id], outcome, first)
        for cdr in self._bills.cdrs:
            database.cdrs.append(replace(cdr, entry=first + cdr.entry))
        database.numbered += self._bills.numbered
        self._changes, self._entries, self._marked = [], [], []
        self._bills = BillingResult()

    # Billing ------------------------------------------------------------------------------

    async def take_due_cases(self, limit: int) -> list[BillingCase]:
        """Return sessions whose bill is due; here they are so at once."""
        due = [i for i, session in self.database.sessions.items() if session.bill_due]
        return [self._case(session_id) for session_id in due[:limit]]

    async def load_case(self, session_id: str) -> BillingCase | None:
        """Return one session; None if there is none."""
        return self._case(session_id) if session_id in self.database.sessions else None

    async def load_tariff(self, tariff_id: str) -> QuotedTariff | None:
        """Return the newest version of a tariff."""
        known = [q for q in self._quoted() if q.tariff_id == tariff_id]
        return max(known, key=lambda quoted: quoted.version, default=None)

    async def payables(self, session_ids: Sequence[str]) -> Mapping[str, Payable]:
        """Return those of these sessions whose station has a passport in force."""
        return {n: p for n, p in self.database.payables.items() if n in session_ids}

    async def lock_lanes(self, operator_id: str, assets: Sequence[str]) -> dict[str, int]:
        """Return the next number of each lane."""
        numbered = [each.numbered for each in self.database.numbered]
        return {asset: sum(each.asset == asset for each in numbered) for asset in assets}

    async def store_bills(self, result: BillingResult) -> None:
        """Take the rows of a billing run; they are kept at `commit`."""
        self._bills.cdrs += result.cdrs
        self._bills.outcomes += result.outcomes
        self._bills.numbered += result.numbered

    async def mark_silent(self, before: datetime, limit: int) -> list[SilentSession]:
        """Put running sessions without a word since that time into review."""
        silent = [
            session.transaction
            for session in self.database.sessions.values()
            if session.state is SessionState.CHARGING
            and (session.transaction.written_at or before) < before
        ][:limit]
        self._marked += [transaction.session_id for transaction in silent]
        return [SilentSession(t.session_id, t.station_id, t.transaction_id) for t in silent]

    # Receipts -----------------------------------------------------------------------------

    async def session_entries(self, session_id: str, kinds: Sequence[str]) -> list[StoredEntry]:
        """Return a session's entries of these kinds in the order of the log."""
        entries = self.database.entries
        return [e for e in entries if e.session_id == session_id and str(e.kind) in kinds]

    async def registration_entry(self, station_id: str, before: int) -> StoredEntry | None:
        """Return the newest registration of a station before an index."""
        for entry in reversed(self.database.entries[:before]):
            if entry.kind is EntryKind.STATION_REGISTERED and entry.station_id == station_id:
                return entry
        return None

    async def entry(self, log_index: int) -> StoredEntry | None:
        """Return one entry."""
        entries = self.database.entries
        return entries[log_index] if 0 <= log_index < len(entries) else None

    async def session_events(self, session_id: str) -> list[SessionEvent]:
        """Return a session's readings in order of arrival."""
        return [_event(record) for record in self.database.events.get(session_id, [])]

    async def receipt_head(self, log_index: int) -> ReceiptHead | None:
        """Return the first anchored head above an index, else the newest."""
        covering = [(size, head) for size, head in self.database.heads if size > log_index]
        anchored = [(size, head) for size, head in covering if head.anchor is not None]
        chosen = min(anchored, key=_size, default=None) or max(covering, key=_size, default=None)
        return None if chosen is None else chosen[1]

    async def settlement(self, session_id: str) -> StoredSettlement | None:
        """Return the signed batch that pays a session's bill."""
        return self.database.settlements.get(session_id)

    # Rows ---------------------------------------------------------------------------------

    def _state(self, station_id: str) -> StationState:
        database = self.database
        starts = [
            start.at
            for t in self._of_1_6(station_id)
            if (start := database.remember(t.session_id)[0].start_key) is not None
        ]
        statuses = {
            (report.evse, report.connector): report.statement
            for report in database.connectors.values()
            if report.station_id == station_id and report.statement is not None
        }
        return StationState(
            database.stations[station_id],
            list(database.tariffs.get(station_id, [])),
            {},
            newest_start_at=max(starts, default=None),
            statuses={place: s for place, s in statuses.items() if s.charging is not None},
        )

    def _of_station(self, station_id: str) -> list[Transaction]:
        rows = [row.transaction for row in self.database.sessions.values()]
        found = [row for row in rows if row.station_id == station_id]
        return sorted(found, key=lambda t: t.received_at, reverse=True)

    def _of_1_6(self, station_id: str) -> list[Transaction]:
        return [t for t in self._of_station(station_id) if t.ocpp_version is OcppVersion.V1_6]

    def _recent(self, station_id: str) -> set[str]:
        rows = self._of_station(station_id)
        charging = {t.session_id for t in rows if t.state is SessionState.CHARGING}
        return charging | {t.session_id for t in rows[:RECENT]}

    def _looked_up(self, station_id: str, number: str | None, at: datetime) -> set[str]:
        if number is None:
            around = [t for t in self._of_1_6(station_id) if _is_around(t, at)]
            return {t.session_id for t in around[:8]}
        uses = [t for t in self._of_station(station_id) if t.transaction_id == number]
        uses.sort(key=lambda t: t.generation, reverse=True)
        around = [t for t in uses if _is_around(t, at)]
        return {t.session_id for t in [*uses[:RECENT], *around[:RECENT]]}

    def _keep(self, changes: Changes) -> None:
        database = self.database
        database.messages += changes.messages
        database.connectors |= changes.connectors
        database.boots |= changes.boots
        database.seen |= changes.seen
        for session_id, n, record in changes.events:
            rows = database.events.setdefault(session_id, [])
            assert len(rows) == n, "readings are numbered without holes"
            rows.append(record)
        for value in changes.signed_values:
            values = database.signed.setdefault(value.session_id, [])
            assert len(values) == value.n, "signed values are numbered without holes"
            values.append(value)
        for session_id, transaction in changes.sessions.items():
            known = database.sessions.get(session_id)
            row = _copy(transaction)
            if known is None:
                database.sessions[session_id] = MemorySession(row, bill_due=row.bill_due)
            else:
                row.anomalies |= known.transaction.anomalies & (DERIVED - CURABLE)
                if known.state is SessionState.BILLED:
                    row.state = SessionState.BILLED
                known.transaction = row
                known.bill_due = known.bill_due or row.bill_due
            transaction.stored, transaction.bill_due = True, False

    def _log(self, new: NewEntry) -> None:
        entries = self.database.entries
        seq: int | None = None
        if new.station_id is not None:
            seq = sum(1 for entry in entries if entry.station_id == new.station_id) + 1
        record, salt = canonical.encode(dict(new.record)), self.database.entropy.bytes(SALT_BYTES)
        envelope = Envelope(new.kind, new.station_id, seq, new.received_at, commit(salt, record))
        entries.append(
            StoredEntry(
                len(entries),
                new.kind,
                new.station_id,
                new.session_id,
                new.received_at,
                envelope_bytes(envelope),
                record,
                salt,
            )
        )

    def _case(self, session_id: str) -> BillingCase:
        database = self.database
        transaction, events = database.remember(session_id)
        station = database.stations[transaction.station_id]
        signed = [
            SignedMeterValue(ReadingContext(value.context), value.raw)
            for value in database.signed.get(session_id, [])
        ]
        quoted = [
            q
            for q in self._quoted()
            if (q.tariff_id, q.version) == (transaction.tariff_id, transaction.tariff_version)
        ]
        bills = [c for c in database.cdrs if c.session_id == session_id and not c.is_credit]
        current = None
        if bills:
            current = CurrentCdr(bills[-1].cdr_id, bills[-1].entry, bills[-1].record)
        pages = None
        if station.meter_key_der_hex and signed:
            pages = self._previous_pages(transaction)
        return BillingCase(
            transaction, events, station, quoted[0] if quoted else None, signed, pages, current
        )

    def _previous_pages(self, transaction: Transaction) -> dict[str, int] | None:
        database = self.database
        earlier = [
            session_id
            for session_id, row in sorted(database.sessions.items())
            if row.transaction.station_id == transaction.station_id
            and session_id < transaction.session_id
            and database.signed.get(session_id)
        ]
        if not earlier:
            return None
        try:
            record = parse_ocmf(database.signed[earlier[-1]][-1].raw)
        except Unreadable:
            return None
        return {record.page_series.value: record.page_number}

    def _quoted(self) -> Iterable[QuotedTariff]:
        return (each.quoted for known in self.database.tariffs.values() for each in known)


class MemoryStationLogins:
    """A `StationLogins` in memory; `found` counts look-ups."""

    def __init__(self, *logins: StationLogin) -> None:
        """Know these."""
        self.logins = {login.station_id: login for login in logins}
        self.found = 0

    async def find(self, station_id: str) -> StationLogin | None:
        """Return the login of a station; None if there is no such station."""
        self.found += 1
        return self.logins.get(station_id)

    async def remember(self, login: StationLogin, fingerprint: bytes) -> None:
        """Keep the fingerprint of a verified password, unless the password has changed since."""
        known = self.logins.get(login.station_id)
        if known is not None and known.password_hash == login.password_hash:
            self.logins[login.station_id] = replace(known, verified=fingerprint)


_FROM_ROWS = frozenset(
    {
        "event_count",
        "events_hash",
        "keys",
        "seq_nos",
        "start_key",
        "end_key",
        "last_at",
        "signed",
        "signed_count",
        "logged",
        "stored",
    }
)
"""What a row does not hold of a transaction."""


def _copy(transaction: Transaction) -> Transaction:
    kept = [f.name for f in fields(Transaction) if f.name not in _FROM_ROWS]
    copied = Transaction(**{name: getattr(transaction, name) for name in kept})
    copied.anomalies = set(transaction.anomalies)
    return copied


def _event(record: bytes) -> SessionEvent:
    members = canonical.decode(record)
    assert isinstance(members, dict), "readings are objects"
    return records.event_from_record(members, field="event")


def _is_around(transaction: Transaction, at: datetime) -> bool:
    ended_at = transaction.ended_at
    return transaction.started_at - AROUND <= at and (ended_at is None or at <= ended_at + AROUND)


def _mark_silent(transaction: Transaction) -> None:
    transaction.state = SessionState.REVIEW
    transaction.anomalies.add(Anomaly.SILENT)


def _settle(session: MemorySession, outcome: BillingOutcome, first: int) -> None:
    session.transaction.state = outcome.state
    session.transaction.anomalies = set(outcome.anomalies)
    session.bill_due = False
    if outcome.proof_level is not None:
        session.proof_level = outcome.proof_level
    if outcome.bill is not None and outcome.cdr_entry is not None:
        session.gross_minor = outcome.bill.gross_minor
        session.cdr_log_index = first + outcome.cdr_entry


def _size(sized: tuple[int, ReceiptHead]) -> int:
    return sized[0]
