"""One real server for all foreign judges of a run: stations come in, are billed, leave a log."""

import base64
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.server import ServerProcess, data_folder

TOOLS = Path(__file__).parents[2] / "build" / "tools"
ID_TOKEN = "JUDGE-CARD-1"
TARIFF = {
    "country_code": "NL",
    "party_id": "C4E",
    "id": "JUDGED",
    "currency": "EUR",
    "elements": [
        {
            "price_components": [
                {"type": "ENERGY", "price": 0.40, "vat": 21, "step_size": 1},
                {"type": "PARKING_TIME", "price": 3.00, "vat": 21, "step_size": 1},
                {"type": "FLAT", "price": 0.35, "vat": 21, "step_size": 1},
            ]
        }
    ],
    "last_updated": "2026-01-01T00:00:00Z",
}
PATIENCE_S = 20.0
"""A bill comes within 15 seconds of the session's end."""


@dataclass(frozen=True)
class Credentials:
    """What a registered station knows."""

    station_id: str
    password: str
    version: str
    endpoint: str
    ca_file: str | None

    def plan(self, **more: Any) -> str:
        """Return what the programs under `node/` are told."""
        known = {
            "endpoint": self.endpoint,
            "identity": self.station_id,
            "password": self.password,
            "version": self.version,
            "idToken": ID_TOKEN,
            "ca": self.ca_file,
        }
        return json.dumps(known | more)


class Network:
    """The server, with a tariff and a card; hands out registered stations."""

    def __init__(self, server: ServerProcess, folder: Path) -> None:
        self.server = server
        self._numbers = itertools.count(1)
        tariff = folder / "tariff.json"
        tariff.write_text(json.dumps(TARIFF))
        server.command("tariff", "set", str(tariff))
        server.command("token", "add", ID_TOKEN, "--type", "ISO14443")

    def station(self, version: str, *, tls: bool = False) -> Credentials:
        """Register a station of one version, by security profile 1 or 2."""
        station_id = f"JUDGE-{next(self._numbers)}"
        profile = ["--profile", "2"] if tls else ["--profile", "1", "--allow-plain"]
        made = self.server.command(
            *["station", "register", "--id", station_id, "--ocpp", version, *profile],
            *["--manufacturer", "Judge", "--model", "Strict", "--serial", f"S-{station_id}"],
            *["--lat", "52.37", "--lon", "4.89", "--time-zone", "Europe/Amsterdam"],
            *["--evse", "1:type2:22000"],
        )
        self.server.command("station", "tariff", station_id, TARIFF["id"])
        ready = self.server.ready
        ca_file = str(self.server.data_dir / "tls" / "ca.pem") if tls else None
        endpoint = ready["ocpps"] if tls else ready["ocpp"]
        return Credentials(station_id, made["password"], version, endpoint, ca_file)

    def billed(self, station_id: str, count: int) -> list[dict[str, Any]]:
        """Return the station's sessions in the order of their start, once all are billed."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            rows = self.server.command("session", "list", "--station", station_id)
            if len(rows) == count and {row["state"] for row in rows} == {"billed"}:
                return sorted(rows, key=lambda row: row["started_at"])
            assert time.monotonic() < deadline_s, rows
            time.sleep(0.25)

    def simulate(self, station: Credentials, sessions: int) -> list[dict[str, Any]]:
        """Let a software station charge, and return its bills."""
        ca_file = ["--ca-file", station.ca_file] if station.ca_file else []
        self.server.command(
            *["sim", "station", "--url", station.endpoint, "--id", station.station_id],
            *["--password", station.password, "--ocpp", station.version],
            *["--sessions", str(sessions), "--id-token", ID_TOKEN, *ca_file],
        )
        return self.billed(station.station_id, sessions)

    def heads(self) -> list[bytes]:
        """Return every signed head that stands on the topic, as anybody reads it there."""
        topic = json.loads(self.server.fetch("/deployment.json"))["topics"][0]["id"]
        path = f"/api/v1/topics/{topic}/messages?limit=100"
        found = []
        while path:
            page = json.loads(self.server.fetch(path))
            found += [base64.b64decode(row["message"]) for row in page["messages"]]
            path = page["links"]["next"]
        return found


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """The server of this run; it must end by itself, with nothing left behind."""
    with data_folder() as folder:
        server = ServerProcess(folder, "--ocpp-tls-port", "0").start()
        try:
            yield Network(server, tmp_path_factory.mktemp("network"))
            server.stop()
        finally:
            server.discard()


@pytest.fixture(scope="session")
def charged(network: Network) -> list[dict[str, Any]]:
    """The bills of software stations of both versions; heads were anchored in between."""
    bills = []
    for version in ("1.6", "2.0.1"):
        network.server.command("anchor", "now")
        bills += network.simulate(network.station(version, tls=True), sessions=2)
    network.server.command("anchor", "now")
    return bills
