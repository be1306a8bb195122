"""A server under load that is killed again and again, and what must be true afterwards."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from random import Random
from typing import Any

import httpx2
import psycopg

from chargera.proofs.checkpoint import parse_checkpoint
from chargera.proofs.tree import Frontier, leaf_hashes
from tests.integration.durability.load import ID_TOKEN, Acknowledged, LoadStation, LostError
from tests.message_log import exchanges
from tests.server import ServerProcess

PAIRS = 3
"""Stations of each version."""
LOAD_S = (0.1, 0.6)
"""Least and most time under load before a kill."""
HEAD_POLL_S = 0.02
STALL_S = 0.5
"""How long a stalled database is given to bring about a false acknowledgement."""
PATIENCE_S = 60.0

# Heads and anchors come in every quarter of a second: the network's time runs fast.
CLOCK_RATE = "40"
SETTINGS = {
    "LOG_CHECKPOINT_INTERVAL_S": 10,
    "LEDGER_ANCHOR_INTERVAL_S": 20,
    "CHANNEL_MESSAGES_PER_S": 100_000,
}
PRICE_A_KWH, VAT_PERCENT = Fraction("0.31"), Fraction(21)
TARIFF = {
    "country_code": "NL",
    "party_id": "C4E",
    "id": "LOAD",
    "currency": "EUR",
    "elements": [
        {"price_components": [{"type": "ENERGY", "price": 0.31, "vat": 21, "step_size": 1}]}
    ],
    "last_updated": "2026-01-01T00:00:00Z",
}


class KillStyle(StrEnum):
    """In what state the database is when everything is killed."""

    RUNNING = "running"
    STALLED = "stalled"
    """Nobody can write to the message log, so no commit of the channel can have ended."""
    FROZEN = "frozen"
    """Its processes stand still in the middle of whatever they did."""
    STARTING = "starting"
    """The server is not up yet."""


class Ordeal:
    """One data folder, its stations, and all that was ever acknowledged or published."""

    def __init__(
        self,
        server: ServerProcess,
        random: Random,
        *,
        pairs: int = PAIRS,
        stall_s: float = STALL_S,
    ) -> None:
        self.server = server
        self.stations: list[LoadStation] = []
        self.heads: dict[int, set[bytes]] = {}
        """Every checkpoint that anybody was served, by its size."""
        self.seen_at: dict[int, datetime] = {}
        """When the first head of a size was seen."""
        self._random = random
        self._pairs = pairs
        self._stall_s = stall_s
        self._is_up = server.is_running

    # The course of it --------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Start the server for the first time and register the stations."""
        await self.start()
        await asyncio.to_thread(self.register)

    async def run(self, styles: Iterable[KillStyle]) -> None:
        """Put the server under load, and kill and restart it once for each style."""
        async with self.load():
            for style in styles:
                await self._kill(style)
                await self.start()
                await asyncio.to_thread(self.check_acknowledged)
                await asyncio.to_thread(self.check_log)

    async def finish(self) -> None:
        """Let all transactions end, and wait for their bills."""
        async with self.load():
            pass
        deadline_s = time.monotonic() + PATIENCE_S
        while self._count("charging_session where state in ('charging', 'ended')"):
            assert time.monotonic() < deadline_s, "sessions are not billed"
            await asyncio.sleep(0.1)

    async def repeat_everything(self) -> None:
        """Let every station say again all that was acknowledged, under new message ids."""
        await asyncio.gather(*(station.repeat_everything() for station in self.stations))

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Within the block stations speak and heads are collected; then the stations finish."""
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self.watch_heads())
            for station in self.stations:
                station.is_closing = False
            lives = [tasks.create_task(station.live()) for station in self.stations]
            try:
                yield
            except BaseException:
                for task in lives:
                    task.cancel()
                raise
            finally:
                for station in self.stations:
                    station.is_closing = True
                await asyncio.gather(*lives, return_exceptions=True)
                watch.cancel()

    async def start(self) -> None:
        """Start the server, for the first time or again."""
        await asyncio.to_thread(self.server.start)
        self._is_up = True

    async def stop(self) -> float:
        """Stop the server as an operator does; return how long that took."""
        took_s = await asyncio.to_thread(self.server.stop)
        self._is_up = False
        return took_s

    async def _kill(self, style: KillStyle) -> None:
        """Wait a random time under load, bring about the style, and kill in a random order."""
        server, random = self.server, self._random
        await asyncio.sleep(random.uniform(*LOAD_S))
        database_first, gap_s = random.random() < 0.5, random.uniform(0, 0.02)

        def kill() -> None:
            self._is_up = False
            server.kill(database_first=database_first, gap_s=gap_s)

        match style:
            case KillStyle.RUNNING:
                await asyncio.to_thread(kill)
            case KillStyle.STALLED:
                with (
                    contextlib.suppress(psycopg.OperationalError),  # this connection dies too
                    server.database() as connection,
                    connection.transaction(),
                ):
                    await self._under_load()
                    connection.execute("lock table ocpp_message_pack in share mode")
                    await self._wait_for_a_false_answer(connection)
                    await asyncio.to_thread(kill)
            case KillStyle.FROZEN:
                with server.frozen_database():
                    await asyncio.sleep(random.uniform(0.05, 0.3))
                    await asyncio.to_thread(kill)
            case KillStyle.STARTING:
                await asyncio.to_thread(kill)
                server.launch()
                await asyncio.sleep(random.uniform(0.4, 1.2))
                await asyncio.to_thread(kill)
        assert not server.is_running

    async def _under_load(self) -> None:
        """Return once every station has been answered since now."""
        heard = [len(station.acknowledged) for station in self.stations]
        async with asyncio.timeout(PATIENCE_S):
            while any(len(s.acknowledged) <= n for s, n in zip(self.stations, heard, strict=True)):
                await asyncio.sleep(0.01)

    async def _wait_for_a_false_answer(self, connection: psycopg.Connection[Any]) -> None:
        """Return once something is acknowledged that cannot be read, or in vain."""
        gives_up_s = time.monotonic() + self._stall_s
        while time.monotonic() < gives_up_s:
            await asyncio.sleep(0.05)
            acknowledged = {said.message_id for said in self.acknowledged}
            if acknowledged - {row.message_id for row in exchanges(connection)}:
                return

    def address(self) -> str | None:
        """Return where stations connect; None while the server is down."""
        return str(self.server.ready["ocpp"]) if self._is_up else None

    async def watch_heads(self) -> None:
        """Collect every head that is served, until cancelled."""
        async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
            while True:
                if self._is_up:
                    with contextlib.suppress(httpx2.HTTPError):
                        answer = await client.get(self.server.ready["http"] + "/log/checkpoint")
                        if answer.status_code == 200:
                            self._keep_head(answer.content)
                await asyncio.sleep(HEAD_POLL_S)

    def _keep_head(self, note: bytes) -> None:
        size = parse_checkpoint(note).size
        self.heads.setdefault(size, set()).add(note)
        self.seen_at.setdefault(size, datetime.now(UTC))

    def register(self) -> None:
        """Register stations, their tariff and their token."""
        with self.server.client() as client:

            def send(method: str, path: str, body: object) -> dict[str, str]:
                answer = client.request(method, path, json=body)
                assert answer.is_success, answer.text
                return dict(answer.json())

            send("POST", "tariffs", TARIFF)
            send("POST", "id-tokens", {"id_token": ID_TOKEN, "type": "ISO14443"})
            for number in range(2 * self._pairs):
                version = ("1.6", "2.0.1")[number % 2]
                station_id = f"LOAD-{number:02}"
                made = send("POST", "stations", _registration(station_id, version))
                send("PUT", f"stations/{station_id}/tariff", {"tariff_id": "LOAD"})
                self.stations.append(
                    LoadStation(
                        station_id,
                        version,
                        made["password"],
                        self.address,
                        Random(self._random.random()),
                    )
                )

    # What must be true -------------------------------------------------------------------------

    @property
    def acknowledged(self) -> list[Acknowledged]:
        """All transaction messages that were acknowledged so far."""
        return [said for station in self.stations for said in station.acknowledged]

    def check_acknowledged(self) -> None:
        """Every acknowledged transaction message is there, raw and as a row of its session."""
        acknowledged = self.acknowledged
        with self.server.database() as connection:
            raw = {
                row.message_id
                for row in exchanges(connection)
                if row.inbound and row.answer is not None
            }
            rows = set(
                connection.execute(
                    "select c.station_id, r->>'kind', r->>'at', (r->>'register_wh')::bigint"
                    " from session_event e join charging_session c using (session_id)"
                    " cross join lateral (select convert_from(e.record, 'UTF8')::jsonb as r) v"
                )
            )
        for said in acknowledged:
            if said.message_id not in raw:
                raise LostError(f"{said.action} {said.message_id} of {said.row[0]}: no message")
            if said.row not in rows:
                raise LostError(f"{said.action} {said.row}: no reading")

    def check_log(self) -> None:
        """The tree made anew has every root that was ever published, and one head a size."""
        newest = max(self.heads, default=0)
        served = self.server.fetch("/log/checkpoint")
        self._keep_head(served)
        assert parse_checkpoint(served).size >= newest, "an older head is served"
        self._keep_stored_heads()
        heads = dict(self.heads)  # more are published meanwhile
        entries = self.server.query("select entry from log_entry order by log_index")
        hashes = leaf_hashes(bytes(entry) for (entry,) in entries)
        tree = Frontier()
        for size in sorted(heads):
            assert size <= len(hashes), "a published head covers entries that are not there"
            assert len(heads[size]) == 1, f"two heads of {size} entries"
            (note,) = heads[size]
            tree = tree.extended(hashes[tree.size : size])
            assert tree.root() == parse_checkpoint(note).root_hash, f"another root of {size}"

    def _keep_stored_heads(self) -> None:
        for (note,) in self.server.query("select note from checkpoint"):
            self._keep_head(bytes(note))

    def check_bills(self) -> None:
        """One session and one bill for each transaction, of exactly the energy metered."""
        wanted = {
            (station.station_id, metered.transaction_id): metered
            for station in self.stations
            for metered in station.transactions
        }
        rows = self.server.query(
            "select c.station_id, c.transaction_id, c.state, c.anomalies, b.energy_wh,"
            " b.net_minor, b.vat_minor from charging_session c left join cdr b using (session_id)"
        )
        found = {(row[0], row[1]) for row in rows}
        assert len(rows) == len(found), "a session has more than one bill, or there are strangers"
        assert found == wanted.keys()
        for station_id, transaction_id, state, anomalies, energy_wh, net, vat in rows:
            metered = wanted[station_id, transaction_id]
            assert (state, anomalies) == ("billed", []), (station_id, transaction_id, anomalies)
            assert energy_wh == metered.meter_stop_wh - metered.meter_start_wh
            assert net == _half_up(PRICE_A_KWH * energy_wh / 10)
            assert vat == _half_up(VAT_PERCENT * net / 100)

    def check_anchors(self) -> None:
        """Each anchored head stands on the topic once, as it was published."""
        messages = [bytes(m) for (m,) in self.server.query("select message from topic_message")]
        sizes = [parse_checkpoint(message).size for message in messages]
        assert len(sizes) == len(set(sizes)), "a head was anchored twice"
        self._keep_stored_heads()  # those that were signed since the log was checked
        assert all({m} == self.heads[size] for m, size in zip(messages, sizes, strict=True))

    def state_of_bills(self) -> list[list[tuple[object, ...]]]:
        """Return all that repeated messages must leave as it is."""
        queries = (
            "select session_id, state, anomalies, event_count from charging_session order by 1",
            "select * from cdr order by cdr_no",
            "select * from session_event order by session_id, n",
            "select * from log_entry order by log_index",
        )
        return [self.server.query(query) for query in queries]

    def _count(self, table: str) -> int:
        return int(self.server.query(f"select count(*) from {table}")[0][0])


def _registration(station_id: str, version: str) -> dict[str, object]:
    return {
        "station_id": station_id,
        "manufacturer": "Load",
        "model": "L",
        "serial_number": station_id,
        "latitude": "52.1",
        "longitude": "5.1",
        "evse": "1:type2:22000",
        "profile": 1,
        "allow_plain": True,
        "ocpp": [version],
    }


def _half_up(value: Fraction) -> int:
    return int((value + Fraction(1, 2)) // 1)
