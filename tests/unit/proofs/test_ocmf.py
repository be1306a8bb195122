"""Reading OCMF strings: what is read exactly, and everything that is refused by form."""

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import Unreadable
from chargera.proofs.ocmf import (
    READINGS_MAX,
    RECORD_BYTES_MAX,
    EnergyFlow,
    IdentificationLevel,
    OcmfRecord,
    Page,
    Reading,
    TimeStatus,
    parse_ocmf,
)

READING = {"TM": "2024-05-01T12:00:00,000+0200 S", "TX": "B", "RV": 1, "RU": "kWh", "ST": "G"}
SIGNATURE = {"SD": "3006020101020101"}


def ocmf(
    payload: dict[str, object] | str | None = None, signature: dict[str, object] | str = ""
) -> bytes:
    body = {"PG": "T1", "RD": [READING]} | payload if isinstance(payload, dict) else payload
    body = body if isinstance(body, str) else json.dumps(body or {"PG": "T1", "RD": [READING]})
    tail = (
        signature
        if isinstance(signature, str) and signature
        else json.dumps(signature or SIGNATURE)
    )
    return f"OCMF|{body}|{tail}".encode()


def record(**payload: object) -> OcmfRecord:
    return parse_ocmf(ocmf(payload))


def reading(**members: object) -> Reading:
    return record(RD=[READING | members]).readings[0]


def refused(raw: bytes) -> Unreadable:
    with pytest.raises(Unreadable) as error:
        parse_ocmf(raw)
    assert error.value.remedy
    return error.value


def test_payload_is_kept_byte_for_byte() -> None:
    body = ' {"RD" : [{"TM":"2024-05-01T12:00:00,000+0200 S"}],\n "PG":"T7"} '
    parsed = parse_ocmf(f"OCMF|{body}|{json.dumps(SIGNATURE)}".encode())
    assert parsed.payload == body.encode()
    assert (parsed.page_series, parsed.page_number, parsed.page) == (Page.TRANSACTION, 7, "T7")


def test_every_field_is_read() -> None:
    parsed = record(
        PG="F12",
        GS="gateway",
        MS="meter",
        IS=True,
        IL="VERIFIED",
        IF=["RFID_PSK", "OCPP_NONE"],
        IT="ISO14443",
        ID="04AB",
        LC={"LR": 2, "LU": "mOhm", "LN": "cable"},
        RD=[READING | {"RI": "1-0:1.8.0", "EF": "E", "EI": 3, "CL": 0.5}],
    )
    assert parsed.page_series is Page.FISCAL
    assert (parsed.gateway_serial, parsed.meter_serial) == ("gateway", "meter")
    assert parsed.is_identified
    assert parsed.identification_level == "VERIFIED"
    assert parsed.identification_flags == ("RFID_PSK", "OCPP_NONE")
    assert (parsed.identification_type, parsed.identification) == ("ISO14443", "04AB")
    assert parsed.loss_compensation == (("LN", "cable"), ("LR", "2"), ("LU", "mOhm"))
    assert parsed.readings == (
        Reading(
            at=datetime(2024, 5, 1, 10, tzinfo=UTC),
            time_status=TimeStatus.SYNCHRONIZED,
            reason="B",
            value=Decimal(1),
            register="1-0:1.8.0",
            unit="kWh",
            meter_status="G",
            error_flags="E",
            error_count="3",
            cumulated_loss=Decimal("0.5"),
        ),
    )


def test_what_is_left_out_is_empty() -> None:
    parsed = record(RD=[{"TM": READING["TM"]}])
    assert not parsed.is_identified
    assert (parsed.gateway_serial, parsed.identification_level) == ("", None)
    assert (parsed.identification_type, parsed.loss_compensation) == ("NONE", None)
    only = parsed.readings[0]
    assert (only.reason, only.value, only.register, only.unit) == (None, None, None, None)
    assert (only.meter_status, only.error_flags, only.value_wh) == (None, "", None)


def test_null_means_left_out_and_a_number_may_stand_for_a_text() -> None:
    parsed = record(ID=None, GS=808829900001, LC=None, FV=1.0)
    assert (parsed.identification, parsed.gateway_serial) == ("", "808829900001")


def test_a_reading_holds_on_to_what_the_one_before_said_but_not_to_its_value() -> None:
    first, second = record(RD=[READING | {"RI": "1-0:1.8.0", "EF": "t"}, {"TX": "E"}]).readings
    assert (second.at, second.register, second.unit) == (first.at, first.register, first.unit)
    assert (second.error_flags, second.reason) == ("t", "E")
    assert second.value is None


@pytest.mark.parametrize(
    ("value", "unit", "wh"),
    [
        (0.2596, "kWh", "259.6"),
        (2850685, "Wh", "2850685"),
        ("       9.038", "kWh", "9038"),
        ("00000000.000", "kWh", "0"),
        ("1.304 ", "kWh", "1304"),
        (-1, "Wh", "-1"),
    ],
)
def test_values_are_exact_in_wh(value: object, unit: str, wh: str) -> None:
    assert reading(RV=value, RU=unit).value_wh == Decimal(wh)


def test_decimals_are_kept_as_written() -> None:
    parsed = parse_ocmf(
        ocmf('{"PG":"T1","RD":[{"TM":"2024-05-01T12:00:00,000+0200 S","RV":2.50}]}')
    )
    assert str(parsed.readings[0].value) == "2.50"


@given(st.integers(0, 10**14), st.integers(0, 12))
def test_any_register_converts_without_rounding(digits: int, decimals: int) -> None:
    value = Decimal(digits).scaleb(-decimals)
    if value >= 10**12:
        return
    assert reading(RV=f"{value:f}", RU="kWh").value_wh == value * 1000


def test_a_value_that_is_no_energy_has_no_wh() -> None:
    assert reading(RV=12, RU="sec").value_wh is None


@pytest.mark.parametrize(
    ("code", "flow"),
    [
        ("1-0:1.8.0", EnergyFlow.IMPORT),
        ("1-b:1.8.e", EnergyFlow.IMPORT),
        ("1-0:1.8.0*198", EnergyFlow.IMPORT),
        ("1-0:1.8.1", EnergyFlow.IMPORT),
        ("01-00:01.08.00.FF", EnergyFlow.IMPORT),
        ("01-00:B2.08.00*FF", EnergyFlow.IMPORT),
        ("01-00:C3.08.00*FF", EnergyFlow.EXPORT),
        ("1-0:2.8.0", None),
        ("1-0:98.8.0.FF", None),
        ("1-0:11.8.0", None),
        ("1-b:1.9.0", None),
        ("01-00:B4.08.00*FF", None),
        ("1-0:1.8", None),
        ("", None),
    ],
)
def test_registers_that_a_bill_may_rest_upon(code: str, flow: EnergyFlow | None) -> None:
    assert reading(RI=code).flow is flow


@pytest.mark.parametrize(
    ("text", "utc", "status"),
    [
        ("2018-07-24T13:22:04,000+0200 S", "2018-07-24T11:22:04+00:00", "S"),
        ("2018-07-24T13:22:04,250-0330 R", "2018-07-24T16:52:04.250000+00:00", "R"),
        ("2018-07-24T13:22:04.000+02:00 I", "2018-07-24T11:22:04+00:00", "I"),
        ("1970-01-01T01:01:49,000Z U", "1970-01-01T01:01:49+00:00", "U"),
    ],
)
def test_times(text: str, utc: str, status: str) -> None:
    parsed = reading(TM=text)
    assert (parsed.at.isoformat(), parsed.time_status.value) == (utc, status)


@pytest.mark.parametrize(
    ("stated", "is_identified", "flags", "level"),
    [
        ("HEARSAY", True, [], IdentificationLevel.HEARSAY),
        ("SECURE", False, [], IdentificationLevel.SECURE),
        ("NONE", True, ["RFID_PSK"], IdentificationLevel.NONE),
        (None, False, ["RFID_PSK"], IdentificationLevel.NONE),
        (None, True, ["RFID_PLAIN", "OCPP_AUTH_TLS"], IdentificationLevel.TRUSTED),
        (None, True, ["RFID_NONE"], IdentificationLevel.HEARSAY),
        ("SOMETHING", True, [], IdentificationLevel.HEARSAY),
    ],
)
def test_identification_levels(
    stated: str | None, is_identified: bool, flags: list[str], level: IdentificationLevel
) -> None:
    assert record(IL=stated, IS=is_identified, IF=flags).level is level


def test_signature_section() -> None:
    plain = parse_ocmf(ocmf()).signature
    assert plain.algorithm == "ECDSA-secp256r1-SHA256"
    assert plain.value == bytes.fromhex("3006020101020101")
    assert plain.extensions == ()
    full = parse_ocmf(
        ocmf(
            signature={
                "SA": "ECDSA-secp384r1-SHA256",
                "SE": "base64",
                "SM": "application/x-der",
                "SD": base64.b64encode(plain.value).decode(),
                "PK": "3059...",
                "XY": {"any": [1.5]},
            }
        )
    ).signature
    assert full.algorithm == "ECDSA-secp384r1-SHA256"
    assert full.value == plain.value
    assert full.extensions == ("PK", "XY")


@pytest.mark.parametrize(
    ("signature", "field"),
    [
        ({"SD": "30aB"}, "SD"),
        ({"SD": "30 06"}, "SD"),
        ({"SD": "306"}, "SD"),
        ({"SD": ""}, "SD"),
        ({"SD": [30]}, "SD"),
        ({}, None),
        ({"SD": "MAYCAQECAQE", "SE": "base64"}, "SD"),
        ({"SD": "MAYCAQECAQF=", "SE": "base64"}, "SD"),
        ({"SD": "MAYCAQE!CAQE=", "SE": "base64"}, "SD"),
        ({"SD": "é", "SE": "base64"}, "SD"),
        ({"SD": "3006", "SE": "HEX"}, "SE"),
        ({"SD": "3006", "SM": "application/x-raw"}, "SM"),
        ({"SD": "3006", "SB": "x"}, None),
        ({"SD": "3006", "WA": "x"}, None),
        ({"SA": 7.5, "SD": [1]}, "SD"),
    ],
)
def test_refused_signature_sections(signature: dict[str, object], field: str | None) -> None:
    error = refused(ocmf(signature=json.dumps(signature)))
    assert field is None or error.field == field


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"PG": "X1"}, "PG"),
        ({"PG": "T01"}, "PG"),
        ({"PG": "T"}, "PG"),
        ({"PG": "T-1"}, "PG"),
        ({"PG": f"T{10**18}"}, "PG"),
        ({"PG": None}, "PG"),
        ({"RD": []}, "RD"),
        ({"RD": {}}, "RD"),
        ({"RD": None}, "RD"),
        ({"RD": ["B"]}, "RD"),
        ({"RD": [READING, *[{}] * READINGS_MAX]}, "RD"),
        ({"RD": [{}]}, "TM"),
        ({"RD": [READING | {"TM": 5}]}, "TM"),
        ({"RD": [READING | {"TM": "2024-05-01T12:00:00,000+0200"}]}, "TM"),
        ({"RD": [READING | {"TM": "2024-05-01T12:00:00,000+0200 X"}]}, "TM"),
        ({"RD": [READING | {"TM": "2024-02-30T12:00:00,000+0200 S"}]}, "TM"),
        ({"RD": [READING | {"TM": "2024-02-28T12:00:00,000+9900 S"}]}, "TM"),
        ({"RD": [READING | {"TM": "0001-01-01T00:00:00,000+0100 S"}]}, "TM"),
        ({"RD": [READING | {"RV": True}]}, "RV"),
        ({"RD": [READING | {"RV": [1]}]}, "RV"),
        ({"RD": [READING | {"RV": "1,5"}]}, None),
        ({"RD": [READING | {"RV": "NaN"}]}, None),
        ({"RD": [READING | {"RV": ""}]}, None),
        ({"RD": [READING | {"RV": "1" * 13}]}, None),
        ({"RD": [READING | {"RV": "0." + "1" * 13}]}, None),
        ({"RD": [READING | {"RV": "1e99"}]}, None),
        ({"RD": [READING | {"RV": "1" * 5000}]}, None),
        ({"IS": "true"}, "IS"),
        ({"IF": "RFID_PLAIN"}, "IF"),
        ({"IF": [1.5, None]}, "IF"),
        ({"LC": "none"}, "LC"),
        ({"LC": {"LR": []}}, "LR"),
        ({"ID": "x" * 1025}, "ID"),
        ({"ID": "line\nbreak"}, "ID"),
        ({"ID": "\ud800"}, "ID"),
        ({"GS": True}, "GS"),
    ],
)
def test_refused_payloads(payload: dict[str, object], field: str | None) -> None:
    error = refused(ocmf(payload))
    assert field is None or error.field == field


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"OCMF",
        b"OCMF||",
        b"OCMF|{}",
        b"ocmf|{}|{}",
        b" OCMF|{}|{}",
        b"OCMF|{}|{}|",
        b"OCMF|[]|{}",
        b"OCMF|{}|[]",
        b"OCMF|\xff|{}",
        b"OCMF|\xef\xbb\xbf{}|{}",
        b"OCMF|" + b"[" * 60_000 + b"|{}",
        b"OCMF|" + b'{"a":' * 10_000 + b"|{}",
        ocmf('{"PG":"T1","PG":"T2","RD":[]}'),
        ocmf('{"PG":"T1","RD":[{"RV":NaN}]}'),
        ocmf('{"PG":"T1","RD":[{"RV":-Infinity}]}'),
        ocmf('{"PG":"T1","RD":[{"RV":1e999999999}]}'),
        ocmf('{"PG":"T1","RD":[{"RV":' + "9" * 5000 + "}]}"),
        ocmf() + b" " * RECORD_BYTES_MAX,
    ],
)
def test_refused_forms(raw: bytes) -> None:
    refused(raw)


def test_the_longest_string_that_is_read() -> None:
    raw = ocmf()
    padded = raw + b" " * (RECORD_BYTES_MAX - len(raw))
    assert parse_ocmf(padded).page == "T1"
    refused(padded + b" ")


@given(st.binary(max_size=400))
def test_no_bytes_do_anything_but_be_refused(noise: bytes) -> None:
    for raw in (noise, b"OCMF|" + noise + b"|{}", b'OCMF|{"PG":"T1","RD":[' + noise + b"]}|{}"):
        refused(raw)
