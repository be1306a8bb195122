"""The standard run over real sockets: simulated stations pass it, bad ones fail the right steps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest

from chargera import settings
from chargera.bootstrap import ServeOptions, Server, running
from chargera.domain.standard_run import RunStep, is_run_identifier
from chargera.domain.station import OcppVersion, parse_evses
from chargera.sim.link import Access, Patience
from chargera.sim.station import SimulatedStation, StationModel

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
