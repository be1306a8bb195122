"""From a station's registration to money in its holders' hands, on the embedded chain."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chargera.app.settlement_ports import ContractRefused
from chargera.domain.errors import NotFound
from chargera.domain.messages import ReadingContext, SignedValue
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.network_contracts import DirectSender
from chargera.ledger.wallet import signed_escrow, take_back
from chargera.proofs.batch_file import decode_batch_file
from chargera.settling import Settling
from chargera.sim.meter import Identification, ReadingKind, SigningMeter
from tests.integration.settlement.net import CONTEST_S, E, Net, S, open_net


@pytest.fixture
async def net(database_url: str, tmp_path: Path) -> AsyncIterator[Net]:
    async with open_net(database_url, tmp_path) as net:
        yield net


def settling(net: Net) -> Settling:
    assert net.server.settling is not None
    return net.server.settling


async def test_fiat_session__registered_billed_attested_settled_paid(net: Net) -> None:
    passport = await net.registered_station()
    session_id = await net.charge()
    session = await net.session(session_id)
    assert session["settlement"] == {"state": "waiting", "cdr_no": 0, "batch": None}
    [batch] = await net.settle()
    assert (batch["state"], batch["sessions"], batch["skipped"]) == ("settled", 1, 0)
    session = await net.session(session_id)
    assert session["settlement"] == {"state": "settled", "cdr_no": 0, "batch": batch["batch"]}
    # 10 kWh at 0.30: 3.00 EUR net. F 5 %, commission 30 %, ops 1 %, the rest is the holders'.
    owner = settling(net).keys.host.address_text
    assert session["net_minor"] == 300
    holders, commission, fee = 1_920_000, 900_000, 150_000
    assert await net.balance(batch["asset"], owner) == holders + commission
    timelock = settling(net).terms.contracts["TimelockController"]
    hub = await net.contracts.read("SettlementHub", "withdrawable", timelock, batch["asset"])
    assert hub == fee, "the host has prepaid no C4E: the fee waits for the Timelock"
    assert {line["decision"] for line in net.decisions} == {"signed"}
    claims = await net.call("POST", "/settlement/claim", {"passport_id": passport})
    assert [(claim["holder"], claim["amount_minor"]) for claim in claims] == [(owner, holders)]


async def test_batch_file__published_before_it_is_proposed__holds_together(net: Net) -> None:
    await net.registered_station()
    await net.charge()
    [batch] = await net.close()
    response = await net.http.get(f"/settlement/{batch['batch']}.json")
    file = decode_batch_file(response.content)
    file.check()
    assert len(file.signatures) == 3
    assert (await net.http.get("/readyz")).json()["checks"]["settlement"] == "ok"
    metrics = (await net.http.get("/metrics")).text
    assert "chargera_settlement_batches_open 1.0" in metrics
    assert "chargera_settlement_failures 0.0" in metrics
    assert 'chargera_check_ok{check="settlement"} 1.0' in metrics
    assert (await net.http.get(f"/settlement/0x{'0' * 64}.json")).status_code == 404


async def test_wallet_session__draws_its_escrow__rest_and_vat_go_where_they_belong(
    net: Net,
) -> None:
    await net.registered_station()
    wallet = ChainKey(secrets.token_bytes(32))
    asset = settling(net).terms.contracts["TestEuro"]
    terms = await net.call("GET", f"/payments/terms?payer={wallet.address_text}&asset={asset}")
    body = signed_escrow(terms, wallet, "CP-1", 1, 5_000_000, secrets.token_bytes)
    opened = await net.call("POST", "/payments", body)
    again = await net.call("POST", "/payments", body)
    assert again == opened
    session_id = await net.charge(id_token=opened["id_token"])
    [batch] = await net.settle()
    assert (batch["state"], batch["skipped"]) == ("settled", 0)
    assert (await net.session(session_id))["settlement"]["state"] == "settled"
    known = (await net.call("GET", "/id-tokens"))["items"]
    states = {row["id_token"]: row["status"] for row in known}
    assert states == {"CARD": "accepted", opened["id_token"]: "blocked"}
    # 3.63 EUR of the 5.00 are drawn; the rest is the payer's again, without his asking.
    assert await net.balance(asset, wallet.address_text) == 1_370_000
    host = settling(net).keys.host.address_text
    assert await net.balance(asset, host) == 1_920_000 + 900_000 + 630_000


async def test_second_session_on_an_escrows_identifier__refused_while_the_first_runs(
    net: Net,
) -> None:
    await net.registered_station()
    wallet = ChainKey(secrets.token_bytes(32))
    asset = settling(net).terms.contracts["TestEuro"]
    terms = await net.call("GET", f"/payments/terms?payer={wallet.address_text}&asset={asset}")
    body = signed_escrow(terms, wallet, "CP-1", 1, 5_000_000, secrets.token_bytes)
    opened = await net.call("POST", "/payments", body)
    assert "did not start: station CP-1 is not connected" in opened["note"]
    id_token = opened["id_token"]
    await net.say("CP-1", S, "first", 1, 1_000, id_token, seq_no=0)
    await net.advance(60)
    late = signed_escrow(terms, wallet, "CP-1", 1, 5_000_000, secrets.token_bytes)
    response = await net.http.post("/api/v1/payments", json=late)
    assert (response.status_code, response.json()["error"]["field"]) == (409, "evse")
    await net.say("CP-1", S, "second", 2, 1_000, id_token, seq_no=0)
    await net.advance(600)
    for number, evse in (("second", 2), ("first", 1)):
        await net.say("CP-1", E, number, evse, 2_000, id_token, seq_no=1)
    await net.bill()
    rows = (await net.call("GET", "/sessions"))["items"]
    said = {row["transaction_id"]: (row["state"], row["gross_minor"]) for row in rows}
    assert said == {"first": ("billed", 36), "second": ("refused", None)}
    (first,) = (row for row in rows if row["transaction_id"] == "first")
    assert first["settlement"]["state"] == "waiting"


async def test_escrow_that_no_session_used__the_payer_alone_gets_it_all_back(net: Net) -> None:
    await net.station()
    wallet = ChainKey(secrets.token_bytes(32))
    asset = settling(net).terms.contracts["TestEuro"]
    terms = await net.call("GET", f"/payments/terms?payer={wallet.address_text}&asset={asset}")
    body = signed_escrow(terms, wallet, "CP-1", 1, 5_000_000, secrets.token_bytes)
    await net.call("POST", "/payments", body)
    sender = DirectSender(net.contracts, wallet)
    back = (net.contracts, sender, "NL*C4E", body["session_key"])
    with pytest.raises(ContractRefused, match="TooEarly"):
        await take_back(*back)
    steps = []
    for days in (11, 3):
        await net.advance(days * 86_400 + 1)
        steps.append((await take_back(*back))[0])
    assert steps == ["asked", "paid"]
    assert await net.balance(asset, wallet.address_text) == 5_000_000
    with pytest.raises(NotFound):
        await take_back(*back)


async def test_units_released__both_holders_are_paid_their_part(net: Net) -> None:
    passport = await net.registered_station()
    host = settling(net).keys.host
    other = ChainKey(secrets.token_bytes(32)).address_text
    from chargera.ledger.network_contracts import DirectSender

    sender = DirectSender(net.contracts, host)
    await sender.send("", "ChargerShares", "release", int(passport, 16), other, 250_000)
    await net.charge()
    [batch] = await net.settle()
    assert await net.balance(batch["asset"], other) == 480_000
    shares = await net.call("GET", f"/shares/{passport}")
    assert shares["unreleased_units"] == 750_000
    assert {h["holder"]: h["units"] for h in shares["holders"]} == {
        host.address_text: 0,
        other: 250_000,
    }


async def test_session_before_the_registration__payable_off_chain(net: Net) -> None:
    await net.station()
    session_id = await net.charge()
    assert (await net.session(session_id))["settlement"] == {
        "state": "off_chain",
        "cdr_no": None,
        "batch": None,
    }


async def test_signing_meter__shows_itself_under_the_onboarding_nonce__then_registered(
    net: Net,
) -> None:
    meter = SigningMeter(ec.generate_private_key(ec.SECP256R1()), "M-1")
    await net.station("CP-9", meter_key=meter.public_key_pem)
    await net.advance(1)
    view = await net.call("GET", "/passports/CP-9")
    assert (view["registration"], view["step"]) == ("pending", "reading")
    await net.charge("CP-9", signed=signed(net, meter, "SOMEBODY"))
    assert (await net.call("GET", "/passports/CP-9"))["step"] == "reading"
    identification = view["onboarding_id_token"]
    await net.charge("CP-9", id_token=identification, signed=signed(net, meter, identification))
    await net.advance(15)
    await net.advance(CONTEST_S + 1)
    assert (await net.call("GET", "/passports/CP-9"))["registration"] == "registered"


async def test_meter_key_in_use__refused_by_the_contract__names_the_passport(net: Net) -> None:
    meter = SigningMeter(ec.generate_private_key(ec.SECP256R1()), "M-1")
    for station_id in ("CP-7", "CP-8"):
        registered = await net.station(station_id, meter_key=meter.public_key_pem)
        await net.advance(1)
        identification = (await net.call("GET", f"/passports/{station_id}"))["onboarding_id_token"]
        await net.charge(
            station_id, id_token=identification, signed=signed(net, meter, identification)
        )
        await net.advance(15)
        await net.advance(CONTEST_S + 1)
        if station_id == "CP-7":
            passport = registered["passport_id"]
    view = await net.call("GET", "/passports/CP-8")
    assert view["registration"] == "refused"
    assert "MeterKeyInUse" in view["refusal"]
    assert passport in view["refusal"]


def signed(net: Net, meter: SigningMeter, identification: str) -> tuple[SignedValue, ...]:
    """A reading of the meter for somebody."""
    raw = meter.reading(1_000, net.now, ReadingKind.BEGIN, Identification(identification))
    return (SignedValue(raw.encode(), ReadingContext.BEGIN, net.now),)


async def test_serial_number_in_use__refused_by_the_contract__names_the_passport(
    net: Net,
) -> None:
    passport = await net.registered_station()
    await net.station("CP-2", serial_number="cp-1")
    await net.advance(1)
    view = await net.call("GET", "/passports/CP-2")
    assert view["registration"] == "refused"
    assert "SerialInUse" in view["refusal"]
    assert passport in view["refusal"]
