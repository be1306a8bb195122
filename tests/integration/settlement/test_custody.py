"""What happens to a charger after its registration, from the request to the record on chain."""

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chargera.domain.messages import ReadingContext, SignedValue
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.wallet import signed_escrow
from chargera.proofs.receipt import verify_receipt
from chargera.proofs.trust import parse_trust
from chargera.sim.meter import Identification, ReadingKind, SigningMeter
from tests.integration.settlement.net import CONTEST_S, Net, open_net


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
    assert None not in (error["field"], error["remedy"] or None)
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


# Meter exchange ----------------------------------------------------------------------------------


def meter_of(number: int) -> SigningMeter:
    return SigningMeter(ec.generate_private_key(ec.SECP256R1()), f"M-{number}")


async def signed_session(
    net: Net, meter: SigningMeter, id_token: str = "CARD", station_id: str = "CP-1"
) -> str:
    """Charge with begin and end signed by a meter; return the session."""
    begin = net.registers.get((station_id, 1), 1_000)
    at = net.now
    pair = [
        meter.reading(begin, at, ReadingKind.BEGIN, Identification(id_token)),
        meter.reading(
            begin + 10_000, at + timedelta(hours=1), ReadingKind.END, Identification(id_token)
        ),
    ]
    contexts = (ReadingContext.BEGIN, ReadingContext.END)
    signed = tuple(
        SignedValue(raw.encode(), context, at) for raw, context in zip(pair, contexts, strict=True)
    )
    return await net.charge(station_id, id_token=id_token, signed=signed)


async def signing_station(net: Net, meter: SigningMeter, station_id: str = "CP-1") -> str:
    """A registered station whose meter signs; return its passport's id."""
    registered = await net.station(station_id, meter_key=meter.public_key_pem)
    await net.advance(1)
    view = await net.call("GET", f"/passports/{station_id}")
    await signed_session(net, meter, view["onboarding_id_token"], station_id)
    await net.advance(15)
    await net.advance(CONTEST_S + 1)
    view = await net.call("GET", f"/passports/{station_id}")
    assert view["registration"] == "registered", view
    return str(registered["passport_id"])


async def failed_steps(net: Net, session_id: str) -> list[str]:
    """What a stranger with the trust file finds wrong with a session's receipt."""
    receipt = await net.http.get(f"/api/v1/sessions/{session_id}/receipt")
    assert receipt.status_code == 200, receipt.text
    trust = parse_trust(await net.server.trust_document())
    steps = verify_receipt(receipt.content, trust).steps
    assert "ok" in {step.status for step in steps if step.step == "signed_values"}
    return [f"{step.step}: {step.detail}" for step in steps if step.status == "failed"]


async def test_meter_exchange__old_sessions_verify_with_the_old_key_new_ones_with_the_new(
    net: Net,
) -> None:
    old, new = meter_of(1), meter_of(2)
    passport = await signing_station(net, old)
    before = await signed_session(net, old)
    record = await ask(net, "meter", meter_key=new.public_key_pem, note="calibration is over")
    assert record["step"] == "reading"
    stolen = await signed_session(net, old, record["id_token"])
    assert (await net.session(stolen))["state"] == "review"
    await net.advance(15)
    assert (await newest(net))["step"] == "reading"
    await signed_session(net, new, record["id_token"])
    await net.advance(15)
    record = await newest(net)
    assert record["step"] == "recorded", record
    after = await signed_session(net, new)
    facts = (await net.call("GET", f"/passports/{passport}"))["chain"]["facts"]
    assert facts["meterKeyHash"] == record["value"]
    for session_id in (before, after):
        assert (await net.session(session_id))["proof_level"] == "L2"
        assert await failed_steps(net, session_id) == []
    batches = await net.settle()
    assert [batch["state"] for batch in batches] == ["settled"]
    for session_id in (before, after):
        assert (await net.session(session_id))["settlement"]["state"] == "settled"


async def test_meter_exchange__key_of_another_charger__refused_and_the_passport_named(
    net: Net,
) -> None:
    first, second = meter_of(1), meter_of(2)
    passport = await signing_station(net, first)
    await signing_station(net, second, "CP-2")
    body = {"kind": "meter", "meter_key": first.public_key_pem}
    error = await refusal(net, "POST", "/passports/CP-2/custody", body)
    assert passport in error["message"]
    assert error["field"] == "meter_key"
