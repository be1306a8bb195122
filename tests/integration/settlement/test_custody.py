"""What happens to a charger after its registration, from the request to the record on chain."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chargera.ledger.chain_key import ChainKey
from chargera.ledger.wallet import signed_escrow
from tests.integration.settlement.net import Net, open_net


@pytest.fixture
async def net(database_url: str, tmp_path: Path) -> AsyncIterator[Net]:
    async with open_net(database_url, tmp_path) as net:
        yield net


async def ask(net: Net, kind: str, station_id: str = "CP-1", **said: Any) -> dict[str, Any]:
    """Ask for a custody record, and return it as far as it has come by then."""
    await net.call("POST", f"/passports/{station_id}/custody", {"kind": kind} | said)
    await net.advance(1)
    return await newest(net, station_id)


async def newest(net: Net, station_id: str = "CP-1") -> dict[str, Any]:
    rows: list[dict[str, Any]] = await net.call("GET", f"/passports/{station_id}/custody")
    return rows[-1]


async def refusal(net: Net, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """The error that a request is answered with."""
    response = await net.http.request(method, f"/api/v1{path}", json=body)
    assert response.status_code >= 400, response.text
    error: dict[str, Any] = response.json()["error"]
    assert error["field"] and error["remedy"]
    return error


async def test_retirement__bills_before_it_are_paid_and_later_sessions_earn_nothing(
    net: Net,
) -> None:
    passport = await net.registered_station()
    before = await net.charge()
    record = await ask(net, "retirement", note="dismantled")
    assert (record["step"], record["number"], record["refusal"]) == ("recorded", 0, None)
    view = await net.call("GET", f"/passports/{passport}")
    assert view["registration"] == "retired"
    assert view["retired_at"] == record["recorded_at"]
    [on_chain] = view["chain"]["custody"]
    assert on_chain["recordDigest"] == record["record_digest"]
    after = await net.charge()
    [batch] = await net.settle()
    assert (batch["state"], batch["sessions"], batch["skipped"]) == ("settled", 1, 0)
    assert (await net.session(before))["settlement"]["state"] == "settled"
    assert (await net.session(after))["settlement"]["state"] == "off_chain"
    again = await refusal(net, "POST", "/passports/CP-1/custody", {"kind": "retirement"})
    assert "retired, for ever" in again["message"]


async def test_retired_station__no_escrow_is_opened_for_it(net: Net) -> None:
    await net.registered_station()
    await ask(net, "retirement")
    wallet = ChainKey(secrets.token_bytes(32))
    assert net.server.settling is not None
    asset = net.server.settling.terms.contracts["TestEuro"]
    terms = await net.call("GET", f"/payments/terms?payer={wallet.address_text}&asset={asset}")
    body = signed_escrow(terms, wallet, "CP-1", 1, 5_000_000, secrets.token_bytes)
    error = await refusal(net, "POST", "/payments", body)
    assert "retired" in error["message"]
    assert error["field"] == "station_id"
