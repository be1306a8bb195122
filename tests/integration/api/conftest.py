"""The REST API over a real database: real use cases, charging and billing, no sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from chargera.app import logins
from chargera.app.access import Passwords
from chargera.app.billing import Billing, ReviewDecision
from chargera.app.charging import Charging, ChargingPolicy
from chargera.app.clock import NetworkClock, SystemEntropy
from chargera.app.commands import StationControl
from chargera.app.ports import InboundCall, LiveConnection
from chargera.app.standard_run import RunPatience
from chargera.app.station_tests import StationTests
from chargera.domain.errors import Unavailable
from chargera.domain.messages import (
    Authorize,
    CommandAnswer,
    IdTokenRef,
    MeterSample,
    Probe,
    ProbeAnswer,
    ReadingContext,
    SignedValue,
    StationCommand,
    StationMessage,
    TransactionEvent,
    TransactionEventKind,
)
from chargera.domain.pricing import ChargingState
from chargera.domain.station import OcppVersion
from chargera.ocpp.transcript import read_again
from chargera.store.unit_of_work import Database, UnitOfWork
from chargera.web.api import Services, make_api

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
TARIFF = {
    "country_code": "NL",
    "party_id": "C4E",
    "id": "DAY",
    "currency": "EUR",
    "elements": [
        {"price_components": [{"type": "ENERGY", "price": 0.25, "vat": 21, "step_size": 1}]}
    ],
    "last_updated": "2026-01-01T00:00:00Z",
}


class FakeChannel:
    """The port `Commands` without sockets: answers as told, remembers what was sent."""

    def __init__(self) -> None:
        self.connected: set[str] = set()
        self.sent: list[tuple[str, StationCommand]] = []
        self.answer = CommandAnswer(True, "Accepted")
        self.connections: dict[str, LiveConnection] = {}
        self.probed = {
            Probe.UNKNOWN_VENDOR: ProbeAnswer("UnknownVendorId", is_error=False),
            Probe.UNKNOWN_ACTION: ProbeAnswer("NotImplemented", is_error=True),
            Probe.BROKEN_CALL: ProbeAnswer("ProtocolError", is_error=True),
        }
        self.on_send: Callable[[StationCommand], Awaitable[None]] | None = None

    def is_connected(self, station_id: str) -> bool:
        return station_id in self.connected

    async def send(self, station_id: str, command: StationCommand) -> CommandAnswer:
        if station_id not in self.connected:
            raise Unavailable(f"station {station_id} is not connected", field="station_id")
        self.sent.append((station_id, command))
        if self.on_send is not None:
            await self.on_send(command)
        return self.answer

    def connection(self, station_id: str) -> LiveConnection | None:
        return self.connections.get(station_id)

    async def probe(self, station_id: str, probe: Probe) -> ProbeAnswer:
        return self.probed[probe]


class Api:
    """One network: its database, its clients by name, and stations that speak."""

    def __init__(self, database: Database, clock: NetworkClock, first_number: int = 1) -> None:
        self.database = database
        self.clock = clock
        self.entropy = SystemEntropy()
        self.passwords = Passwords(memory_kib=8, passes=1)
        self.channel = FakeChannel()
        self.charging = Charging(clock, self.entropy, ChargingPolicy())
        self.billing = Billing(clock, self.entropy, "NL*C4E")
        self.forgotten: list[str] = []
        self.keys: dict[str, str] = {}
        self._numbers = count(first_number)
        control = StationControl(database, self.channel, clock, self.entropy, self._pause)
        self.services = Services(
            database=database,
            clock=clock,
            entropy=self.entropy,
            passwords=self.passwords,
            control=control,
            tests=StationTests(
                database,
                control,
                self.channel,
                read_again,
                clock,
                self.entropy,
                pause=self._pause,
                monotonic_s=self._monotonic_s,
                patience=RunPatience(poll_s=5.0),
            ),
            is_connected=self.channel.is_connected,
            forget_stations=self._forget,
            receipt=self._document("receipt"),
            cdr_document=self._document("cdr"),
            decide_review=self._decide,
            sign_head=self._sign,
            anchor_now=self._anchor,
            advance_clock=self._advance,
            backup=self._backup,
            settings=lambda: {"operator": {"id": "NL*C4E"}},
            version="0.0.0",
        )
        self._mount()

    def replace(self, **services: Any) -> None:
        """Serve with other services than these."""
        self.services = replace(self.services, **services)
        self._mount()

    def _mount(self) -> None:
        app = Starlette(routes=[Mount("/api", make_api(self.services))])
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        self.http = httpx2.AsyncClient(transport=transport, base_url="http://test/api/v1")

    async def call(
        self, who: str | None, method: str, path: str, json: Any = None, **more: Any
    ) -> httpx2.Response:
        """Call the API as a login by name, or as a visitor."""
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {self.keys[who]}"
        return await self.http.request(method, path, json=json, headers=headers, **more)

    async def ok(
        self, who: str | None, method: str, path: str, json: Any = None, **more: Any
    ) -> Any:
        """Call the API, see that it did what was asked, and return its answer."""
        response = await self.call(who, method, path, json, **more)
        assert response.status_code in (200, 201), response.text
        return response.json()

    async def add_login(self, name: str, role: str, *scopes: str) -> None:
        """Make a login with an API key; the key is used by `call`."""
        await self.ok("operator", "POST", "/logins", {"name": name, "role": role})
        await self.add_key(name, name, *(scopes or ("all",)))

    async def add_key(self, who: str, login: str, *scopes: str) -> None:
        """Make an API key of a login and use it under the name `who`."""
        body = {"name": f"key of {who}", "login": login, "scopes": list(scopes)}
        self.keys[who] = (await self.ok("operator", "POST", "/api-keys", body))["api_key"]

    async def add_station(self, station_id: str, **facts: Any) -> str:
        """Register a station with a tariff; return its password."""
        made = await self.ok("operator", "POST", "/stations", registration(station_id, **facts))
        await self.ok("operator", "POST", "/tariffs", TARIFF)
        await self.ok("operator", "PUT", f"/stations/{station_id}/tariff", {"tariff_id": "DAY"})
        return made["password"]

    async def say(
        self,
        station_id: str,
        *messages: StationMessage,
        version: OcppVersion = OcppVersion.V2_0_1,
        frame: bytes = b"[]",
    ) -> None:
        """Let a station say something."""
        calls = [
            InboundCall(station_id, version, self.clock.now(), "m", "Action", message, frame)
            for message in messages
        ]
        async with self.database.channel_work() as work:
            await self.charging.handle(work, calls)
            await work.commit()

    async def charge(
        self, station_id: str, id_token: str, *, end: bool = True, signed: bytes | None = None
    ) -> str:
        """Let a car charge 1 kWh in an hour, bill it, and return the session's id."""
        number = f"tx-{next(self._numbers)}"
        await self.say(station_id, Authorize(IdTokenRef(id_token, "ISO14443")))
        await self.say(station_id, self.event(number, "Started", 0, id_token, signed=signed))
        self.clock.advance(3600)
        if end:
            await self.say(station_id, self.event(number, "Ended", 1000, None))
            await self.bill()
        async with self.work() as work:
            cursor = await work.connection.execute(
                "select session_id from charging_session where transaction_id = %s", [number]
            )
            row = await cursor.fetchone()
        assert row is not None
        return str(row[0])

    def event(
        self,
        number: str,
        kind: str,
        register_wh: int,
        id_token: str | None,
        *,
        signed: bytes | None = None,
        remote_start_id: int | None = None,
    ) -> TransactionEvent:
        """One event of a 2.0.1 transaction, now."""
        now = self.clock.now()
        contexts = {"Started": ReadingContext.BEGIN, "Ended": ReadingContext.END}
        context = contexts.get(kind, ReadingContext.PERIODIC)
        numbers = {"Started": 0, "Updated": 1, "Ended": 1}
        return TransactionEvent(
            kind=TransactionEventKind(kind),
            transaction_id=number,
            seq_no=numbers[kind],
            evse=1,
            connector=1,
            at=now,
            id_token=None if id_token is None else IdTokenRef(id_token, "ISO14443"),
            samples=(MeterSample(now, context, register_wh, 7_000),),
            signed=() if signed is None else (SignedValue(signed, context, now),),
            charging=ChargingState.CHARGING,
            stop_reason=None,
            offline=False,
            remote_start_id=remote_start_id,
        )

    async def bill(self) -> None:
        """Bill what has ended, without waiting for it to be due."""
        async with self.database.work() as work:
            await work.connection.execute(
                "update charging_session set bill_after = now() where bill_after is not null"
            )
            await self.billing.bill_due(work)
            await work.commit()

    def work(self) -> Any:
        """Open a unit of work."""
        return self.database.work()

    async def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what the database says."""
        async with self.database.work() as work:
            cursor = await work.connection.execute(query.encode(), values)
            return await cursor.fetchall()

    async def entries(self, kind: str) -> list[dict[str, Any]]:
        """Return the records of a kind, as the operator sees them."""
        page = await self.ok("operator", "GET", f"/log/entries?kind={kind}")
        return [entry["record"] for entry in page["items"]]

    async def _pause(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def _monotonic_s(self) -> float:
        return (self.clock.now() - START).total_seconds()

    def _forget(self, station_ids: Sequence[str]) -> None:
        self.forgotten += station_ids
        self.charging.forget(station_ids)

    def _document(self, what: str) -> Callable[[str], Awaitable[bytes]]:
        async def document(session_id: str) -> bytes:
            return b'{"%b":"%b"}' % (what.encode(), session_id.encode())

        return document

    async def _decide(self, session_id: str, decision: ReviewDecision, by: str) -> None:
        async with self.database.work() as work:
            await self.billing.decide_review(work, session_id, decision, decided_by=by)
            await work.commit()

    async def _sign(self) -> None:
        async with self.database.work() as work:
            signature = "A" * 98 + "=="
            note = f"log.test/1\n1\n{'A' * 43}=\n\n\u2014 log.test/1 {signature}\n"
            await work.connection.execute(
                "insert into checkpoint (tree_size, note, signed_at) values (1, %s, %s)"
                " on conflict do nothing",
                [note.encode(), self.clock.now()],
            )
            await work.commit()

    async def _anchor(self) -> int:
        await self._sign()
        async with self.database.work() as work:
            await _store_anchor(work, self.clock.now())
            await work.commit()
        return 1

    async def _advance(self, seconds: float) -> datetime:
        return self.clock.advance(seconds)

    async def _backup(self) -> AsyncIterator[bytes]:
        yield b"first "
        yield b"second"


async def _store_anchor(work: UnitOfWork, now: datetime) -> None:
    await work.connection.execute(
        "insert into anchor (tree_size, requested_at, hedera_transaction_id, state, attempts)"
        " values (1, %s, '0.0.2@1.000000001', 'anchored', 1) on conflict do nothing",
        [now],
    )


def registration(station_id: str, **facts: Any) -> dict[str, Any]:
    """A registration of one AC outlet over TLS."""
    return {
        "station_id": station_id,
        "manufacturer": "Maker",
        "model": "Post",
        "serial_number": "SN-1",
        "latitude": "52.3702",
        "longitude": "4.8952",
        "evse": "1:type2:22000",
        "profile": 2,
    } | facts


@asynccontextmanager
async def open_copy(
    database_url: str, keys: dict[str, str], seconds: float, first_number: int
) -> AsyncIterator[Api]:
    """Go on with a copy of a network: with its callers' keys, and the time that went by in it."""
    clock = NetworkClock(lambda: START, lambda: 0.0, manual=True)
    clock.advance(seconds)
    database = Database(database_url, clock, SystemEntropy())
    await database.open()
    api = Api(database, clock, first_number)
    api.keys.update(keys)
    try:
        yield api
    finally:
        await api.http.aclose()
        api.passwords.close()
        await database.close()


@asynccontextmanager
async def open_api(database_url: str) -> AsyncIterator[Api]:
    """Open a network that has an operator and nothing else."""
    async with open_copy(database_url, {}, seconds=0, first_number=1) as api:
        now = api.clock.now()
        async with api.work() as work:
            await logins.ensure_operator(
                work, passwords=api.passwords, entropy=api.entropy, now=now
            )
            api.keys["operator"] = await logins.renew_local_key(work, entropy=api.entropy, now=now)
            await work.commit()
        yield api


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """A network with an operator and nothing else."""
    async with open_api(database_url) as opened:
        yield opened
