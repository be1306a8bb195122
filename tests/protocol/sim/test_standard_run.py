"""The standard run over real sockets: simulated stations pass it, bad ones fail the right steps."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest

from chargera import settings
from chargera.app.permissions import Caller, Role
from chargera.app.standard_run import RunPatience
from chargera.app.station_tests import ACTION, RUNNING, RunRequest, RunView, StationTests
from chargera.bootstrap import ServeOptions, Server, running
from chargera.domain.standard_run import RunStep, StepOutcome, is_run_identifier
from chargera.domain.station import OcppVersion, parse_evses
from chargera.ocpp.transcript import read_again
from chargera.sim.link import Access, Patience
from chargera.sim.station import SimulatedStation, StationModel
from tests.doubles.raw_station import RawStation

V16, V201 = OcppVersion.V1_6, OcppVersion.V2_0_1
BOTH = pytest.mark.parametrize("version", [V16, V201])
EVSES = "1:type2:22000,2:type2:22000"
TARIFF = {
    "country_code": "NL",
    "party_id": "C4E",
    "id": "T1",
    "currency": "EUR",
    "elements": [
        {"price_components": [{"type": "ENERGY", "price": 0.4, "vat": 21, "step_size": 1}]}
    ],
    "last_updated": "2024-01-01T00:00:00Z",
}


@dataclass
class Network:
    """A running server, a client of its API, and stations that are connected to it."""

    server: Server
    client: httpx2.AsyncClient
    stations: dict[str, asyncio.Task[Any]]

    async def told(self, method: str, path: str, body: Any = None) -> Any:
        answer = await self.client.request(method, path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    async def connect(self, station: SimulatedStation) -> None:
        station_id = station.model.access.station_id
        self.stations[station_id] = asyncio.create_task(station.run([], stay=True))
        async with asyncio.timeout(20):
            while not station.is_online:
                await asyncio.sleep(0.02)

    async def station(self, station_id: str, version: OcppVersion) -> SimulatedStation:
        """Register a station and return it as software, not connected yet."""
        facts = {
            "station_id": station_id,
            "manufacturer": "ChargEra",
            "model": "Simulated station",
            "serial_number": f"SIM-{station_id}",
            "latitude": "52.3702",
            "longitude": "4.8952",
            "evse": EVSES,
            "profile": 1,
            "allow_plain": True,
        }
        password = (await self.told("POST", "/stations", facts))["password"]
        await self.told("PUT", f"/stations/{station_id}/tariff", {"tariff_id": "T1"})
        url = f"ws://127.0.0.1:{self.server.ocpp.port}/ocpp"
        model = StationModel(
            access=Access(url, station_id, password),
            version=version,
            connectors=parse_evses(EVSES),
            rate=1.0,
            sample_interval_s=3600,
            patience=Patience(backoff_s=0.1, backoff_max_s=0.2, flush_s=1.0),
        )
        return SimulatedStation(model, Random(1))

    async def tested(self, station_id: str, **body: Any) -> dict[str, Any]:
        """Make a run to its end."""
        path = f"/stations/{station_id}/tests"
        begun = await self.told("POST", path, body)
        assert begun["state"] == "running"
        return await self.ended(station_id, begun["run_id"])

    async def ended(self, station_id: str, run_id: str) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                run = await self.told("GET", f"/stations/{station_id}/tests/{run_id}")
                if run["state"] != "running":
                    return dict(run)
                await asyncio.sleep(0.05)


@asynccontextmanager
async def network(folder: Path) -> AsyncIterator[Network]:
    options = ServeOptions(folder, 0, 0)
    off_chain = {"CHARGERA_SETTLEMENT_ENABLED": "false"}
    async with (
        running(options, settings.load(folder, off_chain)) as server,
        httpx2.AsyncClient(
            base_url=f"{server.http_url}/api/v1",
            headers={"Authorization": f"Bearer {server.api_key}"},
            timeout=30,
        ) as client,
    ):
        net = Network(server, client, {})
        await net.told("POST", "/tariffs", TARIFF)
        try:
            yield net
        finally:
            for task in net.stations.values():
                task.cancel()
            await asyncio.gather(*net.stations.values(), return_exceptions=True)


def outcomes(run: dict[str, Any]) -> dict[str, str]:
    return {step["step"]: step["outcome"] for step in run["steps"]}


@BOTH
async def test_a_simulated_station_passes(tmp_path: Path, version: OcppVersion) -> None:
    async with network(tmp_path) as net:
        station = await net.station("CP-1", version)
        await net.connect(station)
        run = await net.tested("CP-1", reset=True)
        assert run["state"] == "passed", [s for s in run["steps"] if s["outcome"] != "passed"]
        entry = await net.told("GET", f"/log/entries/{run['log_index']}")
        session = await net.told("GET", f"/sessions/{run['session_id']}")
        identifiers = (await net.told("GET", "/id-tokens"))["items"]
    assert [step["step"] for step in run["steps"]] == list(RunStep)
    assert set(outcomes(run).values()) == {"passed"}
    record = entry["record"]
    assert (record["outcome"], record["protocol"]) == ("passed", f"ocpp{version}")
    assert record["run_id"] == run["run_id"]
    # Nobody is billed for what it metered, and its identifier is of no use any more.
    assert (session["state"], session["gross_minor"]) == ("refused", None)
    assert session["meter_stop_wh"] >= session["meter_start_wh"]
    [identifier] = identifiers
    assert is_run_identifier(identifier["id_token"].casefold())
    assert identifier["status"] == "blocked"
    assert station.tally.orders[-1] == "reset"


# What bad stations fail ------------------------------------------------------------------------

CASCADE = [RunStep.TRANSACTION_BEGIN, RunStep.METER_VALUES]
CASCADE += [RunStep.REMOTE_STOP, RunStep.TRANSACTION_END]
FAULTS: dict[str, list[RunStep]] = {
    "none": [],
    **{str(step): [step] for step in RunStep if step is not RunStep.CONNECTION},
    "remote_start": [RunStep.REMOTE_START, *CASCADE],
    "remote_stop": [RunStep.REMOTE_STOP, RunStep.TRANSACTION_END],
    "stays away": [RunStep.RESET],
}
"""Each fault with the steps that it fails."""

FAULTS_16 = FAULTS | {
    "transaction_begin": CASCADE,  # no transaction at all: in 1.6 every start has a register
    "meter_values": [RunStep.METER_VALUES, RunStep.TRANSACTION_END],
    "unlock": [],  # a station without locks
    "no time": [],
}
FAULTS_201 = FAULTS | {
    "meter_values": [RunStep.METER_VALUES, RunStep.TRANSACTION_END],
}
PATIENCE = RunPatience(
    poll_s=0.05, message_s=2.0, begin_s=2.0, end_s=2.0, reconnect_s=2.0, whole_s=50.0
)
OPERATOR = Caller(str(uuid.UUID(int=1)), "ada", Role.OPERATOR)


def runs_of(server: Server, patience: RunPatience) -> StationTests:
    return StationTests(
        server.database,
        server.control,
        server.ocpp.commands,
        read_again,
        server.clock,
        server.entropy,
        pause=asyncio.sleep,
        monotonic_s=time.monotonic,
        patience=patience,
    )


async def raw(net: Network, station_id: str, version: OcppVersion, fault: str) -> RawStation:
    """Register a station, connect it, and wait until it has booted."""
    simulated = await net.station(station_id, version)
    access = simulated.model.access
    station = RawStation(access.url, station_id, access.password, str(version), fault)
    net.stations[station_id] = asyncio.create_task(station.run())
    await asyncio.wait_for(station.booted.wait(), 20)
    return station


async def ended(tests: StationTests, station_id: str, run_id: str) -> RunView:
    async with asyncio.timeout(50):
        while (run := await tests.show(OPERATOR, station_id, run_id)).state == RUNNING:
            await asyncio.sleep(0.1)
        return run


@pytest.mark.parametrize(("version", "faults"), [(V16, FAULTS_16), (V201, FAULTS_201)])
async def test_a_bad_station_fails_the_right_steps(
    tmp_path: Path, version: OcppVersion, faults: dict[str, list[RunStep]]
) -> None:
    async with network(tmp_path) as net:
        tests = runs_of(net.server, PATIENCE)

        async def tested(number: int, fault: str) -> RunView:
            station_id = f"CP-{number}"
            await raw(net, station_id, version, fault)
            wanted = RunRequest(station_id, evse=1, with_reset=True)
            run = await tests.start(OPERATOR, wanted)
            return await ended(tests, station_id, run.run_id)

        runs = await asyncio.gather(*(tested(n, fault) for n, fault in enumerate(faults)))
    found = {
        fault: [step.step for step in run.steps if step.outcome == StepOutcome.FAILED]
        for fault, run in zip(faults, runs, strict=True)
    }
    assert found == faults
    for fault, run in zip(faults, runs, strict=True):
        assert run.state == ("failed" if faults[fault] else "passed"), run
        assert len(run.steps) == len(RunStep)


# What cuts a run off ---------------------------------------------------------------------------


@BOTH
async def test_a_connection_that_is_lost_interrupts_the_run(
    tmp_path: Path, version: OcppVersion
) -> None:
    async with network(tmp_path) as net:
        await raw(net, "CP-1", version, "hang up")
        run = await net.tested("CP-1")
        assert (run["state"], run["reason"]) == ("interrupted", "the connection was lost")
        assert [step["step"] for step in run["steps"]] == ["connection", "boot"]
        record = (await net.told("GET", f"/log/entries/{run['log_index']}"))["record"]
        refused = await net.client.post("/stations/CP-1/tests", json={})
    assert record["outcome"] == "interrupted"
    assert refused.status_code == 503


async def test_one_run_at_a_time_and_a_stop_of_the_server_ends_it(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        await raw(net, "CP-1", V201, "heartbeat")
        path = "/stations/CP-1/tests"
        key = {"Idempotency-Key": "once"}
        begun = (await net.client.post(path, json={}, headers=key)).json()
        again = await net.client.post(path, json={}, headers=key)
        second = await net.client.post(path, json={})
        other = await net.client.post(path.replace("CP-1", "CP-2"), json={}, headers=key)
        shown = await net.told("GET", f"{path}/{begun['run_id']}")
    assert again.json()["run_id"] == begun["run_id"]
    assert (second.status_code, other.status_code) == (409, 404)
    assert (shown["state"], shown["ended_at"]) == ("running", None)
    async with network(tmp_path) as net:
        [run] = await net.told("GET", path)
        commands = await net.told("GET", "/stations/CP-1/commands")
    assert (run["run_id"], run["state"]) == (begun["run_id"], "interrupted")
    assert run["reason"] == "the server stopped before the run had ended"
    [command] = [each for each in commands if each["action"] == ACTION]
    assert command["answer"].startswith("interrupted: the server stopped")


async def test_a_run_that_a_crash_cut_off_ends_at_the_next_start(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        await raw(net, "CP-1", V16, "none")
        async with net.server.database.work() as work:
            request = {
                "connection": 4,
                "connector": 1,
                "evse": 2,
                "id_token": "STANDARD-RUN-0000001",
                "ocpp_version": "1.6",
                "reset": False,
            }
            run_id = str(uuid.UUID(int=7))
            now = net.server.clock.now()
            await work.commands.add(run_id, "CP-1", ACTION, request, "ada", now)
            await work.commit()
    async with network(tmp_path) as net:
        [run] = await net.told("GET", "/stations/CP-1/tests")
        [identifier] = (await net.told("GET", "/id-tokens"))["items"]
    assert (run["run_id"], run["state"], run["connection"]) == (run_id, "interrupted", 4)
    assert run["steps"] == []
    assert identifier["status"] == "blocked"


async def test_a_run_may_not_last_for_ever(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        await raw(net, "CP-1", V16, "heartbeat")
        patience = RunPatience(poll_s=0.05, message_s=50.0, whole_s=0.5)
        tests = runs_of(net.server, patience)
        run = await tests.start(OPERATOR, RunRequest("CP-1"))
        assert (await ended(tests, "CP-1", run.run_id)).reason == "it took longer than 0 s"


async def test_a_run_needs_a_connector_where_nothing_charges(tmp_path: Path) -> None:
    async with network(tmp_path) as net:
        station = await net.station("CP-1", V201)
        await net.connect(station)
        await net.told("POST", "/id-tokens", {"id_token": "CARD"})
        body = {"command": "remote-start", "evse": 1, "id_token": "CARD"}
        begun = await net.told("POST", "/stations/CP-1/commands", body)
        assert begun["session_id"] is not None
        taken = await net.client.post("/stations/CP-1/tests", json={"evse": 1})
        missing = await net.client.post("/stations/CP-1/tests", json={"evse": 9})
        run = await net.tested("CP-1")
    assert (taken.status_code, missing.status_code) == (409, 422)
    assert (run["state"], run["evse"]) == ("passed", 2), run["steps"]
    assert outcomes(run)["reset"] == "not_applicable"
