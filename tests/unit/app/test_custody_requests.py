"""Custody records as people ask for them: what each kind needs, and what is refused with words."""

from dataclasses import replace
from typing import Any

import pytest

from chargera.app.custody import CustodyStep
from chargera.app.custody_requests import (
    CustodyRequest,
    open_custody,
    require_earning,
    sign_custody,
    withdraw_custody,
)
from chargera.app.passports import Step
from chargera.app.permissions import Caller, Role
from chargera.domain.errors import ChargEraError, Conflict, NotFound, NotPermitted
from chargera.proofs.chain_values import hex_text
from chargera.proofs.passport import key_hash
from tests.unit.app.custody_rig import (
    DOMAIN,
    HOST,
    HOSTS_IT,
    NEW_HOST,
    RUNS_IT,
    TERMS,
    World,
    passport,
)
from tests.unit.proofs.sample_receipt import METER_KEY_DER, STATION_ID

KEY = METER_KEY_DER.hex()
HASH = key_hash(KEY)


@pytest.mark.parametrize(
    ("kind", "said", "says"),
    [
        ("owner", {"host": NEW_HOST.address_text}, NEW_HOST.address[-4:].hex()),
        ("operator", {"operator_id": "DE*ABC"}, b"DE*ABC\0\0".hex().ljust(64, "0")),
        ("meter", {"meter_key": KEY}, HASH.hex()),
        ("meter", {}, "00" * 32),
        ("firmware", {"note": "2.4"}, "00" * 32),
        ("location", {"latitude": "0.0000001", "longitude": "-0.0000001"}, "00000001ffffffff"),
        ("repair", {"note": "a cable"}, "00" * 32),
        ("retirement", {}, "00" * 32),
    ],
)
async def test_open__each_kind__its_value_for_the_chain(
    kind: str, said: dict[str, Any], says: str
) -> None:
    world = World()
    row = await world.ask(kind, **said)
    assert row.value.endswith(says)
    assert row.record["by"] == "operator"
    assert row.host == HOST.address_text
    again = await world.ask(kind, **said)
    assert again == row, "the same is found while it is under way"
    assert len(world.rows.custody) == 1


async def test_open__move__the_station_is_registered_there_from_then_on() -> None:
    world = World()
    await world.ask("location", latitude="51.50", longitude="4", time_zone="Europe/Paris")
    moved = world.rows.station
    assert (moved.latitude, moved.longitude, moved.time_zone) == ("51.5", "4", "Europe/Paris")


async def refusal(world: World, kind: str, **said: Any) -> ChargEraError:
    with pytest.raises(ChargEraError) as refused:
        await world.ask(kind, **said)
    error = refused.value
    assert error.field is not None
    assert error.remedy
    assert world.rows.custody == []
    return error


@pytest.mark.parametrize(
    ("kind", "said", "field", "fault"),
    [
        ("lost", {}, "kind", "no kind of custody record"),
        ("owner", {}, "host", "needs host"),
        ("owner", {"host": "0x12"}, "host", "not an address"),
        ("owner", {"host": f"0x{'0' * 40}"}, "host", "nobody"),
        ("owner", {"host": HOST.address_text}, "host", "has this owner already"),
        ("operator", {"operator_id": "abc"}, "operator_id", "operator id"),
        ("operator", {"operator_id": "NL*C4E"}, "operator_id", "already"),
        ("meter", {"meter_key": "00"}, "meter_key", "key"),
        ("location", {"latitude": "95", "longitude": "4"}, "latitude", "coordinate"),
        ("location", {"latitude": "52"}, "longitude", "needs longitude"),
        ("location", {"latitude": "52", "longitude": "4"}, "latitude", "already"),
        (
            "location",
            {"latitude": "1", "longitude": "4", "time_zone": "Mars"},
            "time_zone",
            "time zone",
        ),
        ("repair", {}, "note", "say what was done"),
        ("repair", {"station_id": "CP-9", "note": "a"}, "station_id", "no station 'CP-9'"),
    ],
)
async def test_open__what_cannot_be__named(
    kind: str, said: dict[str, Any], field: str, fault: str
) -> None:
    error = await refusal(World(), kind, **said)
    assert error.field == field
    assert fault in error.message


async def test_open__meter_key_of_another_passport__named() -> None:
    world = World(holders={HASH: b"\7" * 32})
    error = await refusal(world, "meter", meter_key=KEY)
    assert "07" * 32 in error.message
    own = World()
    assert own.rows.passport is not None
    own.holders[HASH] = bytes.fromhex(own.rows.passport.passport_id[2:])
    assert (await own.ask("meter", meter_key=KEY)).step is CustodyStep.READING


async def test_open__the_meter_that_it_has__or_while_a_session_runs() -> None:
    assert "already" in (await refusal(World(meter_key_hash=HASH), "meter", meter_key=KEY)).message
    error = await refusal(World(is_charging=True), "meter", meter_key=KEY)
    assert "a session is running" in error.message


async def test_open__no_passport_yet_retired_or_of_another_operator() -> None:
    world = World()
    world.rows.passport = passport(Step.CONTEST)
    assert "no passport yet" in (await refusal(world, "retirement")).message
    world.rows.passport = None
    assert "no passport yet" in (await refusal(world, "retirement")).message
    assert "retired, for ever" in (await refusal(World(status=3), "retirement")).message
    error = await refusal(World(operator_id="DE*ABC"), "retirement")
    assert "operator DE*ABC's now" in error.message


async def test_open__another_one_is_under_way__conflict() -> None:
    world = World()
    await world.ask("repair", note="a cable")
    for said in ({"note": "another cable"}, {"note": "a cable", "kind": "firmware"}):
        with pytest.raises(Conflict, match=r"custody record 0 \(repair\) of this passport waits"):
            await world.ask(said.pop("kind", "repair"), **said)
    await world.go()
    assert (await world.ask("firmware", note="2.4")).number == 1


@pytest.mark.parametrize("role", [Role.HOST, Role.AUDITOR, Role.DRIVER, Role.ANONYMOUS])
async def test_open__only_an_operator(role: Role) -> None:
    world = World()
    async with world.work() as work:
        with pytest.raises(NotPermitted):
            await open_custody(
                work,
                Caller(None, "eve", role),
                TERMS,
                world,
                CustodyRequest(STATION_ID, "retirement"),
                now=world.clock.now(),
            )


async def signed_by(world: World, signature: str, caller: Caller = RUNS_IT) -> None:
    async with world.work() as work:
        await sign_custody(work, caller, TERMS, STATION_ID, signature)
        await work.commit()


async def test_sign__only_the_hosts_signature_of_this_record() -> None:
    world = World()
    row = await world.ask("repair", note="a cable")
    digest = row.digest(DOMAIN)
    for other in (NEW_HOST.sign(digest), HOST.sign(bytes(32))):
        with pytest.raises(ChargEraError, match="not signed by the host"):
            await signed_by(world, hex_text(other))
    with pytest.raises(ChargEraError, match="hex digits"):
        await signed_by(world, "0x12")
    await signed_by(world, hex_text(HOST.sign(digest)))
    assert (await world.go(custodial=False)).step is CustodyStep.RECORDED
    with pytest.raises(NotFound, match="under way"):
        await signed_by(world, hex_text(HOST.sign(digest)))


async def test_sign__a_host_signs_for_his_own_stations__nobody_else_may() -> None:
    world = World()
    row = await world.ask("repair", note="a cable")
    with pytest.raises(NotFound, match="no station"):
        await signed_by(world, "0x", Caller("another", "a host", Role.HOST))
    with pytest.raises(NotPermitted):
        await signed_by(world, "0x", Caller("d", "a driver", Role.DRIVER))
    await signed_by(world, hex_text(HOST.sign(row.digest(DOMAIN))), HOSTS_IT)
    assert (await world.go(custodial=False)).step is CustodyStep.RECORDED


async def test_sign__a_retirement__is_a_transaction() -> None:
    world = World()
    await world.ask("retirement")
    with pytest.raises(Conflict, match="own transaction"):
        await signed_by(world, "0x")


async def test_withdraw__until_all_have_signed() -> None:
    world = World()
    row = await world.ask("repair", note="a cable")
    async with world.work() as work:
        withdrawn = await withdraw_custody(work, RUNS_IT, STATION_ID)
        await work.commit()
    assert (withdrawn.step, withdrawn.refusal) == (CustodyStep.REFUSED, "withdrawn by operator")
    assert (await world.go()).step is CustodyStep.REFUSED
    world.rows.custody[0] = replace(row, step=CustodyStep.TRANSACTION)
    async with world.work() as work:
        with pytest.raises(Conflict, match="all have signed it"):
            await withdraw_custody(work, RUNS_IT, STATION_ID)


async def test_withdraw__what_was_recorded_meanwhile__is_not_under_way() -> None:
    world = World()
    row = await world.ask("repair", note="a cable")
    world.faster = replace(row, step=CustodyStep.RECORDED)
    async with world.work() as work:
        with pytest.raises(NotFound):
            await withdraw_custody(work, RUNS_IT, STATION_ID)


async def test_earning__a_retired_or_handed_over_station_takes_no_payment() -> None:
    async def ask(world: World) -> None:
        async with world.work() as work:
            await require_earning(work, world, TERMS, STATION_ID)

    await ask(World())
    pending = World(status=3)
    pending.rows.passport = passport(Step.CONTEST)
    await ask(pending)
    for world in (World(status=3), World(operator_id="DE*ABC")):
        with pytest.raises(Conflict):
            await ask(world)
