"""Simulated stations at the real server: every session is billed, the signed ones as proven."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chargera import settings
from chargera.bootstrap import ServeOptions, Server, running
from chargera.domain.station import OcppVersion
from chargera.sim.link import Access
from chargera.sim.meter import SigningMeter
from chargera.sim.play import ID_TOKEN, Script, play

OFF_CHAIN = {"CHARGERA_SETTLEMENT_ENABLED": "false"}
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


def pem(secret: int) -> bytes:
    key = ec.derive_private_key(secret, ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@asynccontextmanager
async def api(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        base_url=f"{server.http_url}/api/v1",
        headers={"Authorization": f"Bearer {server.api_key}"},
        timeout=30,
    ) as client:
        yield client


async def told(client: httpx2.AsyncClient, method: str, path: str, body: Any) -> Any:
    key = f"{method}:{path}:{body.get('station_id')}"
    answer = await client.request(method, path, json=body, headers={"Idempotency-Key": key})
    assert answer.status_code < 300, answer.text
    return answer.json()


async def registered(client: httpx2.AsyncClient, station_id: str, meter_key: str | None) -> str:
    facts = {
        "station_id": station_id,
        "manufacturer": "ChargEra",
        "model": "Simulated station",
        "serial_number": f"SIM-{station_id}",
        "latitude": "52.3702",
        "longitude": "4.8952",
        "evse": "1:type2:22000",
        "profile": 1,
        "allow_plain": True,
        "meter_key": meter_key,
    }
    password = (await told(client, "POST", "/stations", facts))["password"]
    await told(client, "PUT", f"/stations/{station_id}/tariff", {"tariff_id": "T1"})
    return str(password)


async def billed(client: httpx2.AsyncClient, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        while True:
            rows = (await client.get("/sessions")).json()["items"]
            if len([row for row in rows if row["state"] == "billed"]) == count:
                return rows
            await asyncio.sleep(0.2)


@pytest.mark.parametrize("manual_clock", [False, True])
async def test_every_session_is_billed(tmp_path: Path, manual_clock: bool) -> None:
    options = ServeOptions(tmp_path, 0, 0, manual_clock=manual_clock)
    kinds = [(version, signs) for version in OcppVersion for signs in (False, True)]
    async with (
        running(options, settings.load(tmp_path, OFF_CHAIN)) as server,
        api(server) as client,
    ):
        await told(client, "POST", "/id-tokens", {"id_token": ID_TOKEN, "type": "ISO14443"})
        await told(client, "POST", "/tariffs", TARIFF)
        plays = []
        for number, (version, signs) in enumerate(kinds, start=1):
            station_id = f"CP{number}"
            key = SigningMeter.load(pem(number), "").public_key_pem if signs else None
            access = Access(
                f"ws://127.0.0.1:{server.ocpp.port}/ocpp",
                station_id,
                await registered(client, station_id, key),
            )
            meter_pem = pem(number) if signs else None
            plays.append(Script(access, version, sessions=1, meter_pem=meter_pem, session_s=1))
        tallies = await asyncio.gather(*(play(script) for script in plays))
        rows = await billed(client, len(kinds))
    for row in rows:
        place = int(row["station_id"].removeprefix("CP")) - 1
        version, signs = kinds[place]
        assert row["ocpp_version"] == version
        assert row["energy_wh"] == tallies[place].energy_wh
        assert row["net_minor"] == pytest.approx(row["energy_wh"] * 0.04, abs=0.5)
        assert row["proof_level"] == ("L2" if signs else "L0")
        assert row["anomalies"] == []
