"""To which transaction an event belongs: by number, by time, by place, by token."""

from datetime import UTC, datetime, timedelta

import pytest

from chargera.domain.belonging import (
    UNNUMBERED,
    Place,
    owner_by_id,
    owner_of_unnumbered,
    repeated_start,
    running_at,
    superseded_by,
    waiting_for_start,
)
from chargera.domain.messages import (
    AuthorizationStatus,
    IdTokenRef,
    MeterSample,
    ReadingContext,
    TransactionEvent,
    TransactionEventKind,
)
from chargera.domain.station import OcppVersion
from chargera.domain.transaction import (
    TOKEN_OF_START,
    Anomaly,
    Arrival,
    Transaction,
    offer_id_token,
    settle_state,
    take,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
S, U, E = TransactionEventKind.STARTED, TransactionEventKind.UPDATED, TransactionEventKind.ENDED
CONTEXT = {S: ReadingContext.BEGIN, U: ReadingContext.PERIODIC, E: ReadingContext.END}
V1, V2 = OcppVersion.V1_6, OcppVersion.V2_0_1
PLACE: Place = (1, 1)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def came(
    kind: TransactionEventKind,
    minutes: float,
    register_wh: int | None = None,
    seq_no: int | None = None,
    *,
    moment: datetime | None = None,
    token: str | None = None,
    received: float = 600,
) -> Arrival:
    moment = moment or at(minutes)
    samples = () if register_wh is None else (MeterSample(moment, CONTEXT[kind], register_wh, 1),)
    event = TransactionEvent(
        kind=kind,
        transaction_id="7",
        seq_no=seq_no,
        evse=1,
        connector=1,
        at=moment,
        id_token=IdTokenRef(token, None) if token else None,
        samples=samples,
        signed=(),
        charging=None,
        stop_reason=None,
        offline=False,
        remote_start_id=None,
    )
    return Arrival.of(event, at(received))


def known(
    *arrivals: Arrival,
    version: OcppVersion = V2,
    place: Place = PLACE,
    token: str | None = "abc",
    name: str = "id",
) -> Transaction:
    first = arrivals[0].at if arrivals else START
    made = Transaction(name, "CP-1", *place, version, "7", 0, first, first)
    for each in arrivals:
        take(made, each)
        if each.event.kind is S and token is not None:
            offer_id_token(made, token, AuthorizationStatus.ACCEPTED, None, TOKEN_OF_START)
        if each.event.kind is E and each.event.id_token:
            key = each.event.id_token.key
            offer_id_token(made, key, AuthorizationStatus.ACCEPTED, None, 2**62)
    settle_state(made)
    return made


# By id, numbered -------------------------------------------------------------------------------


def test_by_id__nothing_known__opens() -> None:
    assert owner_by_id([], came(U, 0, 5, 1)) is None


def test_by_id__repeat__where_it_was_taken() -> None:
    first = known(came(S, 0, 100, 0), came(E, 60, 900, 1))
    second = known(came(S, 120, 1000, 0), came(E, 180, 1900, 1))
    assert owner_by_id([first, second], came(E, 60, 900, 1)) is first
    assert owner_by_id([first, second], came(E, 180, 1900, 1)) is second


def test_by_id__next_event__the_running_one() -> None:
    running = known(came(S, 0, 100, 0))
    assert owner_by_id([running], came(U, 10, 200, 1)) is running
    assert owner_by_id([running], came(E, 10, 200, 9)) is running


def test_by_id__start_with_the_same_id__another_use() -> None:
    ended = known(came(S, 0, 100, 0), came(E, 60, 900, 1))
    running = known(came(S, 0, 100, 0))
    assert owner_by_id([ended], came(S, 120, 1000, 0)) is None
    assert owner_by_id([running], came(S, 120, 1000, 0)) is None


def test_by_id__start_of_what_came_before_it__joins_it() -> None:
    waiting = known(came(U, 10, 200, 1), came(E, 60, 900, 2))
    assert owner_by_id([waiting], came(S, 0, 100, 0)) is waiting
    assert owner_by_id([waiting], came(S, 0, 100, 3)) is None, "its number is not the first"
    assert owner_by_id([waiting], came(S, 120, 950, 0)) is None, "it is later than all of it"
    assert owner_by_id([waiting], came(S, 0, 100, 0, moment=EPOCH)) is waiting


def test_by_id__start_without_clock__no_room__another_use() -> None:
    running = known(came(S, 0, 100, 0))
    assert owner_by_id([running], came(S, 0, 150, 0, moment=EPOCH)) is None


def test_by_id__late_value_fills_a_hole() -> None:
    ended = known(came(S, 0, 100, 0), came(E, 60, 900, 5))
    assert owner_by_id([ended], came(U, 30, 500, 3)) is ended
    assert owner_by_id([ended], came(U, 64, 500, 3)) is ended, "clocks may be a little off"


def test_by_id__value_after_the_end__of_a_use_whose_start_is_still_to_come() -> None:
    ended = known(came(S, 0, 100, 0), came(E, 60, 900, 5))
    assert owner_by_id([ended], came(U, 130, 1500, 3)) is None
    assert owner_by_id([ended], came(E, 130, 1500, 1)) is None


def test_by_id__value_between_two_uses__merged_with_neither() -> None:
    first = known(came(S, 0, 100, 0), came(E, 60, 900, 1))
    third = known(came(S, 300, 5000, 0))
    assert owner_by_id([first, third], came(E, 200, 3000, 1)) is None


def test_by_id__end_of_the_use_before__though_the_next_has_begun() -> None:
    first = known(came(S, 0, 100, 0), came(U, 10, 200, 1))
    second = known(came(S, 120, 1000, 0))
    assert owner_by_id([first, second], came(E, 60, 900, 2)) is first
    assert owner_by_id([second, first], came(E, 60, 900, 2)) is first, "whatever their order"


def test_by_id__clock_jumped_back__still_the_only_one() -> None:
    running = known(came(S, 0, 100, 0))
    ended = known(came(S, 0, 100, 0), came(E, 60, 900, 5))
    assert owner_by_id([running], came(U, -40, 200, 1)) is running
    assert owner_by_id([ended], came(U, -40, 200, 1)) is ended
    assert owner_by_id([ended], came(U, -40, 200, 5)) is None, "its number is taken"


def test_by_id__without_clock__by_number_alone() -> None:
    first = known(came(S, 0, 100, 0), came(E, 60, 900, 3))
    second = known(came(S, 120, 1000, 0))
    assert owner_by_id([first, second], came(U, 0, 200, 2, moment=EPOCH)) is second
    assert owner_by_id([first], came(U, 0, 200, 2, moment=EPOCH)) is first
    assert owner_by_id([first], came(U, 0, 200, 3, moment=EPOCH)) is first, "a contradiction"


def test_by_id__transaction_without_clock__time_says_nothing() -> None:
    running = known(came(S, 0, 100, 0, moment=EPOCH, received=30))
    assert Anomaly.TIME_BEFORE_2020 in running.anomalies
    assert owner_by_id([running], came(U, 0, 200, 1)) is running
    ended = known(came(S, 0, 100, 0, moment=EPOCH, received=30), came(E, 60, 900, 1))
    assert owner_by_id([ended, ended], came(U, 0, 200, 1)) is ended, "a contradiction"


def test_by_id__number_with_other_content__what_ran_then_is_contradicted() -> None:
    first = known(came(S, 0, 100, 0), came(U, 10, 200, 1), came(E, 60, 900, 2))
    second = known(came(S, 120, 1000, 0), came(U, 130, 1100, 1))
    assert owner_by_id([first, second], came(U, 20, 300, 1)) is first
    assert owner_by_id([first, second], came(U, 140, 1200, 1)) is second
    assert owner_by_id([first, second], came(U, 90, 1200, 1)) is None


def test_by_id__second_end__of_the_same_transaction() -> None:
    ended = known(came(S, 0, 100, 0), came(E, 60, 900, 2))
    assert owner_by_id([ended], came(E, 62, 907, 3)) is ended, "near the first"
    assert owner_by_id([ended], came(E, 500, 900, 3)) is ended, "the same register"
    assert owner_by_id([ended], came(E, 500, 907, 3)) is None
    assert owner_by_id([ended], came(E, 500, None, 3)) is None


@pytest.mark.parametrize(("kind", "seq_no"), [(U, 0), (U, 1), (E, 2), (U, 9)])
def test_by_id__numbers_before_the_start_and_after_the_end__do_not_fit(
    kind: TransactionEventKind, seq_no: int
) -> None:
    first = known(came(S, 0, 100, 2), came(U, 10, 200, 4), came(E, 60, 900, 6))
    second = known(came(S, 300, 1000, 0))
    assert owner_by_id([first, second], came(kind, 100, 500, seq_no)) is None


def test_by_id__end_before_a_value_by_number__contradicts() -> None:
    running = known(came(S, 0, 100, 0), came(U, 10, 200, 5))
    assert owner_by_id([running], came(E, 60, 900, 4)) is running


# By id, OCPP 1.6 -------------------------------------------------------------------------------


def test_by_id__number_that_we_gave__is_nobody_elses() -> None:
    ended = known(came(S, 0, 100), came(E, 60, 900), version=V1)
    assert owner_by_id([ended], came(U, 400, 950)) is ended
    assert owner_by_id([ended], came(E, 400, 950)) is ended


def test_by_id__number_that_a_station_made_up__each_stop_its_own() -> None:
    stray = known(came(E, 60, 900), version=V1)
    assert owner_by_id([stray], came(E, 400, 5000)) is None
    assert owner_by_id([stray], came(U, 30, 500)) is stray
    values = known(came(U, 30, 500), version=V1)
    assert owner_by_id([values], came(E, 60, 900)) is values


# Starts of 1.6 ---------------------------------------------------------------------------------


def test_repeated_start__same_place_token_time_and_register() -> None:
    running = known(came(S, 0, 100), version=V1)
    elsewhere = known(came(S, 0, 100), version=V1, place=(2, 1))
    again = came(S, 0, 100, token="ABC")
    assert repeated_start([elsewhere, running], again, PLACE) is running
    assert repeated_start([elsewhere], again, PLACE) is None
    assert repeated_start([running], came(S, 0, 100, token="XYZ"), PLACE) is None
    assert repeated_start([running], came(S, 0, 101, token="ABC"), PLACE) is None
    assert repeated_start([running], came(S, 0, 100), PLACE) is None


def waiting(*arrivals: Arrival, place: Place = (0, 0)) -> Transaction:
    return known(*arrivals, version=V1, place=place)


def test_waiting_for_start__stop_that_came_first__by_its_token() -> None:
    stop = waiting(came(E, 60, 900, token="abc"))
    assert waiting_for_start([stop], came(S, 0, 100, token="abc"), PLACE) is stop
    assert waiting_for_start([stop], came(S, 0, 100, token="xyz"), PLACE) is None
    assert waiting_for_start([stop], came(S, 61, 100, token="abc"), PLACE) is None
    assert waiting_for_start([stop], came(S, 0, 950, token="abc"), PLACE) is None
    assert waiting_for_start([stop], came(S, 0, 100, moment=EPOCH, token="abc"), PLACE) is None


def test_waiting_for_start__values_that_came_first__by_their_connector() -> None:
    values = waiting(came(U, 10, 200), came(U, 20, None), place=PLACE)
    assert waiting_for_start([values], came(S, 0, 100), PLACE) is values
    assert waiting_for_start([values], came(S, 0, 100), (2, 1)) is None


def test_waiting_for_start__nothing_leads_to_it__waits_on() -> None:
    nameless = waiting(came(E, 60, 900))
    clockless = waiting(came(U, 0, 200, moment=EPOCH), place=PLACE)
    numbered = known(came(U, 10, 200, 1))
    started = known(came(S, 0, 100), version=V1)
    others = [nameless, clockless, numbered, started]
    assert waiting_for_start(others, came(S, 0, 100, token="abc"), PLACE) is None


# Without number --------------------------------------------------------------------------------


def test_unnumbered_stop__open_transaction_of_the_same_token() -> None:
    assert UNNUMBERED == "-1"
    running = known(came(S, 0, 100), version=V1)
    other = known(came(S, 0, 100), version=V1, token="xyz", place=(2, 1))
    numbered = known(came(S, 0, 100, 0))
    everything = [other, numbered, running]
    stop = came(E, 60, 900, token="abc")
    assert owner_of_unnumbered(everything, stop, (0, 0)) == (running, False)
    for stray in (
        came(E, 60, 900),
        came(E, 60, 900, token="def"),
        came(E, -5, 900, token="abc"),
        came(E, 60, 50, token="abc"),
        came(E, 60, 2_000_000, token="abc"),
    ):
        assert owner_of_unnumbered(everything, stray, (0, 0)) == (None, False)
    assert owner_of_unnumbered(everything, came(E, 60, token="abc"), (0, 0))[0] is running


def test_unnumbered_stop__repeated__where_it_was_taken() -> None:
    stop = came(E, 60, 900, token="abc")
    ended = known(came(S, 0, 100), stop, version=V1)
    running = known(came(S, 0, 100), version=V1)
    assert owner_of_unnumbered([running, ended], stop, (0, 0)) == (ended, False)
    strangers = came(E, 60, 900, token="xyz")
    assert owner_of_unnumbered([ended], strangers, (0, 0)) == (None, False)


def test_unnumbered_stop__two_of_one_token__the_register_tells_and_it_is_a_guess() -> None:
    here = known(came(S, 0, 100), came(U, 10, 300), version=V1)
    there = known(came(S, 0, 5000), came(U, 10, 5500), version=V1, place=(2, 1))
    assert owner_of_unnumbered([here, there], came(E, 60, 6000, token="abc"), (0, 0)) == (
        there,
        True,
    )
    assert owner_of_unnumbered([there, here], came(E, 60, 400, token="abc"), (0, 0))[0] is here


def test_unnumbered_stop__of_one_that_was_given_up__unless_another_car_has_come() -> None:
    given_up = known(came(S, 0, 100), version=V1)
    given_up.anomalies.add(Anomaly.SUPERSEDED)
    settle_state(given_up)
    following = known(came(S, 90, 950), version=V1, token="xyz")
    both = [given_up, following]
    assert owner_of_unnumbered(both, came(E, 60, 900, token="abc"), (0, 0))[0] is given_up
    assert owner_of_unnumbered(both, came(E, 100, 960, token="abc"), (0, 0))[0] is None


def test_unnumbered_stop__clock_was_unset_at_the_start__time_says_nothing() -> None:
    running = known(came(S, 0, 100, moment=EPOCH), version=V1)
    assert owner_of_unnumbered([running], came(E, 0, 900, token="abc"), (0, 0))[0] is running


def test_unnumbered_values__what_runs_at_their_connector() -> None:
    running = known(came(S, 0, 100), version=V1)
    elsewhere = known(came(S, 0, 100), version=V1, place=(2, 1))
    assert owner_of_unnumbered([elsewhere, running], came(U, 10, 200), PLACE) == (running, False)
    assert owner_of_unnumbered([elsewhere, running], came(U, -10, 200), PLACE)[0] is None
    silent = known(came(S, 0, 100), version=V1)
    silent.anomalies.add(Anomaly.NO_END)
    settle_state(silent)
    assert owner_of_unnumbered([silent], came(U, 10, 200), PLACE)[0] is None
    values = waiting(came(U, 5, 150), place=PLACE)
    assert owner_of_unnumbered([values], came(U, 10, 200), PLACE)[0] is values
    assert owner_of_unnumbered([values], came(U, 1, 120), PLACE)[0] is values, "in any order"


# At a connector --------------------------------------------------------------------------------


def test_running_at__from_its_start_until_just_before_its_end() -> None:
    first = known(came(S, 0, 100), came(E, 60, 900), version=V1)
    second = known(came(S, 90, 950), version=V1)
    provisional = known(came(U, 10, 200), version=V1)
    everything = [second, provisional, first]
    found = [running_at(everything, PLACE, at(m)) for m in (-1, 0, 59, 60, 89, 90, 500)]
    assert found == [None, first, first, None, None, second, second]
    assert running_at(everything, (2, 1), at(30)) is None


def test_superseded_by__what_was_open_there_has_ended_without_a_word() -> None:
    first = known(came(S, 0, 100), version=V1, name="1")
    elsewhere = known(came(S, 0, 100), version=V1, place=(2, 1), name="2")
    newcomer = known(came(S, 90, 950), version=V1, name="3")
    assert superseded_by([first, elsewhere, newcomer], newcomer) == [first]
    assert superseded_by([first, newcomer], first) == [first], "told late, it has ended"
    twin = known(came(S, 90, 950), version=V1, name="5")
    assert superseded_by([newcomer, twin], twin) == [newcomer], (
        "of one moment: what came last is there"
    )
    unknown = known(came(S, 95, 100), version=V1, place=(0, 0), name="4")
    assert superseded_by([unknown, known(came(S, 0, 1), place=(0, 0))], unknown) == []
    ended = known(came(S, 0, 100), came(E, 60, 900), version=V1)
    assert superseded_by([ended, newcomer], newcomer) == []
