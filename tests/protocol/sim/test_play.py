"""Whole runs: a command's station with its memory, a fleet, and a line that is encrypted."""

import asyncio
import datetime as dt
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from chargera.domain.errors import NotPermitted, Unavailable, Unreadable
from chargera.domain.station import OcppVersion, parse_evses
from chargera.proofs.meter_checks import verify_meter
from chargera.proofs.meter_key import load_meter_key
from chargera.sim.fleet import FleetMember, recorded_sessions, run_fleet, visits
from chargera.sim.link import Access, Patience
from chargera.sim.meter import SigningMeter
from chargera.sim.plan import some_sessions
from chargera.sim.play import ID_TOKEN, Memory, Script, play
from chargera.sim.station import SimulatedStation, StationModel
from tests.doubles.csms import Csms

BOTH = pytest.mark.parametrize("version", list(OcppVersion))


def pem() -> bytes:
    key = ec.derive_private_key(7, ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def script(csms: Csms, version: OcppVersion = OcppVersion.V1_6, **changes: object) -> Script:
    access = Access(csms.url, "CP1", csms.password)
    return replace(Script(access, version, session_s=0.3), **changes)


@BOTH
@pytest.mark.parametrize("rate", [0.0, 1.0])
async def test_sessions_take_seconds_under_every_clock(version: OcppVersion, rate: float) -> None:
    async with Csms(rate=rate) as csms:
        tally = await asyncio.wait_for(play(script(csms, version, sessions=1)), 20)
        assert (tally.ended, tally.refused) == (1, 0)
        assert tally.energy_wh >= 2_000
        [asked] = csms.of("Authorize")
        assert ID_TOKEN in str(asked)
        last = csms.of("StopTransaction", "TransactionEvent")[-1]
        told = dt.datetime.fromisoformat(last["timestamp"])
        assert csms.start - timedelta(hours=1) < told <= csms.now()


async def test_a_signing_meter_remembers_its_page_and_register(tmp_path: Path) -> None:
    memory_file = tmp_path / "meter.json"
    key = load_meter_key(SigningMeter.load(pem(), "SIM").public_key_pem)
    async with Csms() as csms:
        pages, register_wh = {"T": 0}, 0
        for _ in range(2):
            csms.heard.clear()
            told = script(csms, sessions=1, meter_pem=pem(), memory_file=memory_file)
            tally = await play(told)
            [stop] = csms.of("StopTransaction")
            strings = [
                v["value"].encode() for m in stop["transaction_data"] for v in m["sampled_value"]
            ]
            verdict = verify_meter(strings, key, previous_pages=pages)
            assert verdict.valid, verdict.failed_step
            assert verdict.begin is not None
            assert verdict.begin.register_wh == register_wh
            pages, register_wh = verdict.last_pages, register_wh + tally.energy_wh
    assert Memory.load(memory_file) == Memory(register_wh, pages["T"])
    assert pages == {"T": 4}


async def test_a_station_that_stays_obeys_until_it_is_ended(tmp_path: Path) -> None:
    memory_file = tmp_path / "meter.json"
    async with Csms() as csms:
        task = asyncio.create_task(play(script(csms, memory_file=memory_file)))
        await csms.until("StatusNotification")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not csms.of("StartTransaction")
    assert json.loads(memory_file.read_text()) == {"register_wh": 0, "page": 0}


async def test_a_station_that_is_stopped__says_what_it_did_until_then() -> None:
    async with Csms() as csms:
        stop = asyncio.Event()
        task = asyncio.create_task(play(script(csms, sessions=50), stop))
        await csms.until("StopTransaction", 2)
        assert not task.done()
        stop.set()
        tally = await asyncio.wait_for(task, 5)
        assert 2 <= tally.ended < 50
        assert tally.energy_wh > 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"register_wh": null, "page": 1}'])
async def test_a_memory_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "meter.json").write_text(text)
    with pytest.raises(Unreadable, match="memory"):
        Memory.load(tmp_path / "meter.json")


# A fleet


def fleet(csms: Csms, count: int) -> list[FleetMember]:
    return [
        FleetMember(
            StationModel(
                access=Access(csms.url, f"CP{number}", csms.password),
                version=list(OcppVersion)[number % 2],
                connectors=parse_evses("1:type2:22000,2:ccs2:50000"),
                sample_interval_s=3600,
                rate=csms.rate,
            )
        )
        for number in range(count)
    ]


async def test_a_fleet_plays_side_by_side() -> None:
    async with Csms(rate=7200.0) as csms:
        members = fleet(csms, 6)
        plans = {f"CP{n}": some_sessions(2, Random(n), ["AA"], evses=(1, 2)) for n in range(6)}
        stations = await asyncio.wait_for(run_fleet(members, plans, seed="s", stay=False), 30)
        assert [station.tally.ended for station in stations] == [2] * 6
        assert csms.connections == 6


async def test_a_fleet_is_visited_without_end() -> None:
    async with Csms(rate=36_000.0) as csms:
        members = fleet(csms, 2)
        plans = {
            member.model.access.station_id: visits(
                recorded_sessions(),
                member.model,
                Random(1),
                ["AA"],
                begins_s=9 * 3600,
                first_after=timedelta(minutes=1),
            )
            for member in members
        }
        running = asyncio.create_task(run_fleet(members, plans, seed="s"))
        await csms.until("StopTransaction", 3)
        assert not running.done()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_fleet_of_strangers() -> None:
    async with Csms() as csms:
        [member] = fleet(csms, 1)
        stranger = replace(member.model, access=Access(csms.url, "CP0", "no-such-password-here"))
        with pytest.raises(NotPermitted):
            await run_fleet([FleetMember(stranger)], {"CP0": iter(())}, seed="s")


# An encrypted line


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[tuple[Csms, Path]]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain = tmp_path / "chain.pem"
    chain.write_bytes(
        certificate.public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    authority = tmp_path / "ca.pem"
    authority.write_bytes(certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    async with Csms(rate=7200.0, ssl_context=context) as csms:
        yield csms, authority


async def test_tls_with_the_authority_s_file(secure: tuple[Csms, Path]) -> None:
    csms, authority = secure
    access = Access(csms.url, "CP1", csms.password, str(authority))
    model = StationModel(access, OcppVersion.V2_0_1, parse_evses("1:type2:22000"), rate=7200.0)
    tally = await SimulatedStation(model, Random(1)).run(some_sessions(1, Random(1), ["AA"]))
    assert tally.ended == 1


async def test_tls_without_it_never_sends_the_password(secure: tuple[Csms, Path]) -> None:
    csms, _ = secure
    patience = Patience(backoff_s=0.01, backoff_max_s=0.02)
    model = StationModel(
        Access(csms.url, "CP1", csms.password),
        OcppVersion.V2_0_1,
        parse_evses("1:type2:22000"),
        patience=patience,
    )
    with pytest.raises(Unavailable) as unavailable:
        await SimulatedStation(model, Random(1)).run(())
    assert unavailable.value.field == "ca_file"
    assert csms.connections == 0


async def test_tls_unchecked_on_this_machine(secure: tuple[Csms, Path]) -> None:
    csms, _ = secure
    access = Access(csms.url, "CP1", csms.password, is_checked=False)
    model = StationModel(access, OcppVersion.V2_0_1, parse_evses("1:type2:22000"), rate=7200.0)
    tally = await SimulatedStation(model, Random(1)).run(some_sessions(1, Random(1), ["AA"]))
    assert tally.ended == 1
