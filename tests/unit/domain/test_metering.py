"""How a session's rows are put in order: the station's clock, its registers, its numbers."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.messages import ReadingContext, TransactionEventKind
from chargera.domain.metering import Metering, assemble
from chargera.domain.pricing import ChargingState
from chargera.domain.transaction import Anomaly, SessionEvent

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
S, U, E = TransactionEventKind.STARTED, TransactionEventKind.UPDATED, TransactionEventKind.ENDED
CONTEXT = {S: ReadingContext.BEGIN, U: ReadingContext.PERIODIC, E: ReadingContext.END}


def row(
    n: int,
    kind: TransactionEventKind,
    minutes: float,
    register_wh: int | None,
    *,
    seq_no: int | None = None,
    received: float | None = None,
    charging: ChargingState | None = None,
    own: bool = True,
    context: ReadingContext | None = None,
    at: datetime | None = None,
) -> SessionEvent:
    return SessionEvent(
        n,
        kind,
        own,
        at or START + timedelta(minutes=minutes),
        START + timedelta(minutes=minutes if received is None else received),
        seq_no,
        register_wh,
        None,
        context or CONTEXT[kind],
        charging,
    )


def of_1_6(*rows: SessionEvent) -> Metering:
    return assemble(rows, numbered=False, time_zone="UTC")


def of_2_x(*rows: SessionEvent) -> Metering:
    return assemble(rows, numbered=True, time_zone="UTC")


def minutes_of(metering: Metering) -> list[tuple[float, int]]:
    assert metering.session is not None
    return [
        ((value.at - START).total_seconds() / 60, value.register_wh)
        for value in metering.session.registers
    ]


def test_assemble__in_order__registers_and_energy() -> None:
    metering = of_1_6(row(0, S, 0, 100), row(1, U, 10, 400), row(2, E, 20, 900))
    assert minutes_of(metering) == [(0, 100), (10, 400), (20, 900)]
    assert metering.energy_wh == 800
    assert not metering.anomalies
    assert not metering.suspect


@pytest.mark.parametrize(
    ("rows", "anomaly"),
    [
        ([row(0, U, 0, 100), row(1, E, 5, 200)], Anomaly.NO_START),
        ([row(0, S, 0, 100), row(1, U, 5, 200)], Anomaly.NO_END),
        ([row(0, S, 0, None), row(1, E, 5, 200)], Anomaly.NO_BEGIN_REGISTER),
        ([row(0, S, 0, 100), row(1, E, 5, None)], Anomaly.NO_END_REGISTER),
    ],
)
def test_assemble__something_missing__nothing_to_price(
    rows: list[SessionEvent], anomaly: Anomaly
) -> None:
    metering = of_1_6(*rows)
    assert metering.session is None
    assert metering.energy_wh is None
    assert anomaly in metering.anomalies


def test_assemble__value_says_it_is_the_begin__counts_wherever_it_came() -> None:
    metering = of_2_x(
        row(0, S, 0, None, seq_no=0, context=ReadingContext.OTHER),
        row(1, U, 1, 100, seq_no=1, context=ReadingContext.BEGIN),
        row(2, E, 9, 300, seq_no=2, context=ReadingContext.OTHER),
    )
    assert metering.energy_wh == 200


def test_assemble__unmarked_values_of_start_and_end__earliest_and_latest() -> None:
    other = ReadingContext.OTHER
    metering = of_2_x(
        row(0, S, 0, 100, seq_no=0, context=other),
        row(1, S, 0.5, 110, seq_no=0, own=False, context=other),
        row(2, E, 9, 300, seq_no=1, context=other),
        row(3, E, 8, 290, seq_no=1, own=False, context=other),
    )
    assert (minutes_of(metering)[0], minutes_of(metering)[-1]) == ((0, 100), (9, 300))


@given(st.permutations(range(6)))
def test_assemble__any_order_of_arrival__same_session(order: list[int]) -> None:
    def rows(places: list[int], *, numbered: bool) -> list[SessionEvent]:
        kinds = [S, U, U, U, U, E]
        states = [None, None, ChargingState.IDLE, None, ChargingState.CHARGING, None]
        return [
            row(
                n,
                kinds[place],
                10 * place,
                1000 + 100 * place,
                seq_no=place if numbered else None,
                received=60 + n,
                charging=states[place],
            )
            for n, place in enumerate(places)
        ]

    for numbered in (False, True):
        straight = assemble(
            rows(list(range(6)), numbered=numbered), numbered=numbered, time_zone="UTC"
        )
        shuffled = assemble(rows(order, numbered=numbered), numbered=numbered, time_zone="UTC")
        assert shuffled.session == straight.session
        assert not shuffled.anomalies


def test_assemble__clock_before_2020__our_time_and_marked() -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    metering = of_1_6(
        row(0, S, 0, 100, at=epoch, received=0),
        row(1, U, 0, 400, at=epoch + timedelta(minutes=10), received=10),
        row(2, E, 20, 900),
    )
    assert minutes_of(metering) == [(0, 100), (10, 400), (20, 900)]
    assert metering.anomalies == {Anomaly.TIME_BEFORE_2020}


def test_assemble__clock_ahead__five_minutes_are_tolerated() -> None:
    fine = of_1_6(row(0, S, 5, 100, received=0), row(1, E, 20, 900))
    assert minutes_of(fine)[0] == (5, 100)
    ahead = of_1_6(row(0, S, 5.1, 100, received=0), row(1, E, 20, 900))
    assert minutes_of(ahead)[0] == (0, 100)
    assert ahead.anomalies == {Anomaly.TIME_IN_FUTURE}


def test_assemble__clock_turned_back_while_register_rises__our_time() -> None:
    metering = of_1_6(
        row(0, S, 0, 100),
        row(1, U, 30, 400),
        row(2, U, 10, 500, received=40),
        row(3, E, 60, 900),
    )
    assert minutes_of(metering) == [(0, 100), (30, 400), (40, 500), (60, 900)]
    assert metering.anomalies == {Anomaly.TIME_NOT_MONOTONIC}


def test_assemble__numbered_clock_turned_back__our_time_for_the_event_and_its_samples() -> None:
    metering = of_2_x(
        row(0, S, 0, 100, seq_no=0),
        row(1, U, 30, 400, seq_no=1),
        row(2, U, 10, 500, seq_no=2, received=40),
        row(3, U, 9, 500, seq_no=2, received=40, own=False),
        row(4, E, 60, 900, seq_no=3),
    )
    assert minutes_of(metering) == [(0, 100), (30, 400), (40, 500), (60, 900)]
    assert metering.anomalies == {Anomaly.TIME_NOT_MONOTONIC}


def test_assemble__end_repeats_earlier_samples__their_times_stand() -> None:
    metering = of_2_x(
        row(0, S, 0, 100, seq_no=0),
        row(1, E, 60, 900, seq_no=1),
        row(2, E, 0, 100, seq_no=1, received=60, own=False, context=ReadingContext.BEGIN),
        row(3, E, 30, 300, seq_no=1, received=60, own=False, context=ReadingContext.PERIODIC),
    )
    assert minutes_of(metering) == [(0, 100), (30, 300), (60, 900)]
    assert not metering.anomalies


def test_assemble__register_falls_as_time_and_arrival_agree__it_fell() -> None:
    metering = of_1_6(row(0, S, 0, 500), row(1, U, 10, 20), row(2, E, 20, 900))
    assert Anomaly.REGISTER_FELL in metering.anomalies


def test_assemble__end_below_begin__it_fell_and_no_energy_is_negative() -> None:
    metering = of_1_6(row(0, S, 0, 500), row(1, E, 20, 300))
    assert Anomaly.REGISTER_FELL in metering.anomalies
    assert metering.energy_wh == 0


def test_assemble__value_above_the_end__suspect() -> None:
    metering = of_2_x(
        row(0, S, 0, 100, seq_no=0), row(1, U, 5, 950, seq_no=1), row(2, E, 20, 900, seq_no=2)
    )
    assert metering.suspect == {1}
    assert Anomaly.REGISTER_FELL in metering.anomalies


def test_assemble__value_outside_the_session__suspect_but_billable() -> None:
    metering = of_1_6(row(0, S, 0, 100), row(1, U, -10, 100), row(2, E, 20, 900))
    assert metering.suspect == {1}
    assert metering.anomalies == {Anomaly.READING_OUTSIDE_SESSION}
    assert metering.energy_wh == 800


def test_assemble__shuffled_and_clock_jumped__by_register_with_our_times() -> None:
    metering = of_1_6(
        row(0, U, 10, 500, received=50),
        row(1, S, 0, 100, received=51),
        row(2, U, 30, 400, received=52),
        row(3, E, 60, 900),
    )
    assert Anomaly.TIME_NOT_MONOTONIC in metering.anomalies
    assert Anomaly.REGISTER_FELL not in metering.anomalies


def test_assemble__longer_than_a_year__implausible() -> None:
    metering = of_1_6(row(0, S, 0, 100), row(1, E, 60 * 24 * 400, 900))
    assert metering.session is None
    assert Anomaly.IMPLAUSIBLE in metering.anomalies


def test_assemble__states__charging_first_then_as_told_until_the_end() -> None:
    idle, charging = ChargingState.IDLE, ChargingState.CHARGING
    metering = of_1_6(
        row(0, S, 0, 100),
        row(1, U, 5, None, charging=charging),
        row(2, U, 10, None, charging=idle),
        row(3, U, 12, None, charging=idle),
        row(4, U, 15, None, charging=charging),
        row(5, U, 25, None, charging=idle),
        row(6, E, 20, 900),
    )
    assert metering.session is not None
    changes = [
        ((c.at - START).total_seconds() / 60, c.state) for c in metering.session.state_changes
    ]
    assert changes == [(10, idle), (15, charging)]


def test_assemble__idle_from_the_start__parking_from_the_start() -> None:
    metering = of_2_x(
        row(0, S, 0, 100, seq_no=0, charging=ChargingState.IDLE), row(1, E, 20, 900, seq_no=1)
    )
    assert metering.session is not None
    assert metering.session.state_changes[0].at == START


def test_assemble__numbers_missing__holes_between_first_and_last() -> None:
    metering = of_2_x(
        row(0, S, 0, 100, seq_no=2), row(1, U, 5, 200, seq_no=4), row(2, E, 20, 900, seq_no=8)
    )
    assert metering.holes == ((3, 3), (5, 7))
    assert metering.anomalies == {Anomaly.SEQ_NO_HOLE}


def test_assemble__start_never_came__numbers_count_from_zero() -> None:
    assert of_2_x(row(0, E, 20, 900, seq_no=2)).holes == ((0, 1),)


def test_assemble__same_value_twice_and_rise_within_a_moment() -> None:
    metering = of_1_6(
        row(0, S, 0, 100),
        row(1, U, 5, 200),
        row(2, U, 5, 200),
        row(3, U, 5, 300),
        row(4, E, 9, 300),
    )
    assert minutes_of(metering) == [(0, 100), (5, 200), (5, 300), (9, 300)]
