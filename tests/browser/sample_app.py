"""The pages over the sample network: an ASGI app without a database, to look at and to test.

    python -m tests.browser.sample_app [PORT]

Sign in as `operator`, `driver`, `host` or `auditor` with the password `sample password`.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from chargera.app.access import GuessLimiter, GuessLimits, Passwords
from chargera.app.admin_ports import (
    EntryFilter,
    MessageFilter,
    NewIdToken,
    OpenTransaction,
    SessionFilter,
    StoredLogin,
    StoredVisit,
)
from chargera.app.billing import ReviewDecision
from chargera.app.commands import StationControl
from chargera.app.feed import LocalFeed
from chargera.app.logins import SignIn
from chargera.app.permissions import Action, Caller, Role
from chargera.app.ports import LiveConnection, LiveEvent
from chargera.app.sessions import link_key
from chargera.app.station_tests import StationTests
from chargera.app.views import (
    CommandView,
    IdTokenView,
    LiveSession,
    LogEntryView,
    LogHeadView,
    MessageView,
    Overview,
    StationPrivate,
    StationView,
    Today,
)
from chargera.domain.errors import Conflict, NotFound
from chargera.domain.messages import (
    CommandAnswer,
    IdTokenRef,
    Probe,
    ProbeAnswer,
    StationCommand,
)
from chargera.domain.standard_run import RunStep, StandardRun, StepOutcome, StepResult
from chargera.domain.station import OcppVersion
from chargera.proofs.entry import EntryKind
from chargera.proofs.records import protocol_tested_record
from chargera.proofs.trust import Trust
from chargera.web.live import Pace
from chargera.web.pages import NetworkFacts, Pages, PageServices, PageSettlement, create_pages
from tests.browser.sample_chain import (
    SampleCustody,
    SamplePassports,
    SampleSettlement,
    sample_settlement,
    settle,
)
from tests.browser.sample_network import (
    FLEET,
    NOW,
    OPERATOR_ID,
    SampleNetwork,
    SampleSession,
    charging_station,
    log_verifier,
)

PASSWORD = "sample password"
METER_VALUES = (
    '{"connectorId":1,"transactionId":4419,"meterValue":[{"timestamp":'
    '"2026-11-24T09:41:00Z","sampledValue":[{"value":"252481","unit":"Wh"}]}]}'
)
TESTED = "Amstel-01"
"""A station with standard runs."""

LINK_SECRET = b"a secret of the sample"
ID_TOKENS = (
    IdTokenView("04A2B7C8D9", "ISO14443", "accepted", None, "driver", NOW - timedelta(days=30)),
    IdTokenView("04FFE0117A", "ISO14443", "accepted", NOW + timedelta(days=90), None, NOW),
    IdTokenView("0419C3D2E1", "ISO14443", "blocked", None, None, NOW - timedelta(days=12)),
    IdTokenView("NL-C4E-C00012345-7", "eMAID", "expired", NOW - timedelta(days=2), None, NOW),
)


class SampleClock:
    """A clock that stands."""

    def now(self) -> datetime:
        return NOW


class SampleEntropy:
    """The same bytes in every run."""

    def __init__(self) -> None:
        self._count = 0

    def bytes(self, count: int) -> bytes:
        self._count += 1
        return (self._count.to_bytes(4) * count)[:count]

    def session_id(self, now: datetime) -> str:
        self._count += 1
        return f"01935dff-0000-7000-8000-{self._count:012d}"


class SampleChannel:
    """Stations that accept every command."""

    def is_connected(self, station_id: str) -> bool:
        return any(row[0] == station_id and row[5] for row in FLEET)

    async def send(self, station_id: str, command: StationCommand) -> CommandAnswer:
        return CommandAnswer(True, "Accepted")

    def connection(self, station_id: str) -> LiveConnection | None:
        if not self.is_connected(station_id):
            return None
        return LiveConnection(7, OcppVersion.V2_0_1)

    async def probe(self, station_id: str, probe: Probe) -> ProbeAnswer:
        return ProbeAnswer("NotImplemented", is_error=True)


@dataclass
class SampleStore:
    """What stands for the database: every part of `AdminWork` that pages use."""

    network: SampleNetwork
    logins_by_name: dict[str, StoredLogin] = field(default_factory=dict)
    visits: dict[bytes, StoredVisit] = field(default_factory=dict)
    sent: list[CommandView] = field(default_factory=list)
    id_tokens: list[NewIdToken] = field(default_factory=list)

    def reaches(self, caller: Caller) -> bool:
        return caller.may(Action.SESSIONS_READ)


class _Part:
    """A part of a unit of work."""

    def __init__(self, store: SampleStore) -> None:
        self.store = store
        self.network = store.network


class SampleStations(_Part):
    async def rows(
        self, caller: Caller, is_connected: Any, *, after: Any = None, limit: Any = None
    ):
        rows = [row for row in self.network.stations() if after is None or row.station_id > after]
        return rows[:limit]

    async def show(self, caller: Caller, station_id: str, is_connected: Any) -> StationView | None:
        row = next((r for r in self.network.stations() if r.station_id == station_id), None)
        if row is None:
            return None
        registered = charging_station(station_id)
        private = None
        if caller.may(Action.MESSAGES_READ):
            private = StationPrivate(
                serial_number=registered.serial_number,
                host=registered.host_name,
                ocpp_versions=tuple(sorted(registered.ocpp_versions)),
                security_profile=2,
                plain_allowed=False,
                vendor_reported=row.manufacturer,
                model_reported=row.model,
                firmware_version="2.4.1",
                last_boot_at=NOW - timedelta(days=3, hours=2),
                may_command=caller.may(Action.STATIONS_COMMAND),
                may_price=caller.may(Action.STATIONS_PRICE),
            )
        return StationView(row, registered.registered_at, registered.meter_key_der_hex, private)

    async def messages(self, caller: Caller, station_id: str, wanted: MessageFilter):
        return [
            row
            for row in sample_messages(station_id)
            if (wanted.before is None or row.message_no < wanted.before)
            and (wanted.after is None or row.message_no > wanted.after)
            and wanted.action in (None, row.action)
            and wanted.inbound in (None, row.inbound)
            and wanted.ok in (None, row.outcome == "ok")
        ][: wanted.limit]

    async def reaches(self, caller: Caller, station_id: str) -> bool:
        return caller.may(Action.MESSAGES_READ) and any(r[0] == station_id for r in FLEET)

    async def registered(self, station_id: str) -> Any:
        return charging_station(station_id)

    async def overview(self, caller: Caller, is_connected: Any) -> Overview:
        rows, sessions = self.network.stations(), self.network.sessions.values()
        return Overview(
            stations=len(rows),
            stations_connected=sum(row.connected for row in rows),
            connectors=sum(len(row.connectors) for row in rows),
            connectors_faulted=sum(p.status == "Faulted" for r in rows for p in r.connectors),
            sessions_charging=sum(s.row.state == "charging" for s in sessions),
            sessions_review=1,
            sessions_billed=4,
            power_w=sum(row.power_w for row in rows),
            energy_wh=2_418_033,
            log_size=self.network.log.tree().size,
        )


class SampleCommands(_Part):
    async def transaction(self, caller: Caller, session_id: str) -> OpenTransaction | None:
        session = self.network.sessions.get(session_id)
        if session is None or not self.store.reaches(caller):
            return None
        return OpenTransaction(session_id, session.row.station_id, "118", False)

    async def add(
        self, command_id: str, station_id: str, action: str, request: Any, by: str, at: datetime
    ) -> bool:
        self.store.sent.insert(
            0,
            CommandView(
                command_id, station_id, action, request, by, at, "sent", None, None, None, None
            ),
        )
        return True

    async def answered(self, command_id: str, accepted: Any, answer: str, at: datetime) -> None:
        sent = self.store.sent.pop(0)
        self.store.sent.insert(
            0,
            CommandView(
                sent.command_id, sent.station_id, sent.action, sent.request, sent.requested_by,
                sent.requested_at, "answered", accepted, answer, at, None,
            ),
        )  # fmt: skip

    async def show(self, caller: Caller, command_id: str) -> CommandView | None:
        return next((c for c in self.store.sent if c.command_id == command_id), None)

    async def rows(self, caller: Caller, station_id: str, limit: int) -> list[CommandView]:
        old = CommandView(
            "01935d00-0000-7000-8000-000000000001", station_id, "trigger",
            {"message": "StatusNotification"}, "operator", NOW - timedelta(minutes=9), "answered",
            True, "Accepted", NOW - timedelta(minutes=9), None,
        )  # fmt: skip
        return [c for c in self.store.sent if c.station_id == station_id] + [old]


class SampleIdTokens(_Part):
    async def rows(self, caller: Caller, now: datetime, *, after: Any, limit: Any):
        return list(ID_TOKENS)

    async def known(self, keys: Sequence[str]) -> dict[str, list[NewIdToken]]:
        rows = {row.id_token.casefold(): row for row in ID_TOKENS}
        return {
            key: [
                NewIdToken(
                    IdTokenRef(rows[key].id_token, rows[key].type),
                    rows[key].status == "blocked",
                    rows[key].expires_at,
                )
            ]
            for key in keys
            if key in rows
        }

    async def put(self, id_tokens: Sequence[NewIdToken], now: datetime) -> None:
        self.store.id_tokens += id_tokens


class SampleTariffs(_Part):
    async def rows(self, tariff_id: str | None, version: int | None):
        return [
            view
            for view in self.network.tariff_views()
            if tariff_id is None or view.tariff_id == tariff_id
        ]


class SampleLogins(_Part):
    async def by_name(self, name: str) -> StoredLogin | None:
        return self.store.logins_by_name.get(name)

    async def visit(self, visit_hash: bytes) -> StoredVisit | None:
        return self.store.visits.get(visit_hash)

    async def add_visit(
        self, visit_hash: bytes, login_id: str, csrf_secret: str, lasts_s: int
    ) -> None:
        logins = self.store.logins_by_name.values()
        login = next(login for login in logins if login.login_id == login_id)
        self.store.visits[visit_hash] = StoredVisit(login, csrf_secret)

    async def end_visit(self, visit_hash: bytes) -> None:
        self.store.visits.pop(visit_hash, None)


class SampleSessions(_Part):
    async def rows(self, caller: Caller, wanted: SessionFilter):
        rows = [
            session.row
            for session in self.network.sessions.values()
            if wanted.station_id in (None, session.row.station_id)
            and wanted.state in (None, session.row.state)
        ]
        rows.sort(key=lambda row: row.started_at, reverse=True)
        return rows[: wanted.limit]

    async def show(self, caller: Caller, session_id: str, now: datetime, *, linked: bool):
        session = self.network.sessions.get(session_id)
        if session is None or not (linked or self.store.reaches(caller)):
            return None
        return self.network.session_view(session, readable=self.store.reaches(caller))

    async def today(self, caller: Caller, since: datetime, now: datetime, limit: int) -> Today:
        live = [s for s in self.network.sessions.values() if s.live]
        mine = self.store.reaches(caller)
        return Today(tuple(_live(session, mine) for session in live), 412_608, 31)


class SampleLogReads(_Part):
    async def head(self) -> LogHeadView:
        network = self.network
        tree = network.log.tree()
        return LogHeadView(
            size=tree.size,
            checkpoint=network.note.decode(),
            checkpoint_size=tree.size,
            root_hash=tree.root().hex(),
            signed_at=NOW - timedelta(seconds=4),
            anchored_size=tree.size,
            anchored_at=NOW - timedelta(seconds=52),
        )

    async def entry(self, caller: Caller, log_index: int):
        if log_index >= len(self.network.log.entries):
            return None
        kind = self.network.log.entries[log_index][0].kind
        public = kind == "tariff_published" or caller.may(Action.RECORDS_READ)
        return self.network.log.view(log_index, readable=public)

    async def entries(self, caller: Caller, wanted: EntryFilter):
        if wanted.kind == EntryKind.PROTOCOL_TESTED:
            return [_test_entry(n) for n in range(2)] if wanted.station_id == TESTED else []
        end = min(wanted.from_index + (wanted.limit or 25), len(self.network.log.entries))
        return [
            self.network.log.view(index, readable=False) for index in range(wanted.from_index, end)
        ]

    async def anchors(self, before: int | None, limit: int | None):
        return self.network.anchors()


def _test_entry(number: int) -> LogEntryView:
    """A standard run of the station TESTED: the first one failed, the second passed."""
    fails = RunStep.BROKEN_CALL if number == 0 else None
    began_at = NOW - timedelta(hours=3 - number)
    run = StandardRun(
        run_id=f"01935d00-0000-7000-8000-00000000010{number}",
        station_id=TESTED,
        ocpp_version=OcppVersion.V2_0_1,
        connection=7,
        evse=1,
        connector=1,
        requested_by="operator",
        started_at=began_at,
        ended_at=began_at + timedelta(seconds=41),
        results=tuple(
            StepResult(
                step,
                StepOutcome.FAILED if step is fails else StepOutcome.PASSED,
                "answered a result" if step is fails else "as it should",
            )
            for step in RunStep
        ),
    )
    record = protocol_tested_record(run)
    return LogEntryView(
        40 + number, "protocol_tested", TESTED, 3, None, NOW, "", "", True, record, None
    )


class SampleDecisions:
    """Remembers what was decided."""

    def __init__(self) -> None:
        self.made: list[tuple[str, ReviewDecision, str]] = []

    async def decide(self, session_id: str, decision: ReviewDecision, decided_by: str) -> None:
        self.made.append((session_id, decision, decided_by))


class SampleWork:
    """A unit of work over the sample; commits change nothing."""

    def __init__(self, store: SampleStore) -> None:
        self.stations = SampleStations(store)
        self.commands = SampleCommands(store)
        self.id_tokens = SampleIdTokens(store)
        self.tariffs = SampleTariffs(store)
        self.logins = SampleLogins(store)
        self.sessions = SampleSessions(store)
        self.log = SampleLogReads(store)
        self.passports = store.network.passports or SamplePassports()
        self.custody = SampleCustody()
        self.settlement = SampleSettlement(store.network)

    def append(self, entry: Any) -> None:
        return None

    async def flush(self) -> None:
        return None

    async def commit(self) -> None:
        return None


class SampleDatabase:
    """Opens units of work."""

    def __init__(self, store: SampleStore) -> None:
        self.store = store

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Any]:
        yield SampleWork(self.store)


@dataclass
class Sample:
    """The pages, and what tests turn."""

    pages: Pages
    network: SampleNetwork
    store: SampleStore
    feed: LocalFeed
    decisions: SampleDecisions

    def link(self, session: SampleSession) -> str:
        """The unguessable address of a session."""
        identity = session.row.session_id
        return f"/session/{identity}?key={link_key(LINK_SECRET, identity)}"


@cache
def sample_network() -> SampleNetwork:
    """The network; nothing ever changes it, so one is enough."""
    network = SampleNetwork()
    settle(network)
    return network


async def make_sample(
    pace: Pace | None = None,
    *,
    simulated: bool = True,
    settles: bool = True,
    settlement: PageSettlement | None = None,
) -> Sample:
    """Make the pages over the sample network; `settles`: it has passports and settlement."""
    network = sample_network()
    store = SampleStore(network)
    passwords = Passwords(memory_kib=8, passes=1)
    hashed = await passwords.hash(PASSWORD)
    for role in (Role.OPERATOR, Role.DRIVER, Role.HOST, Role.AUDITOR):
        store.logins_by_name[role] = StoredLogin(f"login-{role}", role, role, hashed, False)
    feed, channel, entropy, clock = LocalFeed(), SampleChannel(), SampleEntropy(), SampleClock()
    database: Any = SampleDatabase(store)
    control = StationControl(database, channel, clock, entropy, asyncio.sleep)
    decisions = SampleDecisions()
    services = PageServices(
        network=NetworkFacts("embedded", OPERATOR_ID, (str(log_verifier()),), simulated),
        database=database,
        clock=clock,
        feed=feed,
        is_connected=channel.is_connected,
        control=control,
        tests=StationTests(
            database,
            control,
            channel,
            lambda version, frame: None,
            clock,
            entropy,
            pause=asyncio.sleep,
            monotonic_s=time.monotonic,
        ),
        sign_in=SignIn(passwords, entropy, GuessLimiter(GuessLimits(), time.monotonic)),
        link_secret=LINK_SECRET,
        receipt=_receipts(network),
        decide_review=decisions.decide,
        tlog_proof=_proofs(network),
        trust=_trust(network),
        secure_cookies=False,
        settlement=(settlement or sample_settlement()) if settles else None,
        anchor_window=lambda: timedelta(hours=1),
    )
    pages = create_pages(services, pace)
    for minute in range(90):
        power_w = 96_000 + int(105_000 * _wave(minute))
        pages.site.history.add(NOW - timedelta(minutes=90 - minute), power_w)
    await pages.sample()
    return Sample(pages, network, store, feed, decisions)


def sample_messages(station_id: str) -> list[MessageView]:
    """A few exchanges, one of them odd."""
    version = next(row[3] for row in FLEET if row[0] == station_id)
    frames = (
        ("Heartbeat", True, "{}", '{"currentTime":"2026-11-24T09:41:12.000Z"}', "ok"),
        (
            "MeterValues",
            True,
            METER_VALUES,
            "{}",
            "ok",
        ),
        (
            "StatusNotification",
            True,
            '{"connectorId":1,"status":"Charging","errorCode":"NoError"}',
            "{}",
            "deviation",
        ),
        (
            "TriggerMessage",
            False,
            '{"requestedMessage":"Heartbeat"}',
            '{"status":"Accepted"}',
            "ok",
        ),
        ("Authorize", True, '{"idTag":"04A2B7C8D9"}', '{"idTagInfo":{"status":"Accepted"}}', "ok"),
    )
    return [
        MessageView(
            message_no=88_120 - number,
            received_at=NOW - timedelta(seconds=18 + 41 * number),
            inbound=inbound,
            ocpp_version=version,
            action=action,
            message_id=f"m-{7120 - number}",
            frame=f'[2,"m-{7120 - number}","{action}",{payload}]',
            answer=f'[3,"m-{7120 - number}",{answer}]',
            outcome=outcome,
        )
        for number, (action, inbound, payload, answer, outcome) in enumerate(frames)
    ]


def _live(session: SampleSession, mine: bool) -> LiveSession:
    assert session.live is not None
    row, cost = session.row, session.live.cost_so_far
    return LiveSession(
        station_id=row.station_id,
        evse=row.evse,
        connector=row.connector,
        started_at=row.started_at,
        charging=session.live.charging,
        energy_wh=row.energy_wh,
        power_w=session.live.power_w,
        session_id=row.session_id if mine else None,
        cost_minor=cost["gross_minor"] if cost and mine else None,
        currency=cost["currency"] if cost and mine else None,
    )


def _receipts(network: SampleNetwork) -> Any:
    async def receipt(session_id: str) -> bytes:
        session = network.sessions.get(session_id)
        if session is None:
            raise NotFound("there is no such session", field="session_id")
        if session.cdr is None:
            raise Conflict("there is no bill yet", field="session_id")
        return network.receipt(session)

    return receipt


def _proofs(network: SampleNetwork) -> Any:
    async def proof(log_index: int) -> bytes:
        return network.log.proof(log_index).to_bytes()

    return proof


def _trust(network: SampleNetwork) -> Any:
    async def trust() -> Trust:
        return network.trust

    return trust


def _wave(minute: int) -> float:
    pattern = (0.1, 0.15, 0.05, 0.3, 0.6, 0.5, 0.95, 0.75, 0.6, 0.8, 1.0, 0.9, 0.88)
    place = minute / 7.5
    low, share = int(place) % len(pattern), place % 1
    high = (low + 1) % len(pattern)
    return pattern[low] * (1 - share) + pattern[high] * share


async def _stir(sample: Sample) -> None:
    """Let something happen every second, as in a live network."""
    while True:
        await asyncio.sleep(1)
        sample.feed.publish(LiveEvent("session", ""))


async def serve(port: int) -> None:
    """Serve the sample on this machine until it is stopped."""
    import uvicorn

    sample = await make_sample()
    config = uvicorn.Config(sample.pages.app, "127.0.0.1", port, log_level="warning")
    stirring = asyncio.create_task(_stir(sample))
    print(f"http://127.0.0.1:{port}/  (password: {PASSWORD})", flush=True)
    await uvicorn.Server(config).serve()
    stirring.cancel()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8642))
