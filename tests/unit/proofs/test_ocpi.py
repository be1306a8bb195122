"""What `tariff price` computes from two documents."""

import json
from pathlib import Path

import pytest

from chargera.domain.errors import InvalidInput, Unsupported
from chargera.proofs.ocpi import parse_json, price_documents, session_from_json

VECTORS = Path(__file__).parents[2] / "vectors" / "ocpi_price_examples.json"
CASES = json.loads(VECTORS.read_text())["cases"]

PER_HOUR_FROM_17 = {
    "id": "T",
    "currency": "EUR",
    "elements": [
        {
            "price_components": [{"type": "TIME", "price": "6", "step_size": 1}],
            "restrictions": {"start_time": "17:00"},
        }
    ],
}
CDR = {
    "currency": "EUR",
    "start_date_time": "2026-07-01T15:00:00Z",
    "end_date_time": "2026-07-01T16:00:00Z",
    "charging_periods": [
        {
            "start_date_time": "2026-07-01T15:00:00Z",
            "dimensions": [{"type": "TIME", "volume": 1}],
        }
    ],
}
SESSION = {
    "started_at": "2026-07-01T15:00:00Z",
    "ended_at": "2026-07-01T16:00:00Z",
    "time_zone": "Europe/Amsterdam",
    "readings": [{"at": "2026-07-01T15:00:00Z", "register_wh": 5, "state": "charging"}],
}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_price_documents__published_example__costs_what_it_says(case):
    bill = price_documents(case["tariff"], cdr=case.get("cdr"), session=case.get("session"))
    expected = {name: case[name] for name in bill if name in case}
    assert len(expected) == 4
    assert {name: bill[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("zone", "net_minor"), [(None, 0), ("UTC", 0), ("Europe/Amsterdam", 600), ("Asia/Tokyo", 0)]
)
def test_price_documents__cdr__local_time_of_the_zone_given(zone, net_minor):
    assert price_documents(PER_HOUR_FROM_17, cdr=CDR, time_zone=zone)["net_minor"] == net_minor


@pytest.mark.parametrize(
    ("own", "given", "net_minor"),
    [("Europe/Amsterdam", None, 600), (None, None, 0), ("Europe/Amsterdam", "UTC", 0)],
)
def test_price_documents__session__its_own_zone_unless_one_is_given(own, given, net_minor):
    session = SESSION | {"time_zone": own}
    bill = price_documents(PER_HOUR_FROM_17, session=session, time_zone=given)
    assert bill["net_minor"] == net_minor


@pytest.mark.parametrize("documents", [{}, {"cdr": CDR, "session": SESSION}])
def test_price_documents__none_or_both__refused(documents):
    with pytest.raises(InvalidInput, match="a CDR or a session"):
        price_documents(PER_HOUR_FROM_17, **documents)


def test_price_documents__cdr_in_another_currency__refused():
    with pytest.raises(InvalidInput) as refused:
        price_documents(PER_HOUR_FROM_17, cdr=CDR | {"currency": "USD"})
    assert refused.value.field == "currency"


def test_price_documents__unknown_zone__refused():
    for documents in ({"cdr": CDR}, {"session": SESSION}):
        with pytest.raises(InvalidInput) as refused:
            price_documents(PER_HOUR_FROM_17, **documents, time_zone="Mars/Olympus")
        assert refused.value.field == "time_zone"


def test_session_from_json__state__as_of_its_reading():
    session = session_from_json(
        parse_json("""{
            "started_at": "2026-07-01T15:00:00Z", "ended_at": "2026-07-01T17:00:00+00:00",
            "readings": [
                {"at": "2026-07-01T15:00:00Z", "register_wh": 5, "state": "charging"},
                {"at": "2026-07-01T15:30:00Z", "register_wh": 7.0},
                {"at": "2026-07-01T16:00:00Z", "register_wh": 9, "state": "idle"}
            ]}""")
    )
    assert session.time_zone == "UTC"
    assert [value.register_wh for value in session.registers] == [5, 7, 9]
    assert [change.state for change in session.state_changes] == ["charging", "idle"]
    assert session.state_changes[1].at == session.registers[2].at


def test_session_from_json__no_readings__nothing_metered():
    assert session_from_json(SESSION | {"readings": None}).registers == ()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"started_at": None}, "started_at"),
        ({"ended_at": "soon"}, "ended_at"),
        ({"ended_at": "2026-07-01T14:00:00Z"}, "ended_at"),
        ({"time_zone": "Nowhere"}, "time_zone"),
        ({"readings": 7}, "readings"),
        ({"readings": [{"at": "2026-07-01T15:00:00Z"}]}, "readings[0].register_wh"),
        (
            {"readings": [{"at": "2026-07-01T15:00:00Z", "register_wh": 1.5}]},
            "readings[0].register_wh",
        ),
        (
            {
                "readings": [
                    {"at": "2026-07-01T15:00:00Z", "register_wh": 9},
                    {"at": "2026-07-01T15:01:00Z", "register_wh": 8},
                ]
            },
            "readings[1].register_wh",
        ),
    ],
)
def test_session_from_json__wrong__named_by_path(change, field):
    with pytest.raises(InvalidInput) as refused:
        session_from_json(SESSION | change)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"meter": "M1"}, "meter"),
        (
            {"readings": [{"at": "2026-07-01T15:00:00Z", "register_kwh": 1}]},
            "readings[0].register_kwh",
        ),
        (
            {"readings": [{"at": "2026-07-01T15:00:00Z", "register_wh": 1, "state": "parked"}]},
            "readings[0].state",
        ),
    ],
)
def test_session_from_json__unknown__unsupported_by_name(change, field):
    with pytest.raises(Unsupported) as refused:
        session_from_json(SESSION | change)
    assert refused.value.field == field
