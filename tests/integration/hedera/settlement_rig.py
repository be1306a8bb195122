"""A network that settles on the emulator: one server, and keepers beside it that may end anywhere.

The server's own keeper sleeps; those of the tests do its work on the same database, by the same
accounts. What would be waited for passes on the network's clock instead, which is moved by hand.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx2

from chargera import settings as configuration
from chargera.app.clock import NetworkClock
from chargera.app.settlement import BatchStage
from chargera.bootstrap import Server
from chargera.domain.messages import TransactionEventKind as Kind
from chargera.initialising import CLOCK_FILE, Installation, initialisation, open_installation
from chargera.ledger.abi import interface
from chargera.ledger.evm.transaction import parse
from chargera.ledger.hedera.chain import HederaChain
from chargera.ledger.hedera.delivery import Outbox
from chargera.ledger.hedera.initialise import POLICY_LEAD_S
from chargera.ledgers import Hedera
from chargera.process import ServeOptions
from chargera.proofs.records import time_text
from chargera.settings import Settings
from chargera.settling import Settling
from chargera.store.hedera_sends import PostgresHederaSends
from chargera.store.unit_of_work import Database, UnitOfWork
from scripts.demo_hedera import environment
from tests.doubles.hedera import Emulator, running_emulator
from tests.integration.hedera.initialising import SENDING, Crashes
from tests.integration.settlement.net import CONTEST_S, WINDOW_S, Net

PATIENCE_S = 30.0
TURNS = 25
TURN_S = 10
"""Network time between two turns of a keeper: in all of them an id of Hedera expires."""
ATTESTERS_S = 0.1
"""Real time that attesters have between two turns."""
HOLDERS, HOST = 960_000, 450_000
"""Of 5 kWh at 0.30: 1.50 EUR, in millionths: 64 % for the holders, 30 % for the host."""


class NetworkTime:
    """The time of whatever runs on the network now, so that nobody is ahead of the emulator."""

    def __init__(self) -> None:
        """Follow this machine at first."""
        self.clock: NetworkClock | None = None

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC) if self.clock is None else self.clock.now()


class MortalDatabase:
    """A database whose commits count as writes of a process that ends at one of them."""

    def __init__(self, database: Database, crashes: Crashes) -> None:
        """Work on `database`."""
        self._database = database
        self._crashes = crashes

    @property
    def url(self) -> str:
        """The database's address."""
        return self._database.url

    @asynccontextmanager
    async def work(self) -> AsyncIterator[UnitOfWork]:
        """Open a unit of work."""
        async with self._database.work() as work:
            yield self._crashes.guarded(work, frozenset({"commit"}))


@dataclass
class SettlingSite:
    """The network, and what a test does to it."""

    emulator: Emulator
    time: NetworkTime
    folder: Path
    settings: Settings
    passport_id: str = ""
    _net: Net | None = None

    # The server ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def served(self) -> AsyncIterator[Net]:
        """Run the server, and three attesters, within the block."""
        server = Server(ServeOptions(self.folder, 0, 0, manual_clock=True), self.settings)
        async with server.running():
            self.time.clock = server.clock
            hedera = server.ledger.hedera
            assert hedera is not None
            hedera.delivery.pause = self.pause
            bearer = {"Authorization": f"Bearer {server.api_key}"}
            async with httpx2.AsyncClient(base_url=server.http_url, headers=bearer) as http:
                self._net = Net(server, http)
                attesting = asyncio.ensure_future(self._net.attest())
                try:
                    yield self._net
                finally:
                    attesting.cancel()
                    with suppress(asyncio.CancelledError):
                        await attesting

    async def pause(self, seconds: float) -> None:
        """Let the network's time pass, and none of ours."""
        await asyncio.sleep(0)
        if self.time.clock is not None and self.time.clock.manual:
            self.time.clock.advance(seconds)

    @property
    def net(self) -> Net:
        """What the server is spoken to by."""
        assert self._net is not None
        return self._net

    async def begin(self) -> None:
        """Register a station until it earns; it waits until the first policy holds."""
        net = self.net
        await net.call("POST", "/id-tokens", {"id_token": "CARD", "type": "ISO14443"})
        self.passport_id = str((await net.station())["passport_id"])
        assert net.server.settling is not None
        async with asyncio.timeout(PATIENCE_S):
            while (await net.call("GET", "/passports/CP-1"))["step"] != "transaction":
                await net.server.settling.turn()
                await asyncio.sleep(ATTESTERS_S)
        for seconds in (2 * POLICY_LEAD_S, CONTEST_S + 1):
            assert (await net.call("GET", "/passports/CP-1"))["registration"] == "pending"
            await net.advance(seconds)
        assert (await net.call("GET", "/passports/CP-1"))["registration"] == "registered"

    async def charge(self) -> str:
        """Charge 5 kWh and have them billed; return the session."""
        net, server = self.net, self.net.server
        begin = net.registers.get(("CP-1", 1), 1_000)
        number = f"tx-{next(net._numbers)}"
        await net.say("CP-1", Kind.STARTED, number, 1, begin, "CARD", seq_no=0)
        server.clock.advance(3_600)
        end = net.registers["CP-1", 1] = begin + 5_000
        await net.say("CP-1", Kind.ENDED, number, 1, end, "CARD", seq_no=1)
        server.clock.advance(1)
        return await net.bill()

    # A keeper that may end ----------------------------------------------------------------------

    @asynccontextmanager
    async def keeper(self, crashes: Crashes | None = None) -> AsyncIterator[Settling]:
        """A process that settles, and ends as `crashes` says."""
        server = self.net.server
        assert server.settling is not None
        parts, crashes = server.settling.parts, crashes or Crashes()
        ends_at, crashes.at = crashes.at, None  # not while it opens, which every start does
        hedera = server.ledger.hedera
        assert hedera is not None
        database = cast("Database", MortalDatabase(parts.database, crashes))
        chain = mortal(hedera, parts.database, parts.clock, crashes).chain
        settling = await Settling.open(replace(parts, database=database, chain=chain))
        crashes.at, crashes.writes = ends_at, 0
        try:
            yield settling
        finally:
            await settling.stop()

    async def settle(self, session_id: str, crashes: Crashes | None = None) -> bool:
        """Take a session as far as one process comes; say whether its batch is settled and paid."""
        async with self.keeper(crashes) as settling:
            await settling.parts.anchor_now()
            await settling.settlement.form(at_once=True)
            for _ in range(TURNS):
                await settling.turn()
                state = await self.state_of(session_id)
                if state == "settled" and not settling.health.failures:
                    await settling.claim(self.passport_id, None)
                    return True
                is_proposed = await self._is_proposed()
                self.net.server.clock.advance(WINDOW_S + 2 if is_proposed else TURN_S)
                await asyncio.sleep(0 if is_proposed else ATTESTERS_S)
        return False

    async def state_of(self, session_id: str) -> str:
        """Return how far the settlement of a session is."""
        return str((await self.net.session(session_id))["settlement"]["state"])

    async def _is_proposed(self) -> bool:
        async with self.net.server.database.work() as work:
            return bool(await work.settlement.batches([BatchStage.PROPOSED]))

    # What came of it ----------------------------------------------------------------------------

    async def check_paid(self, sessions: int) -> None:
        """Each session is settled in one batch, once, and everybody was paid his, once."""
        contracts = self.net.contracts
        proposed = await contracts.events("SettlementHub", "Proposed")
        settled = await contracts.events("SettlementHub", "Settled")
        digests = [event.members.digest for event in proposed]
        assert len(set(digests)) == len(digests) == sessions
        assert sorted(event.members.digest for event in settled) == sorted(digests)
        rows = (await self.net.call("GET", "/sessions?limit=200"))["items"]
        ids = [row["session_id"] for row in rows]
        states = [(await self.net.session(each))["settlement"] for each in ids]
        assert [state["state"] for state in states] == ["settled"] * sessions
        assert len({state["batch"] for state in states}) == sessions
        euro = contracts.address("TestEuro")
        settling = self.net.server.settling
        assert settling is not None
        host = settling.keys.host.address_text
        assert await self.net.balance(euro, host) == sessions * (HOLDERS + HOST)
        claimed = await contracts.events("ChargerShares", "Claimed")
        assert sum(event.members.amount for event in claimed) == sessions * HOLDERS
        withdrawn = await contracts.events("SettlementHub", "Withdrawn")
        to_host = [e.members.amount for e in withdrawn if e.members.account == host]
        assert sum(to_host) == sessions * HOST
        # What the gateway prepaid is all spent: nothing was prepaid twice.
        gateway = settling.gateway.address
        assert await self.net.balance(euro, gateway) == 0
        assert await contracts.read("SettlementHub", "gatewayOf", gateway, euro) == (0, 0)


def calls(contract: str, function: str) -> Callable[[Any], bool]:
    """Say of a transaction's body whether it calls that function."""
    selector = interface(contract).function(function).selector

    def does(body: Any) -> bool:
        raw = bytes(body.ethereumTransaction.ethereum_data)
        return bool(raw) and parse(raw).data[:4] == selector

    return does


def mortal(hedera: Hedera, database: Database, clock: NetworkClock, crashes: Crashes) -> Hedera:
    """Return the same access to Hedera, whose writes are those of a process that may end."""
    client = crashes.guarded(hedera.client, SENDING)
    sends = crashes.guarded(PostgresHederaSends(database), frozenset({"add", "settle"}))
    payer = hedera.client.payer_account_id
    outbox = Outbox(hedera.delivery, sends, clock, payer, os.urandom)
    chain = HederaChain(hedera.chain.chain_id, client, hedera.delivery, outbox)
    return Hedera(hedera.profile, client, hedera.delivery, outbox, chain)


@asynccontextmanager
async def installed(
    site: SettlingSite, crashes: Crashes | None = None, *, later_s: float = 0
) -> AsyncIterator[Installation]:
    """Open the folder as the commands do while no server runs, so much later; it may end."""
    if later_s:
        later = site.time.now() + timedelta(seconds=later_s)
        (site.folder / CLOCK_FILE).write_text(json.dumps({"now": time_text(later)}))
    async with open_installation(site.folder, site.settings) as it:
        site.time.clock = it.clock
        crashes = crashes or Crashes()
        hedera = mortal(it.hedera, it.database, it.clock, crashes)
        yield replace(it, hedera=hedera, database=MortalDatabase(it.database, crashes))


@asynccontextmanager
async def settling_site(database_url: str, folder: Path) -> AsyncIterator[SettlingSite]:
    """A network on the emulator that was initialised and never served yet."""
    time = NetworkTime()
    async with running_emulator(seed="settling", clock=time, mirrors=2) as emulator:
        given = {
            **environment(emulator),
            "CHARGERA_DATABASE_URL": database_url,
            "CHARGERA_HEDERA_MIRRORS": ",".join(emulator.mirror_urls),
            "CHARGERA_HEDERA_POLL_S": "3600",
            "CHARGERA_SETTLEMENT_ATTESTERS": "false",
            "CHARGERA_SETTLEMENT_WINDOW_S": str(WINDOW_S),
            "CHARGERA_SETTLEMENT_CONTEST_PERIOD_S": str(CONTEST_S),
            "CHARGERA_SETTLEMENT_BATCH_INTERVAL_S": "2000000",
            "CHARGERA_LEDGER_ANCHOR_INTERVAL_S": "2000000",
        }
        site = SettlingSite(emulator, time, folder, configuration.load(folder, given))
        async with installed(site) as it:
            await initialisation(it).carry_out()
        yield site
