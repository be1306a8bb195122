"""A passport's protocols: declared, then observed, then tested, and proven to a stranger."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chargera.domain.station import OcppVersion, parse_evses
from chargera.proofs.passport_file import verify_passport_file
from chargera.proofs.trust import parse_trust
from chargera.sim.link import Access, Patience
from chargera.sim.station import SimulatedStation, StationModel
from tests.integration.settlement.net import Net, open_net


@pytest.fixture
async def net(database_url: str, tmp_path: Path) -> AsyncIterator[Net]:
    async with open_net(database_url, tmp_path) as net:
        yield net


async def step(net: Net, passport: str, name: str) -> dict[str, Any]:
    """Export the passport, and let a stranger with the trust file verify it offline."""
    await net.call("POST", "/anchors")
    data = (await net.http.get(f"/api/v1/passports/{passport}/export", timeout=60)).content
    verdict = verify_passport_file(data, parse_trust(await net.server.trust_document()))
    assert verdict.valid, verdict
    [found] = [one for one in verdict.as_dict()["steps"] if one["step"] == name]
    tampered = data.replace(b'"outcome":"passed"', b'"outcome":"failed"')
    assert tampered == data or not verify_passport_file(tampered, None).valid
    return dict(found)


async def test_protocol__declared_observed_tested_and_nobody_pays_for_the_test(net: Net) -> None:
    passport = await net.registered_station()
    password = (await net.call("POST", "/stations/CP-1/password", {}))["password"]
    view = await net.call("GET", "/passports/CP-1")
    assert view["protocols"]["ocpp2.0.1"] == "declared"
    assert (await step(net, passport, "protocols"))["status"] == "not_asked"

    model = StationModel(
        access=Access(f"ws://127.0.0.1:{net.server.ocpp.port}/ocpp", "CP-1", password),
        version=OcppVersion.V2_0_1,
        connectors=parse_evses("1:type2:22000,2:type2:22000"),
        rate=0.0,
        patience=Patience(backoff_s=0.1, backoff_max_s=0.2),
    )
    station = SimulatedStation(model, Random(1))
    playing = asyncio.create_task(station.run([], stay=True))
    try:
        async with asyncio.timeout(60):
            while not station.is_online:
                await asyncio.sleep(0.05)
            view = await net.call("GET", "/passports/CP-1")
            assert view["protocols"]["ocpp2.0.1"] == "observed"
            assert view["tests"] == {}
            run = await net.call("POST", "/stations/CP-1/tests", {})
            while run["state"] == "running":
                await asyncio.sleep(0.1)
                run = await net.call("GET", f"/stations/CP-1/tests/{run['run_id']}")
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
    assert run["state"] == "passed", json.dumps(run)
    view = await net.call("GET", "/passports/CP-1")
    assert view["protocols"] == {"ocpp1.6": "declared", "ocpp2.0.1": "tested"}
    assert view["tests"] == {"ocpp2.0.1": run["log_index"]}
    page = (await net.http.get(f"/passport/{passport}")).text
    assert f'<a href="/log/entry/{run["log_index"]}">' in page
    found = await step(net, passport, "protocols")
    assert found["status"] == "ok"
    assert found["detail"] == f"tested: ocpp2.0.1 (entry {run['log_index']})"

    assert await net.bill() == run["session_id"]
    session = await net.session(run["session_id"])
    assert (session["state"], session["settlement"]) == ("refused", None)
    assert await net.close() == []
