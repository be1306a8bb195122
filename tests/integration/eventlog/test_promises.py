"""The promises of the log over the real database and real files, as a stranger checks them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chargera.app.clock import SystemEntropy
from chargera.app.ports import NewEntry
from chargera.domain.errors import Refused
from chargera.eventlog.custody import HEAD_FILE, FileHeadMemory, open_key
from chargera.eventlog.files import DurableFiles, OsDisk
from chargera.eventlog.reading import LogReader
from chargera.eventlog.sequencer import LeaseTaken, Sequencer
from chargera.eventlog.signer import Signer
from chargera.eventlog.tiles import StoredTiles
from chargera.proofs.checkpoint import open_checkpoint
from chargera.proofs.entry import EntryKind, parse_envelope
from chargera.proofs.note import VerifierKey
from chargera.proofs.tiles import ENTRIES, split_bundle, tiles_of
from chargera.proofs.tree import leaf_hashes, rederive_root
from chargera.store.log import PostgresLease, PostgresLogStore
from chargera.store.unit_of_work import Database

ORIGIN = "log.example/c4e/1"
STATIONS = ("CS-1", "CS-2", "CS-3")


class HandClock:
    time = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


class Log:
    """One process's log on a database and a folder."""

    def __init__(self, database: Database, folder: Path, clock: HandClock) -> None:
        self.database, self.folder, self.clock = database, folder, clock
        files = DurableFiles(OsDisk(folder / "log"))
        key = open_key(folder / "signer", ORIGIN, SystemEntropy())
        memory = FileHeadMemory.in_folder(folder / "signer")
        self.signer = Signer(key, memory, StoredTiles(files).fetch)
        self.reader = LogReader(files)
        self.store = PostgresLogStore(database)
        self.sequencer = Sequencer(
            ORIGIN, self.store, PostgresLease(database.url), self.signer, files, clock
        )

    async def append(self, stations: list[str]) -> None:
        async with self.database.work() as work:
            for station in stations:
                work.append(
                    NewEntry(EntryKind.ANOMALY, station, None, {"at": station}, self.clock.now())
                )
            await work.commit()

    async def publish(self) -> None:
        self.clock.time += timedelta(seconds=10)
        await self.sequencer.tick()
        assert self.sequencer.health.healthy, self.sequencer.health


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, HandClock(), SystemEntropy())
    await database.open()
    async with database.work() as work:
        for station in STATIONS:
            await work.connection.execute(
                "insert into station (station_id, manufacturer, model, serial_number, latitude,"
                " longitude, time_zone, ocpp_versions, security_profile, plain_allowed,"
                " password_hash, registered_at)"
                " values (%s, 'm', 'm', 's', '0', '0', 'UTC', '{1.6}', 2, false, 'x', now())",
                [station],
            )
        await work.commit()
    yield database
    await database.close()


@asynccontextmanager
async def started(database: Database, folder: Path, clock: HandClock) -> AsyncIterator[Log]:
    log = Log(database, folder, clock)
    await log.sequencer.start()
    try:
        yield log
    finally:
        await log.sequencer.stop()


async def execute(database: Database, statement: str) -> None:
    async with database.work() as work:
        await work.connection.execute(statement)
        await work.commit()


async def test_from_the_export_alone_every_station_is_complete(
    database: Database, tmp_path: Path
) -> None:
    """P5, P7: writers at once, a restart in between; then only files, key and origin are used."""
    clock = HandClock()
    async with started(database, tmp_path / "data", clock) as log:
        for _ in range(5):
            await asyncio.gather(*(log.append([*STATIONS] * n) for n in range(1, 8)))
            await log.publish()
    async with started(database, tmp_path / "data", clock) as log:
        assert log.sequencer.health.repaired_files == 0
        await log.append(["CS-1"])
        await log.publish()
        log.reader.export(tmp_path / "export")
        [vkey] = log.signer.vkeys

    exported = tmp_path / "export"
    note = (exported / "checkpoint").read_bytes()
    head = open_checkpoint(note, ORIGIN, [VerifierKey.parse(vkey)])
    entries: list[bytes] = []
    for tile in tiles_of(head.size):
        if tile.level == ENTRIES:
            entries += split_bundle(tile, (exported / tile.path).read_bytes())
    assert rederive_root(leaf_hashes(entries)) == head.root_hash
    seen: dict[str, int] = dict.fromkeys(STATIONS, 0)
    for entry in entries:
        envelope = parse_envelope(entry)
        assert envelope.station is not None
        assert envelope.seq == seen[envelope.station] + 1, "a hole that no entry explains"
        seen[envelope.station] = envelope.seq
    assert seen == {"CS-1": 141, "CS-2": 140, "CS-3": 140}


async def test_an_entry_that_is_changed_in_the_database_is_found(
    database: Database, tmp_path: Path
) -> None:
    clock = HandClock()
    async with started(database, tmp_path, clock) as log:
        await log.append(["CS-1"] * 300)
        await log.publish()
    await execute(
        database, "update log_entry set entry = set_byte(entry, 9, 0) where log_index = 7"
    )
    with pytest.raises(Refused, match="an entry was changed"):
        async with started(database, tmp_path, clock):
            pass


async def test_a_database_of_yesterday_is_refused(database: Database, tmp_path: Path) -> None:
    """F6 with the tables as a restored backup would have them."""
    clock = HandClock()
    async with started(database, tmp_path, clock) as log:
        await log.append(["CS-1"] * 5)
        await log.publish()
        await log.append(["CS-1"] * 5)
        await log.publish()
    await execute(database, "delete from checkpoint where tree_size > 5")
    await execute(database, "delete from log_entry where log_index >= 5")
    await execute(database, "update log_head set size = 5")
    with pytest.raises(Refused, match="entries 5 to 9 are missing"):
        async with started(database, tmp_path, clock):
            pass


async def test_a_folder_of_yesterday_is_refused(database: Database, tmp_path: Path) -> None:
    clock = HandClock()
    async with started(database, tmp_path, clock) as log:
        await log.append(["CS-1"] * 5)
        await log.publish()
        yesterday = (tmp_path / "signer" / HEAD_FILE).read_bytes()
        await log.append(["CS-1"] * 5)
        await log.publish()
    (tmp_path / "signer" / HEAD_FILE).write_bytes(yesterday)
    with pytest.raises(Refused, match="the signer remembers 5"):
        async with started(database, tmp_path, clock):
            pass


async def test_two_servers_on_one_database(database: Database, tmp_path: Path) -> None:
    """F7."""
    clock = HandClock()
    async with started(database, tmp_path, clock):
        with pytest.raises(LeaseTaken):
            async with started(database, tmp_path, clock):
                pass
    async with started(database, tmp_path, clock):
        pass
