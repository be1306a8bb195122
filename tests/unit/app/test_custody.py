"""Custody records step by step: what each waits for, what ends it, and what a crash leaves."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from chargera.app.custody import (
    CustodyRecords,
    CustodyRow,
    CustodyStep,
    check_signature,
    custody_proofs,
)
from chargera.app.custody_views import custody_rows, located, owners
from chargera.app.passports import FIRST_READING_AFTER
from chargera.app.settlement_ports import ContractRefused
from chargera.domain.errors import InvalidInput
from chargera.domain.passport import CustodyKind
from chargera.ledger.abi import Struct
from chargera.proofs import canonical
from chargera.proofs.chain_values import hex_text
from chargera.proofs.entry import EntryKind
from tests.unit.app.custody_rig import DOMAIN, HOST, NEW_HOST, TERMS, Sender, World
from tests.unit.app.settlement_rig import KEEPER, START
from tests.unit.proofs.sample_batch import address
from tests.unit.proofs.sample_receipt import METER_KEY_DER, STATION_ID

RETIREMENT = CustodyKind.RETIREMENT.number


async def test_repair__anchored_signed_attested_recorded__once() -> None:
    world = World()
    asked = await world.ask("repair", note="a new cable")
    assert (asked.step, asked.number, asked.log_index) == (CustodyStep.ANCHOR, 0, 9)
    row = await world.go()
    assert row.step is CustodyStep.RECORDED
    assert (row.transaction_hash, row.recorded_at) == ("0x0", world.clock.now())
    assert (world.sent, len(world.history)) == (["custody:0"], 1)
    assert not await world.records().advance()
    async with world.work() as work:
        [(log_index, proof)] = await custody_proofs(work, TERMS, STATION_ID)
        [view] = await custody_rows(work, TERMS, STATION_ID)
    assert (log_index, len(proof.signatures)) == (9, 3)
    assert proof.signatures[0][0] == address(1)
    assert proof.host_signature is not None
    assert (view.step, view.waits_for, view.says) == (CustodyStep.RECORDED, None, "")
    assert view.digest == hex_text(row.digest(DOMAIN))


async def test_not_anchored_yet__nothing_is_asked_of_host_or_attesters() -> None:
    world = World(anchors_reach=False)
    await world.ask("repair", note="a new cable")
    assert not await world.records().advance()
    assert world.rows.custody[0].step is CustodyStep.ANCHOR


async def test_host_with_his_own_key__waits_for_his_signature() -> None:
    world = World()
    await world.ask("repair", note="a new cable")
    row = await world.go(custodial=False)
    assert row.step is CustodyStep.HOST
    async with world.work() as work:
        [view] = await custody_rows(work, TERMS, STATION_ID)
        assert await custody_proofs(work, TERMS, STATION_ID) == []
    assert view.waits_for == "the host's signature: chargera passport sign"
    signed = replace(row, host_signature=hex_text(HOST.sign(row.digest(DOMAIN))))
    world.rows.custody[0] = signed
    assert (await world.go(custodial=False)).step is CustodyStep.RECORDED


async def test_another_hosts_signature_in_the_row__refused() -> None:
    world = World()
    row = await world.ask("repair", note="a new cable")
    forged = replace(row, host_signature=hex_text(NEW_HOST.sign(row.digest(DOMAIN))))
    with pytest.raises(InvalidInput, match="not signed by the host"):
        check_signature(forged, DOMAIN)
    world.rows.custody[0] = forged
    row = await world.go()
    assert row.step is CustodyStep.REFUSED
    assert "not signed by the host" in (row.refusal or "")
    assert world.history == []


async def test_attesters__not_enough_yet_then_too_many_refuse() -> None:
    world = World(attesters_sign=False, refusals=["no reading of the new meter"])
    await world.ask("repair", note="a new cable")
    assert (await world.go()).step is CustodyStep.ATTESTERS
    world.refusals.append("of another passport")
    row = await world.go()
    assert row.step is CustodyStep.REFUSED
    assert row.refusal == "attesters refuse: no reading of the new meter; of another passport"


@pytest.mark.parametrize(
    ("rule", "step"),
    [("NoQuorum", CustodyStep.TRANSACTION), ("WrongStatus", CustodyStep.REFUSED)],
)
async def test_contract_refuses__for_now_or_for_good(rule: str, step: CustodyStep) -> None:
    world = World(refuses=ContractRefused(rule, {}, f"ChargerPassport refuses: {rule}()"))
    await world.ask("repair", note="a new cable")
    assert (await world.go()).step is step
    world.refuses = None
    await world.go()
    assert len(world.history) == (step is CustodyStep.TRANSACTION)


@pytest.mark.parametrize("kind", ["repair", "retirement", "operator"])
async def test_crash_between_chain_and_commit__taken_up_and_recorded_once(kind: str) -> None:
    world = World()
    await world.ask(kind, note="a note", operator_id="DE*ABC")
    await world.records().advance()
    world.rows.custody[0] = replace(world.rows.custody[0], step=CustodyStep.TRANSACTION)
    world.dies_at = "commit"
    with pytest.raises(Exception, match="the database is gone"):
        await world.records().advance()
    assert len(world.history) == 1
    assert world.rows.custody[0].step is CustodyStep.TRANSACTION
    world.dies_at = ""
    assert (await world.go()).step is CustodyStep.RECORDED
    assert len(world.history) == len(world.sent) == 1
    passport = world.rows.passport
    assert passport is not None
    now = world.clock.now()
    ends = {"repair": (None, None), "retirement": (now, None)}
    left = (None, now - timedelta(seconds=1))
    assert (passport.retired_at, passport.left_at) == ends.get(kind, left)


async def test_chain_is_silent__waits() -> None:
    world = World()
    await world.ask("repair", note="a new cable")
    world.dies_at = "custodyOf"
    assert (await world.go()).step is CustodyStep.TRANSACTION
    world.dies_at = ""
    assert (await world.go()).step is CustodyStep.RECORDED


async def test_retirement__of_a_host_with_his_own_key__is_his_to_send() -> None:
    world = World()
    row = await world.ask("retirement")
    assert (await world.go(custodial=False)).step is CustodyStep.TRANSACTION
    async with world.work() as work:
        [his] = await custody_rows(work, TERMS, STATION_ID)
        [left] = await custody_rows(work, TERMS, STATION_ID, HOST.address_text)
    assert his.waits_for == "the host's own transaction: chargera passport sign"
    assert left.waits_for == "its record on chain"
    world.append(RETIREMENT, row.record_digest, row.log_index, bytes(32))
    assert (await world.go(custodial=False)).step is CustodyStep.RECORDED
    assert world.rows.passport is not None
    assert world.rows.passport.retired_at == world.clock.now()


async def test_retirement__of_a_host_who_is_not_the_one_that_left_his_key__waits() -> None:
    world = World(host=NEW_HOST.address_text)
    await world.ask("retirement")
    assert (await world.go()).step is CustodyStep.TRANSACTION
    assert world.sent == []


async def test_another_record_at_its_place__refused_and_what_the_chain_ended_is_noted() -> None:
    world = World()
    await world.ask("retirement")
    world.append(CustodyKind.OPERATOR.number, bytes(32), 1, bytes(32))
    world.append(RETIREMENT, bytes(32), 0, bytes(32))
    row = await world.go()
    assert row.step is CustodyStep.REFUSED
    assert "another custody record 0" in (row.refusal or "")
    assert world.rows.passport is not None
    assert world.rows.passport.retired_at == world.clock.now()
    assert world.rows.passport.left_at is not None


# What was not asked for here ----------------------------------------------------------------------


async def test_host_retires_by_himself__noted_with_its_second_and_looked_at_once() -> None:
    world = World()
    world.append(CustodyKind.REPAIR.number, bytes(32), 3, bytes(32))
    world.clock.advance(60)
    world.append(RETIREMENT, bytes(32), 4, bytes(32))
    retired_at = world.clock.now()
    world.clock.advance(60)
    records = world.records()
    await records.follow()
    assert world.rows.passport is not None
    assert (world.rows.passport.retired_at, world.rows.passport.left_at) == (retired_at, None)
    await records.follow()
    assert world.looked_from == [0, 2]
    assert world.rows.custody == []


async def test_another_operators_now__from_the_second_before__the_first_time_counts() -> None:
    world = World()
    operator = CustodyKind.OPERATOR.number
    world.append(operator, bytes(32), 3, b"DE*ABC".ljust(32, b"\0"))
    left_at = world.clock.now() - timedelta(seconds=1)
    records = world.records()
    await records.follow()
    world.clock.advance(60)
    world.append(operator, bytes(32), 4, b"DE*XYZ".ljust(32, b"\0"))
    await records.follow()
    assert world.rows.passport is not None
    assert (world.rows.passport.left_at, world.rows.passport.retired_at) == (left_at, None)


@pytest.mark.parametrize("dies_at", ["CustodyRecorded", "custodyOf"])
async def test_chain_is_silent__what_it_has_ended_is_looked_for_again(dies_at: str) -> None:
    world = World(dies_at=dies_at)
    world.append(RETIREMENT, bytes(32), 4, bytes(32))
    records = world.records()
    await records.follow()
    assert world.rows.passport is not None
    assert world.rows.passport.retired_at is None
    world.dies_at = ""
    await records.follow()
    assert world.rows.passport.retired_at == world.clock.now()


async def test_passports_that_are_not_registered_here__of_no_interest() -> None:
    world = World()
    ended = Struct(kind=RETIREMENT, recordedAt=int(START.timestamp()))
    world.of_others.append((bytes([7]) * 32, ended))
    before = world.rows.passport
    await world.records().follow()
    assert world.rows.passport == before


# A new meter --------------------------------------------------------------------------------------


async def test_new_meter__asked_to_show_itself_after_a_minute__then_anchored_over_its_reading() -> (
    None
):
    world = World()
    row = await world.ask("meter", meter_key=METER_KEY_DER.hex())
    assert row.step is CustodyStep.READING
    assert row.identification is not None
    assert world.rows.accepted == [row.identification]
    assert [entry.kind for entry in world.rows.entries] == [
        EntryKind.STATION_REGISTERED,
        EntryKind.CUSTODY,
    ]
    assert (row.station_log_index, row.log_index) == (9, 10)
    assert [until for until, _ in world.rows.former] == [9]
    assert world.rows.station.meter_key_der_hex == METER_KEY_DER.hex()
    await world.go()
    assert world.asked == []
    world.clock.advance(FIRST_READING_AFTER.total_seconds())
    await world.go(turns=1)
    assert world.asked == [row.identification]
    world.readings[row.identification] = 42
    row = await world.go()
    assert (row.step, row.reading_log_index, row.last_log_index) == (CustodyStep.RECORDED, 42, 42)


async def test_nothing_to_ask_a_reading_with__waits_all_the_same() -> None:
    world = World()
    await world.ask("meter", meter_key=METER_KEY_DER.hex())
    records = CustodyRecords(
        world, TERMS, world, Sender(world, KEEPER), world.clock, world.anchor_now
    )
    world.clock.advance(100)
    assert not await records.advance()
    assert world.rows.custody[0].step is CustodyStep.READING


async def test_owners__the_mint_and_each_transfer() -> None:
    world = World()
    [first, second] = await owners(world, f"0x{'11' * 32}")
    assert (first.owner, second.owner) == (HOST.address_text, NEW_HOST.address_text)


@dataclass
class Entries:
    """What `located` reads: custody records, and the entries of registrations."""

    rows: list[CustodyRow]
    record: bytes | None

    @property
    def custody(self) -> "Entries":
        return self

    receipts = custody

    async def of_station(self, station_id: str) -> list[CustodyRow]:
        return self.rows

    async def entry(self, log_index: int) -> Any:
        return None if log_index != 9 else Struct(record=self.record)


async def test_located__where_it_stands_now__by_what_is_recorded() -> None:
    world = World()
    passport = world.rows.passport
    assert passport is not None
    asked = await world.ask("location", latitude="1", longitude="2", time_zone="UTC")
    metadata, updated = await located(Entries([asked], None), passport)
    assert (metadata.latitude, metadata.time_zone, updated) == ("52", "Europe/Amsterdam", START)
    row = await world.go()
    plate = canonical.encode({"time_zone": "UTC"})
    for entries, time_zone in (
        (Entries([row], plate), "UTC"),
        (Entries([row], None), "Europe/Amsterdam"),
        (Entries([replace(row, station_log_index=1)], plate), "Europe/Amsterdam"),
    ):
        metadata, updated = await located(entries, passport)
        assert (metadata.latitude, metadata.longitude) == ("1", "2")
        assert (metadata.time_zone, updated) == (time_zone, row.recorded_at)
