"""What happens to a charger after its registration, from the request to the record on chain."""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chargera.domain.messages import ReadingContext, SignedValue
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.network_contracts import DirectSender
from chargera.ledger.wallet import signed_escrow
from chargera.proofs.chain_values import hex_text
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
    wallet = ChainKey(secrets.token_bytes(32))
    assert net.server.settling is not None
    asset = net.server.settling.terms.contracts["TestEuro"]
    terms = await net.call("GET", f"/payments/terms?payer={wallet.address_text}&asset={asset}")
    body = signed_escrow(terms, wallet, "CP-1", 1, 5_000_000, secrets.token_bytes)
    error = await refusal(net, "POST", "/payments", body)
    assert "retired" in error["message"]
    assert error["field"] == "station_id"


async def test_host_retires_by_himself__later_sessions_get_no_number(net: Net) -> None:
    passport = await net.registered_station()
    assert net.server.settling is not None
    sender = DirectSender(net.contracts, net.server.settling.keys.host)
    said = (bytes.fromhex(passport[2:]), bytes(32), 0)
    await sender.send("", "ChargerPassport", "retire", *said)
    session = await net.charge()
    assert (await net.call("GET", f"/passports/{passport}"))["registration"] == "retired"
    assert (await net.session(session))["settlement"] == {
        "state": "off_chain",
        "cdr_no": None,
        "batch": None,
    }


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


# Move, owner, operator, and what changes no fact -------------------------------------------------


async def test_move__the_passport_and_the_station_are_at_the_new_place(net: Net) -> None:
    passport = await net.registered_station()
    before = await net.charge()
    record = await ask(
        net, "location", latitude="51.9225", longitude="4.47917", time_zone="Europe/Amsterdam"
    )
    assert (record["step"], record["says"]) == ("recorded", "51.9225, 4.47917")
    view = await net.call("GET", f"/passports/{passport}")
    facts = view["chain"]["facts"]
    assert (facts["latE7"], facts["lonE7"]) == (519_225_000, 44_791_700)
    station = await net.call("GET", "/stations/CP-1")
    assert (station["latitude"], station["longitude"]) == ("51.9225", "4.47917")
    location = await net.call("GET", f"/passports/{passport}/location")
    assert location["coordinates"] == {"latitude": "51.9225000", "longitude": "4.4791700"}
    assert location["time_zone"] == "Europe/Amsterdam"
    after = await net.charge()
    assert {batch["state"] for batch in await net.settle()} == {"settled"}
    for session_id in (before, after):
        assert (await net.session(session_id))["settlement"]["state"] == "settled"


async def test_owner__the_commission_goes_to_the_new_host_who_signs_from_then_on(net: Net) -> None:
    passport = await net.registered_station()
    new = ChainKey(secrets.token_bytes(32))
    assert net.server.settling is not None
    old = net.server.settling.keys.host
    sender = DirectSender(net.contracts, old)
    arguments = (old.address_text, new.address_text, int(passport, 16))
    await sender.send("", "ChargerPassport", "transferFrom", *arguments)
    chain = (await net.call("GET", f"/passports/{passport}"))["chain"]
    assert [each["owner"] for each in chain["owners"]] == [old.address_text, new.address_text]
    record = await ask(net, "owner", host=new.address_text)
    assert (record["step"], record["says"]) == ("recorded", new.address_text)
    await net.charge()
    [batch] = await net.settle()
    assert await net.balance(batch["asset"], new.address_text) == 1_920_000 + 900_000
    record = await ask(net, "repair", note="a new cable")
    assert (record["step"], record["host"]) == ("host", new.address_text)
    path = "/passports/CP-1/custody/signature"
    stranger = ChainKey(secrets.token_bytes(32)).sign(bytes.fromhex(record["digest"][2:]))
    error = await refusal(net, "POST", path, {"signature": hex_text(stranger)})
    assert "not signed by the host" in error["message"]
    signature = new.sign(bytes.fromhex(record["digest"][2:]))
    await net.call("POST", path, {"signature": hex_text(signature)})
    await net.advance(1)
    assert (await newest(net))["step"] == "recorded"


async def test_operator__sessions_that_end_later_are_not_this_ones_to_settle(net: Net) -> None:
    await net.registered_station()
    before = await net.charge()
    record = await ask(net, "operator", operator_id="DE*ABC")
    assert (record["step"], record["says"]) == ("recorded", "DE*ABC")
    after = await net.charge()
    assert [batch["sessions"] for batch in await net.settle()] == [1]
    assert (await net.session(before))["settlement"]["state"] == "settled"
    assert (await net.session(after))["settlement"]["state"] == "off_chain"
    body = {"kind": "repair", "note": "a cable"}
    error = await refusal(net, "POST", "/passports/CP-1/custody", body)
    assert "operator DE*ABC's now" in error["message"]


# The command line --------------------------------------------------------------------------------


async def command(net: Net, *arguments: str, code: int = 0) -> Any:
    """Run a command as a person does and return its document."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from chargera.cli import main; main()", *arguments, "--json"),
        *("--data-dir", str(net.server.options.data_dir)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == code, (out, err)
    return json.loads(out)


async def test_command_line__a_host_with_his_key_agrees_retires_and_anybody_verifies(
    net: Net, tmp_path: Path
) -> None:
    secret = secrets.token_bytes(32)
    key = ChainKey(secret)
    mine, trust, file = tmp_path / "host.key", tmp_path / "trust.json", tmp_path / "passport.json"
    mine.write_text(hex_text(secret))
    await net.registered_station()
    given = await command(net, "passport", "transfer-owner", "CP-1", "--to", key.address_text)
    await net.advance(1)
    moved = await command(
        net,
        *("passport", "move", given["passport_id"], "--lat", "51.9", "--lon", "4.4"),
        *("--host-key", str(mine)),
    )
    assert moved["host_signature"] is not None
    await net.advance(1)
    stolen = tmp_path / "thief.key"
    stolen.write_text(f"0x{secrets.token_hex(32)}")
    await command(net, "passport", "repair", "CP-1", "--note", "a new cable")
    error = await command(net, "passport", "sign", "CP-1", "--key", str(stolen), code=1)
    assert error["error"]["field"] == "signature"
    await command(net, "passport", "withdraw", "CP-1")
    await command(net, "passport", "sign", "CP-1", "--key", str(mine), code=1)
    await command(net, "passport", "retire", "CP-1", "--note", "sold", "--host-key", str(mine))
    await net.advance(1)
    rows = await command(net, "passport", "custody", "CP-1")
    assert [(row["kind"], row["step"]) for row in rows] == [
        ("owner", "recorded"),
        ("location", "recorded"),
        ("repair", "refused"),
        ("retirement", "recorded"),
    ]
    trust.write_text(json.dumps(await net.server.trust_document()))
    await command(net, "passport", "export", "CP-1", "-o", str(file))
    rpc = f"{net.server.http_url}/rpc"
    for chain in ((), ("--rpc", rpc)):
        verified = await command(
            net, "passport", "verify", str(file), "--trust", str(trust), *chain
        )
        steps = {step["step"]: step for step in verified["steps"]}
        assert steps["custody"]["status"] == "ok", steps
        assert "3 custody records" in steps["custody"]["detail"]
    assert steps["passport_on_chain"]["status"] == "ok"


async def test_meter_exchange_that_the_host_does_not_agree_to__earns_nothing(net: Net) -> None:
    """An operator cannot put a meter of his own in place of the one that the passport has."""
    await signing_station(net, meter_of(1))
    host, new = ChainKey(secrets.token_bytes(32)), meter_of(2)
    await ask(net, "owner", host=host.address_text)
    record = await ask(net, "meter", meter_key=new.public_key_pem)
    await signed_session(net, new, record["id_token"])
    await net.advance(15)
    assert (await newest(net))["step"] == "host"
    session_id = await signed_session(net, new)
    await net.settle()
    assert (await net.session(session_id))["settlement"]["state"] == "waiting"
    await net.call("DELETE", "/passports/CP-1/custody")
    await net.settle()
    assert (await net.session(session_id))["settlement"]["state"] != "settled"
    refused = [line for line in net.decisions if line["decision"] == "refused"]
    assert refused
    assert all("a meter that the passport does not have" in line["reason"] for line in refused)


# What attesters find out -------------------------------------------------------------------------


ALTERED = {
    "sequence_number = 999": "no topic message holds its head",
    "topic_id = '0.0.9'": "no topic message holds its head",
    "number = 5, record = jsonb_set(record, '{number}', '5')": "another digest",
    "(log_index, topic_id, sequence_number) = (select log_index, topic_id, sequence_number"
    " from custody where station_id = 'CP-2')": "of another passport",
    "value = '0x' || repeat('11', 32)": "another digest",
}
"""What an operator may do to a record that waits for attesters, and what they say of it."""


async def test_altered_in_the_database__attesters_refuse_and_nothing_is_recorded(net: Net) -> None:
    await net.registered_station("CP-2")
    await ask(net, "repair", "CP-2", note="a new cable")
    passport = await net.registered_station()
    host, thief = (ChainKey(secrets.token_bytes(32)) for _ in range(2))
    await ask(net, "owner", host=host.address_text)
    for altered, fault in {**ALTERED, "": "not signed by the host"}.items():
        record = await ask(net, "repair", note=f"a cable {altered}")
        key = host if altered else thief
        signature = hex_text(key.sign(bytes.fromhex(record["digest"][2:])))
        await net.alter(
            f"update custody set step = 'attesters', host_signature = %s{altered and ', '}{altered}"
            " where step = 'host'",
            signature,
        )
        await net.advance(1)
        record = await newest(net)
        assert record["step"] == "refused", record
        assert record["refusal"].startswith("attesters refuse: ")
        assert fault in record["refusal"]
    view = await net.call("GET", f"/passports/{passport}")
    assert len(view["chain"]["custody"]) == 1


# What cannot come back ---------------------------------------------------------------------------


async def test_old_key_and_serial_number__belong_to_their_passport_for_ever(net: Net) -> None:
    old, new = meter_of(1), meter_of(2)
    passport = await signing_station(net, old)
    record = await ask(net, "meter", meter_key=new.public_key_pem)
    await signed_session(net, new, record["id_token"])
    await net.advance(15)
    await ask(net, "retirement")
    assert (await newest(net))["step"] == "recorded"
    await net.station("CP-2", serial_number="cp-1")
    assert (await net.call("GET", f"/passports/{passport}"))["station_id"] == "CP-1"
    await net.station("CP-3", meter_key=old.public_key_pem)
    await net.advance(1)
    identification = (await net.call("GET", "/passports/CP-3"))["onboarding_id_token"]
    await signed_session(net, old, identification, "CP-3")
    await net.advance(15)
    for station_id, rule in (("CP-2", "SerialInUse"), ("CP-3", "MeterKeyInUse")):
        view = await net.call("GET", f"/passports/{station_id}")
        assert view["registration"] == "refused"
        assert rule in view["refusal"]
        assert passport in view["refusal"]


async def test_server_ends_at_any_step__the_next_one_goes_on_with_attesters_of_its_own(
    database_url: str, tmp_path: Path
) -> None:
    async with open_net(database_url, tmp_path) as net:
        passport = await net.registered_station()
    async with open_net(database_url, tmp_path, ()) as net:
        await net.call("POST", "/passports/CP-1/custody", {"kind": "firmware", "note": "2.4"})
    async with open_net(database_url, tmp_path, ()) as net:
        assert net.server.settling is not None
        for _ in range(3):
            await net.server.settling.turn()
        assert (await newest(net))["step"] == "attesters"
    async with open_net(database_url, tmp_path, (), Attesters="true") as net:
        await net.advance(1)
        record = await newest(net)
        assert record["step"] == "recorded"
        assert len((await net.call("GET", f"/passports/{passport}"))["chain"]["custody"]) == 1
    for number in (1, 2, 3):
        decisions = (tmp_path / f"attester-{number}/decisions.jsonl").read_text().splitlines()
        decided = {line["batch"]: line["decision"] for line in map(json.loads, decisions)}
        assert decided == {record["digest"]: "signed"}
