"""The judgement on a session, branch by branch."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chargera.domain.messages import ReadingContext
from chargera.domain.proof_level import ProofLevel
from chargera.domain.transaction import Anomaly
from chargera.proofs.cdr import Correction, SessionFacts, SignedMeterValue, judge
from chargera.proofs.meter_key import load_meter_key
from chargera.proofs.ocpi import tariff_from_ocpi
from chargera.sim.meter import Identification, ReadingKind, SigningMeter
from tests.unit.proofs.sample_receipt import METER_KEY, METER_KEY_DER, START, TARIFF, events

KEY = load_meter_key(METER_KEY_DER.hex())


def tariff(restrictions: dict[str, Any] | None = None, **more: Any) -> Any:
    component = {"type": "ENERGY", "price": "0.30", "step_size": 1}
    element: dict[str, Any] = {"price_components": [component]}
    if restrictions is not None:
        element["restrictions"] = restrictions
    return tariff_from_ocpi({**TARIFF, "elements": [element], **more})


def facts(**more: Any) -> SessionFacts:
    given = SessionFacts(
        numbered=False,
        time_zone="UTC",
        events=events(),
        tariff=tariff(),
        meter_key=None,
        signed=(),
        previous_pages=None,
        correction=None,
    )
    return replace(given, **more)


def signed(begin_wh: int = 1000, end_wh: int = 11_000, *, page: int = 0) -> list[SignedMeterValue]:
    meter = SigningMeter(METER_KEY, "SIM-1", page=page)
    who = Identification()
    begin = meter.reading(begin_wh, START, ReadingKind.BEGIN, who)
    end = meter.reading(end_wh, START + timedelta(hours=1), ReadingKind.END, who)
    return [
        SignedMeterValue(ReadingContext.BEGIN, begin.encode()),
        SignedMeterValue(ReadingContext.END, end.encode()),
    ]


def test_judge__plain_session__billed_at_level_zero() -> None:
    judgement = judge(facts())
    assert judgement.bill is not None
    assert judgement.bill.net_minor == 300
    assert (judgement.proof_level, judgement.reasons) == (ProofLevel.L0, ())


def test_judge__tariff_missing_or_not_valid_then__review() -> None:
    for other in (None, tariff(end_date_time="2020-01-01T00:00:00Z")):
        judgement = judge(facts(tariff=other))
        assert judgement.bill is None
        assert judgement.reasons == (Anomaly.NO_TARIFF,)


def test_judge__more_than_a_megawatt_hour_in_an_hour__implausible() -> None:
    judgement = judge(facts(events=events(registers=(0, 5, 1_000_001)), power_w_max=22_000))
    assert judgement.reasons == (Anomaly.IMPLAUSIBLE,)
    fine = judge(facts(events=events(registers=(0, 5, 1_000_000)), power_w_max=22_000))
    assert fine.bill is not None


def test_judge__registered_meter_signs__level_two() -> None:
    judgement = judge(facts(meter_key=KEY, signed=signed()))
    assert judgement.bill is not None
    assert judgement.proof_level is ProofLevel.L2


@pytest.mark.parametrize(
    "values",
    [
        [],
        signed(1010),
        signed(1000, 11_010),
        signed()[:1],
        [SignedMeterValue(ReadingContext.OTHER, b"OCMF|{}|{}")],
    ],
)
def test_judge__registered_meter_does_not_sign_this__review(values: list[SignedMeterValue]) -> None:
    judgement = judge(facts(meter_key=KEY, signed=values))
    assert judgement.bill is None
    assert judgement.reasons == (Anomaly.METER_SIGNATURE,)


def test_judge__signed_without_begin_and_end_of_the_station__review() -> None:
    judgement = judge(facts(meter_key=KEY, signed=signed(), events=events()[1:]))
    assert Anomaly.METER_SIGNATURE in judgement.reasons
    assert Anomaly.NO_START in judgement.reasons


@pytest.mark.parametrize(
    ("previous", "level"),
    [
        (None, ProofLevel.L2),
        ({}, ProofLevel.L2),
        ({"T": 6}, ProofLevel.L2),
        ({"F": 1}, ProofLevel.L2),
        ({"T": 5}, ProofLevel.L0),
        ({"T": 7}, ProofLevel.L0),
    ],
)
def test_judge__pages_before__a_gap_costs_the_level_not_the_bill(
    previous: dict[str, int] | None, level: ProofLevel
) -> None:
    judgement = judge(facts(meter_key=KEY, signed=signed(page=6), previous_pages=previous))
    assert judgement.bill is not None
    assert judgement.proof_level is level
    assert (Anomaly.METER_PAGE_GAP in judgement.anomalies) is (level is ProofLevel.L0)


@pytest.mark.parametrize(
    "restrictions",
    [None, {"max_kwh": 50}, {"start_time": "08:00"}, {"day_of_week": ["MONDAY"]}],
)
def test_judge__tariffs_by_clock_need_a_meter_clock__this_one_has_one(
    restrictions: dict[str, Any] | None,
) -> None:
    judgement = judge(facts(meter_key=KEY, signed=signed(), tariff=tariff(restrictions)))
    assert judgement.bill is not None
    timed = tariff_from_ocpi(
        {
            **TARIFF,
            "elements": [{"price_components": [{"type": "TIME", "price": "1", "step_size": 1}]}],
        }
    )
    assert judge(facts(meter_key=KEY, signed=signed(), tariff=timed)).bill is not None
    assert judge(facts(meter_key=KEY, signed=signed(), tariff=None)).bill is None


def test_judge__a_person_decided__his_values_whatever_the_rows_say() -> None:
    correction = Correction(START, START + timedelta(hours=2), 1000, 3000)
    judgement = judge(
        facts(events=[], correction=correction, known=frozenset({Anomaly.NO_ID_TOKEN}))
    )
    assert judgement.bill is not None
    assert judgement.bill.net_minor == 60
    assert judgement.anomalies == frozenset()


def test_judge__a_decision_beyond_all_limits__implausible() -> None:
    too_long = Correction(START, START + timedelta(days=400), 0, 1)
    assert judge(facts(correction=too_long)).reasons == (Anomaly.IMPLAUSIBLE,)


def test_judge__more_periods_than_a_bill_has__implausible() -> None:
    daily = {"start_time": "08:00", "end_time": "08:01"}
    registers = tuple(range(4))
    rows = events(registers=registers)
    long = [replace_at(row, START + timedelta(days=360) * row.n / 3) for row in rows]
    it = facts(events=long, tariff=tariff(daily))
    assert judge(it).bill is not None
    minutes = [
        {
            "price_components": [{"type": "ENERGY", "price": "1", "step_size": 1}],
            "restrictions": {"start_time": f"{h:02}:00", "end_time": f"{h:02}:30"},
        }
        for h in range(24)
    ]
    many = tariff_from_ocpi({**TARIFF, "elements": minutes})
    assert judge(facts(events=long, tariff=many)).reasons == (Anomaly.IMPLAUSIBLE,)


def replace_at(row: Any, at: Any) -> Any:
    return row._replace(at=at, received_at=at)
