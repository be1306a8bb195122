"""The interfaces that the use cases need from the rooms above them.

The database is reached through one `UnitOfWork`: its parts collect rows, `commit` writes
them all or none. Use cases never commit; the edge that opened the unit of work does, once,
and only then answers. All times are aware UTC from the `Clock`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from chargera.domain.messages import (
    CommandAnswer,
    IdTokenRef,
    Probe,
    ProbeAnswer,
    StationCommand,
    StationMessage,
)
from chargera.domain.pricing import ChargingState
from chargera.domain.station import ChargingStation, OcppVersion
from chargera.domain.tariff import Tariff
from chargera.domain.transaction import Transaction
from chargera.proofs.entry import EntryKind

# Values that cross the ports -------------------------------------------------------------------


class NewEntry(NamedTuple):
    """An entry to append: the record is private, its salted commitment public.

    `station_id` None: an entry of the network itself, without a per-station number.
    """

    kind: EntryKind
    station_id: str | None
    session_id: str | None
    record: Mapping[str, Any]
    received_at: datetime


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as it stands in the database; `record` and `salt` are None after erasure."""

    log_index: int
    kind: EntryKind
    station_id: str | None
    session_id: str | None
    received_at: datetime
    entry: bytes
    record: bytes | None
    salt: bytes | None


@dataclass(frozen=True, slots=True)
class QuotedTariff:
    """A tariff version as a session is quoted it."""

    tariff_id: str
    version: int
    digest: str
    tariff: Tariff
    log_index: int


@dataclass(frozen=True, slots=True)
class TariffInForce:
    """From `from_at` on, new sessions of the station are priced by this version."""

    from_at: datetime
    quoted: QuotedTariff


@dataclass(frozen=True, slots=True)
class KnownIdToken:
    """A registered identifier of a driver."""

    ref: IdTokenRef
    blocked: bool
    expires_at: datetime | None
    login_id: str | None
    escrow_at: str | None = None
    """The station at which it starts one session, which an escrow pays; None: no such one."""
    used_by: str | None = None
    """That session."""


class ConnectorStatement(NamedTuple):
    """What a 1.6 status said of a transaction: charging, parking or (None) nothing."""

    at: datetime
    charging: ChargingState | None


@dataclass(slots=True)
class NotedDeviation:
    """A sort of breach that has its log entry, and how many calls like it have come since."""

    at: datetime
    followed: int = 0


@dataclass(slots=True)
class StationState:
    """All that decisions about one station's messages need; cached between commits."""

    station: ChargingStation
    tariffs: list[TariffInForce]
    transactions: dict[str, list[Transaction]]
    """Open and recent ones by transaction id; generations in order, the newest last."""
    newest_start_at: datetime | None = None
    """The latest time that the station gave for a start: an earlier one may be a repeat."""
    statuses: dict[tuple[int, int], ConnectorStatement] = field(default_factory=dict)
    """What OCPP 1.6 last said of a running transaction, by EVSE and connector."""
    seen_at: datetime | None = None
    """When it was last recorded that the station is alive."""
    deviations: dict[int, NotedDeviation] = field(default_factory=dict)
    """Sorts of breaches that it was last recorded for, by a hash of what was wrong."""
    events_held: int = 0
    """Events of its transactions in memory, as last counted."""


@dataclass(slots=True)
class InboundCall:
    """A CALL of a station, validated and mapped; `frame` is what came over the socket."""

    station_id: str
    ocpp_version: OcppVersion
    received_at: datetime
    message_id: str
    action: str
    message: StationMessage
    frame: bytes
    deviation: str | None = None
    """How the payload breaks its schema, where it was served nevertheless."""
    outcome: str = "ok"
    answer_frame: bytes | None = None


class MessageRow(NamedTuple):
    """One exchange in a station's message log."""

    station_id: str
    received_at: datetime
    inbound: bool
    ocpp_version: str
    action: str | None
    message_id: str | None
    frame: bytes
    answer: bytes | None
    outcome: str


@dataclass(frozen=True, slots=True)
class SignedValueRow:
    """A signed meter value of a session, byte for byte; `n` is its order of arrival."""

    session_id: str
    n: int
    context: str
    raw: bytes
    received_at: datetime


class ConnectorReport(NamedTuple):
    """A connector's state as last reported."""

    station_id: str
    evse: int
    connector: int
    status: str
    detail: str
    at: datetime
    statement: ConnectorStatement | None = None
    """What it says of a transaction (1.6)."""


@dataclass(frozen=True, slots=True)
class BootReport:
    """What a station said of itself when it booted."""

    station_id: str
    vendor: str
    model: str
    firmware_version: str | None
    ocpp_version: str
    at: datetime


class LiveEvent(NamedTuple):
    """Something that pages show at once: published after the commit, never before."""

    topic: str
    """`station`, `session` or `log`."""
    key: str
    """Station id, session id or empty."""
    data: Mapping[str, Any] = MappingProxyType({})


# The database ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Wanted:
    """What a batch of messages needs from the database."""

    stations: set[str] = field(default_factory=set)
    transactions: set[tuple[str, str | None, datetime]] = field(default_factory=set)
    """Station, transaction id (None: any of OCPP 1.6) and the time of the event in question."""
    starts: set[tuple[str, datetime]] = field(default_factory=set)
    """Station and the time that it gave for a start."""
    id_tokens: set[str] = field(default_factory=set)
    """Keys as `IdTokenRef.key`."""
    numbers: int = 0
    """Fresh numbers for OCPP 1.6 transactions."""

    def __bool__(self) -> bool:
        """Whether anything is wanted."""
        parts = (self.stations, self.transactions, self.starts, self.id_tokens)
        return any(parts) or self.numbers > 0


@dataclass(slots=True)
class Loaded:
    """What there is of what was wanted."""

    stations: dict[str, StationState] = field(default_factory=dict)
    """Only those that are registered; with their open transactions and the latest others."""
    transactions: list[Transaction] = field(default_factory=list)
    """In order of generation: of an id the newest and those around the time, of a start that
    session."""
    id_tokens: dict[str, list[KnownIdToken]] = field(default_factory=dict)
    """Those of a value, whatever their types, by its key."""
    numbers: list[int] = field(default_factory=list)


class ChannelWork(Protocol):
    """The database as the OCPP channel needs it: one read for a batch, one bulk write."""

    async def load(self, wanted: Wanted) -> Loaded:
        """Return what there is of what is wanted; what does not exist is left out."""

    def write(self, changes: "Changes") -> None:
        """Take rows; they reach the database at `commit`."""

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log; it gets its index at `commit`."""

    async def commit(self) -> None:
        """Write everything in one transaction; on return it is durable."""


@dataclass(slots=True)
class Changes:
    """Rows that a batch of messages leaves behind."""

    messages: list[MessageRow] = field(default_factory=list)
    sessions: dict[str, Transaction] = field(default_factory=dict)
    events: list[tuple[str, int, bytes]] = field(default_factory=list)
    """Session id, place in the session and canonical bytes of each reading."""
    signed_values: list[SignedValueRow] = field(default_factory=list)
    connectors: dict[tuple[str, int, int], ConnectorReport] = field(default_factory=dict)
    boots: dict[str, BootReport] = field(default_factory=dict)
    seen: dict[str, datetime] = field(default_factory=dict)
    """When these stations were last heard."""


class ChannelDatabase(Protocol):
    """Opens units of work for the channel."""

    def channel_work(self) -> AbstractAsyncContextManager[ChannelWork]:
        """Open a unit of work; leaving it without `commit` rolls back."""


# Around it -------------------------------------------------------------------------------------


class Clock(Protocol):
    """The network clock: it may be accelerated or moved by hand, and never goes back."""

    def now(self) -> datetime:
        """Return the network's time, aware UTC with millisecond precision."""


class Feed(Protocol):
    """Live events for pages; a slow reader loses events, never delays the writer."""

    def publish(self, event: LiveEvent) -> None:
        """Tell everyone who listens now."""

    def listen(self) -> AsyncIterator[LiveEvent]:
        """Yield events from now on until the iterator is closed."""


class Commands(Protocol):
    """Calls from us to a connected station."""

    def is_connected(self, station_id: str) -> bool:
        """Say whether the station has a live connection."""

    async def send(self, station_id: str, command: StationCommand) -> CommandAnswer:
        """Send and wait for the answer.

        Raises Unavailable when the station is not connected or does not answer in time.
        """


@dataclass(frozen=True, slots=True)
class LiveConnection:
    """A station's connection now: `number` counts all connections since the server started."""

    number: int
    ocpp_version: OcppVersion


class Probing(Protocol):
    """Calls to a connected station that no command makes."""

    def connection(self, station_id: str) -> LiveConnection | None:
        """Return the station's live connection; None if there is none."""

    async def probe(self, station_id: str, probe: Probe) -> ProbeAnswer:
        """Send a probe and wait for the answer.

        Raises Unavailable when the station is not connected or does not answer in time.
        """


class Entropy(Protocol):
    """Randomness as an argument, so that a run can be repeated from a seed."""

    def bytes(self, count: int) -> bytes:
        """Return that many unpredictable bytes."""

    def session_id(self, now: datetime) -> str:
        """Return a fresh UUIDv7 for that time."""
