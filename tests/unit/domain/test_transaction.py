"""What one event changes in a transaction, and what is made again from its rows."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from chargera.domain import transaction as module
from chargera.domain.messages import (
    AuthorizationStatus,
    MeterSample,
    ReadingContext,
    TransactionEvent,
    TransactionEventKind,
)
from chargera.domain.metering import assemble
from chargera.domain.pricing import ChargingState
from chargera.domain.station import OcppVersion
from chargera.domain.transaction import (
    EARLIEST,
    READINGS_MAX,
    TOKEN_OF_START,
    TOKEN_OF_STOP,
    Anomaly,
    Arrival,
    SessionEvent,
    SessionState,
    Transaction,
    add_to_hash,
    is_repeat,
    offer_id_token,
    recall,
    register_of,
    settle_state,
    standing_time,
    take,
)

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
S, U, E = TransactionEventKind.STARTED, TransactionEventKind.UPDATED, TransactionEventKind.ENDED
BEGIN, END, PERIODIC = ReadingContext.BEGIN, ReadingContext.END, ReadingContext.PERIODIC
ACCEPTED, INVALID = AuthorizationStatus.ACCEPTED, AuthorizationStatus.INVALID


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def sample(
    minutes: float, register_wh: int | None, context: ReadingContext = PERIODIC, power_w: int = 7
) -> MeterSample:
    return MeterSample(at(minutes), context, register_wh, power_w)


def event(
    kind: TransactionEventKind,
    minutes: float,
    *samples: MeterSample,
    seq_no: int | None = None,
    charging: ChargingState | None = None,
    moment: datetime | None = None,
    stop_reason: str | None = None,
) -> TransactionEvent:
    return TransactionEvent(
        kind=kind,
        transaction_id="7",
        seq_no=seq_no,
        evse=1,
        connector=1,
        at=moment or at(minutes),
        id_token=None,
        samples=samples,
        signed=(),
        charging=charging,
        stop_reason=stop_reason,
        offline=False,
        remote_start_id=5,
    )


def arrival(event: TransactionEvent, minutes: float | None = None) -> Arrival:
    return Arrival.of(event, event.at if minutes is None else at(minutes))


def transaction(version: OcppVersion = OcppVersion.V2_0_1) -> Transaction:
    return Transaction("id", "CP-1", 1, 1, version, "7", 0, START, START)


def taken(*events: TransactionEvent) -> Transaction:
    made = transaction()
    for each in events:
        take(made, arrival(each))
        settle_state(made)
    return made


# An event as it came ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "received_at", "counts", "why"),
    [
        (at(0), at(9), at(0), None),
        (at(5), at(0), at(5), None),
        (at(5.01), at(0), at(0), Anomaly.TIME_IN_FUTURE),
        (EARLIEST, at(0), EARLIEST, None),
        (EARLIEST - timedelta(milliseconds=1), at(0), at(0), Anomaly.TIME_BEFORE_2020),
    ],
)
def test_standing_time(
    moment: datetime, received_at: datetime, counts: datetime, why: Anomaly | None
) -> None:
    assert standing_time(moment, received_at) == (counts, why)


@pytest.mark.parametrize(
    ("kind", "samples", "own"),
    [
        (U, (), None),
        (U, (sample(0, 5),), 0),
        (U, (sample(1, 5),), None),
        (U, (sample(0, None), sample(0, 5)), 1),
        (S, (sample(0, 5), sample(0, 6, BEGIN)), 1),
        (E, (sample(0, 5, BEGIN), sample(0, 6, END), sample(1, 9, END)), 1),
        (E, (sample(0, None, END), sample(0, 6)), 1),
        (U, (sample(0, 5), sample(0, 6)), 0),
        (U, (sample(1, 5), sample(2, 6)), None),
    ],
)
def test_own_sample__taken_at_its_time_and_best_with_register(
    kind: TransactionEventKind, samples: tuple[MeterSample, ...], own: int | None
) -> None:
    found = arrival(event(kind, 0, *samples)).own
    assert found is (None if own is None else samples[own])


@pytest.mark.parametrize(
    ("kind", "samples", "register_wh"),
    [
        (S, (), None),
        (S, (sample(0, None),), None),
        (S, (sample(1, 9), sample(0, 5)), 5),
        (S, (sample(0, 5), sample(1, 9, BEGIN)), 9),
        (E, (sample(1, 9), sample(0, 5)), 9),
        (E, (sample(1, 9), sample(0, 5, END)), 5),
        (U, (sample(0, 5), sample(1, 9)), 9),
    ],
)
def test_register_of(
    kind: TransactionEventKind, samples: tuple[MeterSample, ...], register_wh: int | None
) -> None:
    assert register_of(event(kind, 0, *samples)) == register_wh


# Repeats ---------------------------------------------------------------------------------------


def test_is_repeat__same_content__whatever_else() -> None:
    made = taken(event(S, 0, sample(0, 5), seq_no=0))
    assert is_repeat(made, arrival(event(S, 0, sample(0, 5, power_w=99), seq_no=0), 60))
    for other in (
        event(S, 0, sample(0, 6), seq_no=0),
        event(S, 0, sample(0, 5), seq_no=1),
        event(S, 0, sample(0, 5), seq_no=0, charging=ChargingState.IDLE),
        event(U, 0, sample(0, 5), seq_no=0),
        event(S, 1, sample(1, 5), seq_no=0),
    ):
        assert not is_repeat(made, arrival(other))


def test_is_repeat__start_again_once_the_clock_is_set() -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first = event(S, 0, MeterSample(epoch, BEGIN, 5, None), moment=epoch)
    made = taken(first)
    assert made.started_at == epoch
    again = event(S, 3, sample(3, 5, BEGIN))
    assert is_repeat(made, arrival(again))
    assert not is_repeat(made, arrival(event(S, 3, sample(3, 6, BEGIN))))
    take(made, arrival(event(E, 9, sample(9, 5, END))))
    assert not is_repeat(made, arrival(again)), "after its end it is the start of another"


def test_is_repeat__nothing_is_one_of_an_empty_transaction() -> None:
    assert not is_repeat(transaction(), arrival(event(S, 0)))


# Taking ----------------------------------------------------------------------------------------


def test_take__in_order__the_session_as_pages_show_it() -> None:
    made = taken(
        event(S, 0, sample(0, 1000, BEGIN), seq_no=0),
        event(U, 10, sample(10, 3000, power_w=11_000), seq_no=1, charging=ChargingState.CHARGING),
    )
    assert (made.state, made.charging, made.last_power_w) == (SessionState.CHARGING, True, 11_000)
    assert (made.meter_start_wh, made.last_register_wh, made.remote_start_id) == (1000, 3000, 5)
    take(made, arrival(event(E, 20, sample(20, 4000, END), seq_no=2, stop_reason="Local")))
    settle_state(made)
    assert (made.ended_at, made.meter_stop_wh, made.last_power_w) == (at(20), 4000, 0)
    assert (made.stop_reason, made.charging, made.is_open) == ("Local", False, False)
    assert made.anomalies == {Anomaly.NO_ID_TOKEN}
    assert made.event_count == 3


def test_take__rows__the_event_first_then_its_other_samples() -> None:
    made = transaction()
    rows = take(
        made,
        arrival(
            event(
                E,
                60,
                sample(0, 100, BEGIN),
                sample(60, 900, END),
                seq_no=4,
                charging=ChargingState.IDLE,
            ),
            61,
        ),
    )
    assert rows == [
        SessionEvent(0, E, True, at(60), at(61), 4, 900, 7, END, ChargingState.IDLE),
        SessionEvent(1, E, False, at(0), at(61), 4, 100, 7, BEGIN, None),
    ]
    rows = take(made, arrival(event(U, 30, seq_no=3)))
    context = ReadingContext.OTHER
    assert rows == [SessionEvent(2, U, True, at(30), at(30), 3, None, None, context, None)]


def test_take__value_that_was_delayed__pages_keep_the_newer_one() -> None:
    made = taken(
        event(S, 0, sample(0, 100), seq_no=0),
        event(U, 20, sample(20, 900, power_w=5), seq_no=2, charging=ChargingState.IDLE),
        event(U, 10, sample(10, 500, power_w=9), seq_no=1, charging=ChargingState.CHARGING),
    )
    assert (made.last_power_w, made.last_register_wh, made.charging) == (5, 900, False)


def test_take__start_after_the_end__cures_and_is_marked() -> None:
    made = taken(event(E, 20, sample(20, 900, END), seq_no=1))
    assert (made.state, made.anomalies) == (SessionState.REVIEW, {Anomaly.NO_START})
    offer_id_token(made, "abc", ACCEPTED, None, TOKEN_OF_START)
    take(made, arrival(event(S, 0, sample(0, 100, BEGIN), seq_no=0)))
    settle_state(made)
    assert (made.state, made.anomalies) == (SessionState.ENDED, {Anomaly.OUT_OF_ORDER})
    assert (made.started_at, made.ended_at) == (at(0), at(20))


def test_take__start_after_the_end_and_later_than_it__the_end_is_not_before_the_start() -> None:
    made = taken(event(E, 20, sample(20, 900, END), seq_no=1), event(S, 25, seq_no=0))
    assert made.ended_at == made.started_at == at(25)


def test_take__value_after_the_end__late_and_no_longer_live() -> None:
    made = taken(
        event(S, 0, sample(0, 100), seq_no=0),
        event(E, 20, sample(20, 900, END), seq_no=3),
        event(U, 30, sample(30, 950, power_w=9), seq_no=2, charging=ChargingState.CHARGING),
    )
    assert Anomaly.LATE_EVENT in made.anomalies
    assert (made.last_power_w, made.charging) == (0, False)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize(
    ("ends", "anomaly"),
    [
        ([event(E, 20, sample(20, 900, END)), event(E, 25, sample(25, 900, END))], "repeated_end"),
        ([event(E, 20, sample(20, 900, END)), event(E, 20, sample(20, 904, END))], "ended_twice"),
        (
            [
                event(E, 20, sample(20, 900, END), seq_no=4),
                event(E, 10, sample(10, 800, END), seq_no=5),
            ],
            "ended_twice",
        ),
    ],
)
def test_take__two_ends__the_earlier_counts_whichever_came_first(
    ends: list[TransactionEvent], anomaly: str, first: int
) -> None:
    made = taken(event(S, 0, sample(0, 100)), ends[first], ends[1 - first])
    assert anomaly in made.anomalies
    assert (made.ended_at, made.meter_stop_wh) == (at(20), 900)


@pytest.mark.parametrize("seq_nos", [(0, 1, 2), (None, None, None)])
def test_take__end_before_what_it_follows__our_time_counts_as_in_the_bill(
    seq_nos: tuple[int | None, ...],
) -> None:
    events = [
        event(S, 0, sample(0, 100, BEGIN), seq_no=seq_nos[0]),
        event(U, 20, sample(20, 900), seq_no=seq_nos[1]),
        event(E, 10, sample(10, 950, END), seq_no=seq_nos[2]),
    ]
    for received, counts in ((21, 21), (15, 20)):
        made, rows = transaction(), []
        for each, minutes in zip(events, (0, 20, received), strict=True):
            rows += take(made, arrival(each, minutes))
        billed = assemble(rows, numbered=seq_nos[0] is not None, time_zone="UTC").session
        assert billed is not None
        assert made.ended_at == billed.ended_at == at(counts)


@pytest.mark.parametrize(
    ("seq_nos", "counts"),
    [
        ((0, 1, 2), 21),  # its number says what it follows
        ((None, None, None), 10),  # nothing says it: its own time stands
    ],
)
def test_take__end_without_register_before_what_came__only_a_number_says_that_it_follows(
    seq_nos: tuple[int | None, ...], counts: int
) -> None:
    made = transaction()
    for each, minutes in (
        (event(S, 0, sample(0, 100, BEGIN), seq_no=seq_nos[0]), 0),
        (event(U, 20, sample(20, 900), seq_no=seq_nos[1]), 20),
        (event(E, 10, seq_no=seq_nos[2]), 21),
    ):
        take(made, arrival(each, minutes))
    assert made.ended_at == at(counts)


def test_take__status_after_a_stop__is_nothing_that_the_stop_follows() -> None:
    made = taken(
        event(S, 0, sample(0, 100)),
        event(U, 21, charging=ChargingState.IDLE),  # what OCPP 1.6 says by StatusNotification
        event(E, 20, sample(20, 900, END)),
    )
    assert made.ended_at == at(20)


def test_take__end_without_register__comes_after_one_that_has_it() -> None:
    made = taken(event(E, 5), event(E, 9, sample(9, 900, END)))
    assert (made.ended_at, made.meter_stop_wh) == (at(9), 900)


def test_take__number_with_other_content__marked() -> None:
    made = taken(event(S, 0, seq_no=0), event(U, 1, sample(1, 5), seq_no=1))
    assert Anomaly.SEQ_NO_REUSED not in made.anomalies
    take(made, arrival(event(U, 2, sample(2, 6), seq_no=1)))
    assert Anomaly.SEQ_NO_REUSED in made.anomalies


def test_take__stop_reason__as_it_can_be_stored() -> None:
    made = taken(event(E, 1, stop_reason="a\0b"))
    assert made.stop_reason == "a\ufffdb"


def test_take__more_readings_than_there_is_room__marked_and_bounded() -> None:
    made = taken(event(S, 0, sample(0, 100), seq_no=0))
    made.event_count = READINGS_MAX - 2
    assert len(take(made, arrival(event(U, 1, *[sample(n, n) for n in range(9)], seq_no=1)))) == 2
    assert Anomaly.TOO_MANY_READINGS in made.anomalies
    made.anomalies.clear()
    assert take(made, arrival(event(U, 2, sample(2, 5), seq_no=2))) == []
    assert Anomaly.TOO_MANY_READINGS in made.anomalies
    assert len(take(made, arrival(event(E, 3, sample(3, 6, END), seq_no=3)))) == 1
    assert made.ended


def test_take__cures_silence() -> None:
    made = taken(event(S, 0, seq_no=0))
    made.anomalies.add(Anomaly.SILENT)
    take(made, arrival(event(U, 1, seq_no=1)))
    assert Anomaly.SILENT not in made.anomalies


# State -----------------------------------------------------------------------------------------


def test_settle_state__blocking_counts_at_the_end__curable_at_once() -> None:
    made = taken(event(S, 0, seq_no=0))
    offer_id_token(made, "abc", ACCEPTED, None, TOKEN_OF_START)
    made.anomalies |= {Anomaly.NO_TARIFF, Anomaly.UNKNOWN_CONNECTOR}
    settle_state(made)
    assert (made.state, made.is_open) == (SessionState.CHARGING, True)
    made.anomalies.add(Anomaly.SUPERSEDED)
    settle_state(made)
    assert (made.state, made.is_open) == (SessionState.REVIEW, False)
    take(made, arrival(event(E, 1, seq_no=1)))
    settle_state(made)
    assert made.anomalies == {Anomaly.NO_TARIFF, Anomaly.UNKNOWN_CONNECTOR}
    assert made.state is SessionState.REVIEW
    made.anomalies.clear()
    settle_state(made)
    assert made.state is SessionState.ENDED


def test_settle_state__token_that_is_not_accepted__refused_until_another_is() -> None:
    made = taken(event(S, 0, seq_no=0))
    offer_id_token(made, "xyz", INVALID, None, TOKEN_OF_START)
    settle_state(made)
    assert (made.state, made.is_open) == (SessionState.REFUSED, True)
    offer_id_token(made, "abc", ACCEPTED, "login", 3)
    settle_state(made)
    assert (made.state, made.id_token_key, made.login_id) == (
        SessionState.CHARGING,
        "abc",
        "login",
    )


def test_settle_state__identifier_of_a_standard_run__nobody_is_billed() -> None:
    made = taken(event(S, 0, seq_no=0))
    offer_id_token(made, "standard-run-0123abc", ACCEPTED, None, TOKEN_OF_START)
    settle_state(made)
    assert (made.state, made.is_open) == (SessionState.REFUSED, True)
    take(made, arrival(event(E, 9, seq_no=1)))
    settle_state(made)
    assert made.state is SessionState.REFUSED
    # Whoever stops a session with such an identifier does not spare its driver the bill.
    other = taken(event(S, 0, seq_no=0), event(E, 9, seq_no=1))
    offer_id_token(other, "abc", ACCEPTED, None, TOKEN_OF_START)
    offer_id_token(other, "standard-run-0123abc", ACCEPTED, None, TOKEN_OF_STOP)
    settle_state(other)
    assert other.state is SessionState.ENDED


def test_settle_state__who_stopped_is_the_driver_only_while_no_start_is_known() -> None:
    made = taken(event(E, 9, seq_no=1))
    offer_id_token(made, "xyz", INVALID, None, TOKEN_OF_STOP)
    settle_state(made)
    assert made.state is SessionState.REFUSED
    take(made, arrival(event(S, 0, seq_no=0)))
    settle_state(made)
    assert (made.state, made.id_token_key) == (SessionState.REVIEW, None)
    assert Anomaly.NO_ID_TOKEN in made.anomalies
    offer_id_token(made, "abc", ACCEPTED, None, 0)
    settle_state(made)
    assert Anomaly.NO_ID_TOKEN not in made.anomalies


@pytest.mark.parametrize(
    ("tokens", "counts"),
    [
        ([("a", ACCEPTED, 3), ("b", ACCEPTED, 2)], "b"),
        ([("a", ACCEPTED, 2), ("b", ACCEPTED, 3)], "a"),
        ([("a", ACCEPTED, 2), ("b", ACCEPTED, TOKEN_OF_START)], "b"),
        ([("a", INVALID, TOKEN_OF_START), ("b", ACCEPTED, 9)], "b"),
        ([("a", INVALID, 2), ("b", INVALID, 1)], "b"),
        ([("a", INVALID, 2), ("b", ACCEPTED, TOKEN_OF_STOP)], "a"),
        ([("a", ACCEPTED, TOKEN_OF_STOP), ("b", INVALID, 2)], "b"),
    ],
)
def test_offer_id_token__by_place_in_the_transaction_not_by_arrival(
    tokens: list[tuple[str, AuthorizationStatus, int]], counts: str
) -> None:
    made = transaction()
    for key, status, rank in tokens:
        offer_id_token(made, key, status, None, rank)
    assert made.id_token_key == counts


def test_is_numbered__by_version() -> None:
    assert transaction().is_numbered
    assert not transaction(OcppVersion.V1_6).is_numbered


# From rows -------------------------------------------------------------------------------------


def test_recall__from_rows__what_taking_them_had_made() -> None:
    made = transaction()
    rows: list[tuple[SessionEvent, bytes]] = []
    for each in (
        event(S, 0, sample(0, 100, BEGIN), seq_no=0, charging=ChargingState.CHARGING),
        event(U, 20, sample(20, 900, power_w=5), sample(19, 880), seq_no=2),
        event(U, 10, sample(10, 500), seq_no=1, charging=ChargingState.IDLE),
        event(E, 40, sample(40, 990, END), seq_no=5),
        event(E, 30, sample(30, 950, END), seq_no=4),
    ):
        for row in take(made, arrival(each)):
            encoded = repr(row).encode()
            add_to_hash(made, row, encoded)
            rows.append((row, encoded))
    again = transaction()
    recall(again, [row for row, _ in rows], b",".join(encoded for _, encoded in rows))
    names = ("event_count", "keys", "seq_nos", "start_key", "end_key", "last_at", "placed_at")
    for name in names:
        assert getattr(again, name) == getattr(made, name), name
    digest = hashlib.sha256(b"[" + b",".join(encoded for _, encoded in rows)).digest()
    assert made.events_hash.digest() == again.events_hash.digest() == digest


def test_vocabulary__curable_and_derived() -> None:
    assert module.CURABLE <= module.BLOCKING
    assert module.CURABLE <= module.DERIVED
