"""From a committed entry to its anchor, over the real database, outbox and files."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chargera.app.clock import SystemEntropy
from chargera.app.log_ports import AnchorState
from chargera.app.ports import NewEntry
from chargera.eventlog.custody import FileHeadMemory, open_key
from chargera.eventlog.files import DurableFiles, OsDisk
from chargera.eventlog.reading import LogReader
from chargera.eventlog.sequencer import Sequencer
from chargera.eventlog.signer import Signer
from chargera.eventlog.tiles import StoredTiles
from chargera.ledger.anchoring import DELIVER_JOB, Anchoring, AnchorPolicy
from chargera.ledger.embedded_topic import EmbeddedTopic
from chargera.proofs.entry import EntryKind
from chargera.proofs.tlog_proof import parse_tlog_proof
from chargera.proofs.tree import leaf_hash
from chargera.store.anchors import PostgresAnchorStore
from chargera.store.jobs import Jobs
from chargera.store.log import PostgresLease, PostgresLogStore
from chargera.store.topic import PostgresTopicStore
from chargera.store.unit_of_work import Database

ORIGIN = "log.example/c4e/1"


class HandClock:
    time = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@dataclass
class Network:
    clock: HandClock
    database: Database
    sequencer: Sequencer
    reader: LogReader
    signer: Signer
    jobs: Jobs
    anchors: PostgresAnchorStore
    topic: EmbeddedTopic
    anchoring: Anchoring

    async def append(self, count: int, kind: EntryKind = EntryKind.SESSION_ENDED) -> None:
        async with self.database.work() as work:
            for number in range(count):
                work.append(NewEntry(kind, None, None, {"n": number}, self.clock.now()))
            await work.commit()

    async def pass_time(self, seconds: float) -> None:
        self.clock.time += timedelta(seconds=seconds)
        await self.sequencer.tick()
        await self.anchoring.tick()


@asynccontextmanager
async def running(url: str, folder: Path, policy: AnchorPolicy | None = None):
    clock, entropy = HandClock(), SystemEntropy()
    database = Database(url, clock, entropy)
    await database.open()
    files = DurableFiles(OsDisk(folder / "log"))
    key = open_key(folder / "signer", ORIGIN, entropy)
    signer = Signer(key, FileHeadMemory.in_folder(folder / "signer"), StoredTiles(files).fetch)
    sequencer = Sequencer(
        ORIGIN, PostgresLogStore(database), PostgresLease(url), signer, files, clock
    )
    await sequencer.start()
    jobs = Jobs(url)
    anchors = PostgresAnchorStore(database, jobs, DELIVER_JOB)
    topic = await EmbeddedTopic.open(PostgresTopicStore(database), clock)
    policy = policy or AnchorPolicy()
    anchoring = Anchoring(anchors, topic, clock, lambda: policy)
    jobs.register(DELIVER_JOB, anchoring.deliver)
    try:
        yield Network(
            clock, database, sequencer, LogReader(files), signer, jobs, anchors, topic, anchoring
        )
    finally:
        await sequencer.stop()
        await database.close()


async def test_an_entry_gets_head_anchor_and_proof(database_url: str, tmp_path: Path) -> None:
    async with running(database_url, tmp_path) as network:
        await network.append(3)
        await network.pass_time(10)
        assert network.sequencer.health.healthy, network.sequencer.health
        assert network.anchoring.health.healthy, network.anchoring.health
        [anchor] = await network.anchors.anchors(0, 10)
        assert anchor.state is AnchorState.ANCHORED
        assert anchor.message is not None
        assert anchor.message.message == anchor.note == network.reader.checkpoint()
        anchor.message.check()
        [entry] = await PostgresLogStore(network.database).entries_from(2, 10)
        proof = parse_tlog_proof(network.reader.proof(2, anchor.note))
        proof.verify(leaf_hash(entry), ORIGIN, [network.signer._key.verifier])


async def test_the_job_delivers_what_its_owner_could_not(database_url: str, tmp_path: Path) -> None:
    async with running(database_url, tmp_path) as network:
        await network.append(1)
        await network.sequencer.tick()
        head = await PostgresLogStore(network.database).last_head()
        assert head is not None
        await network.anchors.request(
            head, f"0.0.1002@{int(network.clock.now().timestamp()) - 1}.000000001", head.signed_at
        )
        worker = asyncio.create_task(network.jobs.run())
        for _ in range(200):
            await asyncio.sleep(0.05)
            [anchor] = await network.anchors.anchors(0, 10)
            if anchor.state is AnchorState.ANCHORED:
                break
        network.jobs.stop()
        await asyncio.wait_for(worker, 5)
        assert anchor.state is AnchorState.ANCHORED
        assert (await network.topic.info()).sequence_number == 1
