"""A stranger finishes what the operator began: on anvil, with the server and its data gone."""

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chargera.ledger.chain_key import ChainKey
from tests.server import COMMAND, ServerProcess, data_folder
from tests.tools.anvil import anvil_program, running_anvil

CHAIN_ID = 31_337
WINDOW_S = 8
TARIFF = {
    "country_code": "NL",
    "currency": "EUR",
    "elements": [{"price_components": [{"price": 9.00, "step_size": 1, "type": "ENERGY"}]}],
    "id": "DAY",
    "last_updated": "2026-01-01T00:00:00Z",
    "party_id": "C4E",
}
SETTINGS = {
    "SETTLEMENT_ENABLED": "true",
    "SETTLEMENT_WINDOW_S": WINDOW_S,
    "SETTLEMENT_CONTEST_PERIOD_S": 1,
}


def chargera(*arguments: str, expect: int = 0) -> Any:
    done = subprocess.run(
        [COMMAND, *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == expect, (arguments, done.stdout, done.stderr)
    return json.loads(done.stdout)


def until(done: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline_s = time.monotonic() + timeout_s
    while True:
        found = done()
        if found:
            return found
        assert time.monotonic() < deadline_s, "it does not come about"
        time.sleep(0.3)


def key_file(path: Path) -> str:
    """Make a key, and return its address."""
    path.write_text(f"0x{secrets.token_bytes(32).hex()}\n")
    return ChainKey.load(path).address_text


def charge(server: ServerProcess, password: str) -> None:
    """Have a software station charge for some seconds of real time."""
    station = subprocess.Popen(
        [
            *(COMMAND, "sim", "station", "--url", server.ready["ocpp"], "--id", "CP-1"),
            *("--password", password, "--ocpp", "2.0.1"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: server.command("station", "show", "CP-1")["connected"])
        start = ("remote-start", "--evse", "1", "--id-token", "CARD")
        started = server.command("station", "command", "CP-1", *start)
        session_id = until(lambda: started["session_id"] or newest(server))
        time.sleep(6)
        server.command("station", "command", "CP-1", "remote-stop", "--session", session_id)
        until(lambda: [s for s in server.command("session", "list") if s["state"] == "billed"])
    finally:
        station.kill()
        station.wait()


def newest(server: ServerProcess) -> str | None:
    rows = server.command("session", "list")
    return rows[0]["session_id"] if rows else None


@pytest.mark.timeout(240)
def test_after_the_proposal__server_killed_and_folder_deleted__settled_and_claimed() -> None:
    program = anvil_program()
    if program is None:
        pytest.fail("anvil is missing: npm ci --prefix contracts")
    with (
        running_anvil(program, CHAIN_ID, int(time.time()), "--block-time", "1") as anvil,
        data_folder() as kept,
        data_folder() as data,
    ):
        host, other = kept / "host", kept / "other"
        host_address, other_address = key_file(host), key_file(other)
        server = ServerProcess(data, settings=SETTINGS | {"CHAIN_RPC": anvil.url}).start()
        try:
            tariff = kept / "tariff.json"
            tariff.write_text(json.dumps(TARIFF))
            server.command("tariff", "set", str(tariff))
            registered = server.command(
                *("station", "register", "--id", "CP-1", "--manufacturer", "Acme", "--model", "X"),
                *("--serial", "1", "--lat", "52", "--lon", "4", "--evse", "1:type2:22000"),
                *("--profile", "1", "--allow-plain", "--host-key", str(host)),
            )
            passport = registered["passport_id"]
            server.command("station", "tariff", "CP-1", "DAY")
            server.command("token", "add", "CARD", "--type", "ISO14443")
            until(
                lambda: server.command("passport", "show", "CP-1")["registration"] == "registered"
            )
            release = ("--to", other_address, "--units", "400000", "--key", str(host))
            server.command("shares", "release", passport, *release)
            charge(server, registered["password"])
            [batch] = server.command("settlement", "close")
            assert batch["state"] == "proposed", batch
            file, trust = kept / "batch.json", kept / "deployment.json"
            file.write_bytes(server.fetch(f"/settlement/{batch['batch']}.json"))
            trust.write_bytes(server.fetch("/deployment.json"))
        finally:
            server.kill()
            server.discard()
        shutil.rmtree(data)
        data.mkdir()
        stranger = kept / "stranger"
        key_file(stranger)
        chain = ("--rpc", anvil.url, "--trust", str(trust), "--key", str(stranger))
        # Within the window nobody can settle it, whoever he is.
        time.sleep(WINDOW_S + 2)
        settled = chargera("settlement", "settle", "--batch", str(file), *chain)
        assert (settled["state"], settled["skipped"]) == ("settled", 0)
        claims = chargera("settlement", "claim", "--passport", passport, *chain)["claims"]
        paid = {claim["holder"]: claim["amount_minor"] for claim in claims}
        assert set(paid) == {host_address, other_address}
        assert paid[host_address] * 4 == paid[other_address] * 6
        balance = {address: balance_of(anvil, claims[0]["asset"], address) for address in paid}
        assert balance == paid
        again = chargera("settlement", "settle", "--batch", str(file), *chain)
        assert (again["state"], again["transaction_hash"]) == ("settled", None)


def balance_of(anvil: Any, asset: str, account: str) -> int:
    data = f"0x70a08231{account[2:].lower():0>64}"
    return int(anvil.ask("eth_call", {"to": asset, "data": data}, "latest"), 16)
