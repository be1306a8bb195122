"""A day without Hedera: the network charges and bills as ever, says so, and catches up at once."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from chargera import settings as configuration
from chargera.app.log_ports import AnchorState
from chargera.bootstrap import Server
from chargera.domain.messages import TransactionEventKind as Kind
from chargera.process import ServeOptions
from scripts.demo_hedera import ServersTime, command, environment
from tests.doubles.hedera import Emulator, FaultKind, running_emulator
from tests.integration.settlement.net import Net

HOUR_S = 3_600
PATIENCE_S = 60.0


@dataclass
class Site:
    """A network whose ledger is the emulator, on a clock that is moved by hand."""

    emulator: Emulator
    net: Net

    @property
    def server(self) -> Server:
        return self.net.server

    async def charge(self) -> None:
        """One session an hour long, while the loops of the server run."""
        number = f"day-{next(self.net._numbers)}"
        begin = self.net.registers.get(("CP-1", 1), 1_000)
        end = self.net.registers["CP-1", 1] = begin + 5_000
        await self.net.say("CP-1", Kind.STARTED, number, 1, begin, "CARD", seq_no=0)
        self.server.clock.advance(HOUR_S)
        await self.net.say("CP-1", Kind.ENDED, number, 1, end, "CARD", seq_no=1)
        self.server.clock.advance(1)
        await self.net.bill()

    async def sizes(self) -> list[int]:
        """The sizes that stand on the topic, in its order, by the anchors that are noted."""
        anchors = await self.server.anchors.anchors(0, 1_000)
        return [a.tree_size for a in anchors if a.state is AnchorState.ANCHORED]

    async def messages(self) -> int:
        """How many messages the topic has."""
        topic_id = self.server.ledger.topics[-1].topic_id
        async with httpx2.AsyncClient(base_url=self.emulator.mirror_url) as mirror:
            answer = await mirror.get(f"/api/v1/topics/{topic_id}/messages?order=desc&limit=1")
            rows = answer.json()["messages"]
        return int(rows[0]["sequence_number"]) if rows else 0

    async def waiting(self) -> tuple[int, int]:
        """How many anchors are on their way, and how many jobs and sends in the database."""
        anchors = await self.server.anchors.anchors(0, 1_000)
        async with self.server.database.work() as work:
            cursor = await work.connection.execute(
                "select (select count(*) from procrastinate_jobs where status in ('todo', 'doing'))"
                " + (select count(*) from hedera_send where state = 'sent')"
            )
            row = await cursor.fetchone()
        assert row is not None
        ended = (AnchorState.ANCHORED, AnchorState.FAILED)
        return sum(anchor.state not in ended for anchor in anchors), int(row[0])

    async def gauge(self, name: str) -> float:
        """A metric, as whoever watches gets it."""
        text = (await self.net.http.get("/metrics")).text
        found = re.search(rf"^chargera_{name} ([0-9.e+-]+)$", text, re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    async def is_alarming(self) -> bool:
        """The condition of the alert `ChargEraAnchorsLate` in deploy/prometheus."""
        window_s = await self.gauge("anchor_window_seconds")
        return await self.gauge("anchor_lag_seconds") > window_s + 300

    async def page(self) -> str:
        """The log's page, its text alone."""
        text = re.sub(r"<[^>]*>", " ", (await self.net.http.get("/log")).text)
        return " ".join(text.split())

    async def until(self, what: Callable[[], Awaitable[bool]]) -> None:
        """Wait in real time until something holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not await what():
                await asyncio.sleep(0.1)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    time = ServersTime()
    async with running_emulator(seed="outage", clock=time) as emulator:
        await asyncio.to_thread(
            command, emulator, "ledger", "init", "--yes", "--data-dir", str(tmp_path)
        )
        given = {
            **environment(emulator),
            "CHARGERA_LEDGER_ANCHOR_INTERVAL_S": str(HOUR_S),
            "CHARGERA_SETTLEMENT_ATTESTERS": "false",
        }
        settings = configuration.load(tmp_path, given)
        server = Server(ServeOptions(tmp_path, 0, 0, manual_clock=True), settings)
        time.follow(server)
        async with (
            server.running(),
            httpx2.AsyncClient(
                base_url=server.http_url, headers={"Authorization": f"Bearer {server.api_key}"}
            ) as http,
        ):
            yield Site(emulator, Net(server, http))


async def test_a_day_without_the_ledger__charging_goes_on__one_anchor_catches_up(
    site: Site,
) -> None:
    net, server = site.net, site.server
    await net.station()
    await net.call("POST", "/id-tokens", {"id_token": "CARD", "type": "ISO14443"})
    await site.charge()
    await site.until(lambda: _is(server.anchoring.health.healthy))
    await net.call("POST", "/anchors")
    before, messages = await site.sizes(), await site.messages()
    assert not await site.is_alarming()

    site.emulator.faults.add(FaultKind.UNAVAILABLE, times=None)
    site.emulator.faults.add(FaultKind.MIRROR_DOWN, times=None)
    queues = []
    for _ in range(24):
        await site.charge()
        queues.append(await site.waiting())
    assert max(queues) <= (1, 3)  # however long it lasts: a head says all that those before said
    assert await site.is_alarming()
    assert re.search(rf"Anchored {before[-1]} \d+ hr ago", await site.page())
    rows = (await net.call("GET", "/sessions?limit=200"))["items"]
    assert [row["state"] for row in rows] == ["billed"] * 25
    await site.until(lambda: _is(not server.anchoring.health.healthy))
    is_ready, checks = await server.readiness()
    assert not is_ready
    assert checks["anchor"] != "ok"
    assert server.anchoring.health.lag_s > 12 * HOUR_S
    assert await site.sizes() == before

    newest = max(row["cdr_log_index"] for row in rows)
    server.clock.advance(60)
    await site.until(lambda: _is(server.sequencer.health.published_size > newest))

    site.emulator.faults.clear()
    server.clock.advance(1)

    async def caught_up() -> bool:
        return server.anchoring.health.healthy and await site.sizes() != before

    await site.until(caught_up)
    assert len(await site.sizes()) == len(before) + 1
    assert await site.messages() == messages + 1
    (size,) = set(await site.sizes()) - set(before)
    assert size > newest
    assert (await server.readiness())[1]["anchor"] == "ok"
    assert await site.waiting() == (0, 0)
    assert await site.gauge("anchor_lag_seconds") == 0
    assert not await site.is_alarming()
    assert re.search(rf"Anchored {size} \d+ sec ago", await site.page())


async def _is(value: bool) -> bool:
    return value
