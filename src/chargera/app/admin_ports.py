"""The database as the administrative use cases need it: registrations, people, prices, reads.

Reads take the `Caller` and apply its reach in the query, so that whatever belongs to somebody
else is not found. Writes are made after the use case has checked the permission. Nothing here
commits; the edge does.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from chargera.app.permissions import Caller, Role
from chargera.app.ports import NewEntry, QuotedTariff
from chargera.app.views import (
    AnchorView,
    ApiKeyView,
    CommandView,
    IdTokenView,
    LogEntryView,
    LogHeadView,
    LoginView,
    MessageView,
    Overview,
    SessionRow,
    SessionView,
    StationRow,
    StationView,
    TariffView,
    Today,
)
from chargera.domain.messages import IdTokenRef
from chargera.domain.station import ChargingStation

IsConnected = Callable[[str], bool]
"""Says whether a station has a live connection; `Commands.is_connected`."""


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """What a command to a running session needs to know of it."""

    session_id: str
    station_id: str
    transaction_id: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions are listed, newest first; `before` is the last id of the page before."""

    station_id: str | None = None
    state: str | None = None
    before: str | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries are listed, in order of the log from `from_index` on."""

    from_index: int = 0
    limit: int | None = None
    kind: str | None = None
    station_id: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which exchanges with a station are listed, newest first; None asks for any."""

    before: int | None = None
    limit: int = 100
    action: str | None = None
    inbound: bool | None = None
    """True: what the station said; False: what was said to it."""
    ok: bool | None = None
    """True: answered as usual; False: refused, repeated, departing from its schema, and so on."""
    after: int | None = None
    """Only those with a higher number."""


class StationStore(Protocol):
    """Registrations and what is shown of stations."""

    async def registered(self, station_id: str) -> ChargingStation | None:
        """Return the registration, locked for this unit of work; None if there is none."""

    async def add(
        self, station: ChargingStation, password_hash: str, host_login_id: str | None
    ) -> bool:
        """Insert a registration; False if the station exists (somebody was faster)."""

    async def set_password(self, caller: Caller, station_id: str, password_hash: str) -> bool:
        """Replace the password's hash; False if the caller reaches no such station."""

    async def reaches(self, caller: Caller, station_id: str) -> bool:
        """Say whether the station exists and belongs to what the caller may change."""

    async def rows(
        self,
        caller: Caller,
        is_connected: IsConnected,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[StationRow]:
        """Return stations in order of their ids."""

    async def show(
        self, caller: Caller, station_id: str, is_connected: IsConnected
    ) -> StationView | None:
        """Return one station; None if there is none."""

    async def messages(
        self, caller: Caller, station_id: str, wanted: MessageFilter
    ) -> list[MessageView]:
        """Return a station's exchanges, newest first."""

    async def overview(self, caller: Caller, is_connected: IsConnected) -> Overview:
        """Return the figures of the first page."""


class CommandStore(Protocol):
    """Commands to stations."""

    async def add(
        self,
        command_id: str,
        station_id: str,
        action: str,
        request: dict[str, Any],
        requested_by: str,
        requested_at: datetime,
    ) -> bool:
        """Insert a queued command; False if this id exists."""

    async def answered(
        self, command_id: str, accepted: bool | None, answer: str, answered_at: datetime
    ) -> None:
        """Note the answer; `accepted` None: there was none."""

    async def show(self, caller: Caller, command_id: str) -> CommandView | None:
        """Return a command with the session that it started, as far as that is known."""

    async def rows(self, caller: Caller, station_id: str, limit: int) -> list[CommandView]:
        """Return a station's commands, newest first."""

    async def unanswered(self, action: str) -> list[CommandView]:
        """Return the commands of that name that have neither answer nor failure."""

    async def transaction(self, caller: Caller, session_id: str) -> OpenTransaction | None:
        """Return a session as a command needs it; None if the caller does not reach it."""


@dataclass(frozen=True, slots=True)
class NewIdToken:
    """An identifier to register."""

    ref: IdTokenRef
    blocked: bool = False
    expires_at: datetime | None = None
    login_id: str | None = None


class IdTokenStore(Protocol):
    """Identifiers of drivers."""

    async def known(self, keys: Sequence[str]) -> dict[str, list[NewIdToken]]:
        """Return what is registered under these keys, of each in order of types, locked."""

    async def put(self, id_tokens: Sequence[NewIdToken], now: datetime) -> None:
        """Insert or replace identifiers."""

    async def rows(
        self, caller: Caller, now: datetime, *, after: IdTokenRef | None, limit: int | None
    ) -> list[IdTokenView]:
        """Return identifiers in order of their keys and types; `after` without a type: of all."""

    async def erase(self, key: str) -> tuple[list[int], list[str]]:
        """Forget an identifier of whatever type; say which entries lost record and salt, and where.

        Raw frames, session rows and signed values that carry it lose it too. The stations are
        those of its sessions: whoever remembers their state must load it anew. Raises Conflict
        while a session of it runs.
        """


class TariffStore(Protocol):
    """Tariff versions and where they are in force."""

    async def current(self, tariff_id: str) -> QuotedTariff | None:
        """Return the newest version, locked against others who publish; None: no such tariff."""

    async def add(
        self, quoted: QuotedTariff, document: dict[str, Any], published_at: datetime
    ) -> None:
        """Insert a version."""

    async def stations_with(self, tariff_id: str) -> list[str]:
        """Return the stations whose new sessions get this tariff now."""

    async def assign(
        self, station_id: str, from_at: datetime, tariff_id: str, version: int
    ) -> None:
        """From `from_at` on, new sessions of the station get this version."""

    async def rows(self, tariff_id: str | None, version: int | None) -> list[TariffView]:
        """Return tariff versions: the current ones, or those of one tariff."""


@dataclass(frozen=True, slots=True)
class StoredLogin:
    """A login with what checks its password."""

    login_id: str
    name: str
    role: Role
    password_hash: str | None
    disabled: bool


@dataclass(frozen=True, slots=True)
class StoredVisit:
    """A browser that has signed in."""

    login: StoredLogin
    csrf_secret: str


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key that was presented."""

    login: StoredLogin
    name: str
    scopes: frozenset[str]


class LoginStore(Protocol):
    """Logins, browser visits and API keys. Secrets are only ever known by their SHA-256."""

    async def by_name(self, name: str) -> StoredLogin | None:
        """Return a login; None if there is none."""

    async def add(
        self, login_id: str, name: str, role: Role, password_hash: str | None, now: datetime
    ) -> bool:
        """Insert a login; False if the name is taken."""

    async def set_password(self, login_id: str, password_hash: str) -> None:
        """Replace a password; every visit of the login ends."""

    async def disable(self, login_id: str, now: datetime) -> None:
        """Close a login: no sign-in, no key and no visit of it works any more."""

    async def rows(self) -> list[LoginView]:
        """Return all logins by name."""

    async def visit(self, visit_hash: bytes) -> StoredVisit | None:
        """Return a visit that has not expired, of a login that is not disabled."""

    async def add_visit(
        self, visit_hash: bytes, login_id: str, csrf_secret: str, lasts_s: int
    ) -> None:
        """Insert a visit, and forget those that have expired.

        Visits are counted in wall time: an accelerated network must not sign people out.
        """

    async def end_visit(self, visit_hash: bytes) -> None:
        """Forget a visit."""

    async def key(self, key_hash: bytes) -> StoredKey | None:
        """Return a key that is not revoked, of a login that is not disabled."""

    async def add_key(
        self,
        api_key_id: str,
        name: str,
        login_id: str,
        key_hash: bytes,
        scopes: Sequence[str],
        now: datetime,
    ) -> None:
        """Insert a key."""

    async def revoke_keys(self, name: str, now: datetime) -> int:
        """Revoke all keys of that name; return how many there were."""

    async def keys(self) -> list[ApiKeyView]:
        """Return all keys, newest first."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered under an Idempotency-Key."""

    request_digest: bytes
    status: int
    response: bytes


class IdempotencyStore(Protocol):
    """One effect for one Idempotency-Key of one login."""

    async def claim(self, login_id: str, key: str, request_digest: bytes) -> StoredAnswer | None:
        """Take a key for this unit of work; what was answered if it was used before.

        Waits for a unit of work that is using the same key now.
        """

    async def remember(self, login_id: str, key: str, status: int, response: bytes) -> None:
        """Keep the answer, in the commit of its effect."""


class SessionReads(Protocol):
    """What is shown of charging sessions."""

    async def rows(self, caller: Caller, wanted: SessionFilter) -> list[SessionRow]:
        """Return sessions, newest first."""

    async def show(
        self, caller: Caller, session_id: str, now: datetime, *, linked: bool
    ) -> SessionView | None:
        """Return one session; `linked`: the caller holds its unguessable link."""

    async def today(self, caller: Caller, since: datetime, now: datetime, limit: int) -> Today:
        """Return the newest `limit` running sessions, and sums over the time from `since` on."""


class LogReads(Protocol):
    """What is shown of the log. Entries are public, records are not."""

    async def head(self) -> LogHeadView:
        """Return how far the log is."""

    async def entry(self, caller: Caller, log_index: int) -> LogEntryView | None:
        """Return one entry; None if the log is not that long."""

    async def entries(self, caller: Caller, wanted: EntryFilter) -> list[LogEntryView]:
        """Return entries in order."""

    async def records(self, caller: Caller, after: int, size: int) -> tuple[bytes, int] | None:
        """Return some lines `{index, kind, record, salt}` and the index of the last of them.

        Entries from index `after` + 1 below `size` whose record the caller may read and that was
        not erased; None: there are no more.
        """

    async def readings(self, caller: Caller, after: str, size: int) -> tuple[bytes, str] | None:
        """Return lines `{events, session_id}` of some sessions, and the id of the last of them.

        Sessions with ids above `after`: the readings that a record of an entry below `size`
        commits to, which the caller may read; None: there are no more.
        """

    async def anchors(self, before: int | None, limit: int | None) -> list[AnchorView]:
        """Return anchors, newest first."""


class AdminWork(Protocol):
    """One unit of work of an administrative edge."""

    @property
    def stations(self) -> StationStore:
        """Stations."""

    @property
    def commands(self) -> CommandStore:
        """Commands to stations."""

    @property
    def id_tokens(self) -> IdTokenStore:
        """Identifiers of drivers."""

    @property
    def tariffs(self) -> TariffStore:
        """Tariff versions."""

    @property
    def logins(self) -> LoginStore:
        """Logins, visits, API keys."""

    @property
    def idempotency(self) -> IdempotencyStore:
        """Answers under Idempotency-Keys."""

    @property
    def sessions(self) -> SessionReads:
        """Charging sessions."""

    @property
    def log(self) -> LogReads:
        """The log."""

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log; it gets its index at `flush` or `commit`."""

    async def flush(self) -> int | None:
        """Write appended entries now and return the first one's index; None without entries."""

    async def commit(self) -> None:
        """Make everything durable."""


class AdminDatabase(Protocol):
    """Opens units of work for administrative edges."""

    def work(self) -> AbstractAsyncContextManager[AdminWork]:
        """Open a unit of work; leaving it without `commit` rolls back."""
