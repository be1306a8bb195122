"""How a session's rows are put in order: the station's clock, its registers, its numbers."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

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


def test_assemble__longer_than_a_year_and_out_of_order__implausible_all_the_same() -> None:
    year = 367 * 24 * 60
    metering = of_1_6(row(0, E, year, 900), row(1, U, 5, 100), row(2, S, 0, 0))
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


# What contradicts itself -----------------------------------------------------------------------


@pytest.mark.parametrize("numbered", [False, True])
def test_assemble__two_ends__the_earlier_counts_and_the_other_is_suspect(numbered: bool) -> None:
    def rows(second_wh: int) -> list[SessionEvent]:
        numbers = [0, 2, 1] if numbered else [None, None, None]
        return [
            row(0, S, 0, 100, seq_no=numbers[0]),
            row(1, E, 25, second_wh, seq_no=numbers[1]),
            row(2, E, 20, 900, seq_no=numbers[2]),
        ]

    for second_wh, anomaly in ((900, Anomaly.REPEATED_END), (904, Anomaly.ENDED_TWICE)):
        metering = assemble(rows(second_wh), numbered=numbered, time_zone="UTC")
        assert minutes_of(metering) == [(0, 100), (20, 900)]
        assert (metering.anomalies, metering.suspect) == ({anomaly}, {1})


def test_assemble__number_twice_with_other_content__a_person_must_look() -> None:
    metering = of_2_x(
        row(0, S, 0, 100, seq_no=0),
        row(1, U, 5, 200, seq_no=1),
        row(2, U, 6, 300, seq_no=1),
        row(3, E, 9, 400, seq_no=2),
    )
    assert Anomaly.SEQ_NO_REUSED in metering.anomalies
    assert metering.energy_wh == 300


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)])
@pytest.mark.parametrize("register_wh", [20, 1500])
def test_assemble__1_6_value_not_between_begin_and_end__suspect_in_any_order(
    order: tuple[int, ...], register_wh: int
) -> None:
    told = [(S, 0, 500), (U, 10, register_wh), (E, 20, 900)]
    rows = [row(n, *told[place], received=60 + n) for n, place in enumerate(order)]
    metering = of_1_6(*rows)
    assert minutes_of(metering) == [(0, 500), (20, 900)]
    assert metering.anomalies == {Anomaly.REGISTER_FELL}
    assert metering.suspect == {order.index(1)}


@pytest.mark.parametrize("numbered", [False, True])
def test_assemble__values_rounded_to_whole_wh__no_fall(numbered: bool) -> None:
    def seq_no(number: int) -> int | None:
        return number if numbered else None

    rows = [
        row(0, S, 0, 100, seq_no=seq_no(0)),
        row(1, U, 5, 99, seq_no=seq_no(1)),
        row(2, U, 10, 500, seq_no=seq_no(2)),
        row(3, U, 15, 499 if numbered else 500, seq_no=seq_no(3)),
        row(4, U, 18, 901, seq_no=seq_no(4)),
        row(5, E, 20, 900, seq_no=seq_no(5)),
    ]
    metering = assemble(rows, numbered=numbered, time_zone="UTC")
    assert not metering.anomalies
    assert metering.energy_wh == 800
    falling = [row(0, S, 0, 100, seq_no=seq_no(0)), row(1, E, 20, 99, seq_no=seq_no(1))]
    metering = assemble(falling, numbered=numbered, time_zone="UTC")
    assert (metering.energy_wh, metering.anomalies) == (0, frozenset())


def test_assemble__1_6_clock_lost_in_the_middle__the_start_keeps_its_time() -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    metering = of_1_6(
        row(0, S, 0, 100), row(1, U, 0, 100, at=epoch, received=5), row(2, E, 20, 900)
    )
    assert minutes_of(metering) == [(0, 100), (5, 100), (20, 900)]
    assert metering.anomalies == {Anomaly.TIME_BEFORE_2020}


def test_assemble__values_before_any_start_or_end__ordered_all_the_same() -> None:
    metering = of_1_6(row(0, U, 9, 300), row(1, U, 5, 200))
    assert metering.session is None
    assert metering.anomalies == {Anomaly.NO_START, Anomaly.NO_END}


def test_assemble__number_gap_of_two_billion__no_more_work_than_events() -> None:
    last = 2**31 - 1
    rows = [row(0, S, 0, 100, seq_no=0), row(1, E, 20, 900, seq_no=last)]
    assert of_2_x(*rows).holes == ((1, last - 1),)
    sparse = [row(n, U, n / 1000, 100, seq_no=2 * n + 2) for n in range(1, 5000)]
    assert len(of_2_x(*sparse).holes) == 4999


@given(
    st.lists(
        st.tuples(
            st.sampled_from([S, U, E]),
            st.integers(-10, 200),
            st.one_of(st.none(), st.integers(-5, 10**15)),
            st.integers(0, 2**31),
            st.booleans(),
            st.sampled_from([None, *ChargingState]),
            st.sampled_from(list(ReadingContext)),
            st.sampled_from([START, datetime(1970, 1, 1, tzinfo=UTC), START.replace(year=2200)]),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_assemble__anything__never_fails_and_energy_is_never_negative(
    told: list[tuple[Any, ...]], numbered: bool
) -> None:
    rows = [
        row(
            n,
            kind,
            minutes,
            register_wh,
            seq_no=seq_no if numbered else None,
            own=own,
            charging=charging,
            context=context,
            at=day + timedelta(minutes=minutes),
            received=minutes % 97,
        )
        for n, (kind, minutes, register_wh, seq_no, own, charging, context, day) in enumerate(told)
    ]
    metering = assemble(rows, numbered=numbered, time_zone="Europe/Amsterdam")
    assert metering.energy_wh is None or metering.energy_wh >= 0
    assert metering.suspect <= set(range(len(rows)))


@st.composite
def plain_sessions(draw: st.DrawFn) -> tuple[list[SessionEvent], bool]:
    """A session as it should be: begin, values, end, in order, perhaps with standstills."""
    numbered = draw(st.booleans())
    count = draw(st.integers(2, 12))
    steps = st.lists(st.integers(0, 3), min_size=count, max_size=count)
    minutes = wh = 0
    first_no = draw(st.integers(0, 5))
    states = st.sampled_from([None, ChargingState.CHARGING, ChargingState.IDLE])
    rows = []
    for n, (pause, step) in enumerate(zip(draw(steps), draw(steps), strict=True)):
        minutes, wh = minutes + pause, wh + step
        kind = S if n == 0 else E if n == count - 1 else U
        seq_no = first_no + n if numbered else None
        rows.append(row(n, kind, minutes, wh, seq_no=seq_no, charging=draw(states)))
    return rows, numbered


@given(plain_sessions(), st.randoms())
def test_assemble__a_session_as_it_should_be__is_what_any_order_of_its_rows_makes_of_it(
    session: tuple[list[SessionEvent], bool], random: Random
) -> None:
    rows, numbered = session
    shuffled = random.sample(rows, len(rows))
    made = assemble(rows, numbered=numbered, time_zone="UTC")
    assert assemble(shuffled, numbered=numbered, time_zone="UTC") == made
    assert made.session is not None
