"""Standard runs over the API: once for a key, and recorded whatever happens."""

import asyncio
import uuid
from typing import Any

import pytest

from chargera.app.permissions import Caller, Role
from chargera.app.ports import LiveConnection
from chargera.app.station_tests import RunRequest, StationTests
from chargera.domain.errors import Conflict, Unavailable
from chargera.domain.messages import Probe, ProbeAnswer
from chargera.domain.station import OcppVersion
from chargera.ocpp.transcript import read_again
from chargera.store.unit_of_work import Database

from .conftest import Api

PATH = "/stations/CP-1/tests"
ONCE = {"Idempotency-Key": "once"}


@pytest.fixture
async def ready(api: Api) -> Api:
    """Two stations that are connected, accept every command and say nothing."""
    for station_id in ("CP-1", "CP-2"):
        await api.add_station(station_id, serial_number=station_id)
        api.channel.connections[station_id] = LiveConnection(3, OcppVersion.V2_0_1)
        api.channel.connected.add(station_id)
    return api


async def begun(api: Api, path: str = PATH, **more: Any) -> dict[str, Any]:
    answer = await api.call("operator", "POST", path, {}, **more)
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


async def ended(api: Api, run_id: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            run = await api.ok("operator", "GET", f"{PATH}/{run_id}")
            if run["state"] != "running":
                return dict(run)
            await asyncio.sleep(0.02)


async def test_run__of_a_station_that_says_nothing__fails_and_is_recorded(ready: Api) -> None:
    run = await ended(ready, (await begun(ready))["run_id"])
    assert run["state"] == "failed"
    failed = [step["step"] for step in run["steps"] if step["outcome"] == "failed"]
    assert failed[:4] == ["boot", "heartbeat", "status", "clock"]
    [record] = await ready.entries("protocol_tested")
    assert (record["run_id"], record["outcome"]) == (run["run_id"], "failed")
    commands = await ready.ok("operator", "GET", "/stations/CP-1/commands")
    [command] = [each for each in commands if each["action"] == "standard-run"]
    assert (command["accepted"], command["answer"]) == (False, "failed")


async def test_run__the_same_key__one_run_of_one_station(ready: Api) -> None:
    first = await begun(ready, headers=ONCE)
    assert (await begun(ready, headers=ONCE))["run_id"] == first["run_id"]
    await ended(ready, first["run_id"])
    again = await begun(ready, headers=ONCE)
    assert (again["run_id"], again["state"]) == (first["run_id"], "failed")
    other = await ready.call("operator", "POST", "/stations/CP-2/tests", {}, headers=ONCE)
    assert other.status_code == 409
    missing = await ready.call("operator", "GET", f"/stations/CP-2/tests/{first['run_id']}")
    assert missing.status_code == 404


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Conflict("the network is being moved"), "the network is being moved"),
        (ValueError("a fault of ours"), "the run itself failed: ValueError"),
    ],
)
async def test_run__that_cannot_go_on__is_interrupted_with_the_reason(
    ready: Api, error: Exception, reason: str
) -> None:
    async def probe(station_id: str, probe: Probe) -> ProbeAnswer:
        raise error

    ready.channel.probe = probe  # type: ignore[method-assign]  # the double's own switch
    run = await ended(ready, (await begun(ready))["run_id"])
    assert run["reason"] == reason
    assert [step["step"] for step in run["steps"]][-1] == "clock"
    assert run["state"] == "failed", "a step had failed before"
    assert len(await ready.entries("protocol_tested")) == 1


class Flaky:
    """A database that answers, until it does not."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.is_down = False

    def work(self) -> Any:
        if self.is_down:
            raise Unavailable("the database does not answer")
        return self.database.work()


async def test_run__that_cannot_be_recorded__is_found_at_the_next_start(ready: Api) -> None:
    flaky = Flaky(ready.database)

    async def probe(station_id: str, probe: Probe) -> ProbeAnswer:
        flaky.is_down = True
        return ProbeAnswer("UnknownVendorId", is_error=False)

    async def pause(seconds: float) -> None:
        ready.clock.advance(seconds)

    def tests_on(database: Any) -> StationTests:
        return StationTests(
            database,
            ready.services.control,
            ready.channel,
            read_again,
            ready.clock,
            ready.entropy,
            pause=pause,
            monotonic_s=lambda: ready.clock.now().timestamp(),
        )

    ready.channel.probe = probe  # type: ignore[method-assign]  # the double's own switch
    tests, caller = tests_on(flaky), Caller(str(uuid.UUID(int=1)), "ada", Role.OPERATOR)
    run = await tests.start(caller, RunRequest("CP-1"))
    async with asyncio.timeout(30):
        while not flaky.is_down:
            await asyncio.sleep(0.02)
    await tests.close()
    assert await ready.entries("protocol_tested") == []
    for _ in range(2):
        await tests_on(ready.database).recover()
        [record] = await ready.entries("protocol_tested")
        assert (record["run_id"], record["outcome"]) == (run.run_id, "interrupted")
