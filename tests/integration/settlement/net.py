"""A whole network in one process: server, embedded chain, attesters, stations that speak.

Attesters ask over HTTP and JSON-RPC as strangers do, each turn in a thread of its own.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from chargera import settings as configuration
from chargera.app.ports import InboundCall
from chargera.bootstrap import ServeOptions, Server, running
from chargera.deploying import attester_folder
from chargera.domain.errors import ChargEraError
from chargera.domain.messages import (
    IdTokenRef,
    MeterSample,
    ReadingContext,
    SignedValue,
    TransactionEvent,
    TransactionEventKind,
)
from chargera.domain.station import OcppVersion
from chargera.ledger.attester import Attester, FeedClient, SignedMemory
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.network_contracts import ChainContracts, trusted_contracts
from chargera.proofs.trust import parse_trust

WINDOW_S = 600
CONTEST_S = 300
TARIFF = {
    "country_code": "NL",
    "currency": "EUR",
    "elements": [
        {"price_components": [{"price": 0.30, "step_size": 1, "type": "ENERGY", "vat": 21}]}
    ],
    "id": "DAY",
    "last_updated": "2026-01-01T00:00:00Z",
    "party_id": "C4E",
}
REGISTRATION = {
    "manufacturer": "Acme",
    "model": "X",
    "latitude": "52.37",
    "longitude": "4.89",
    "evse": "1:type2:22000,2:type2:22000",
    "profile": 1,
    "allow_plain": True,
}
S, U, E = TransactionEventKind.STARTED, TransactionEventKind.UPDATED, TransactionEventKind.ENDED
_CONTEXT = {S: ReadingContext.BEGIN, U: ReadingContext.PERIODIC, E: ReadingContext.END}


@dataclass
class Net:
    """One network, its attesters, and what its stations have metered so far."""

    server: Server
    http: httpx2.AsyncClient
    decisions: list[dict[str, Any]] = field(default_factory=list)
    """What the attesters decided, in order."""
    registers: dict[tuple[str, int], int] = field(default_factory=dict)
    _numbers: "count[int]" = field(default_factory=count)

    # Time and attesters -------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.server.clock.now()

    async def advance(self, seconds: float) -> None:
        await self.server.advance_clock(seconds)

    async def attest(self, numbers: tuple[int, ...] = (1, 2, 3)) -> None:
        """Let attesters answer what waits, until cancelled."""
        trust = await self.server.trust_document()
        folder = self.server.options.data_dir
        settling = self.server.settling
        assert settling is not None
        while True:
            waits = numbers and await settling._waits_for_attesters()  # to ask for nothing is dear
            for number in numbers if waits else ():
                lines = await asyncio.to_thread(
                    attester_turn, self.server.http_url, trust, folder, number
                )
                self.decisions += lines
                if lines:
                    settling.wake()
            await asyncio.sleep(0.05)

    # What people do -----------------------------------------------------------------------

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        response = await self.http.request(method, f"/api/v1{path}", json=body, timeout=90)
        assert response.status_code < 300, response.text
        return response.json()

    async def station(self, station_id: str = "CP-1", **changes: Any) -> dict[str, Any]:
        """Register a station with the tariff; its passport is pending."""
        body = REGISTRATION | {"station_id": station_id, "serial_number": station_id} | changes
        registered: dict[str, Any] = await self.call("POST", "/stations", body)
        await self.call("POST", "/tariffs", TARIFF)
        await self.call("PUT", f"/stations/{station_id}/tariff", {"tariff_id": "DAY"})
        return registered

    async def registered_station(self, station_id: str = "CP-1", **changes: Any) -> str:
        """Register a station until its passport is minted, and return the passport's id."""
        registered = await self.station(station_id, **changes)
        await self.advance(0)
        await self.advance(CONTEST_S + 1)
        view = await self.call("GET", f"/passports/{station_id}")
        assert view["registration"] == "registered", view
        return str(registered["passport_id"])

    async def charge(
        self,
        station_id: str = "CP-1",
        *,
        evse: int = 1,
        energy_wh: int = 10_000,
        id_token: str = "CARD",
        signed: tuple[SignedValue, ...] = (),
        minutes: int = 60,
    ) -> str:
        """Charge for an hour and have it billed; return the session's id."""
        number = f"tx-{next(self._numbers)}"
        begin = self.registers.get((station_id, evse), 1_000)
        end = self.registers[station_id, evse] = begin + energy_wh
        await self.say(station_id, S, number, evse, begin, id_token, seq_no=0)
        await self.advance(minutes * 60)
        await self.say(station_id, E, number, evse, end, id_token, seq_no=1, signed=signed)
        await self.advance(1)
        return await self.bill()

    async def say(
        self,
        station_id: str,
        kind: TransactionEventKind,
        number: str,
        evse: int,
        register_wh: int,
        id_token: str,
        *,
        seq_no: int,
        signed: tuple[SignedValue, ...] = (),
    ) -> None:
        event = TransactionEvent(
            kind=kind,
            transaction_id=number,
            seq_no=seq_no,
            evse=evse,
            connector=1,
            at=self.now,
            id_token=IdTokenRef(id_token, "Central" if len(id_token) == 20 else "ISO14443"),
            samples=(MeterSample(self.now, _CONTEXT[kind], register_wh, 10_000),),
            signed=signed,
            charging=None,
            stop_reason=None,
            offline=False,
            remote_start_id=None,
        )
        call = InboundCall(
            station_id, OcppVersion.V2_0_1, self.now, "m", "TransactionEvent", event, b"[]"
        )
        async with self.server.database.channel_work() as work:
            await self.server.charging.handle(work, [call])
            await work.commit()

    async def bill(self) -> str:
        """Bill at once what is due, and return the newest session's id."""
        async with self.server.database.work() as work:
            await work.connection.execute(
                "update charging_session set bill_after = now() - interval '1 s'"
                " where bill_after is not null"
            )
            await work.commit()
        await self.server._bill_all()
        rows = (await self.call("GET", "/sessions?limit=1"))["items"]
        return str(rows[0]["session_id"])

    async def session(self, session_id: str) -> dict[str, Any]:
        view = await self.call("GET", f"/sessions/{session_id}")
        return dict(view.get("session", view))

    async def close(self) -> list[dict[str, Any]]:
        """Close what waits into batches and have them proposed."""
        rows: list[dict[str, Any]] = await self.call("POST", "/settlement/close")
        return rows

    async def settle(self) -> list[dict[str, Any]]:
        """Close, wait for the window's end, and return all batches."""
        await self.close()
        await self.advance(WINDOW_S + 2)
        rows: list[dict[str, Any]] = await self.call("GET", "/settlement/batches?all=true")
        return rows

    @property
    def contracts(self) -> ChainContracts:
        assert self.server.settling is not None
        return self.server.settling.contracts

    async def balance(self, asset: str, account: str) -> int:
        return int(await self.contracts.read(f"TestEuro@{asset}", "balanceOf", account))

    async def alter(self, statement: str, *values: Any) -> None:
        """Change the database behind everybody's back."""
        async with self.server.database.work() as work:
            await work.connection.execute(statement.encode(), list(values))
            await work.commit()


def attester_turn(
    http_url: str, trust: dict[str, Any], folder: Path, number: int
) -> list[dict[str, Any]]:
    """One turn of an attester, who keeps nothing between two but key and memory."""

    async def turn() -> list[dict[str, Any]]:
        own = attester_folder(folder, number)
        feed = FeedClient(f"{http_url}/api/v1/feed", (own / "credential").read_text().strip())
        trusted = parse_trust(trust)
        assert trusted.chain is not None
        try:
            async with trusted_contracts(trusted.chain) as contracts:
                memory = SignedMemory(own / "key.signed")
                key = ChainKey.load(own / "key")
                return await Attester(key, feed, trusted, contracts, memory).turn()
        finally:
            feed.close()

    try:
        return asyncio.run(turn())
    except ChargEraError as error:
        logging.getLogger(__name__).info("attester %s: %s", number, error.message)
        return []


@asynccontextmanager
async def open_net(
    database_url: str, folder: Path, attesters: tuple[int, ...] = (1, 2, 3), **changes: object
) -> AsyncIterator[Net]:
    """A running network with a manual clock; `changes` to the settings of settlement."""
    settings = {
        "CHARGERA_DATABASE_URL": database_url,
        "CHARGERA_SETTLEMENT_ENABLED": "true",
        "CHARGERA_SETTLEMENT_ATTESTERS": "false",
        "CHARGERA_SETTLEMENT_WINDOW_S": str(WINDOW_S),
        "CHARGERA_SETTLEMENT_CONTEST_PERIOD_S": str(CONTEST_S),
        "CHARGERA_SETTLEMENT_BATCH_INTERVAL_S": "2000000",
        "CHARGERA_LEDGER_ANCHOR_INTERVAL_S": "2000000",
    } | {f"CHARGERA_SETTLEMENT_{name}".upper(): str(value) for name, value in changes.items()}
    options = ServeOptions(folder, 0, 0, manual_clock=True)
    async with running(options, configuration.load(folder, settings)) as server:
        key = json.loads((folder / "serve.json").read_text())["api_key"]
        client = httpx2.AsyncClient(
            base_url=server.http_url, headers={"Authorization": f"Bearer {key}"}
        )
        async with client as http:
            net = Net(server, http)
            await net.call("POST", "/id-tokens", {"id_token": "CARD"})
            attesting = asyncio.ensure_future(net.attest(attesters))
            try:
                yield net
            finally:
                attesting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await attesting
