"""The simulated signing meter: strings that pass every check and say that they are simulated."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chargera.domain.errors import Unreadable
from chargera.proofs.meter_checks import verify_meter
from chargera.proofs.meter_key import CURVES, load_meter_key
from chargera.proofs.ocmf import parse_ocmf
from chargera.sim.meter import (
    GATEWAY,
    Identification,
    MeterReading,
    ReadingKind,
    SigningMeter,
)

AT = datetime(2025, 6, 1, 8, 30, 0, 250_000, tzinfo=UTC)
DRIVER = Identification("04AB12CD")


def pem(curve: str = "secp256r1") -> bytes:
    key = ec.derive_private_key(0xC4E, CURVES[curve])
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_begin_and_end_as_two_strings() -> None:
    meter = SigningMeter.load(pem(), "SIM-1", page=41)
    values = [
        meter.reading(1_234_567, AT, ReadingKind.BEGIN, DRIVER).encode(),
        meter.reading(1_236_000, AT + timedelta(hours=1), ReadingKind.CURRENT, DRIVER).encode(),
        meter.reading(1_240_007, AT + timedelta(hours=2), ReadingKind.END, DRIVER).encode(),
    ]
    verdict = verify_meter(values, load_meter_key(meter.public_key_pem), previous_pages={"T": 41})
    assert verdict.valid
    assert verdict.begin is not None
    assert (verdict.begin.register_wh, verdict.begin.at) == (1_234_567, AT)
    assert verdict.energy_wh == 5440
    assert meter.page == 44


def test_begin_and_end_as_one_string() -> None:
    meter = SigningMeter.load(pem("brainpoolP384r1"), "SIM-1")
    readings = [MeterReading(5, AT, ReadingKind.BEGIN), MeterReading(1005, AT, ReadingKind.END)]
    verdict = verify_meter(
        [meter.record(readings, DRIVER).encode()], load_meter_key(meter.public_key_hex)
    )
    assert verdict.valid
    assert verdict.energy_wh == 1000


def test_no_reader_can_take_it_for_a_real_meter_s() -> None:
    value = SigningMeter.load(pem(), "SIM-1").reading(1, AT, ReadingKind.BEGIN, DRIVER)
    payload = json.loads(value.split("|")[1])
    assert payload["GI"] == payload["MV"] == GATEWAY
    assert "simulated" in GATEWAY


def test_nobody_to_measure_for() -> None:
    value = SigningMeter.load(pem(), "SIM-1").reading(1, AT, ReadingKind.BEGIN, Identification())
    record = parse_ocmf(value.encode())
    assert not record.is_identified
    assert (record.identification_level, record.identification_type) == ("NONE", "NONE")


def test_times_keep_their_zone_and_the_clock_s_state() -> None:
    key = ec.derive_private_key(0xC4E, CURVES["secp256r1"])
    meter = SigningMeter(key, "SIM-1", time_status="R")
    local = AT.astimezone(timezone(timedelta(hours=2)))
    value = meter.reading(1, local, ReadingKind.BEGIN, DRIVER)
    assert '"TM":"2025-06-01T10:30:00,250+0200 R"' in value
    assert parse_ocmf(value.encode()).readings[0].at == AT


def test_the_same_readings_give_the_same_strings() -> None:
    first, second = (
        SigningMeter.load(pem(), "SIM-1").reading(1, AT, ReadingKind.BEGIN, DRIVER)
        for _ in range(2)
    )
    assert first == second


def test_what_is_no_private_key_of_a_meter() -> None:
    other = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    binary_field = (
        b"-----BEGIN PRIVATE KEY-----\n"
        b"MC0CAQAwEAYHKoZIzj0CAQYFK4EEAB8EFjAUAgEBBA8BAQEBAQEBAQEBAQEBAQE=\n"
        b"-----END PRIVATE KEY-----\n"
    )
    for text in (
        b"",
        b"no key",
        other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        SigningMeter.load(pem(), "SIM-1").public_key_pem.encode(),
        binary_field,
    ):
        with pytest.raises(Unreadable) as error:
            SigningMeter.load(text, "SIM-1")
        assert "openssl" in error.value.remedy
