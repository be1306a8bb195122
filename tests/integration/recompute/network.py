"""A network with a past, made through the real use cases over a real database, without sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from cryptography.hazmat.primitives.asymmetric import ec

from chargera.app import id_tokens, registry, sessions, tariffs
from chargera.app.access import Passwords
from chargera.app.billing import Billing, ReviewDecision
from chargera.app.charging import Charging, ChargingPolicy
from chargera.app.clock import NetworkClock, SystemEntropy
from chargera.app.id_tokens import IdTokenRequest
from chargera.app.permissions import Caller, Role
from chargera.app.ports import InboundCall
from chargera.app.registry import Registration
from chargera.domain.messages import Answer
from chargera.domain.station import OcppVersion
from chargera.eventlog.custody import FileHeadMemory, open_key
from chargera.eventlog.files import DurableFiles, OsDisk
from chargera.eventlog.reading import LogReader
from chargera.eventlog.sequencer import Sequencer
from chargera.eventlog.signer import Signer
from chargera.eventlog.tiles import StoredTiles
from chargera.proofs.tiles import tiles_of
from chargera.proofs.trust import Trust, trust_of_key
from chargera.sim.meter import SigningMeter
from chargera.store.log import PostgresLease, PostgresLogStore
from chargera.store.unit_of_work import Database
from tests.integration.recompute.tariffs import random_tariff
from tests.integration.recompute.visits import RATED_W, TRUSTED, Teller, Visit

ORIGIN = "log.test/c4e/1"
OPERATOR_ID = "NL*C4E"
OPERATOR = Caller("00000000-0000-0000-0000-000000000001", "ada", Role.OPERATOR)
BEGIN = datetime(2026, 10, 20, 6, 0, tzinfo=UTC)
"""Some days before clocks are put back in Europe, and after that."""
LATER = BEGIN + timedelta(days=100)
ZONES = ("UTC", "Europe/Amsterdam", "America/St_Johns", "Australia/Lord_Howe")


@dataclass(frozen=True, slots=True)
class Size:
    """How much happens."""

    stations: int
    sessions_a_station: int


class Network:
    """Stations, their sessions and bills, and the log of it all."""

    def __init__(self, database: Database, clock: NetworkClock, folder: Path) -> None:
        entropy = SystemEntropy()
        self.database = database
        self._clock = clock
        self._entropy = entropy
        self._charging = Charging(clock, entropy, ChargingPolicy())
        self._billing = Billing(clock, entropy, OPERATOR_ID)
        files = DurableFiles(OsDisk(folder / "log"))
        key = open_key(folder / "signer", ORIGIN, entropy)
        memory = FileHeadMemory.in_folder(folder / "signer")
        signer = Signer(key, memory, StoredTiles(files).fetch)
        self.trust: Trust = trust_of_key(signer.vkeys[0])
        self.reader = LogReader(files)
        self.sequencer = Sequencer(
            ORIGIN, PostgresLogStore(database), PostgresLease(database.url), signer, files, clock
        )

    async def live(self, size: Size, random: Random) -> None:
        """Let everything happen: sessions, bills, new prices, decisions, late values, credits."""
        tellers = await self._register(size, random)
        visits = {t.station_id: t.sessions(size.sessions_a_station // 2) for t in tellers}
        await self._hear(tellers, visits)
        await self._reprice(tellers, random)
        rest = size.sessions_a_station - size.sessions_a_station // 2
        await self._hear(tellers, {t.station_id: t.sessions(rest) for t in tellers})
        await self._bill()
        await self._decide(random)
        await self._hear_late(tellers)
        await self._bill()
        await self.sequencer.tick(force=True)

    async def export(self, folder: Path, caller: Caller = OPERATOR) -> Path:
        """Write what `log export DIR --records` writes."""
        head = self.reader.head()
        for tile in tiles_of(head.size):
            path = folder / tile.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.reader.file(tile.path))
        (folder / "checkpoint").write_bytes(self.reader.checkpoint())
        for name, stream in (
            ("records.jsonl", sessions.stream_records),
            ("readings.jsonl", sessions.stream_readings),
        ):
            with (folder / name).open("wb") as file:
                async for piece in stream(self.database, caller, head.size):
                    file.write(piece)
        return folder

    # Its past ---------------------------------------------------------------------------------

    async def _register(self, size: Size, random: Random) -> list[Teller]:
        passwords = Passwords(memory_kib=8, passes=1)
        tellers = []
        async with self.database.work() as work:
            await id_tokens.add_id_token(work, OPERATOR, IdTokenRequest(TRUSTED), now=BEGIN)
            for number in range(size.stations):
                station_id = f"RANDOM-{number:03}"
                meter = None
                if number % 8 >= 6:  # one of each version
                    meter = SigningMeter(ec.generate_private_key(ec.SECP256R1()), station_id)
                wanted = _registration(station_id, ZONES[number % len(ZONES)], meter)
                await registry.register_station(
                    work,
                    OPERATOR,
                    wanted,
                    passwords=passwords,
                    entropy=self._entropy,
                    now=BEGIN,
                )
                version = (OcppVersion.V1_6, OcppVersion.V2_0_1)[number % 2]
                tellers.append(Teller(station_id, version, Random(random.random()), BEGIN, meter))
            await work.commit()
        passwords.close()
        for number, teller in enumerate(tellers):
            await self._publish(number, random, BEGIN)
            async with self.database.work() as work:
                await tariffs.assign_tariff(
                    work, OPERATOR, teller.station_id, f"T{number}", now=BEGIN
                )
                await work.commit()
        return tellers

    async def _publish(self, number: int, random: Random, at: datetime) -> None:
        async with self.database.work() as work:
            document = random_tariff(f"T{number}", number, random)
            await tariffs.publish_tariff(work, OPERATOR, document, now=at)
            await work.commit()

    async def _reprice(self, tellers: list[Teller], random: Random) -> None:
        """Give every other station the next version of its tariff."""
        at = max(teller.now for teller in tellers)
        for number, teller in enumerate(tellers):
            teller.now = at
            if number % 2:
                await self._publish(number, random, at)
        self._charging.forget([teller.station_id for teller in tellers])

    async def _hear(self, tellers: list[Teller], visits: dict[str, Visit]) -> None:
        """Take one message of every station at a time, in one commit."""
        versions = {teller.station_id: teller.version for teller in tellers}
        said = {station_id: next(visit, None) for station_id, visit in visits.items()}
        while said := {station_id: one for station_id, one in said.items() if one}:
            calls = [
                _call(station_id, versions[station_id], *one) for station_id, one in said.items()
            ]
            answers = dict(zip(said, await self._handle(calls), strict=True))
            for station_id, answer in answers.items():
                try:
                    said[station_id] = visits[station_id].send(answer)
                except StopIteration:
                    said[station_id] = None

    async def _hear_late(self, tellers: list[Teller]) -> None:
        """Take what arrives only after the bills were made."""
        calls = [
            _call(teller.station_id, teller.version, arrived_at, message)
            for teller in tellers
            for arrived_at, message in teller.late
        ]
        for start in range(0, len(calls), 100):
            await self._handle(calls[start : start + 100])

    async def _handle(self, calls: list[InboundCall]) -> list[Answer]:
        async with self.database.channel_work() as work:
            answers = await self._charging.handle(work, calls)
            await work.commit()
        self._charging.take_live_events()
        return answers

    async def _bill(self) -> None:
        async with self.database.work() as work:
            await work.connection.execute(
                "update charging_session set bill_after = now() where bill_after is not null"
            )
            await work.commit()
        while True:
            async with self.database.work() as work:
                told = await self._billing.bill_due(work)
                await work.commit()
            if not told:
                return

    async def _decide(self, random: Random) -> None:
        """Let a person decide on some sessions in review."""
        rows = await self.query(
            "select session_id, coalesce(meter_start_wh, 0), coalesce(meter_stop_wh, 0)"
            " from charging_session where state = 'review' and started and ended"
            " and ended_at >= started_at order by station_id, started_at"
        )
        for session_id, start_wh, stop_wh in rows:
            if random.random() < 0.5:
                decision = ReviewDecision(
                    "paper log", meter_start_wh=start_wh, meter_stop_wh=max(start_wh, stop_wh)
                )
                async with self.database.work() as work:
                    await self._billing.decide_review(work, session_id, decision, decided_by="ada")
                    await work.commit()

    async def query(self, statement: str) -> list[tuple[object, ...]]:
        """Return the rows of one query."""
        async with self.database.work() as work:
            cursor = await work.connection.execute(statement.encode())
            return await cursor.fetchall()


@asynccontextmanager
async def network_on(url: str, folder: Path) -> AsyncIterator[Network]:
    """A network over an empty database; its log lies in `folder`."""
    clock = NetworkClock(lambda: LATER, lambda: 0.0, manual=True)
    database = Database(url, clock, SystemEntropy())
    await database.open()
    network = Network(database, clock, folder)
    await network.sequencer.start()
    try:
        yield network
    finally:
        await network.sequencer.stop()
        await database.close()


def _registration(station_id: str, time_zone: str, meter: SigningMeter | None) -> Registration:
    return Registration(
        station_id,
        manufacturer="Random",
        model="R1",
        serial_number=station_id,
        latitude="52.1",
        longitude="5.1",
        evse=f"1:type2:{RATED_W},2:type2:{RATED_W}",
        profile=1,
        allow_plain=True,
        time_zone=time_zone,
        meter_key=None if meter is None else meter.public_key_pem,
    )


def _call(
    station_id: str, version: OcppVersion, arrived_at: datetime, message: object
) -> InboundCall:
    return InboundCall(station_id, version, arrived_at, "m", "Action", message, b"[]")  # type: ignore[arg-type]
