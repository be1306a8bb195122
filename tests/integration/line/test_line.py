"""From a station's messages to a receipt that verifies, over a real database, without sockets."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chargera.app.billing import Billing, ReviewDecision
from chargera.app.charging import Charging, ChargingPolicy
from chargera.app.clock import NetworkClock, SystemEntropy
from chargera.app.ports import InboundCall, NewEntry
from chargera.app.receipts import build_receipt
from chargera.domain.messages import (
    Answer,
    Authorize,
    IdTokenRef,
    MeterSample,
    ReadingContext,
    StationMessage,
    TransactionEvent,
    TransactionEventKind,
)
from chargera.domain.pricing import ChargingState
from chargera.domain.station import OcppVersion
from chargera.eventlog.custody import FileHeadMemory, open_key
from chargera.eventlog.files import DurableFiles, OsDisk
from chargera.eventlog.reading import LogReader
from chargera.eventlog.sequencer import Sequencer
from chargera.eventlog.signer import Signer
from chargera.eventlog.tiles import StoredTiles
from chargera.proofs import records
from chargera.proofs.entry import EntryKind
from chargera.proofs.ocpi import tariff_digest
from chargera.proofs.receipt import verify_receipt
from chargera.proofs.trust import trust_of_key
from chargera.store.log import PostgresLease, PostgresLogStore
from chargera.store.registrations import read_stations
from chargera.store.unit_of_work import Database, UnitOfWork

START = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
ORIGIN = "log.test/c4e/1"
TARIFF = {
    "country_code": "NL",
    "currency": "EUR",
    "elements": [
        {
            "price_components": [
                {"price": "0.30", "step_size": 1, "type": "ENERGY", "vat": "21"},
                {"price": "1.00", "step_size": 1, "type": "PARKING_TIME", "vat": "21"},
            ]
        }
    ],
    "id": "T1",
    "last_updated": "2026-01-01T00:00:00Z",
    "party_id": "C4E",
}


class Line:
    """The rooms between the channel and the receipt, wired as the server wires them."""

    def __init__(self, database: Database, clock: NetworkClock, folder: Path) -> None:
        entropy = SystemEntropy()
        self.database = database
        self.clock = clock
        self.charging = Charging(clock, entropy, ChargingPolicy())
        self.billing = Billing(clock, entropy, "NL*C4E")
        files = DurableFiles(OsDisk(folder / "log"))
        key = open_key(folder / "signer", ORIGIN, entropy)
        signer = Signer(key, FileHeadMemory.in_folder(folder / "signer"), StoredTiles(files).fetch)
        self.sequencer = Sequencer(
            ORIGIN,
            PostgresLogStore(database),
            PostgresLease(database.url),
            signer,
            files,
            clock,
        )
        self.reader = LogReader(files)
        self.vkey = signer.vkeys[0]

    async def say(
        self, version: OcppVersion, *messages: StationMessage, received_at: datetime | None = None
    ) -> list[Answer]:
        calls = [
            InboundCall(
                "CP-1", version, received_at or self.clock.now(), "m", "Action", message, b"[]"
            )
            for message in messages
        ]
        async with self.database.channel_work() as work:
            answers = await self.charging.handle(work, calls)
            await work.commit()
        return answers

    async def bill(self) -> int:
        async with self.database.work() as work:
            await work.connection.execute(
                "update charging_session set bill_after = now() where bill_after is not null"
            )
            told = await self.billing.bill_due(work)
            await work.commit()
        return len(told)

    async def receipt(self, session_id: str) -> bytes:
        async def prove(indexes: Sequence[int], note: bytes) -> Sequence[bytes]:
            return [self.reader.proof(index, note) for index in indexes]

        async def publish() -> None:
            await self.sequencer.tick(force=True)

        async with self.database.work() as work:
            return await build_receipt(work.receipts, session_id, prove, publish)

    async def sessions(self) -> list[dict[str, object]]:
        async with self.database.work() as work:
            cursor = await work.connection.execute(
                "select session_id, state, anomalies, gross_minor, proof_level, transaction_id,"
                " generation, meter_stop_wh from charging_session order by session_id"
            )
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]

    async def kinds(self) -> list[str]:
        async with self.database.work() as work:
            cursor = await work.connection.execute("select kind from log_entry order by log_index")
            return [row[0] for row in await cursor.fetchall()]


async def set_up(work: UnitOfWork, now: datetime) -> None:
    """Register one station with a tariff and one id token, as the use cases do."""
    await work.connection.execute(
        "insert into station (station_id, manufacturer, model, serial_number, latitude, longitude,"
        " time_zone, ocpp_versions, security_profile, plain_allowed, password_hash, registered_at)"
        " values ('CP-1', 'M', 'X', 'N', '52', '4', 'UTC', '{1.6,2.0.1}', 1, true, '-', %s)",
        [now],
    )
    await work.connection.execute(
        "insert into connector (station_id, evse, connector, ocpp16_connector_id, connector_type,"
        " power_w_max) values ('CP-1', 1, 1, 1, 'type2', 22000), ('CP-1', 2, 1, 2, 'type2', 22000)"
    )
    station = (await read_stations(work.connection, ["CP-1"]))["CP-1"]
    digest = tariff_digest(TARIFF)
    work.append(
        NewEntry(EntryKind.STATION_REGISTERED, "CP-1", None, records.station_record(station), now)
    )
    work.append(
        NewEntry(
            EntryKind.TARIFF_PUBLISHED,
            None,
            None,
            records.tariff_record("T1", 1, digest, TARIFF, now),
            now,
        )
    )
    first = await work.flush()
    assert first == 0
    await work.connection.execute(
        "insert into tariff_version values ('T1', 1, %s, %s, %s, 1)",
        [digest, json.dumps(TARIFF), now],
    )
    await work.connection.execute("insert into tariff_in_force values ('CP-1', %s, 'T1', 1)", [now])
    await work.connection.execute(
        "insert into id_token (id_token_key, id_token, id_token_type, created_at)"
        " values ('abc', 'ABC', 'ISO14443', %s)",
        [now],
    )
    await work.commit()


@asynccontextmanager
async def line_on(url: str, folder: Path) -> AsyncIterator[Line]:
    clock = NetworkClock(lambda: START, lambda: 0.0, manual=True)
    database = Database(url, clock, SystemEntropy())
    await database.open()
    line = Line(database, clock, folder)
    await line.sequencer.start()
    try:
        yield line
    finally:
        await line.sequencer.stop()
        await database.close()


@pytest.fixture
async def line(database_url: str, tmp_path: Path) -> AsyncIterator[Line]:
    async with line_on(database_url, tmp_path) as line:
        async with line.database.work() as work:
            await set_up(work, line.clock.now())
        yield line


def event(
    kind: TransactionEventKind,
    number: str | None,
    minutes: float,
    register_wh: int | None,
    *,
    seq_no: int | None = None,
    id_token: str | None = "ABC",
    charging: ChargingState | None = None,
    numbered: bool = False,
) -> TransactionEvent:
    at = START + timedelta(minutes=minutes)
    context = {
        TransactionEventKind.STARTED: ReadingContext.BEGIN,
        TransactionEventKind.UPDATED: ReadingContext.PERIODIC,
        TransactionEventKind.ENDED: ReadingContext.END,
    }[kind]
    samples = () if register_wh is None else (MeterSample(at, context, register_wh, 11_000),)
    return TransactionEvent(
        kind=kind,
        transaction_id=number,
        seq_no=seq_no,
        evse=1 if numbered else None,
        connector=1,
        at=at,
        id_token=IdTokenRef(id_token, "ISO14443" if numbered else None) if id_token else None,
        samples=samples,
        signed=(),
        charging=charging,
        stop_reason=None,
        offline=False,
        remote_start_id=None,
    )


S, U, E = TransactionEventKind.STARTED, TransactionEventKind.UPDATED, TransactionEventKind.ENDED


async def test_session_of_1_6__from_start_to_verified_receipt(line: Line) -> None:
    line.clock.advance(3600)
    [_, started] = await line.say(
        OcppVersion.V1_6, Authorize(IdTokenRef("abc", None)), event(S, None, 0, 1000)
    )
    number = started.transaction_id  # type: ignore[union-attr] # an answer to a start has one
    await line.say(OcppVersion.V1_6, event(U, number, 20, 4000), event(U, number, 40, 9000))
    await line.say(OcppVersion.V1_6, event(E, number, 60, 11_000))
    assert await line.bill() == 1
    [session] = await line.sessions()
    assert (session["state"], session["gross_minor"]) == ("billed", 363)
    receipt = await line.receipt(str(session["session_id"]))
    verdict = verify_receipt(receipt, trust_of_key(line.vkey))
    assert [s.step for s in verdict.steps if s.status == "pending"] == ["anchor"], verdict
    assert verdict.exit_code == 3
    assert verify_receipt(receipt, None).exit_code == 3


async def test_session_of_2_0_1__repeats_holes_and_shuffling__bill_as_in_order(line: Line) -> None:
    line.clock.advance(7200)
    events = [
        event(S, "tx", 0, 1000, seq_no=0, numbered=True, charging=ChargingState.CHARGING),
        event(U, "tx", 20, 5000, seq_no=1, numbered=True),
        event(U, "tx", 30, None, seq_no=3, numbered=True, charging=ChargingState.IDLE),
        event(E, "tx", 60, 6000, seq_no=5, numbered=True),
    ]
    await line.say(OcppVersion.V2_0_1, events[3])
    [session] = await line.sessions()
    assert session["state"] == "review"
    await line.say(OcppVersion.V2_0_1, events[2], events[0], events[1], events[0], events[3])
    assert await line.bill() == 1
    [session] = await line.sessions()
    # 5 kWh at 0.30 and half an hour of parking at 1.00 an hour, 21 % VAT.
    assert (session["state"], session["gross_minor"]) == ("billed", 242), session
    assert (await line.kinds()).count("sequence_hole") == 2
    receipt = await line.receipt(str(session["session_id"]))
    verdict = verify_receipt(receipt, trust_of_key(line.vkey))
    assert verdict.failed_step is None, verdict


async def test_late_value_that_changes_the_bill__credit_and_new_bill(line: Line) -> None:
    line.clock.advance(7200)
    await line.say(
        OcppVersion.V2_0_1,
        event(S, "tx", 0, 1000, seq_no=0, numbered=True),
        event(E, "tx", 60, 6000, seq_no=5, numbered=True),
    )
    await line.bill()
    await line.say(
        OcppVersion.V2_0_1,
        event(U, "tx", 30, 3000, seq_no=3, numbered=True, charging=ChargingState.IDLE),
    )
    assert await line.bill() == 1
    [session] = await line.sessions()
    assert (session["state"], session["gross_minor"]) == ("billed", 242), session
    assert [k for k in await line.kinds() if "cdr" in k] == ["cdr", "credit_cdr", "cdr"]
    receipt = await line.receipt(str(session["session_id"]))
    verdict = verify_receipt(receipt, trust_of_key(line.vkey))
    assert verdict.failed_step is None, verdict
    assert {s.step: s.status for s in verdict.steps}["credits"] == "ok"


async def test_transaction_id_reused_after_reboot__two_sessions(line: Line) -> None:
    line.clock.advance(86_400)
    for minutes in (0, 120):
        await line.say(
            OcppVersion.V2_0_1,
            event(S, "0", minutes, 1000 + minutes, seq_no=0, numbered=True),
            event(E, "0", minutes + 60, 2000 + minutes, seq_no=1, numbered=True),
        )
    # The station repeats the end of its first use of the id.
    await line.say(OcppVersion.V2_0_1, event(E, "0", 60, 2000, seq_no=1, numbered=True))
    assert await line.bill() == 2
    sessions = sorted((s["generation"], s["state"]) for s in await line.sessions())
    assert sessions == [(0, "billed"), (1, "billed")]


async def test_stop_with_id_minus_1__closes_the_open_transaction_of_its_token(line: Line) -> None:
    line.clock.advance(7200)
    await line.say(OcppVersion.V1_6, event(S, None, 0, 1000))
    await line.say(OcppVersion.V1_6, event(E, "-1", 60, 2000))
    await line.say(OcppVersion.V1_6, event(E, "-1", 60, 2000))
    await line.say(OcppVersion.V1_6, event(E, "-1", 90, 9000))
    await line.say(OcppVersion.V1_6, event(E, "-1", 95, 9500, id_token="XYZ"))
    await line.bill()
    sessions = {s["meter_stop_wh"]: s for s in await line.sessions()}
    assert {w: s["state"] for w, s in sessions.items()} == {
        2000: "billed",
        9000: "review",
        9500: "refused",
    }
    assert sessions[9000]["anomalies"] == ["no_start"]


async def test_states_survive_forgetting__as_after_a_restart(line: Line) -> None:
    line.clock.advance(7200)
    [started] = await line.say(OcppVersion.V1_6, event(S, None, 0, 1000))
    line.charging.forget(["CP-1"])
    [again] = await line.say(OcppVersion.V1_6, event(S, None, 0, 1000))
    assert again == started
    number = started.transaction_id  # type: ignore[union-attr] # an answer to a start has one
    line.charging.forget(["CP-1"])
    await line.say(OcppVersion.V1_6, event(E, number, 60, 2000))
    line.charging.forget(["CP-1"])
    await line.say(OcppVersion.V1_6, event(E, number, 60, 2000))
    await line.bill()
    [session] = await line.sessions()
    assert session["state"] == "billed"
    assert (await line.kinds()).count("session_ended") == 1


async def test_session_in_review__a_person_decides__receipt_says_so(line: Line) -> None:
    line.clock.advance(7200)
    await line.say(OcppVersion.V1_6, event(E, "77", 60, 5000))
    [session] = await line.sessions()
    assert session["state"] == "review"
    session_id = str(session["session_id"])
    decision = ReviewDecision("paper log", meter_start_wh=3000, started_at=START, tariff_id="T1")
    async with line.database.work() as work:
        await line.billing.decide_review(work, session_id, decision, decided_by="ada")
        await work.commit()
    [session] = await line.sessions()
    assert (session["state"], session["gross_minor"]) == ("billed", 73)
    verdict = verify_receipt(await line.receipt(session_id), trust_of_key(line.vkey))
    assert verdict.failed_step is None, verdict


async def test_late_start_after_a_persons_decision__the_decision_stands(line: Line) -> None:
    line.clock.advance(7200)
    await line.say(OcppVersion.V2_0_1, event(E, "tx", 60, 5000, seq_no=3, numbered=True))
    [session] = await line.sessions()
    decision = ReviewDecision("paper log", meter_start_wh=3000, started_at=START, tariff_id="T1")
    async with line.database.work() as work:
        await line.billing.decide_review(
            work, str(session["session_id"]), decision, decided_by="ada"
        )
        await work.commit()
    await line.say(OcppVersion.V2_0_1, event(S, "tx", 0, 1000, seq_no=0, numbered=True))
    await line.bill()
    [session] = await line.sessions()
    assert (session["state"], session["gross_minor"]) == ("billed", 73)
    assert (await line.kinds()).count("credit_cdr") == 0
