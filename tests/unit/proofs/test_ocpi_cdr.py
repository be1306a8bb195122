"""OCPI CDR objects: what they say, and that they cost again what they did."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings

from chargera.domain.errors import InvalidInput, Unsupported
from chargera.domain.pricing import (
    ChargingState,
    MeteredSession,
    RegisterValue,
    StateChange,
    bill_as_json,
    price_session,
)
from chargera.domain.tariff import Dimension
from chargera.proofs.ocpi import (
    AuthMethod,
    CdrFacts,
    CdrLocation,
    CdrToken,
    CdrTokenType,
    SignedData,
    SignedValue,
    cdr_from_ocpi,
    cdr_to_ocpi,
    encode_json,
    parse_json,
    price_documents,
    tariff_from_ocpi,
    tariff_to_ocpi,
)
from tests.unit.domain.test_pricing_properties import sessions, tariffs

START = datetime(2026, 1, 5, 10, tzinfo=UTC)
TARIFF = {
    "id": "DAY",
    "currency": "EUR",
    "elements": [
        {
            "price_components": [
                {"type": "FLAT", "price": "0.50", "vat": "21", "step_size": 1},
                {"type": "ENERGY", "price": "0.30", "vat": "21", "step_size": 100},
            ],
            "restrictions": {"max_kwh": "3"},
        },
        {
            "price_components": [
                {"type": "ENERGY", "price": "0.40", "vat": "9", "step_size": 100},
                {"type": "TIME", "price": "1", "step_size": 60},
                {"type": "PARKING_TIME", "price": "6", "vat": "21", "step_size": 60},
            ]
        },
    ],
}


def minutes(count):
    return START + timedelta(minutes=count)


SESSION = MeteredSession(
    START,
    minutes(90),
    "Europe/Amsterdam",
    (RegisterValue(START, 1000), RegisterValue(minutes(60), 7000)),
    (StateChange(minutes(60), ChargingState.IDLE),),
)
FACTS = CdrFacts(
    cdr_id="CDR-1",
    country_code="NL",
    party_id="C4E",
    session_id="S-1",
    started_at=START,
    ended_at=minutes(90),
    token=CdrToken("DE", "EMS", "04A1B2", CdrTokenType.RFID, "DE-EMS-C1"),
    auth_method=AuthMethod.WHITELIST,
    location=CdrLocation(
        location_id="L1",
        address="Kade 1",
        city="Rotterdam",
        country="NLD",
        latitude="51.9",
        longitude="-4.47891234",
        evse_uid="E1",
        evse_id="NL*C4E*E1",
        connector_id="1",
        connector_standard="IEC_62196_T2",
        connector_format="SOCKET",
        connector_power_type="AC_3_PHASE",
    ),
    last_updated=minutes(91),
)


def bill_of(session=SESSION):
    return price_session(tariff_from_ocpi(TARIFF), session)


def test_cdr_to_ocpi__a_session__the_whole_object():
    assert parse_json(encode_json(cdr_to_ocpi(bill_of(), FACTS, TARIFF))) == {
        "country_code": "NL",
        "party_id": "C4E",
        "id": "CDR-1",
        "start_date_time": "2026-01-05T10:00:00Z",
        "end_date_time": "2026-01-05T11:30:00Z",
        "session_id": "S-1",
        "cdr_token": {
            "country_code": "DE",
            "party_id": "EMS",
            "uid": "04A1B2",
            "type": "RFID",
            "contract_id": "DE-EMS-C1",
        },
        "auth_method": "WHITELIST",
        "cdr_location": {
            "id": "L1",
            "address": "Kade 1",
            "city": "Rotterdam",
            "country": "NLD",
            "coordinates": {"latitude": "51.900000", "longitude": "-4.478912"},
            "evse_uid": "E1",
            "evse_id": "NL*C4E*E1",
            "connector_id": "1",
            "connector_standard": "IEC_62196_T2",
            "connector_format": "SOCKET",
            "connector_power_type": "AC_3_PHASE",
        },
        "currency": "EUR",
        "tariffs": [
            {
                "country_code": "NL",
                "party_id": "C4E",
                "last_updated": "2026-01-05T10:00:00Z",
                "id": "DAY",
                "currency": "EUR",
                "elements": [
                    {
                        "price_components": [
                            {"type": "FLAT", "price": Decimal("0.50"), "vat": 21, "step_size": 1},
                            {
                                "type": "ENERGY",
                                "price": Decimal("0.30"),
                                "vat": 21,
                                "step_size": 100,
                            },
                        ],
                        "restrictions": {"max_kwh": 3},
                    },
                    {
                        "price_components": [
                            {
                                "type": "ENERGY",
                                "price": Decimal("0.40"),
                                "vat": 9,
                                "step_size": 100,
                            },
                            {"type": "TIME", "price": 1, "step_size": 60},
                            {"type": "PARKING_TIME", "price": 6, "vat": 21, "step_size": 60},
                        ]
                    },
                ],
            }
        ],
        "charging_periods": [
            {
                "start_date_time": "2026-01-05T10:00:00Z",
                "dimensions": [
                    {"type": "ENERGY", "volume": 3},
                    {"type": "TIME", "volume": Decimal("0.5")},
                ],
                "tariff_id": "DAY",
            },
            {
                "start_date_time": "2026-01-05T10:30:00Z",
                "dimensions": [
                    {"type": "ENERGY", "volume": 3},
                    {"type": "TIME", "volume": Decimal("0.5")},
                ],
                "tariff_id": "DAY",
            },
            {
                "start_date_time": "2026-01-05T11:00:00Z",
                "dimensions": [{"type": "PARKING_TIME", "volume": Decimal("0.5")}],
                "tariff_id": "DAY",
            },
        ],
        "total_cost": {"excl_vat": Decimal("6.60"), "incl_vat": Decimal("7.63")},
        "total_fixed_cost": {"excl_vat": Decimal("0.50")},
        "total_energy": 6,
        "total_energy_cost": {"excl_vat": Decimal("2.10")},
        "total_time": Decimal("1.5"),
        "total_time_cost": {"excl_vat": 1},
        "total_parking_time": Decimal("0.5"),
        "total_parking_cost": {"excl_vat": 3},
        "last_updated": "2026-01-05T11:31:00Z",
    }


def test_cdr_to_ocpi__optional_facts__where_they_belong():
    facts = replace(
        FACTS,
        session_id=None,
        authorization_reference="A-1",
        meter_id="M-1",
        remark="EVDisconnected",
        location=replace(FACTS.location, name="Quay", postal_code="3011"),
        signed_data=SignedData(
            "OCMF", (SignedValue("Start", "plain", "c2lnbmVk"),), public_key="a2V5"
        ),
    )
    cdr = cdr_to_ocpi(bill_of(), facts, TARIFF | {"party_id": "XYZ"})
    assert "session_id" not in cdr
    assert cdr["authorization_reference"] == "A-1"
    assert cdr["meter_id"] == "M-1"
    assert cdr["remark"] == "EVDisconnected"
    assert cdr["cdr_location"]["name"] == "Quay"
    assert cdr["cdr_location"]["postal_code"] == "3011"
    assert cdr["tariffs"][0]["party_id"] == "XYZ"
    assert cdr["signed_data"] == {
        "encoding_method": "OCMF",
        "public_key": "a2V5",
        "signed_values": [{"nature": "Start", "plain_data": "plain", "signed_data": "c2lnbmVk"}],
    }


def test_cdr_to_ocpi__credit__the_same_but_for_the_sign_of_its_total():
    original = cdr_to_ocpi(bill_of(), FACTS, TARIFF)
    credit_facts = replace(FACTS, cdr_id="CDR-1-C", credit_reference_id="CDR-1")
    credit = cdr_to_ocpi(bill_of(), credit_facts, TARIFF)
    assert credit == original | {
        "id": "CDR-1-C",
        "total_cost": {"excl_vat": Decimal("-6.60"), "incl_vat": Decimal("-7.63")},
        "credit": True,
        "credit_reference_id": "CDR-1",
    }


def test_cdr_to_ocpi__zero_length__has_a_period_with_a_dimension():
    nothing = MeteredSession(START, START)
    cdr = cdr_to_ocpi(bill_of(nothing), FACTS, TARIFF)
    assert cdr["charging_periods"] == [
        {
            "start_date_time": "2026-01-05T10:00:00Z",
            "dimensions": [{"type": "TIME", "volume": 0}],
            "tariff_id": "DAY",
        }
    ]
    assert cdr["total_time"] == 0
    assert "total_parking_time" not in cdr


def test_cdr_to_ocpi__milliseconds__rounded_down_and_at_most_25_characters():
    at = START + timedelta(microseconds=123_987)
    session = MeteredSession(at, minutes(90))
    cdr = cdr_to_ocpi(bill_of(session), replace(FACTS, started_at=at), TARIFF)
    assert cdr["start_date_time"] == "2026-01-05T10:00:00.123Z"
    assert cdr["charging_periods"][0]["start_date_time"] == "2026-01-05T10:00:00.123Z"


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        (replace(FACTS, cdr_id="x" * 40), "id"),
        (replace(FACTS, cdr_id=""), "id"),
        (replace(FACTS, session_id="x" * 37), "session_id"),
        (replace(FACTS, token=replace(FACTS.token, uid="x" * 37)), "cdr_token.uid"),
        (replace(FACTS, location=replace(FACTS.location, city="x" * 46)), "cdr_location.city"),
    ],
)
def test_cdr_to_ocpi__text_that_a_partner_would_refuse__named(facts, field):
    with pytest.raises(InvalidInput) as refused:
        cdr_to_ocpi(bill_of(), facts, TARIFF)
    assert refused.value.field == field


@pytest.mark.parametrize("seconds", [1, 7, 59, 100, 3599, 3601, 12_345])
def test_volumes__seconds_that_no_four_decimals_hold__step_size_brings_them_back(seconds):
    per_second = TARIFF | {
        "elements": [{"price_components": [{"type": "TIME", "price": "3.6", "step_size": 1}]}]
    }
    session = MeteredSession(START, START + timedelta(seconds=seconds))
    bill = price_session(tariff_from_ocpi(per_second), session)
    cdr = cdr_to_ocpi(bill, FACTS, per_second)
    again = price_documents(per_second, cdr=cdr | {"end_date_time": "2026-01-06T00:00:00Z"})
    assert again["net_exact"] == bill_as_json(bill)["net_exact"]


@settings(max_examples=80, deadline=None)
@given(tariff=tariffs, session=sessions())
def test_volumes__any_bill__at_most_four_decimals_and_never_more_than_was_used(tariff, session):
    bill = price_session(tariff, session)
    document = tariff_to_ocpi(tariff, country_code="NL", party_id="C4E", last_updated=START)
    facts = replace(FACTS, started_at=session.started_at, ended_at=session.ended_at)
    cdr = cdr_to_ocpi(bill, facts, document)

    used = dict.fromkeys(("ENERGY", "TIME", "PARKING_TIME"), Fraction(0))
    given = dict.fromkeys(used, Fraction(0))
    for period, exported in zip(bill.periods, cdr["charging_periods"], strict=True):
        for quantity in period.quantities:
            if quantity.dimension is not Dimension.FLAT:
                per_hour = 1 if quantity.dimension is Dimension.ENERGY else 3600
                used[quantity.dimension] += quantity.quantity / per_hour
        for dimension in exported["dimensions"]:
            assert dimension["volume"].as_tuple().exponent >= -4
            assert dimension["volume"] >= 0
            given[dimension["type"]] += Fraction(dimension["volume"])
        for name, exact in used.items():
            assert 0 <= exact - given[name] < Fraction(1, 10_000)
    assert Fraction(cdr["total_energy"]) == Fraction(session.energy_wh, 1000)
    assert [p.started_at for p in cdr_from_ocpi(cdr).periods] == sorted(
        p.started_at for p in cdr_from_ocpi(cdr).periods
    )


def cdr(*dimensions, **change):
    return {
        "currency": "EUR",
        "start_date_time": "2026-01-05T10:00:00Z",
        "end_date_time": "2026-01-05T11:30:00Z",
        "charging_periods": [
            {"start_date_time": "2026-01-05T10:00:00Z", "dimensions": list(dimensions)}
        ],
    } | change


def volume(kind, amount):
    return {"type": kind, "volume": amount}


def test_cdr_from_ocpi__what_informs_only__left_out():
    read = cdr_from_ocpi(
        cdr(
            volume("ENERGY", Decimal("1.5")),
            volume("MAX_POWER", 22),
            volume("STATE_OF_CHARGE", 80),
            volume("TIME", Decimal("0.5")),
            volume("PARKING_TIME", 1),
            remark="of no interest",
        )
    )
    assert read.started_at == START
    assert read.periods[0].energy_wh == 1500
    assert read.periods[0].charging_s == 1800
    assert read.periods[0].parking_s == 3600


@pytest.mark.parametrize("kind", ["RESERVATION_TIME", "FLAT", "energy"])
def test_cdr_from_ocpi__dimension_that_is_not_priced__unsupported_by_name(kind):
    with pytest.raises(Unsupported) as refused:
        cdr_from_ocpi(cdr(volume("ENERGY", 1), volume(kind, 1)))
    assert refused.value.field == "charging_periods[0].dimensions[1].type"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (cdr(currency=None), "currency"),
        (cdr(start_date_time=None), "start_date_time"),
        (cdr(charging_periods=None), "charging_periods"),
        (cdr(volume("ENERGY", "much")), "charging_periods[0].dimensions[0].volume"),
        (cdr(volume("TIME", 1), volume("TIME", 1)), "charging_periods[0].dimensions"),
    ],
)
def test_cdr_from_ocpi__missing_or_wrong__named_by_path(document, field):
    with pytest.raises(InvalidInput) as refused:
        cdr_from_ocpi(document)
    assert refused.value.field == field
