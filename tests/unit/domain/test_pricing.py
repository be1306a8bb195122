"""Prices of single sessions, one rule at a time."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from chargera.domain import pricing
from chargera.domain.errors import InvalidInput
from chargera.domain.pricing import (
    ChargingPeriod,
    ChargingState,
    MeteredSession,
    RegisterValue,
    StateChange,
    bill_as_json,
    price_periods,
    price_session,
    running_cost,
    unit_of,
)
from chargera.domain.tariff import (
    DayOfWeek,
    Dimension,
    PriceComponent,
    Restrictions,
    Tariff,
    TariffElement,
)

AMSTERDAM = "Europe/Amsterdam"


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def price(dimension, amount, vat=None, step=1):
    return PriceComponent(
        Dimension[dimension], Decimal(amount), None if vat is None else Decimal(vat), step
    )


def element(*components, **restrictions):
    return TariffElement(components, Restrictions(**restrictions) if restrictions else None)


def tariff(*elements, currency="EUR", **more):
    return Tariff("T", currency, elements, **more)


def session(start, end, *readings, zone="UTC", idle=(), charging=()):
    """Readings are (time, Wh); `idle` and `charging` are the times at which that state begins."""
    changes = [(utc(at), ChargingState.IDLE) for at in idle]
    changes += [(utc(at), ChargingState.CHARGING) for at in charging]
    return MeteredSession(
        utc(start),
        utc(end),
        zone,
        tuple(RegisterValue(utc(at), wh) for at, wh in readings),
        tuple(StateChange(at, state) for at, state in sorted(changes)),
    )


def line(bill, dimension):
    return next(line for line in bill.lines if line.dimension is Dimension[dimension])


PER_KWH = tariff(element(price("ENERGY", "0.25", "21")))


def test_energy__readings_between__only_first_and_last_count():
    one = session(
        "2026-01-05T10:00",
        "2026-01-05T12:00",
        ("2026-01-05T10:00", 7),
        ("2026-01-05T12:00", 20_007),
    )
    many = session(
        "2026-01-05T10:00",
        "2026-01-05T12:00",
        ("2026-01-05T10:00", 7),
        ("2026-01-05T10:01", 8),
        ("2026-01-05T11:00", 15_000),
        ("2026-01-05T12:00", 20_007),
    )
    assert price_session(PER_KWH, one) == price_session(PER_KWH, many)
    assert price_session(PER_KWH, one).gross_minor == 605


def test_energy__readings_outside_of_the_session__still_last_minus_first():
    late = session(
        "2026-01-05T10:00", "2026-01-05T12:00", ("2026-01-05T09:59", 0), ("2026-01-05T12:03", 4000)
    )
    assert line(price_session(PER_KWH, late), "ENERGY").quantity == 4


@pytest.mark.parametrize("readings", [(), (("2026-01-05T10:00", 500),)])
def test_energy__no_or_one_reading__nothing_to_pay(readings):
    bill = price_session(PER_KWH, session("2026-01-05T10:00", "2026-01-05T12:00", *readings))
    assert bill.lines == ()
    assert bill.gross_minor == 0
    assert [q.dimension for q in bill.periods[0].quantities] == [Dimension.TIME]


def test_zero_length__flat_and_a_jump_of_energy__both_billed():
    both = tariff(element(price("FLAT", "1"), price("ENERGY", "0.50"), price("TIME", "9")))
    at = "2026-01-05T10:00"
    bill = price_session(both, session(at, at, (at, 0), (at, 2000)))
    assert [(x.dimension.value, x.minor) for x in bill.lines] == [("FLAT", 100), ("ENERGY", 100)]
    assert len(bill.periods) == 1


def test_change_of_price__between_two_readings__energy_spread_evenly():
    evening = tariff(
        element(price("ENERGY", "0.20"), end_time=time(17)), element(price("ENERGY", "0.60"))
    )
    bill = price_session(
        evening,
        session(
            "2026-01-05T16:45",
            "2026-01-05T17:15",
            ("2026-01-05T16:40", 0),
            ("2026-01-05T17:15", 3000),
        ),
    )
    assert [
        q.quantity for p in bill.periods for q in p.quantities if q.dimension is Dimension.ENERGY
    ] == [
        Fraction(3, 2),
        Fraction(3, 2),
    ]
    assert bill.net_exact == Fraction("1.2")


def test_min_kwh__reached_inside_an_interval__cut_at_the_very_moment():
    block = tariff(
        element(price("ENERGY", "0.20"), max_kwh=Decimal(1)), element(price("ENERGY", "0.50"))
    )
    bill = price_session(
        block,
        session(
            "2026-01-05T10:00",
            "2026-01-05T11:00",
            ("2026-01-05T10:00", 0),
            ("2026-01-05T11:00", 3000),
        ),
    )
    assert bill.periods[1].started_at == utc("2026-01-05T10:20")
    assert bill.net_exact == Fraction("1.2")


def test_energy__reading_after_the_end__priced_as_before_the_end():
    evening = tariff(
        element(price("ENERGY", "9"), start_time=time(17)),
        element(price("ENERGY", "1"), max_kwh=Decimal(1)),
        element(price("ENERGY", "2")),
    )
    start, end = "2026-01-05T16:00", "2026-01-05T17:00"
    late = session(start, end, (start, 0), ("2026-01-05T17:05", 3000))
    assert price_session(evening, late).net_exact == 1 + 4
    late = session(start, end, (start, 0), (end, 0), ("2026-01-05T17:05", 3000))
    assert price_session(evening, late).net_exact == 1 + 4


def test_min_kwh__exactly_reached_at_last__holds_while_parking():
    parking = tariff(element(price("PARKING_TIME", "3", step=1), min_kwh=Decimal(2)))
    bill = price_session(
        parking,
        session(
            "2026-01-05T10:00",
            "2026-01-05T12:00",
            ("2026-01-05T10:00", 0),
            ("2026-01-05T11:00", 2000),
            idle=["2026-01-05T10:30"],
        ),
    )
    assert line(bill, "PARKING_TIME").quantity == 3600


def test_flat__restriction_met_only_at_the_very_end__not_charged():
    start, end = "2026-01-05T10:00", "2026-01-05T10:30"
    for restriction in (
        {"min_duration_s": 1800},
        {"min_kwh": Decimal(2)},
        {"start_time": time(10, 30)},
    ):
        fee = tariff(element(price("FLAT", "5"), **restriction))
        assert price_session(fee, session(start, end, (start, 0), (end, 2000))).net_minor == 0
        longer = session(start, "2026-01-05T10:31", (start, 0), ("2026-01-05T10:30", 2001))
        assert price_session(fee, longer).net_minor == 500


def test_flat__two_elements_with_fees__the_first_that_applies_once():
    fees = tariff(element(price("FLAT", "5"), start_time=time(11)), element(price("FLAT", "2")))
    assert price_session(fees, session("2026-01-05T10:00", "2026-01-05T12:00")).net_minor == 200


def test_first_element__that_has_the_dimension__wins_per_dimension():
    mixed = tariff(
        element(price("TIME", "6", step=0), max_duration_s=600),
        element(price("ENERGY", "0.10")),
        element(price("ENERGY", "9"), price("TIME", "12", step=0)),
    )
    bill = price_session(
        mixed,
        session(
            "2026-01-05T10:00",
            "2026-01-05T10:20",
            ("2026-01-05T10:00", 0),
            ("2026-01-05T10:20", 1000),
        ),
    )
    assert line(bill, "ENERGY").exact == Fraction("0.1")
    assert line(bill, "TIME").exact == 1 + 2


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("2026-01-09T21:00", "2026-01-10T07:00", 8),  # 22:00 to 06:00
        ("2026-01-09T23:30", "2026-01-10T00:30", 1),
        ("2026-01-10T06:00", "2026-01-10T22:00", 0),
    ],
)
def test_times__end_before_start__pass_midnight(start, end, hours):
    night = tariff(element(price("TIME", "1"), start_time=time(22), end_time=time(6)))
    assert price_session(night, session(start, end)).net_exact == hours


@pytest.mark.parametrize(
    ("restriction", "hours"),
    [
        ({"start_time": time(20), "end_time": time(0)}, 4),
        ({"start_time": time(0), "end_time": time(0)}, 24),
        ({"end_time": time(0)}, 24),
        ({"start_time": time(20)}, 4),
        ({"end_time": time(8)}, 8),
        ({"start_time": time(8), "end_time": time(8)}, 0),
        ({"start_date": date(2026, 1, 6)}, 0),
        ({"end_date": date(2026, 1, 6)}, 24),
        (
            {"start_date": date(2026, 1, 5), "end_date": date(2026, 1, 6), "start_time": time(12)},
            12,
        ),
        ({"day_of_week": frozenset({DayOfWeek.MONDAY})}, 24),
        ({"day_of_week": frozenset({DayOfWeek.TUESDAY})}, 0),
        ({"day_of_week": frozenset({DayOfWeek.MONDAY}), "min_duration_s": 3600}, 23),
        ({"min_duration_s": 3600, "max_duration_s": 7200}, 1),
    ],
)
def test_restrictions__a_monday_from_midnight_to_midnight__hours_they_hold(restriction, hours):
    rate = tariff(element(price("TIME", "1"), **restriction))
    monday = session("2026-01-05T00:00", "2026-01-06T00:00")
    assert price_session(rate, monday).net_exact == hours


def test_day_of_week__night_rate_of_friday__ends_at_midnight():
    rate = tariff(
        element(
            price("TIME", "1"),
            start_time=time(22),
            end_time=time(6),
            day_of_week=frozenset({DayOfWeek.FRIDAY}),
        )
    )
    friday_and_saturday = session("2026-01-09T00:00", "2026-01-11T00:00")
    assert price_session(rate, friday_and_saturday).net_exact == 6 + 2


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        # Clocks go from 02:00 to 03:00: the rate from 01:00 to 04:00 lasts two hours.
        ("2026-03-28T23:00", "2026-03-29T04:00", 2),
        # From 03:00 back to 02:00: it lasts four.
        ("2026-10-24T22:00", "2026-10-25T04:00", 4),
    ],
)
def test_times__a_day_on_which_clocks_change__local_time_counts(start, end, hours):
    night = tariff(element(price("TIME", "1"), start_time=time(1), end_time=time(4)))
    assert price_session(night, session(start, end, zone=AMSTERDAM)).net_exact == hours


def test_times__bound_inside_the_hour_that_is_skipped__holds_from_the_jump_on():
    rate = tariff(element(price("TIME", "1"), start_time=time(2, 30), end_time=time(4)))
    bill = price_session(rate, session("2026-03-29T00:00", "2026-03-29T04:00", zone=AMSTERDAM))
    assert bill.net_exact == 1
    assert bill.periods[1].started_at == utc("2026-03-29T01:00")


def test_times__bound_inside_the_hour_that_comes_twice__holds_twice():
    rate = tariff(element(price("TIME", "1"), start_time=time(2, 30), end_time=time(3)))
    bill = price_session(rate, session("2026-10-24T23:00", "2026-10-25T04:00", zone=AMSTERDAM))
    assert bill.net_exact == 1  # two half hours
    assert len([p for p in bill.periods if p.exact]) == 2


def test_parking__until_charging_again__priced_apart():
    rates = tariff(element(price("TIME", "1", step=0), price("PARKING_TIME", "10", step=0)))
    bill = price_session(
        rates,
        session(
            "2026-01-05T10:00",
            "2026-01-05T13:00",
            idle=["2026-01-05T11:00"],
            charging=["2026-01-05T11:30"],
        ),
    )
    assert line(bill, "TIME").quantity == 2.5 * 3600
    assert line(bill, "PARKING_TIME").exact == 5


def test_state_change__at_or_before_the_start__counts_from_the_start():
    rates = tariff(element(price("PARKING_TIME", "1")))
    for at in ("2026-01-05T09:00", "2026-01-05T10:00"):
        idle = session("2026-01-05T10:00", "2026-01-05T11:00", idle=[at])
        assert price_session(rates, idle).net_minor == 100


def test_step_size__energy__last_priced_component_rounds_the_total():
    rates = tariff(
        element(price("ENERGY", "1", step=1000), max_kwh=Decimal(2)),
        element(price("ENERGY", "2", step=500), max_kwh=Decimal(3)),
    )
    start, end = "2026-01-05T10:00", "2026-01-05T14:00"
    # 2 kWh and 1 kWh are priced, what comes after is not and takes no part in rounding.
    bill = price_session(rates, session(start, end, (start, 0), (end, 3700)))
    assert bill.net_exact == 2 + 2
    bill = price_session(rates, session(start, end, (start, 0), (end, 2100)))
    assert bill.net_exact == 2 + 2 * Fraction("0.5")


def test_step_size__zero__rounds_nothing():
    rates = tariff(element(price("ENERGY", "1", step=0), price("TIME", "1", step=0)))
    start, end = "2026-01-05T10:00:00", "2026-01-05T10:00:01"
    bill = price_session(rates, session(start, end, (start, 0), (end, 1)))
    assert bill.net_exact == Fraction(1, 1000) + Fraction(1, 3600)


def test_step_size__less_than_a_second__a_whole_one_is_billed():
    rates = tariff(element(price("TIME", "3600")))
    start = utc("2026-01-05T10:00")
    short = MeteredSession(start, start + timedelta(microseconds=1))
    assert price_session(rates, short).net_exact == 1


def test_step_size__unpriced_parking_after_charging__time_is_rounded():
    rates = tariff(element(price("TIME", "6", step=600)))
    bill = price_session(
        rates, session("2026-01-05T10:00", "2026-01-05T11:00", idle=["2026-01-05T10:01"])
    )
    assert bill.net_exact == 1


def test_step_size__parking_priced_at_nothing__is_priced_parking():
    rates = tariff(element(price("TIME", "6", step=600), price("PARKING_TIME", "0", step=600)))
    bill = price_session(
        rates, session("2026-01-05T10:00", "2026-01-05T11:00", idle=["2026-01-05T10:01"])
    )
    assert bill.net_exact == Fraction("0.1")


def test_rounding__lines_of_one_rate__rounded_once_and_vat_on_their_sum():
    rates = tariff(
        element(
            price("FLAT", "0.005", "10"),
            price("ENERGY", "0.005", "10.0"),
            price("TIME", "0.015"),
            price("PARKING_TIME", "0.004", "0"),
        )
    )
    start, end = "2026-01-05T10:00", "2026-01-05T12:00"
    bill = price_session(
        rates, session(start, end, (start, 0), (end, 1000), idle=["2026-01-05T11:00"])
    )
    assert [(x.dimension.value, x.vat_rate, x.minor) for x in bill.lines] == [
        ("FLAT", 10, 1),
        ("ENERGY", 10, 1),
        ("TIME", None, 2),
        ("PARKING_TIME", 0, 0),
    ]
    assert (bill.net_minor, bill.vat_minor, bill.gross_minor) == (4, 0, 4)
    assert bill.net_exact == Fraction("0.029")
    assert bill.gross_exact == Fraction("0.030")


def test_lines__two_rates_of_vat__apart_and_ordered():
    rates = tariff(
        element(price("ENERGY", "1", "21"), max_kwh=Decimal(1)),
        element(price("ENERGY", "1", "0"), max_kwh=Decimal(2)),
        element(price("ENERGY", "1")),
    )
    start, end = "2026-01-05T10:00", "2026-01-05T12:00"
    bill = price_session(rates, session(start, end, (start, 0), (end, 4000)))
    assert [(x.vat_rate, x.minor) for x in bill.lines] == [(None, 200), (0, 100), (21, 100)]
    assert bill.vat_minor == 21


@pytest.mark.parametrize(("currency", "minor"), [("JPY", 3), ("EUR", 250), ("KWD", 2500)])
def test_currency__minor_unit__has_its_decimals(currency, minor):
    fee = tariff(element(price("FLAT", "2.5")), currency=currency)
    bill = price_session(fee, session("2026-01-05T10:00", "2026-01-05T11:00"))
    assert bill.net_minor == minor


def test_price_session__not_ended__refused():
    live = MeteredSession(utc("2026-01-05T10:00"), None)
    with pytest.raises(InvalidInput) as refused:
        price_session(PER_KWH, live)
    assert refused.value.field == "ended_at"


def test_running_cost__later_readings_and_an_early_clock__as_if_it_ended_now():
    live = MeteredSession(
        utc("2026-01-05T10:00"),
        None,
        registers=(
            RegisterValue(utc("2026-01-05T10:00"), 0),
            RegisterValue(utc("2026-01-05T10:30"), 4000),
        ),
    )
    assert running_cost(PER_KWH, live, utc("2026-01-05T10:31")).net_minor == 100
    assert running_cost(PER_KWH, live, utc("2026-01-05T09:00")).net_minor == 100


@pytest.mark.parametrize(
    ("start", "end"), [("2026-01-05T10:00:01", None), (None, "2026-01-05T10:00")]
)
def test_validity__session_begins_outside_of_it__refused(start, end):
    bounds = {"start_date_time": start and utc(start), "end_date_time": end and utc(end)}
    early = tariff(element(price("FLAT", "1")), **bounds)
    with pytest.raises(InvalidInput, match="not valid"):
        price_session(early, session("2026-01-05T10:00", "2026-01-05T11:00"))
    with pytest.raises(InvalidInput, match="not valid"):
        periods(early, ChargingPeriod(utc("2026-01-05T10:00")))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"started_at": datetime(2026, 1, 5)}, "started_at"),
        ({"ended_at": datetime(2026, 1, 5)}, "ended_at"),
        ({"ended_at": utc("2026-01-05T09:59")}, "ended_at"),
        ({"ended_at": utc("2027-01-07T00:00")}, "ended_at"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"registers": (RegisterValue(utc("2026-01-05T10:00"), -1),)}, "registers[0].register_wh"),
        (
            {"registers": (RegisterValue(utc("2026-01-05T10:00"), 10**13),)},
            "registers[0].register_wh",
        ),
        (
            {
                "registers": (
                    RegisterValue(utc("2026-01-05T10:00"), 5),
                    RegisterValue(utc("2026-01-05T10:01"), 4),
                )
            },
            "registers[1].register_wh",
        ),
        (
            {
                "registers": (
                    RegisterValue(utc("2026-01-05T10:01"), 4),
                    RegisterValue(utc("2026-01-05T10:00"), 5),
                )
            },
            "registers[1].at",
        ),
        (
            {
                "state_changes": (
                    StateChange(utc("2026-01-05T10:01"), ChargingState.IDLE),
                    StateChange(utc("2026-01-05T10:00"), ChargingState.CHARGING),
                )
            },
            "state_changes[1].at",
        ),
        (
            {
                "registers": (RegisterValue(utc("2026-01-05T10:00"), 1),)
                * (pricing.MAX_READINGS + 1)
            },
            "registers",
        ),
    ],
)
def test_metered_session__impossible__refused_by_name(change, field):
    values = {"started_at": utc("2026-01-05T10:00"), "ended_at": utc("2026-01-05T11:00")}
    with pytest.raises(InvalidInput) as refused:
        MeteredSession(**(values | change))
    assert refused.value.field == field


def test_price_session__more_periods_than_allowed__refused():
    minutes = tariff(
        *(
            element(price("TIME", "1"), start_time=time(h, m))
            for h in range(6)
            for m in range(0, 60, 4)
        )
    )
    year = session("2026-01-01T00:00", "2026-12-31T00:00")
    with pytest.raises(InvalidInput, match="more than 10000 periods"):
        price_session(minutes, year)


def periods(rates, *given, start="2026-01-05T10:00", end="2026-01-05T12:00", zone="UTC"):
    return price_periods(rates, given, started_at=utc(start), ended_at=utc(end), time_zone=zone)


def test_price_periods__restrictions__hold_as_of_the_start_of_each():
    rates = tariff(
        element(price("ENERGY", "1"), max_kwh=Decimal(1)),
        element(price("ENERGY", "2"), max_duration_s=3600),
        element(price("ENERGY", "3")),
    )
    bill = periods(
        rates,
        ChargingPeriod(utc("2026-01-05T11:00"), Fraction(1000)),  # order does not matter
        ChargingPeriod(utc("2026-01-05T10:00"), Fraction(900)),
        ChargingPeriod(utc("2026-01-05T10:20"), Fraction(500)),
        ChargingPeriod(utc("2026-01-05T10:40"), Fraction(500)),
    )
    assert bill.net_exact == Fraction("0.9") + Fraction("0.5") + 1 + 3
    assert [p.started_at.minute for p in bill.periods] == [0, 20, 40, 0]


def test_price_periods__local_time__is_that_of_the_zone():
    rates = tariff(element(price("TIME", "1"), start_time=time(11)))
    one_hour = ChargingPeriod(utc("2026-01-05T10:00"), charging_s=Fraction(3600))
    assert periods(rates, one_hour).net_exact == 0
    assert periods(rates, one_hour, zone=AMSTERDAM).net_exact == 1


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([], "charging_periods"),
        ([ChargingPeriod(utc("2026-01-05T10:00"))] * (pricing.MAX_PERIODS + 1), "charging_periods"),
        ([ChargingPeriod(utc("2026-01-05T09:59"))], "charging_periods[0].start_date_time"),
        ([ChargingPeriod(utc("2026-01-05T12:01"))], "charging_periods[0].start_date_time"),
        (
            [ChargingPeriod(utc("2026-01-05T10:00"), Fraction(-1))],
            "charging_periods[0].dimensions",
        ),
        (
            [ChargingPeriod(utc("2026-01-05T10:00"), parking_s=Fraction(-1))],
            "charging_periods[0].dimensions",
        ),
    ],
)
def test_price_periods__impossible__refused_by_name(given, field):
    with pytest.raises(InvalidInput) as refused:
        periods(PER_KWH, *given)
    assert refused.value.field == field


def test_bill_as_json__any_bill__plain_values_of_the_documented_shape():
    rates = tariff(
        element(price("FLAT", "1", "9.0"), price("ENERGY", "0.3", "21", 500)),
        element(price("PARKING_TIME", "2"), max_duration_s=60),
    )
    start, end = "2026-01-05T10:00", "2026-01-05T10:10:00.25"
    document = bill_as_json(
        price_session(
            rates, session(start, end, (start, 0), (end, 700), idle=["2026-01-05T10:00:50"])
        )
    )
    assert json.loads(json.dumps(document)) == document
    assert {k: v for k, v in document.items() if k not in ("lines", "periods")} == {
        "currency": "EUR",
        "net_exact": "1.30555555555555555556",
        "vat_exact": "0.153",
        "gross_exact": "1.45855555555555555556",
        "net_minor": 131,
        "vat_minor": 15,
        "gross_minor": 146,
    }
    assert document["lines"] == [
        {
            "dimension": "FLAT",
            "vat_rate": "9",
            "quantity": "1",
            "unit": "session",
            "exact": "1",
            "minor": 100,
        },
        {
            "dimension": "ENERGY",
            "vat_rate": "21",
            "quantity": "1",
            "unit": "kWh",
            "exact": "0.3",
            "minor": 30,
        },
        {
            "dimension": "PARKING_TIME",
            "vat_rate": None,
            "quantity": "10",
            "unit": "s",
            "exact": "0.00555555555555555556",
            "minor": 1,
        },
    ]
    assert [period["started_at"] for period in document["periods"]] == [
        "2026-01-05T10:00:00Z",
        "2026-01-05T10:00:50Z",
        "2026-01-05T10:01:00Z",
    ]
    last = document["periods"][-1]
    assert last["dimensions"][1] == {
        "dimension": "PARKING_TIME",
        "quantity": "540.25",
        "billed": "540.25",
        "unit": "s",
        "element": None,
        "exact": "0",
    }
    energies = [p["dimensions"] for p in document["periods"]]
    assert energies[-1][0]["element"] == 0
    assert Fraction(last["dimensions"][0]["billed"]) > Fraction(last["dimensions"][0]["quantity"])


def test_unit_of__each_dimension__named():
    assert [unit_of(dimension) for dimension in Dimension] == ["session", "kWh", "s", "s"]
