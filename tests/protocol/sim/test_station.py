"""The simulated station against a central system built on PyPI `ocpp`, over real sockets."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import ocpp.v16.call as call16
import ocpp.v201.call as call201
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chargera.domain.errors import InvalidInput, NotPermitted, Refused, Unavailable
from chargera.domain.station import OcppVersion, parse_evses
from chargera.proofs.meter_checks import verify_meter
from chargera.proofs.meter_key import load_meter_key
from chargera.sim.link import Access, Patience
from chargera.sim.meter import SigningMeter
from chargera.sim.plan import PlannedSession
from chargera.sim.station import SimulatedStation, StationModel
from tests.doubles.csms import Csms

RATE = 7200.0
FAST = Patience(answer_s=2.0, backoff_s=0.05, backoff_max_s=0.1, attempts=2, flush_s=1.0)
V16, V201 = OcppVersion.V1_6, OcppVersion.V2_0_1
BOTH = pytest.mark.parametrize("version", [V16, V201])
ENERGY = "Energy.Active.Import.Register"


@pytest.fixture
async def csms() -> AsyncIterator[Csms]:
    async with Csms(rate=RATE) as running:
        yield running


def station(
    csms: Csms,
    version: OcppVersion,
    *,
    evses: str = "1:type2:22000",
    meter: SigningMeter | None = None,
    password: str | None = None,
    **changes: Any,
) -> SimulatedStation:
    options: dict[str, Any] = {"rate": csms.rate, "patience": FAST, "sample_interval_s": 900}
    model = StationModel(
        access=Access(csms.url, "CP1", password or csms.password),
        version=version,
        connectors=parse_evses(evses),
        **(options | changes),
    )
    return SimulatedStation(model, Random(1), meter)


def visit(minutes: int = 60, energy_wh: int = 11_000, **changes: Any) -> PlannedSession:
    return PlannedSession(
        **{
            "arrives_after": timedelta(0),
            "parked_for": timedelta(minutes=minutes),
            "energy_wh": energy_wh,
            "power_w": 22_000,
            "id_token": "04AB",
        }
        | changes
    )


@contextlib.asynccontextmanager
async def running(unit: SimulatedStation, *sessions: PlannedSession) -> AsyncIterator[None]:
    """Let the station stay while the body runs."""
    task = asyncio.create_task(unit.run(sessions, stay=True))
    try:
        async with asyncio.timeout(60):
            yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(claim: Any) -> None:
    async with asyncio.timeout(40):
        while not claim():
            await asyncio.sleep(0.01)


def moments(payloads: list[dict[str, Any]]) -> list[datetime]:
    return [datetime.fromisoformat(payload["timestamp"]) for payload in payloads]


# What a session tells


async def test_a_session_of_1_6(csms: Csms) -> None:
    unit = station(csms, V16, register_wh=5_000)
    tally = await unit.run([visit()])
    assert (tally.ended, tally.energy_wh, tally.boots, unit.unsent) == (1, 11_000, 1, 0)
    [boot] = csms.of("BootNotification")
    assert boot["charge_point_vendor"] == "ChargEra"
    [start], [stop] = csms.of("StartTransaction"), csms.of("StopTransaction")
    assert (start["connector_id"], start["id_tag"], start["meter_start"]) == (1, "04AB", 5_000)
    assert (stop["transaction_id"], stop["meter_stop"], stop["reason"]) == (1000, 16_000, "Local")
    assert "transaction_data" not in stop
    assert moments([stop])[0] - moments([start])[0] == timedelta(minutes=60)
    states = [payload["status"] for payload in csms.of("StatusNotification")]
    expected = ["Available", "Preparing", "Charging", "SuspendedEV", "Finishing", "Available"]
    assert states == expected
    readings = [payload["meter_value"][0] for payload in csms.of("MeterValues")]
    assert {payload["transaction_id"] for payload in csms.of("MeterValues")} == {1000}
    registers = [
        int(value["value"])
        for reading in readings
        for value in reading["sampled_value"]
        if value["measurand"] == ENERGY
    ]
    assert registers == sorted(registers)
    assert registers[-1] == 16_000
    assert moments(readings) == sorted(moments(readings))


async def test_a_session_of_2_0_1(csms: Csms) -> None:
    unit = station(csms, V201, evses="1:ccs2:50000,2:type2:22000", register_wh=5_000)
    tally = await unit.run([visit(evse=2, id_token_kind="eMAID")])
    assert (tally.ended, tally.energy_wh, unit.unsent) == (1, 11_000, 0)
    events = csms.of("TransactionEvent")
    assert [event["seq_no"] for event in events] == list(range(len(events)))
    assert len({event["transaction_info"]["transaction_id"] for event in events}) == 1
    kinds = [event["event_type"] for event in events]
    assert kinds == ["Started", *["Updated"] * (len(events) - 2), "Ended"]
    assert events[0]["id_token"] == {"id_token": "04AB", "type": "eMAID"}
    assert events[0]["evse"] == {"id": 2, "connector_id": 1}
    assert events[0]["trigger_reason"] == "Authorized"
    assert events[-1]["transaction_info"]["stopped_reason"] == "Local"
    states = [event["transaction_info"]["charging_state"] for event in events]
    assert states[0] == "Charging"
    assert "SuspendedEV" in states
    registers = [event["meter_value"][0]["sampled_value"][0]["value"] for event in events]
    assert (registers[0], registers[-1]) == (5_000, 16_000)
    assert registers == sorted(registers)
    at_2 = [p["connector_status"] for p in csms.of("StatusNotification") if p["evse_id"] == 2]
    assert at_2 == ["Available", "Occupied", "Available"]


@BOTH
async def test_power_is_never_above_the_rating(csms: Csms, version: OcppVersion) -> None:
    unit = station(csms, version, evses="1:type2:11000", sample_interval_s=300)
    await unit.run([visit(minutes=90, power_w=150_000, energy_wh=20_000)])
    powers, readings = [], []
    for payload in csms.of("MeterValues", "TransactionEvent"):
        reading = payload["meter_value"][0]
        by_name = {v["measurand"]: int(v["value"]) for v in reading["sampled_value"]}
        powers.append(by_name["Power.Active.Import"])
        readings.append((datetime.fromisoformat(reading["timestamp"]), by_name[ENERGY]))
    assert 0 < max(powers) <= 11_000
    for (earlier, low), (later, high) in pairwise(readings):
        assert high - low <= 11_000 * (later - earlier).total_seconds() / 3600 + 1


@BOTH
async def test_a_car_that_leaves_before_it_is_full(csms: Csms, version: OcppVersion) -> None:
    tally = await station(csms, version).run([visit(minutes=12, energy_wh=40_000)])
    assert tally.energy_wh == 4_400


@BOTH
async def test_cars_wait_for_their_turn(csms: Csms, version: OcppVersion) -> None:
    sessions = [visit(minutes=20, energy_wh=1_000) for _ in range(3)]
    tally = await station(csms, version).run(sessions)
    assert (tally.ended, tally.energy_wh) == (3, 3_000)


async def test_the_same_seed_tells_the_same_story(csms: Csms) -> None:
    stories = []
    for _ in range(2):
        csms.heard.clear()
        await station(csms, V201).run([visit(), visit(minutes=30)])
        stories.append(
            [
                (
                    e["event_type"],
                    e["transaction_info"],
                    e["seq_no"],
                    e["meter_value"][0]["sampled_value"],
                )
                for e in csms.of("TransactionEvent")
            ]
        )
    assert stories[0] == stories[1]


# Who may


@BOTH
async def test_a_wrong_password_is_told_at_once(csms: Csms, version: OcppVersion) -> None:
    with pytest.raises(NotPermitted, match="CP1") as error:
        await station(csms, version, password="another-password").run([visit()])
    assert "register" in error.value.remedy


@BOTH
async def test_a_driver_who_may_not_charge(csms: Csms, version: OcppVersion) -> None:
    csms.refused_tokens = frozenset({"04AB"})
    tally = await station(csms, version).run([visit()])
    assert (tally.refused, tally.ended) == (1, 0)
    assert not csms.of("StartTransaction", "TransactionEvent")


@BOTH
async def test_a_transaction_that_is_refused_ends(csms: Csms, version: OcppVersion) -> None:
    unit = station(csms, version)
    async with running(unit):
        await csms.until("BootNotification")
        csms.refused_tokens = frozenset({"BAD"})
        await eventually(lambda: unit.is_online)
        await csms.order("CP1", start_order(version, "BAD"))
        await eventually(lambda: unit.tally.ended == 1)
        await eventually(lambda: not unit.unsent)
    last = csms.of("StopTransaction", "TransactionEvent")[-1]
    assert reason_of(last) == "DeAuthorized"


async def test_a_meter_for_several_connectors_is_refused(csms: Csms) -> None:
    meter = SigningMeter(ec.derive_private_key(5, ec.SECP256R1()), "M1")
    with pytest.raises(InvalidInput, match="one connector"):
        station(csms, V16, evses="1:type2:22000,2:type2:22000", meter=meter)


async def test_a_plan_for_an_evse_that_is_not_there(csms: Csms) -> None:
    with pytest.raises(InvalidInput, match="no EVSE 7"):
        await station(csms, V16).run([visit(evse=7)])


# Orders


def start_order(version: OcppVersion, id_token: str, connector: int | None = 1) -> Any:
    if version is V16:
        return call16.RemoteStartTransaction(id_tag=id_token, connector_id=connector)
    return call201.RequestStartTransaction(
        id_token={"id_token": id_token, "type": "Central"}, remote_start_id=77, evse_id=connector
    )


def stop_order(version: OcppVersion, payload: dict[str, Any]) -> Any:
    if version is V16:
        return call16.RemoteStopTransaction(transaction_id=1000)
    return call201.RequestStopTransaction(payload["transaction_info"]["transaction_id"])


def reason_of(payload: dict[str, Any]) -> str:
    return payload.get("reason") or payload["transaction_info"]["stopped_reason"]


@BOTH
async def test_remote_start_and_stop(csms: Csms, version: OcppVersion) -> None:
    begin, end = (
        ("StartTransaction", "StopTransaction")
        if version is V16
        else ("TransactionEvent", "TransactionEvent")
    )
    unit = station(csms, version)
    async with running(unit):
        await eventually(lambda: unit.is_online)
        answer = await csms.order("CP1", start_order(version, "04AB"))
        assert answer.status == "Accepted"
        busy = await csms.order("CP1", start_order(version, "04AB"))
        assert busy.status == "Rejected"
        started = (await csms.until(begin))[0]
        if version is V201:
            assert started["trigger_reason"] == "RemoteStart"
            assert started["transaction_info"]["remote_start_id"] == 77
        await eventually(lambda: not unit.unsent)
        answer = await csms.order("CP1", stop_order(version, started))
        assert answer.status == "Accepted"
        await eventually(lambda: unit.tally.ended == 1)
        await eventually(lambda: not unit.unsent)
        answer = await csms.order("CP1", stop_order(version, started))
        assert answer.status == "Rejected"
    assert reason_of(csms.of(end)[-1]) == "Remote"
    assert not csms.of("Authorize")


@BOTH
async def test_a_remote_start_makes_room_for_what_is_planned(
    csms: Csms, version: OcppVersion
) -> None:
    unit = station(csms, version)
    # The car from afar would stay for two hours at least: 1 s here, and the plan comes after it.
    plan = [visit(minutes=20, arrives_after=timedelta(hours=1))]
    task = asyncio.create_task(unit.run(plan))
    await eventually(lambda: unit.is_online)
    assert (await csms.order("CP1", start_order(version, "04AB"))).status == "Accepted"
    assert (await asyncio.wait_for(task, 20)).ended == 2
    begins = [p for p in csms.of("StartTransaction", "TransactionEvent") if _phase(p) != "Ended"]
    ends = [p for p in csms.of("StopTransaction", "TransactionEvent") if _phase(p) == "Ended"]
    assert moments(ends)[0] - moments(begins)[0] < timedelta(hours=1, minutes=50)


def _phase(payload: dict[str, Any]) -> str:
    return payload.get("event_type") or ("Ended" if "meter_stop" in payload else "Started")


async def test_a_network_that_speaks_another_version_is_told_at_once(csms: Csms) -> None:
    csms.versions = ["ocpp1.6"]
    await csms.stop()
    await csms.restart()
    with pytest.raises(Refused) as refused:
        await station(csms, V201).run([visit()])
    assert refused.value.field == "ocpp"


async def test_a_network_out_of_reach_is_told_after_a_while(csms: Csms) -> None:
    await csms.stop()
    patience = Patience(backoff_s=0.02, backoff_max_s=0.05, reach_s=0.2)
    with pytest.raises(Unavailable) as unavailable:
        await station(csms, V16, patience=patience).run([visit()])
    assert unavailable.value.field == "url"


@BOTH
async def test_a_remote_start_anywhere_and_nowhere(csms: Csms, version: OcppVersion) -> None:
    unit = station(csms, version, evses="1:type2:22000,2:type2:22000")
    async with running(unit):
        await eventually(lambda: unit.is_online)
        answers = [
            await csms.order("CP1", start_order(version, "04AB", connector))
            for connector in (None, None, None, 9)
        ]
    assert [a.status for a in answers] == ["Accepted", "Accepted", "Rejected", "Rejected"]


@BOTH
async def test_reset_ends_everything_and_boots_anew(csms: Csms, version: OcppVersion) -> None:
    order = call16.Reset(type="Hard") if version is V16 else call201.Reset(type="Immediate")
    unit = station(csms, version)
    async with running(unit, visit(minutes=60_000)):
        await csms.until("StartTransaction" if version is V16 else "TransactionEvent")
        await eventually(lambda: not unit.unsent)
        assert (await csms.order("CP1", order)).status == "Accepted"
        boots = await csms.until("BootNotification", 2)
        await eventually(lambda: unit.tally.boots == 2)
    assert unit.tally.ended == 1
    last = csms.of("StopTransaction", "TransactionEvent")[-1]
    assert reason_of(last) == ("SoftReset" if version is V16 else "ImmediateReset")
    if version is V201:
        assert [boot["reason"] for boot in boots] == ["PowerUp", "RemoteReset"]


@BOTH
async def test_unlock(csms: Csms, version: OcppVersion) -> None:
    def order(number: int) -> Any:
        if version is V16:
            return call16.UnlockConnector(connector_id=number)
        return call201.UnlockConnector(evse_id=number, connector_id=1)

    unit = station(csms, version)
    async with running(unit, visit(minutes=60_000)):
        await csms.until("StartTransaction" if version is V16 else "TransactionEvent")
        await eventually(lambda: not unit.unsent)
        assert (await csms.order("CP1", order(1))).status == "Unlocked"
        await eventually(lambda: unit.tally.ended == 1)
        assert (await csms.order("CP1", order(1))).status == "Unlocked"
        missing = (await csms.order("CP1", order(9))).status
    assert missing == ("NotSupported" if version is V16 else "UnknownConnector")


@BOTH
async def test_trigger(csms: Csms, version: OcppVersion) -> None:
    values = "MeterValues" if version is V16 else "TransactionEvent"

    def order(message: str) -> Any:
        if version is V16:
            return call16.TriggerMessage(requested_message=message, connector_id=1)
        evse = {"id": 1} if message == "StatusNotification" else None
        return call201.TriggerMessage(requested_message=message, evse=evse)

    unit = station(csms, version, sample_interval_s=10**9)
    async with running(unit, visit(minutes=60_000, energy_wh=10**8)):
        await csms.until("StartTransaction" if version is V16 else "TransactionEvent")
        await eventually(lambda: not unit.unsent)
        for message in ("BootNotification", "Heartbeat", "StatusNotification", values):
            before = len(csms.of(message))
            assert (await csms.order("CP1", order(message))).status == "Accepted"
            await csms.until(message, before + 1)
        unknown = await csms.order("CP1", order("FirmwareStatusNotification"))
    assert unknown.status == "NotImplemented"
    assert "trigger Heartbeat" in unit.tally.orders


# A bad line


@BOTH
async def test_what_happens_offline_is_told_later(csms: Csms, version: OcppVersion) -> None:
    unit = station(csms, version)
    task = asyncio.create_task(unit.run([visit(), visit(minutes=30, energy_wh=2_000)]))
    await csms.until("StartTransaction" if version is V16 else "TransactionEvent")
    await csms.stop()
    await eventually(lambda: unit.tally.ended == 2)
    assert unit.unsent > 0
    assert not unit.is_online
    await csms.restart()
    tally = await asyncio.wait_for(task, 15)
    assert (tally.ended, tally.energy_wh, unit.unsent, unit.dropped) == (2, 13_000, 0, 0)
    assert csms.connections == 2
    if version is V16:
        starts, stops = csms.of("StartTransaction"), csms.of("StopTransaction")
        assert [s["meter_start"] for s in starts][-1] == 11_000
        assert [s["meter_stop"] for s in stops] == [11_000, 13_000]
        assert stops[0]["transaction_id"] < stops[1]["transaction_id"]
    else:
        events = csms.of("TransactionEvent")
        ids = list(dict.fromkeys(e["transaction_info"]["transaction_id"] for e in events))
        assert len(ids) == 2
        for wanted in ids:
            seen = [
                e["seq_no"] for e in events if e["transaction_info"]["transaction_id"] == wanted
            ]
            assert sorted(set(seen)) == list(range(len(set(seen))))
        assert events[-1]["offline"] is True
        assert "offline" not in events[0]
    told = moments(csms.of("StopTransaction", "TransactionEvent"))
    assert told == sorted(told)


@BOTH
async def test_an_answer_that_is_lost_makes_a_new_message(csms: Csms, version: OcppVersion) -> None:
    action = "StartTransaction" if version is V16 else "TransactionEvent"
    csms.silent = {action}
    unit = station(csms, version)
    tally = await unit.run([visit()])
    assert tally.ended == 1
    first, second = [heard for heard in csms.heard if heard.action == action][:2]
    assert first.payload == second.payload
    assert first.message_id != second.message_id
    assert tally.boots == 2


@BOTH
async def test_errors_are_repeated_and_then_given_up(csms: Csms, version: OcppVersion) -> None:
    csms.errors = 1
    unit = station(csms, version)
    await unit.run([visit()])
    assert unit.dropped == 0
    csms.errors = FAST.attempts
    unit = station(csms, version)
    await unit.run([visit()])
    assert (unit.dropped, unit.unsent) == (1, 0)


async def test_a_start_that_was_given_up_leaves_a_stray_stop(csms: Csms) -> None:
    csms.errors = FAST.attempts
    await station(csms, V16).run([visit()])
    assert csms.of("StopTransaction")[0]["transaction_id"] == -1


@BOTH
async def test_hanging_up_is_no_reset(csms: Csms, version: OcppVersion) -> None:
    unit = station(csms, version)
    async with running(unit, visit(minutes=60_000)):
        await eventually(lambda: unit.is_online)
        unit.hang_up()
        boots = await csms.until("BootNotification", 2)
    assert unit.tally.ended == 0
    if version is V201:
        assert boots[1]["reason"] == "PowerUp"


@BOTH
async def test_a_boot_that_must_wait(csms: Csms, version: OcppVersion) -> None:
    csms.boot_answers = ["Pending", "Rejected"]
    unit = station(csms, version)
    tally = await unit.run([visit()])
    assert len(csms.of("BootNotification")) == 3
    assert (tally.boots, tally.ended) == (1, 1)


async def test_a_server_that_is_not_there_yet() -> None:
    async with Csms(rate=RATE) as csms:
        unit = station(csms, V16)
        await csms.stop()
        task = asyncio.create_task(unit.run([visit()]))
        await asyncio.sleep(0.2)
        await csms.restart()
        assert (await asyncio.wait_for(task, 15)).ended == 1


# The clock


@pytest.mark.parametrize("rate", [0.0, 1.0, 3600.0])
async def test_the_rate_of_the_network_is_measured(rate: float) -> None:
    async with Csms(rate=rate) as csms:
        unit = station(csms, V16, rate=None)
        async with running(unit):
            await eventually(lambda: unit.is_online)
            assert unit.clock.rate == pytest.approx(rate, rel=0.1)


async def test_a_network_whose_time_stands_still() -> None:
    async with Csms(rate=0.0) as csms:
        unit = station(csms, V201)
        async with running(unit, visit()):
            await csms.until("TransactionEvent")
            csms.start += timedelta(hours=2)
            await eventually(lambda: unit.tally.ended == 1)
            await eventually(lambda: not unit.unsent)
    events = csms.of("TransactionEvent")
    assert moments(events)[-1] - moments(events)[0] == timedelta(hours=1)


async def test_a_station_that_tells_its_past() -> None:
    async with Csms(rate=1.0) as csms:
        past = timedelta(hours=2)
        unit = station(csms, V16, behind=past, speed=7200.0)
        await unit.run([visit(), visit(minutes=50)])
        stops = moments(csms.of("StopTransaction"))
        assert csms.start - past <= stops[0] < stops[1] < csms.now()


# Signed values


@BOTH
@pytest.mark.parametrize("together", [False, True])
async def test_signed_values(csms: Csms, version: OcppVersion, together: bool) -> None:
    meter = SigningMeter(ec.derive_private_key(5, ec.SECP256R1()), "M1", page=8)
    unit = station(csms, version, meter=meter, signs_together=together)
    await unit.run([visit(), visit(minutes=30, energy_wh=2_000)])
    values: list[list[bytes]] = [[]]
    if version is V16:
        values = []
        for stop in csms.of("StopTransaction"):
            signed = [v for m in stop["transaction_data"] for v in m["sampled_value"]]
            assert {v["format"] for v in signed} == {"SignedData"}
            contexts = [v["context"] for v in signed]
            expected = ["Transaction.Begin", "Transaction.End"]
            assert contexts == (expected[1:] if together else expected)
            values.append([v["value"].encode() for v in signed])
    else:
        for event in csms.of("TransactionEvent"):
            if signed := event["meter_value"][0]["sampled_value"][0].get("signed_meter_value"):
                assert signed["encoding_method"] == "OCMF"
                assert signed["signing_method"] == "ECDSA-secp256r1-SHA256"
                assert base64.b64decode(signed["public_key"]).hex() == meter.public_key_hex
                values[-1].append(base64.b64decode(signed["signed_meter_data"]))
            if event["event_type"] == "Ended":
                values.append([])
        values.pop()
    pages = {"T": 8}
    key = load_meter_key(meter.public_key_pem)
    for strings, energy_wh in zip(values, (11_000, 2_000), strict=True):
        verdict = verify_meter(strings, key, previous_pages=pages)
        assert verdict.valid, verdict.failed_step
        assert verdict.energy_wh == energy_wh
        pages = verdict.last_pages
    assert pages == {"T": meter.page}
    assert unit.register_wh == 13_000


@BOTH
async def test_a_question_that_is_answered_with_an_error(csms: Csms, version: OcppVersion) -> None:
    csms.broken = {"Authorize", "StatusNotification"}
    tally = await station(csms, version).run([visit()])
    assert (tally.ended, tally.refused) == (1, 0)


async def test_a_password_that_is_refused_later_is_tried_again(csms: Csms) -> None:
    unit = station(csms, V16)
    async with running(unit):
        await eventually(lambda: unit.is_online)
        right, csms.password = csms.password, "changed-while-it-was-online"
        unit.hang_up()
        await eventually(lambda: not unit.is_online)
        await asyncio.sleep(0.3)
        csms.password = right
        await csms.until("BootNotification", 2)
