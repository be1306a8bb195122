"""The twelve checks: each fails by its own name, and only for its own reason."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from chargera.proofs.meter_checks import ALGORITHMS, CHECKS, RECORDS_MAX, verify_meter
from chargera.proofs.meter_key import CURVES, MeterKey, load_meter_key, meter_key_hash
from chargera.proofs.meter_verdict import MeterExpectations, MeterVerdict, TimeUse
from chargera.proofs.ocmf import END_REASONS, IDENTIFICATION_ERRORS, IdentificationLevel, TimeStatus
from chargera.proofs.steps import StepStatus
from chargera.sim.meter import Identification, MeterReading, ReadingKind, SigningMeter

START = datetime(2025, 3, 1, 12, tzinfo=UTC)
DRIVER = Identification("04AB12CD")
KINDS = {"B": ReadingKind.BEGIN, "C": ReadingKind.CURRENT, "E": ReadingKind.END}


def private_key(secret: int = 0xC4E, curve: str = "secp256r1") -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(secret, CURVES[curve])


def meter(page: int = 0, **options: str) -> SigningMeter:
    return SigningMeter(private_key(), "SIM-1", page=page, **options)


KEY = load_meter_key(meter().public_key_pem)

Payload = dict[str, object]


def reading(minutes: int, wh: int, kind: str, **changes: object) -> Payload:
    """Return a reading object of the payload section; None leaves a member out."""
    at = START + timedelta(minutes=minutes)
    members: Payload = {
        "TM": f"{at:%Y-%m-%dT%H:%M:%S},000+0000 S",
        "TX": kind,
        "RV": wh,
        "RI": "1-0:1.8.0",
        "RU": "Wh",
        "EF": "",
        "ST": "G",
    }
    return {k: v for k, v in (members | changes).items() if v is not None}


def signed(page: str, readings: list[Payload], **changes: object) -> bytes:
    members: Payload = {
        "PG": page,
        "GS": "SIM-1",
        "MS": "SIM-1",
        "IS": True,
        "IL": "HEARSAY",
        "IT": "ISO14443",
        "ID": "04AB12CD",
        "RD": readings,
    }
    body = {k: v for k, v in (members | changes).items() if v is not None}
    return meter().sign(json.dumps(body)).encode()


def pair(begin: Payload | None = None, end: Payload | None = None, **both: object) -> list[bytes]:
    """Return begin and end strings; `begin` and `end` change the reading, `both` the payload."""
    return [
        signed("T1", [reading(0, 1000, "B", **(begin or {}))], **both),
        signed("T2", [reading(60, 8000, "E", **(end or {}))], **both),
    ]


def check(
    values: list[bytes],
    *,
    key: MeterKey = KEY,
    pages: dict[str, int] | None = None,
    expect: MeterExpectations | None = None,
) -> MeterVerdict:
    verdict = verify_meter(values, key, previous_pages=pages, expectations=expect)
    assert [step.step for step in verdict.steps] == ["form", *CHECKS]
    assert all(step.detail for step in verdict.steps)
    return verdict


def statuses(verdict: MeterVerdict) -> dict[str, StepStatus]:
    return {step.step: step.status for step in verdict.steps}


def detail(verdict: MeterVerdict, name: str) -> str:
    return next(step.detail for step in verdict.steps if step.step == name)


def fails_alone(verdict: MeterVerdict, name: str) -> None:
    failed = [step.step for step in verdict.steps if step.status is StepStatus.FAILED]
    assert failed == [name]
    assert verdict.failed_step == name
    assert not verdict.valid
    assert not verdict.undetermined
    assert verdict.exit_code == 1


EVERYTHING = MeterExpectations(
    key_hash=meter_key_hash(KEY),
    meter_serial="SIM-1",
    identification="04ab12cd",
    identification_level=IdentificationLevel.HEARSAY,
    time_use=TimeUse.CLOCK,
)


def test_a_transaction_on_which_everything_is_asked_passes() -> None:
    cable = {"LC": {"LR": 2, "LU": "mOhm"}}
    verdict = check(pair({"CL": 0}, {"CL": 5}, **cable), pages={"T": 0, "F": 9}, expect=EVERYTHING)
    assert set(statuses(verdict).values()) == {StepStatus.OK}
    assert verdict.valid
    assert verdict.exit_code == 0
    assert verdict.failed_step is None


def test_values_for_the_bill() -> None:
    verdict = check(pair({"RV": "1.0009", "RU": "kWh"}, {"RV": "8.0003", "RU": "kWh"}))
    assert verdict.begin is not None
    assert verdict.end is not None
    assert verdict.begin.register_wh_exact == Decimal("1000.9")
    assert (verdict.begin.register_wh, verdict.end.register_wh) == (1000, 8000)
    assert verdict.energy_wh == 7000
    assert (verdict.begin.at, verdict.end.at) == (START, START + timedelta(hours=1))
    assert verdict.begin.time_status is TimeStatus.SYNCHRONIZED
    assert (verdict.begin.page, verdict.end.page) == ("T1", "T2")
    assert verdict.last_pages == {"T": 2}
    assert len(verdict.records) == 2


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 6))
def test_whole_wh_are_never_more_than_the_meter_counted(a: int, b: int, decimals: int) -> None:
    low, high = sorted((a, b))
    scale = Decimal(1).scaleb(-decimals)
    verdict = check(pair({"RV": f"{low * scale:f}"}, {"RV": f"{high * scale:f}"}))
    assert verdict.valid
    assert verdict.energy_wh is not None
    assert abs(verdict.energy_wh - Fraction(high - low, 10**decimals)) < 1


def test_the_document_of_the_command() -> None:
    document = check(pair()).as_dict()
    assert list(document) == ["valid", "steps", "failed_step"]
    assert document["valid"] is True
    assert json.loads(json.dumps(document)) == document


# One string alone


@pytest.mark.parametrize("kind", ["B", "E"])
def test_half_a_transaction_is_valid_and_says_what_was_not_asked(kind: str) -> None:
    verdict = check([signed("T1", [reading(0, 1, kind)])])
    assert verdict.valid
    not_asked = {n for n, status in statuses(verdict).items() if status is StepStatus.NOT_ASKED}
    assert not_asked == {
        "pagination",
        "transaction_frame",
        "same_meter",
        "values_never_fall",
        "time_status",
        "identification",
        "loss_compensation",
    }
    assert (verdict.begin is None, verdict.end is None) == (kind == "E", kind == "B")
    assert verdict.energy_wh is None


def test_begin_and_end_in_one_string() -> None:
    verdict = check([signed("T5", [reading(0, 1, "B"), reading(9, 4, "C"), reading(10, 5, "E")])])
    asked = statuses(verdict)
    assert asked["transaction_frame"] is asked["values_never_fall"] is StepStatus.OK
    assert asked["same_meter"] is StepStatus.OK
    assert verdict.energy_wh == 4


def test_an_end_string_that_repeats_the_begin_reading() -> None:
    begin = reading(0, 1000, "B")
    values = [signed("T1", [begin]), signed("T2", [begin, reading(5, 1500, "E")])]
    assert check(values).energy_wh == 500
    other = signed("T2", [reading(0, 900, "B"), reading(5, 1500, "E")])
    assert check([values[0], other]).failed_step == "transaction_frame"


def test_the_register_that_is_billed_is_the_one_of_drawn_energy() -> None:
    fed_in = {"RI": "1-0:C2.08.00*FF"}
    readings = [
        reading(0, 7, "B", RI="1-0:1.9.0"),
        reading(0, 100, "B", **fed_in),
        reading(0, 1, "B"),
        reading(5, 90, "E", **fed_in),
        reading(5, 3, "E"),
    ]
    assert check([signed("T1", readings)]).energy_wh == 2
    back = [reading(0, 5, "B", RI="1-0:2.8.0"), reading(0, 9, "B", **fed_in)]
    verdict = check([signed("T1", [*back, reading(1, 12, "E", **fed_in)])])
    assert verdict.energy_wh == 3
    assert "export" in detail(verdict, "legal_register")


# 0 form


@pytest.mark.parametrize("values", [[], [b"OCMF|{}|{}"], [b""], pair() * RECORDS_MAX])
def test_form(values: list[bytes]) -> None:
    verdict = check(values)
    assert verdict.failed_step == "form"
    assert verdict.exit_code == 2
    assert not verdict.is_readable
    assert not verdict.is_signed
    assert {status for name, status in statuses(verdict).items() if name != "form"} == {
        StepStatus.NOT_ASKED
    }
    assert (verdict.records, verdict.last_pages, verdict.begin) == ((), {}, None)


# 1 signature


def test_changed_bytes_fail_by_signature_and_give_no_value() -> None:
    values = pair()
    values[1] = values[1].replace(b"8000", b"9000")
    verdict = check(values)
    fails_alone(verdict, "signature")
    assert "T2" in detail(verdict, "signature")
    assert (verdict.begin, verdict.end, verdict.energy_wh) == (None, None, None)
    assert verdict.last_pages == {}
    assert not verdict.is_signed


def test_another_meter_s_key_fails_by_signature() -> None:
    stranger = load_meter_key(SigningMeter(private_key(7), "SIM-1").public_key_pem)
    fails_alone(check(pair(), key=stranger), "signature")


def test_white_space_is_part_of_what_is_signed() -> None:
    fails_alone(check([pair()[0].replace(b'"PG": ', b'"PG":')]), "signature")


# 2 key from outside


def test_a_key_inside_the_message_is_never_used() -> None:
    stranger = SigningMeter(private_key(7), "SIM-1")
    raw = stranger.reading(5, START, ReadingKind.BEGIN, DRIVER)
    smuggled = raw.replace('{"SA"', f'{{"PK":"{stranger.public_key_hex}","SA"').encode()
    verdict = check([smuggled])
    fails_alone(verdict, "signature")
    assert "PK" in detail(verdict, "key_source")
    own = meter().reading(5, START, ReadingKind.BEGIN, DRIVER)
    verdict = check([own.replace('{"SA"', f'{{"XK":"{stranger.public_key_hex}","SA"').encode()])
    assert verdict.valid
    assert "XK" in detail(verdict, "key_source")


def test_the_key_must_be_the_registered_one() -> None:
    registered = MeterExpectations(key_hash=bytes(32))
    fails_alone(check(pair(), expect=registered), "key_source")


# 3 curve


@pytest.mark.parametrize("curve", CURVES)
def test_every_curve_signs_and_is_checked(curve: str) -> None:
    signer = SigningMeter(private_key(curve=curve), "SIM-1")
    readings = [MeterReading(1, START, ReadingKind.BEGIN), MeterReading(2, START, ReadingKind.END)]
    value = signer.record(readings, DRIVER).encode()
    key = load_meter_key(signer.public_key_pem)
    assert check([value], key=key).valid
    assert not check([value.replace(b"0.001", b"0.000")], key=key).valid


def test_the_named_curve_must_be_the_key_s() -> None:
    value = pair()[0].replace(b"secp256r1", b"secp256k1")
    fails_alone(check([value]), "key_curve")


@pytest.mark.parametrize("name", ["ECDSA-secp256r1-SHA512", "RSA", "", "ecdsa-secp256r1-sha256"])
def test_an_algorithm_that_ocmf_does_not_know(name: str) -> None:
    value = pair()[0].replace(b"ECDSA-secp256r1-SHA256", name.encode())
    fails_alone(check([value]), "key_curve")


def test_a_curve_of_ocmf_that_cannot_be_checked_is_undetermined() -> None:
    value = pair()[0].replace(b"secp256r1", b"secp192k1")
    verdict = check([value])
    assert statuses(verdict)["signature"] is StepStatus.PENDING
    assert statuses(verdict)["key_curve"] is StepStatus.PENDING
    assert verdict.undetermined
    assert not verdict.valid
    assert verdict.exit_code == 3
    assert verdict.begin is None
    assert "secp192k1" in detail(verdict, "signature")


def test_failing_is_stronger_than_undetermined() -> None:
    value = signed("T1", [reading(0, 1, "B", ST="M")]).replace(b"secp256r1", b"secp192k1")
    verdict = check([value])
    assert verdict.exit_code == 1
    assert not verdict.undetermined


def test_other_names_of_curves() -> None:
    assert ALGORITHMS["ECDSA-brainpool256r1-SHA256"] == "brainpoolP256r1"
    signer = SigningMeter(private_key(curve="brainpoolP384r1"), "SIM-1")
    value = signer.reading(1, START, ReadingKind.BEGIN, DRIVER).replace("poolP384", "pool384")
    assert check([value.encode()], key=load_meter_key(signer.public_key_pem)).valid


# 4 pages


@pytest.mark.parametrize(
    ("first", "second", "before", "words"),
    [
        ("T1", "T3", None, "1 page missing"),
        ("T1", "T9", None, "7 pages missing"),
        ("T2", "T2", None, "repetition"),
        ("T2", "T1", None, "repetition"),
        ("T5", "T6", {"T": 3}, "1 page missing"),
        ("T5", "T6", {"T": 5}, "repetition"),
        ("T5", "T6", {"T": 80}, "repetition"),
    ],
)
def test_gaps_and_repetitions(
    first: str, second: str, before: dict[str, int] | None, words: str
) -> None:
    values = [signed(first, [reading(0, 1, "B")]), signed(second, [reading(1, 2, "E")])]
    verdict = check(values, pages=before)
    fails_alone(verdict, "pagination")
    assert words in detail(verdict, "pagination")


def test_pages_count_by_series() -> None:
    one = [signed("T4", [reading(0, 1, "B")])]
    assert statuses(check(one, pages={"F": 99}))["pagination"] is StepStatus.NOT_ASKED
    assert statuses(check(one, pages={"T": 3}))["pagination"] is StepStatus.OK
    fiscal = [signed("F1", [reading(0, 1, "B")]), signed("F2", [reading(1, 1, "E")])]
    verdict = check(fiscal, pages={"T": 77})
    assert statuses(verdict)["pagination"] is StepStatus.OK
    assert "not known" in detail(verdict, "pagination")


def test_one_string_twice() -> None:
    value = pair()[0]
    verdict = check([value, value])
    assert verdict.failed_step == "pagination"


def test_begin_of_one_transaction_with_the_end_of_another() -> None:
    signer = meter()
    series = []
    for number in range(6):
        at = START + timedelta(hours=number)
        begin = signer.reading(number * 1000, at, ReadingKind.BEGIN, DRIVER)
        end = signer.reading(
            number * 1000 + 900, at + timedelta(minutes=30), ReadingKind.END, DRIVER
        )
        series.append((begin.encode(), end.encode()))
    for i, (begin_of, _) in enumerate(series):
        for j, (_, end_of) in enumerate(series):
            verdict = check([begin_of, end_of])
            assert verdict.valid == (i == j)
            assert i == j or verdict.failed_step == "pagination"


# 5 frame


@pytest.mark.parametrize("reason", sorted(END_REASONS))
def test_every_reason_to_end(reason: str) -> None:
    assert check(pair(end={"TX": reason})).valid


@pytest.mark.parametrize("reason", ["C", "S", "T"])
def test_readings_in_between(reason: str) -> None:
    values = [
        signed("T1", [reading(0, 1, "B")]),
        signed("T2", [reading(1, 2, reason)]),
        signed("T3", [reading(2, 3, "E")]),
    ]
    assert check(values).valid


@pytest.mark.parametrize("kinds", ["BB", "EE", "EB", "CE", "BC", "BEE", "BBE", "B?E", "BEBE"])
def test_frames_that_are_none(kinds: str) -> None:
    values = [
        signed(f"T{i}", [reading(i, i, "E" if kind == "E" else kind)])
        for i, kind in enumerate(kinds)
    ]
    fails_alone(check(values), "transaction_frame")


@pytest.mark.parametrize("kinds", ["BB", "EE", "BEE", "B?E", "BEC"])
def test_frames_in_one_string(kinds: str) -> None:
    readings = [reading(i, i, kind) for i, kind in enumerate(kinds)]
    fails_alone(check([signed("T1", readings)]), "transaction_frame")


def test_readings_without_a_transaction() -> None:
    values = [signed(f"F{i}", [reading(i, i, "C", TX=None)]) for i in range(2)]
    verdict = check(values)
    fails_alone(verdict, "transaction_frame")
    assert (verdict.begin, verdict.end) == (None, None)


# 6 same meter


@pytest.mark.parametrize("serial", ["GS", "MS"])
def test_begin_and_end_of_different_meters(serial: str) -> None:
    values = [pair()[0], signed("T2", [reading(60, 8000, "E")], **{serial: "SIM-2"})]
    fails_alone(check(values), "same_meter")


@pytest.mark.parametrize("change", [{"RI": "1-0:1.8.1"}, {"RU": "kWh"}])
def test_begin_and_end_of_different_registers(change: Payload) -> None:
    fails_alone(check(pair(end=change)), "same_meter")


def test_the_registered_serial() -> None:
    one = pair()[:1]
    assert statuses(check(one, expect=MeterExpectations(meter_serial="SIM-1")))["same_meter"] is (
        StepStatus.OK
    )
    fails_alone(check(one, expect=MeterExpectations(meter_serial="SIM-2")), "same_meter")
    gateway = [signed("T1", [reading(0, 1, "B")], MS=None)]
    assert check(gateway, expect=MeterExpectations(meter_serial="SIM-1")).valid


# 7 only forwards


def test_a_register_that_falls() -> None:
    fails_alone(check(pair(end={"RV": 999})), "values_never_fall")
    readings = [reading(0, 5, "B"), reading(1, 4, "C"), reading(2, 6, "E")]
    fails_alone(check([signed("T1", readings)]), "values_never_fall")


def test_a_clock_that_goes_back() -> None:
    back = f"{START - timedelta(seconds=1):%Y-%m-%dT%H:%M:%S},000+0000 S"
    fails_alone(check(pair(end={"TM": back})), "values_never_fall")


def test_standing_still_is_not_falling() -> None:
    still = reading(0, 1000, "E")
    assert check([pair()[0], signed("T2", [still])]).energy_wh == 0


# 8 state


@pytest.mark.parametrize("change", [{"ST": "M"}, {"ST": None}, {"EF": "E"}, {"EF": "t"}])
def test_a_meter_that_reports_a_fault(change: Payload) -> None:
    fails_alone(check(pair(end=change)), "meter_state")
    fails_alone(check(pair(begin=change)), "meter_state")


def test_an_error_in_between() -> None:
    readings = [reading(0, 5, "B"), reading(1, 5, "X"), reading(2, 6, "E")]
    fails_alone(check([signed("T1", readings)]), "meter_state")


def test_an_error_counter_that_moves() -> None:
    assert check(pair({"EI": 7}, {"EI": 7})).valid
    fails_alone(check(pair({"EI": 7}, {"EI": 8})), "meter_state")
    fails_alone(check(pair({"EI": 7})), "meter_state")


def test_a_fault_of_a_register_that_is_not_billed_counts() -> None:
    readings = [reading(0, 1, "B"), reading(0, 1, "B", RI="1-0:2.8.0", ST="F"), reading(1, 2, "E")]
    fails_alone(check([signed("T1", readings)]), "meter_state")


# 9 times


@pytest.mark.parametrize(
    ("use", "states", "status"),
    [
        (None, "UU", StepStatus.NOT_ASKED),
        (TimeUse.CLOCK, "SS", StepStatus.OK),
        (TimeUse.CLOCK, "SR", StepStatus.FAILED),
        (TimeUse.CLOCK, "IS", StepStatus.FAILED),
        (TimeUse.CLOCK, "S", StepStatus.OK),
        (TimeUse.CLOCK, "I", StepStatus.FAILED),
        (TimeUse.DURATION, "SS", StepStatus.OK),
        (TimeUse.DURATION, "IR", StepStatus.OK),
        (TimeUse.DURATION, "RR", StepStatus.OK),
        (TimeUse.DURATION, "UR", StepStatus.FAILED),
        (TimeUse.DURATION, "II", StepStatus.FAILED),
        (TimeUse.DURATION, "SU", StepStatus.FAILED),
        (TimeUse.DURATION, "I", StepStatus.NOT_ASKED),
    ],
)
def test_what_a_time_can_carry(use: TimeUse | None, states: str, status: StepStatus) -> None:
    times = [f"2025-03-01T12:00:0{i},000+0000 {state}" for i, state in enumerate(states)]
    values = [signed(f"T{i}", [reading(0, 1, "BE"[i], TM=time)]) for i, time in enumerate(times)]
    verdict = check(values, expect=MeterExpectations(time_use=use))
    assert statuses(verdict)["time_status"] is status
    assert verdict.valid == (status is not StepStatus.FAILED)


# 10 identification


@pytest.mark.parametrize("error", sorted(IDENTIFICATION_ERRORS))
def test_an_identification_that_failed(error: str) -> None:
    fails_alone(check(pair(IL=error)), "identification")


def test_different_drivers_at_begin_and_end() -> None:
    values = [pair()[0], signed("T2", [reading(60, 8000, "E")], ID="FFFF")]
    fails_alone(check(values), "identification")


def test_a_driver_who_is_known_at_the_end_only() -> None:
    values = [signed("T1", [reading(0, 1000, "B")], ID="", IS=False, IL="NONE"), pair()[1]]
    assert check(values, expect=MeterExpectations(identification="04AB12CD")).valid


@pytest.mark.parametrize("changes", [{"ID": "nonce-2"}, {"ID": ""}, {"ID": None}])
def test_the_identification_that_was_expected(changes: Payload) -> None:
    expected = MeterExpectations(identification="nonce-1")
    assert check([signed("T1", [reading(0, 1, "B")], ID="NONCE-1")], expect=expected).valid
    one = [signed("T1", [reading(0, 1, "B")], **changes)]
    fails_alone(check(one, expect=expected), "identification")


def test_the_level_that_the_contract_needs() -> None:
    expected = MeterExpectations(identification_level=IdentificationLevel.VERIFIED)
    fails_alone(check(pair(IL="TRUSTED"), expect=expected), "identification")
    assert check(pair(IL="VERIFIED"), expect=expected).valid
    assert check(pair(IL=None, IF=["ISO15118_PNC"]), expect=expected).valid


# 11 loss in the cable

CABLE = {"LR": 2, "LU": "mOhm"}


@pytest.mark.parametrize(
    ("begin", "end", "cable"),
    [
        ({"CL": 0}, {"CL": 5}, None),
        ({"CL": 0}, {"CL": 5}, {"LR": 2}),
        ({"CL": 1}, {"CL": 5}, CABLE),
        ({"CL": 0}, {"CL": -5}, CABLE),
        ({}, {"CL": 5}, {"LN": "x"}),
    ],
)
def test_losses_that_do_not_add_up(begin: Payload, end: Payload, cable: Payload | None) -> None:
    fails_alone(check(pair(begin, end, LC=cable)), "loss_compensation")


def test_a_loss_that_shrinks() -> None:
    readings = [reading(0, 5, "B"), reading(1, 6, "C", CL=4), reading(2, 6, "E", CL=3)]
    fails_alone(check([signed("T1", readings, LC=CABLE)]), "loss_compensation")


def test_another_cable_at_the_end() -> None:
    begin = signed("T1", [reading(0, 1000, "B")], LC=CABLE)
    end = signed("T2", [reading(60, 8000, "E")], LC=CABLE | {"LR": 3})
    fails_alone(check([begin, end]), "loss_compensation")


def test_an_end_alone_may_have_a_loss() -> None:
    value = signed("T2", [reading(60, 8000, "E", CL=2)], LC=CABLE)
    assert statuses(check([value]))["loss_compensation"] is StepStatus.OK


# 12 register


@pytest.mark.parametrize("code", ["1-0:2.8.0", "1-0:98.8.0.FF", None, "energy"])
def test_a_register_that_no_bill_may_rest_upon(code: str | None) -> None:
    fails_alone(check(pair({"RI": code}, {"RI": code})), "legal_register")


@pytest.mark.parametrize("unit", ["sec", None])
def test_a_value_that_is_no_energy(unit: str | None) -> None:
    verdict = check(pair({"RU": unit}, {"RU": unit}))
    fails_alone(verdict, "legal_register")
    assert (verdict.begin, verdict.end) == (None, None)


def test_a_reading_without_a_value() -> None:
    verdict = check(pair(end={"RV": None}))
    fails_alone(verdict, "legal_register")
    assert verdict.energy_wh is None


def test_an_event_without_a_value_in_between() -> None:
    readings = [reading(0, 5, "B"), reading(1, 0, "S", RV=None), reading(2, 6, "E")]
    assert check([signed("T1", readings)]).energy_wh == 1


def test_a_register_below_zero() -> None:
    fails_alone(check(pair({"RV": -2}, {"RV": -1})), "legal_register")
