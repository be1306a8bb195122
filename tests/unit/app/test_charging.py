"""What single messages do to sessions: repeats, strangers, lost ends, odd texts, bounded memory."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chargera.app.charging import CLOSED_KEPT, NUMBERS_AT_ONCE, Charging, ChargingPolicy
from chargera.app.decisions import DEVIATIONS_MAX
from chargera.app.ports import InboundCall, TariffInForce
from chargera.domain.errors import NotFound, Unavailable
from chargera.domain.messages import (
    Acknowledged,
    AuthorizationStatus,
    Authorize,
    AuthorizeAnswer,
    BootAnswer,
    BootNotification,
    DataTransfer,
    DataTransferAnswer,
    Heartbeat,
    HeartbeatAnswer,
    IdTokenRef,
    MeterValues,
    NotServed,
    StationMessage,
    TransactionAnswer,
    UnservedCall,
)
from chargera.domain.pricing import ChargingState
from chargera.domain.station import ConnectorStatus, OcppVersion
from chargera.domain.transaction import Anomaly, SessionState
from chargera.proofs import records
from chargera.proofs.entry import EntryKind
from tests.histories import IN_FORCE, STATION, STATION_ID
from tests.unit.app.rig import (
    V1,
    V2,
    E,
    Rig,
    S,
    U,
    at,
    event,
    start_1_6,
    status,
)

IDLE, CHARGING = ChargingState.IDLE, ChargingState.CHARGING
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STATUS = AuthorizationStatus


@pytest.fixture
def rig() -> Rig:
    return Rig()


# Outside transactions --------------------------------------------------------------------------


async def test_boot__time_interval_and_what_it_said(rig: Rig) -> None:
    boot = BootNotification("V\0", "M" * 600, None, "1.2", "PowerUp")
    [answer] = await rig.hear(V1, boot)
    assert answer == BootAnswer(rig.clock.now(), 300)
    report = rig.memory.boots[STATION_ID]
    assert (report.vendor, report.firmware_version, report.ocpp_version) == ("V\ufffd", "1.2", V1)
    assert len(report.model) == 512
    await rig.hear(V1, BootNotification("V", "M", None, None, None))
    assert rig.memory.boots[STATION_ID].firmware_version is None


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (DataTransfer("v", None), DataTransferAnswer()),
        (MeterValues(1, None, (), ()), Acknowledged()),
        (UnservedCall("SignCertificate"), NotServed("SignCertificate")),
        (status(0, "Available", connector=0), Acknowledged()),
        (status(0, "Available", connector=9), Acknowledged()),
        (status(0, "Available", evse=9), Acknowledged()),
    ],
)
async def test_other_messages__answered_and_without_effect(
    rig: Rig, message: StationMessage, answer: object
) -> None:
    assert await rig.hear(V1, message) == [answer]
    assert not rig.memory.sessions
    assert not rig.memory.connectors


async def test_heartbeat__the_time_and_once_a_minute_a_sign_of_life(rig: Rig) -> None:
    assert await rig.hear(V2, Heartbeat()) == [HeartbeatAnswer(rig.clock.now())]
    first = rig.memory.seen[STATION_ID]
    rig.clock.advance(59)
    await rig.hear(V2, Heartbeat())
    assert rig.memory.seen[STATION_ID] == first
    rig.clock.advance(1)
    await rig.hear(V2, Heartbeat())
    assert rig.memory.seen[STATION_ID] == first + timedelta(seconds=60)


async def test_authorize__every_status_and_each_is_logged(rig: Rig) -> None:
    now = rig.clock.now()
    rig.add_token("BLOCKED", blocked=True)
    rig.add_token("OLD", expires_at=now)
    rig.add_token("FRESH", expires_at=now + timedelta(seconds=1))
    asked = [
        (IdTokenRef("abc", None), STATUS.ACCEPTED),
        (IdTokenRef("ABC", "ISO14443"), STATUS.ACCEPTED),
        (IdTokenRef("ABC", "Central"), STATUS.INVALID),
        (IdTokenRef("nobody", None), STATUS.INVALID),
        (IdTokenRef("BLOCKED", None), STATUS.BLOCKED),
        (IdTokenRef("OLD", None), STATUS.EXPIRED),
        (IdTokenRef("FRESH", None), STATUS.ACCEPTED),
        (IdTokenRef("\0\ud800", None), STATUS.INVALID),
    ]
    answers = await rig.hear(V1, *[Authorize(ref) for ref, _ in asked])
    assert [answer.status for answer in answers] == [status for _, status in asked]
    assert answers[5] == AuthorizeAnswer(STATUS.EXPIRED, now)
    assert len(rig.records("authorize")) == len(asked)
    assert rig.records("authorize")[-1]["id_token"] == "\ufffd\ufffd"


async def test_authorize__one_value_under_two_types__told_apart_where_a_type_is_given(
    rig: Rig,
) -> None:
    now = rig.clock.now()
    later = now + timedelta(hours=1)
    rig.add_token("SAME", "eMAID", login_id="dana", expires_at=later)
    rig.add_token("SAME", "ISO14443", login_id="eve")
    rig.add_token("HALF", "eMAID", blocked=True)
    rig.add_token("HALF", "ISO14443")
    rig.add_token("PAIR", "eMAID", login_id="dana")
    rig.add_token("PAIR", "ISO14443", login_id="dana")
    asked = {
        ("same", "eMAID"): AuthorizeAnswer(STATUS.ACCEPTED, later),
        ("same", "ISO14443"): AuthorizeAnswer(STATUS.ACCEPTED, None),
        ("same", "Local"): AuthorizeAnswer(STATUS.INVALID, None),
        ("same", None): AuthorizeAnswer(STATUS.ACCEPTED, later),
        ("half", "eMAID"): AuthorizeAnswer(STATUS.BLOCKED, None),
        ("half", "ISO14443"): AuthorizeAnswer(STATUS.ACCEPTED, None),
        ("half", None): AuthorizeAnswer(STATUS.BLOCKED, None),
    }
    answers = await rig.hear(V1, *[Authorize(IdTokenRef(*who)) for who in asked])
    assert answers == [*asked.values()]
    whose = {"SAME": None, "PAIR": "dana"}
    for minutes, value in enumerate(whose):
        await rig.hear(V1, start_1_6(minutes, 1000, token=value, connector=1 + minutes))
    sessions = rig.memory.sessions.values()
    assert [s.transaction.login_id for s in sessions] == [*whose.values()]


# Identifiers of escrows ------------------------------------------------------------------------


async def test_escrow__its_identifier_starts_one_session__a_second_start_is_refused(
    rig: Rig,
) -> None:
    rig.add_token("ESCROW", "Central", escrow_at=STATION_ID)
    first = event(
        S, 0, 1000, number="first", seq_no=0, evse=1, token="ESCROW", token_kind="Central"
    )
    second = event(
        S, 1, 1000, number="second", seq_no=0, evse=2, token="ESCROW", token_kind="Central"
    )
    end = event(E, 9, 3000, number="first", seq_no=1, token="ESCROW", token_kind="Central")
    answers = await rig.say(V2, [first, second, first, end])
    assert [answer.status for answer in answers] == [
        STATUS.ACCEPTED,
        STATUS.CONCURRENT_TX,
        STATUS.ACCEPTED,
        STATUS.ACCEPTED,
    ]
    states = [row.transaction.state for row in rig.sessions]
    assert states == [SessionState.ENDED, SessionState.REFUSED]
    records = rig.records("session_started")
    assert [record["id_token_status"] for record in records] == ["Accepted", "ConcurrentTx"]


async def test_escrow__used_by_a_session_of_before__also_by_a_1_6_start(rig: Rig) -> None:
    rig.add_token("ESCROW", "Central", escrow_at=STATION_ID, used_by="another session")
    [answer] = await rig.hear(V1, start_1_6(0, 1000, token="ESCROW"))
    assert answer.status is STATUS.CONCURRENT_TX
    [known] = await rig.hear(V1, Authorize(IdTokenRef("ESCROW", None)))
    assert known.status is STATUS.ACCEPTED, "only a start is refused: whoever runs may stop"


async def test_escrow__at_another_station__nobody_has_paid_for_that(rig: Rig) -> None:
    rig.add_token("ESCROW", "Central", escrow_at="CP-OTHER")
    [answer] = await rig.hear(V1, start_1_6(0, 1000, token="ESCROW"))
    assert answer.status is STATUS.INVALID
    assert rig.session.transaction.state is SessionState.REFUSED


async def test_escrow__blocked_since__blocked(rig: Rig) -> None:
    rig.add_token("ESCROW", "Central", escrow_at=STATION_ID, used_by="first", blocked=True)
    [answer] = await rig.hear(V1, start_1_6(0, 1000, token="ESCROW"))
    assert answer.status is STATUS.BLOCKED


# Breaches of the schema ------------------------------------------------------------------------


async def test_deviation__logged_with_the_digest_of_its_frame(rig: Rig) -> None:
    call = InboundCall(
        STATION_ID, V1, rig.clock.now(), "m\0", "Heartbeat", Heartbeat(), b"[2]", "odd \ud800"
    )
    async with rig.memory.work() as work:
        await rig.charging.handle(work, [call])
        await work.commit()
    [record] = rig.records("deviation")
    assert (record["message_id"], record["fault"]) == ("m\ufffd", "odd \ufffd")


async def test_deviation__of_each_sort_an_entry_an_hour_and_a_count(rig: Rig) -> None:
    async def deviate(*faults: str, action: str = "Heartbeat") -> list[tuple[str, int]]:
        """Break the schema so, and return what was logged of it."""
        before = len(rig.records("deviation"))
        now = rig.clock.now()
        calls = [
            InboundCall(STATION_ID, V1, now, "m", action, Heartbeat(), b"[2]", fault)
            for fault in faults
        ]
        async with rig.memory.work() as work:
            await rig.charging.handle(work, calls)
            await work.commit()
        return [(r["fault"], r["followed"]) for r in rig.records("deviation")[before:]]

    assert await deviate("a", "b", "a", "a") == [("a", 0), ("b", 0)]
    rig.clock.advance(3599)
    assert await deviate("a") == []
    assert await deviate("a", action="Authorize") == [("a", 0)]
    rig.clock.advance(1)
    assert await deviate("a", "a") == [("a", 3)]

    # Of more sorts than are told apart, those beyond are one.
    logged = await deviate(*map(str, range(2 * DEVIATIONS_MAX)))
    assert len(logged) <= DEVIATIONS_MAX
    assert await deviate("x", "y", "z") == []
    rig.clock.advance(3600)
    assert await deviate("a", "new") == [("a", 1), ("new", 0)]


async def test_unknown_station__not_found_and_nothing_kept(rig: Rig) -> None:
    call = InboundCall("CP-9", V1, rig.clock.now(), "m", "Heartbeat", Heartbeat(), b"[]")
    async with rig.memory.work() as work:
        with pytest.raises(NotFound) as caught:
            await rig.charging.handle(work, [call])
        await rig.hear(V2, started_2_x())
        rig.restart()
        call.message = event(U, 1, 5, number="tx", seq_no=1)
        rig.memory.sessions[rig.session.transaction.session_id].transaction.station_id = "CP-9"
        with pytest.raises(NotFound):
            await rig.charging.handle(work, [call])
    assert caught.value.field == "station_id"
    assert rig.charging.stations_held == 0


# Starts ----------------------------------------------------------------------------------------


async def test_1_6_start__number_tariff_driver_and_one_entry(rig: Rig) -> None:
    rig.add_token("ABC", login_id="login-1")
    [answer] = await rig.hear(V1, start_1_6(0, 1000))
    assert answer == TransactionAnswer("1", STATUS.ACCEPTED, None)
    session = rig.session.transaction
    assert (session.state, session.tariff_id, session.currency, session.login_id) == (
        SessionState.CHARGING,
        "T1",
        "EUR",
        "login-1",
    )
    [record] = rig.records("session_started")
    assert (record["tariff"]["tariff_id"], record["id_token"]) == ("T1", "ABC")
    assert rig.charging.take_live_events()[0].key == session.session_id
    assert rig.charging.take_live_events() == []


async def test_1_6_start__repeated_long_after__the_same_number(rig: Rig) -> None:
    start = start_1_6(0, 1000)
    number = await rig.started(start)
    await rig.hear(V1, event(E, 30, 1500, number=number))
    for n in range(1, CLOSED_KEPT + 3):
        other = await rig.started(start_1_6(60 * n, 1000 + 1000 * n))
        await rig.hear(V1, event(E, 60 * n + 30, 1500 + 1000 * n, number=other))
    await rig.bill()
    assert await rig.started(start) == number
    rig.restart()
    assert await rig.started(start) == number
    assert len(rig.memory.sessions) == CLOSED_KEPT + 3


async def test_1_6_start__same_moment_at_both_connectors__two_sessions(rig: Rig) -> None:
    one = await rig.started(start_1_6(0, 1000, connector=1))
    two = await rig.started(start_1_6(0, 1000, connector=2))
    unknown = await rig.started(start_1_6(0, 1000, connector=9))
    assert len({one, two, unknown}) == 3
    assert [s.transaction.evse for s in rig.memory.sessions.values()] == [1, 2, 0]
    assert await rig.started(start_1_6(0, 1000, connector=9)) == unknown


async def test_start_at_unknown_connector__a_person_must_look(rig: Rig) -> None:
    number = await rig.started(start_1_6(0, 1000, connector=9))
    await rig.hear(V1, event(E, 30, 1500, number=number))
    await rig.bill()
    assert rig.session.state is SessionState.REVIEW
    assert rig.anomalies() == ["unknown_connector"]


async def test_start_without_tariff__charges_and_goes_to_review(rig: Rig) -> None:
    rig.memory.tariffs.clear()
    number = await rig.started(start_1_6(0, 1000))
    assert rig.session.state is SessionState.CHARGING
    await rig.hear(V1, event(E, 30, 1500, number=number))
    await rig.bill()
    assert (rig.session.state, rig.anomalies()) == (SessionState.REVIEW, ["no_tariff"])


async def test_tariff__in_force_at_the_start__the_first_for_what_came_before_it(rig: Rig) -> None:
    quoted = IN_FORCE.quoted
    second = TariffInForce(at(60), replace(quoted, version=2))
    rig.memory.tariffs[STATION_ID] = [TariffInForce(at(30), quoted), second]
    for minutes, connector in ((0, 1), (61, 2)):
        await rig.started(start_1_6(minutes, 1000, connector=connector))
    assert [s.transaction.tariff_version for s in rig.sessions] == [1, 2]


async def test_refused_session_that_is_left_open__given_up_once(rig: Rig) -> None:
    for n in range(3):
        await rig.started(start_1_6(10 * n, 1000 + n, token="XYZ"))
    assert [s.state for s in rig.sessions] == [SessionState.REFUSED] * 3
    assert [r["code"] for r in rig.records("anomaly")] == ["superseded", "superseded"]


async def test_offline_start__token_counts_as_of_then(rig: Rig) -> None:
    rig.add_token("GONE", expires_at=at(60))
    [answer] = await rig.hear(V1, start_1_6(0, 1000, token="GONE"))
    assert answer.status is STATUS.EXPIRED
    assert rig.session.state is SessionState.CHARGING


async def test_numbers__fetched_by_the_dozen(rig: Rig) -> None:
    await rig.say(V1, [start_1_6(n, 1000 + n) for n in range(3)])
    assert rig.memory.numbers_given == NUMBERS_AT_ONCE
    await rig.say(V1, [start_1_6(10 + n, 2000 + n) for n in range(40)])
    assert len({s.transaction.transaction_id for s in rig.sessions}) == 43


async def test_new_start_on_the_connector__what_was_open_has_ended(rig: Rig) -> None:
    first = await rig.started(start_1_6(0, 1000))
    await rig.started(start_1_6(60, 2000))
    lost, running = rig.sessions
    assert (lost.state, running.state) == (SessionState.REVIEW, SessionState.CHARGING)
    assert Anomaly.SUPERSEDED in lost.transaction.anomalies
    await rig.hear(V1, event(E, 50, 1900, number=first))
    await rig.bill()
    assert rig.sessions[0].state is SessionState.BILLED


async def test_older_start_told_late__it_is_the_one_that_has_ended(rig: Rig) -> None:
    await rig.started(start_1_6(60, 2000))
    await rig.started(start_1_6(0, 1000))
    assert [s.state for s in rig.sessions] == [SessionState.REVIEW, SessionState.CHARGING]


# 2.x -------------------------------------------------------------------------------------------


def started_2_x(number: str = "tx", minutes: float = 0, **more: object) -> object:
    given: dict[str, object] = {"token": "ABC", "token_kind": "ISO14443", "evse": 1, "seq_no": 0}
    return event(S, minutes, 1000, number=number, **given | more)  # type: ignore[arg-type] # by name


async def test_2_x__token_comes_with_an_update__the_driver(rig: Rig) -> None:
    await rig.hear(
        V2,
        started_2_x(token=None),
        event(U, 1, 1000, number="tx", seq_no=1, token="DEF", token_kind="ISO14443"),
        event(U, 2, 1000, number="tx", seq_no=2, token="ABC", token_kind="ISO14443"),
        event(E, 30, 1500, number="tx", seq_no=3),
    )
    await rig.bill()
    assert (rig.session.state, rig.session.transaction.id_token_key) == (
        SessionState.BILLED,
        "def",
    )


async def test_2_x__token_is_written_at_once__a_restart_does_not_lose_it(rig: Rig) -> None:
    await rig.hear(
        V2,
        started_2_x(token=None),
        event(U, 1, 1000, number="tx", seq_no=1, token="DEF", token_kind="ISO14443"),
    )
    rig.restart()
    await rig.hear(V2, event(E, 30, 1500, number="tx", seq_no=3))
    await rig.bill()
    assert rig.session.state is SessionState.BILLED


async def test_2_x__nobody_presented_a_token__review(rig: Rig) -> None:
    await rig.hear(
        V2,
        started_2_x(token=None),
        event(E, 30, 1500, number="tx", seq_no=1, token="ABC", token_kind="ISO14443"),
    )
    await rig.bill()
    assert (rig.session.state, rig.anomalies()) == (SessionState.REVIEW, ["no_id_token"])


async def test_2_x__unknown_token__refused_logged_and_never_billed(rig: Rig) -> None:
    await rig.hear(
        V2, started_2_x(token="XYZ"), event(E, 30, 1500, number="tx", seq_no=1, token="XYZ")
    )
    await rig.bill()
    assert (rig.session.state, rig.session.gross_minor) == (SessionState.REFUSED, None)
    assert len(rig.records("session_ended")) == 1
    await rig.hear(V2, event(U, 10, 1200, number="tx", seq_no=5))
    await rig.bill()
    assert rig.session.state is SessionState.REFUSED


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_stopped_by_another_token__billed_to_who_started(
    rig: Rig, order: tuple[int, int]
) -> None:
    told = [
        started_2_x(),
        event(E, 30, 1500, number="tx", seq_no=1, token="DEF", token_kind="ISO14443", evse=1),
    ]
    await rig.hear(V2, *[told[place] for place in order])
    await rig.bill()
    assert rig.session.state is SessionState.BILLED
    assert rig.session.transaction.id_token_key == "abc"
    assert "stopped_by_other" in rig.anomalies()


async def test_2_x__evse_comes_with_an_update__where_it_is(rig: Rig) -> None:
    await rig.hear(V2, started_2_x(evse=None))
    assert rig.session.transaction.evse == 0
    await rig.hear(V2, event(U, 1, 1000, number="tx", seq_no=1, evse=2, connector=1))
    assert (rig.session.transaction.evse, rig.anomalies()) == (2, [])


async def test_2_x__only_one_evse__needs_no_name(rig: Rig) -> None:
    alone = rig.memory.stations[STATION_ID]
    rig.memory.stations[STATION_ID] = type(alone)(
        **{name: getattr(alone, name) for name in alone.__slots__}
        | {"connectors": alone.connectors[:1]}
    )
    await rig.hear(V2, started_2_x(evse=None))
    assert (rig.session.transaction.evse, rig.session.transaction.connector) == (1, 1)


async def test_2_x__unregistered_evse__kept_as_told(rig: Rig) -> None:
    await rig.hear(V2, started_2_x(evse=7, connector=3))
    assert (rig.session.transaction.evse, rig.session.transaction.connector) == (7, 3)
    assert rig.anomalies() == ["unknown_connector"]
    await rig.hear(V2, started_2_x("ty", evse=8))
    assert rig.sessions[-1].transaction.connector == 1


async def test_2_x__value_before_its_start__provisional_until_it_comes(rig: Rig) -> None:
    await rig.hear(V2, event(U, 10, 1200, number="tx", seq_no=1))
    assert (rig.session.state, rig.anomalies()) == (SessionState.REVIEW, ["no_start"])
    await rig.hear(V2, started_2_x())
    assert (rig.session.state, rig.anomalies()) == (SessionState.CHARGING, [])
    assert [r["code"] for r in rig.records("anomaly")] == ["no_start"]


async def test_2_x__repeat_under_a_new_message_id__nothing_new(rig: Rig) -> None:
    await rig.hear(V2, started_2_x(), started_2_x())
    entries = len(rig.memory.entries)
    [answer] = await rig.hear(V2, started_2_x())
    assert answer == TransactionAnswer("tx", STATUS.ACCEPTED, None)
    assert len(rig.memory.entries) == entries
    assert len(rig.memory.events[rig.session.transaction.session_id]) == 1


async def test_2_x__number_with_other_content__review_and_nothing_lost(rig: Rig) -> None:
    await rig.hear(
        V2,
        started_2_x(),
        event(U, 10, 1200, number="tx", seq_no=1),
        event(U, 11, 1300, number="tx", seq_no=1),
        event(E, 30, 1500, number="tx", seq_no=2),
    )
    await rig.bill()
    assert (rig.session.state, rig.anomalies()) == (SessionState.REVIEW, ["seq_no_reused"])
    assert len(rig.memory.events[rig.session.transaction.session_id]) == 4


async def test_2_x__second_end__one_close_entry_and_a_review(rig: Rig) -> None:
    await rig.hear(
        V2,
        started_2_x(),
        event(E, 30, 1500, number="tx", seq_no=1),
        event(E, 30, 1600, number="tx", seq_no=2),
    )
    await rig.bill()
    assert (rig.session.state, rig.anomalies()) == (SessionState.REVIEW, ["ended_twice"])
    assert len(rig.records("session_ended")) == 1
    [late] = rig.records("meter_value_late")
    assert late["event"]["register_wh"] == 1600


async def test_2_x__end_before_what_it_follows__logged_and_shown_as_it_is_billed(rig: Rig) -> None:
    await rig.hear(V2, started_2_x(), event(U, 30, 1200, number="tx", seq_no=1))
    await rig.hear(V2, event(E, 10, 1500, number="tx", seq_no=2))
    now = records.time_text(rig.clock.now())
    [ended] = rig.records("session_ended")
    assert (ended["ended_at"], ended["station_time"]) == (now, records.time_text(at(10)))
    assert rig.session.transaction.ended_at == rig.clock.now()
    await rig.bill()
    [cdr] = rig.records("cdr")
    assert cdr["ended_at"] == now


async def test_station_that_changes_its_version__numbers_are_not_mixed(rig: Rig) -> None:
    number = await rig.started(start_1_6(0, 1000))
    await rig.hear(V2, event(U, 10, 1200, number=number, seq_no=1, evse=2))
    assert len(rig.memory.sessions) == 2
    assert rig.sessions[1].transaction.generation == 1


async def test_id_reused_many_times__old_messages_find_their_session(rig: Rig) -> None:
    for n in range(CLOSED_KEPT + 3):
        await rig.hear(
            V2,
            event(S, 100 * n, 1000 + 1000 * n, number="0", seq_no=0, evse=1, token="ABC"),
            event(E, 100 * n + 30, 1500 + 1000 * n, number="0", seq_no=1),
        )
    await rig.bill()
    assert len(rig.memory.sessions) == CLOSED_KEPT + 3
    repeated = event(S, 0, 1000, number="0", seq_no=0, evse=1, token="ABC")
    await rig.hear(V2, repeated, event(E, 30, 1500, number="0", seq_no=1))
    rig.restart()
    await rig.hear(V2, repeated, event(E, 30, 1500, number="0", seq_no=1))
    assert len(rig.memory.sessions) == CLOSED_KEPT + 3
    assert len(rig.memory.cdrs) == CLOSED_KEPT + 3
    reused = [s for s in rig.sessions if Anomaly.TRANSACTION_ID_REUSED in s.transaction.anomalies]
    assert len(reused) == CLOSED_KEPT + 2


# Status of 1.6 ---------------------------------------------------------------------------------


async def test_status__turns_its_transaction_to_parking_once(rig: Rig) -> None:
    number = await rig.started(start_1_6(0, 1000))
    suspended = status(10, "SuspendedEV", charging=IDLE)
    await rig.hear(V1, suspended, suspended)
    assert rig.session.transaction.charging is False
    assert rig.memory.connectors[STATION_ID, 1, 1].status is not None
    await rig.hear(V1, event(E, 70, 1500, number=number))
    await rig.bill()
    # 0.5 kWh at 0.30 and an hour of parking at 1.00, 21 % VAT.
    assert rig.session.gross_minor == 139
    assert len(rig.memory.events[rig.session.transaction.session_id]) == 3


async def test_status__of_the_other_connector_or_after_the_end__another_matter(rig: Rig) -> None:
    number = await rig.started(start_1_6(0, 1000))
    await rig.hear(
        V1,
        status(10, "SuspendedEV", connector=2, charging=IDLE),
        event(E, 70, 1500, number=number),
        status(70, "Finishing", charging=IDLE),
        status(71, "Finishing", charging=IDLE),
        status(72, "Available"),
    )
    await rig.bill()
    assert (rig.session.state, rig.anomalies()) == (SessionState.BILLED, [])


async def test_status__before_the_start_that_it_is_about__remembered(rig: Rig) -> None:
    await rig.hear(V1, status(10, "SuspendedEV", charging=IDLE))
    rig.restart()
    number = await rig.started(start_1_6(0, 1000))
    await rig.hear(V1, event(E, 70, 1500, number=number))
    await rig.bill()
    assert rig.session.gross_minor == 139


async def test_status__before_a_start_that_is_later__of_someone_else(rig: Rig) -> None:
    await rig.hear(V1, status(10, "Finishing", charging=IDLE), status(11, "Available", connector=2))
    number = await rig.started(start_1_6(20, 1000))
    await rig.hear(V1, event(E, 70, 1500, number=number))
    await rig.bill()
    assert rig.session.gross_minor == 18


async def test_status__late_after_its_session_was_forgotten__found_again(rig: Rig) -> None:
    for n in range(CLOSED_KEPT + 2):
        number = await rig.started(start_1_6(100 * n, 1000 + 1000 * n))
        await rig.hear(V1, event(E, 100 * n + 70, 1500 + 1000 * n, number=number))
    await rig.bill()
    await rig.hear(V1, status(10, "SuspendedEV", charging=IDLE))
    await rig.bill()
    assert [s.gross_minor for s in rig.sessions][:2] == [139, 18]


async def test_status__late_for_a_connector_that_is_not_there__ignored(rig: Rig) -> None:
    await rig.hear(V1, Heartbeat(), status(10, "SuspendedEV", connector=9, charging=IDLE))
    assert not rig.memory.sessions


async def test_status__is_shown_as_told(rig: Rig) -> None:
    await rig.hear(V1, status(0, "Charging", charging=CHARGING), status(1, "Preparing"))
    report = rig.memory.connectors[STATION_ID, 1, 1]
    assert (report.status, report.detail) == (ConnectorStatus.OCCUPIED, "Preparing")
    assert report.at == at(1)


async def test_status__without_time__ours(rig: Rig) -> None:
    await rig.started(start_1_6(0, 1000))
    await rig.hear(V1, status(None, "SuspendedEV", charging=IDLE))
    assert rig.session.transaction.charging is False
    assert rig.memory.connectors[STATION_ID, 1, 1].at == rig.clock.now()


async def test_available_without_stop__review_until_the_stop_comes(rig: Rig) -> None:
    number = await rig.started(start_1_6(0, 1000))
    await rig.hear(V1, status(-5, "Available"))
    assert rig.session.state is SessionState.CHARGING, "it was said before the start"
    await rig.hear(V1, status(60, "Available"), status(61, "Available"))
    assert (rig.session.state, rig.anomalies()) == (SessionState.REVIEW, ["no_end"])
    assert len(rig.records("anomaly")) == 1
    await rig.hear(V1, event(E, 55, 1500, number=number))
    await rig.bill()
    assert (rig.session.state, rig.anomalies()) == (SessionState.BILLED, [])


async def test_available_in_2_x__over_only_if_it_has_charged(rig: Rig) -> None:
    await rig.hear(V2, started_2_x(), status(5, "Available", evse=1))
    assert rig.session.state is SessionState.CHARGING, "no car has come yet"
    await rig.hear(V2, event(U, 10, 1200, number="tx", seq_no=1))
    await rig.hear(V2, status(9, "Available", evse=1), status(20, "Available", evse=2))
    assert rig.session.state is SessionState.CHARGING
    await rig.hear(V2, status(20, "Available", evse=1))
    assert (rig.session.state, rig.anomalies()) == (SessionState.REVIEW, ["no_end"])


# Without number --------------------------------------------------------------------------------


async def test_values_with_id_minus_1__go_to_what_runs_there_or_wait(rig: Rig) -> None:
    await rig.started(start_1_6(0, 1000))
    await rig.hear(V1, event(U, 10, 1200, number="-1", connector=1))
    assert len(rig.memory.events[rig.session.transaction.session_id]) == 2
    values = [event(U, 10 + n, 9000 + n, number="-1", connector=2) for n in range(5)]
    await rig.hear(V1, *values)
    assert len(rig.memory.sessions) == 2, "one that waits, not one a message"
    number = await rig.started(start_1_6(5, 9000, connector=2))
    assert number not in ("-1", "1")
    assert len(rig.memory.sessions) == 2
    waited = rig.sessions[1].transaction
    assert (waited.state, waited.transaction_id) == (SessionState.CHARGING, number)
    await rig.hear(V1, event(E, 30, 9500, number=number))
    await rig.bill()
    assert rig.sessions[1].state is SessionState.REVIEW
    assert Anomaly.LINKED_BY_CONTENT in rig.sessions[1].transaction.anomalies


async def test_stop_with_id_minus_1_before_its_start__linked_and_for_a_person(rig: Rig) -> None:
    await rig.hear(V1, event(E, 60, 1500, number="-1", token="ABC"))
    await rig.hear(V1, event(E, 65, 7500, number="-1", token="XYZ"))
    rig.restart()
    number = await rig.started(start_1_6(0, 1000))
    await rig.bill()
    linked, refused = rig.sessions
    assert (linked.state, linked.transaction.transaction_id) == (SessionState.REVIEW, number)
    assert linked.transaction.meter_stop_wh == 1500
    assert refused.state is SessionState.REFUSED
    assert len(rig.records("session_started")) == 1


async def test_stop_with_id_minus_1__two_running_for_one_token__a_guess_is_reviewed(
    rig: Rig,
) -> None:
    await rig.started(start_1_6(0, 1000, connector=1))
    await rig.started(start_1_6(0, 5000, connector=2))
    await rig.hear(V1, event(E, 60, 5500, number="-1", token="ABC"))
    await rig.bill()
    one, two = sorted(rig.sessions, key=lambda s: s.transaction.evse)
    assert (one.state, two.state) == (SessionState.CHARGING, SessionState.REVIEW)


async def test_stop_with_id_minus_1__repeated_when_all_is_forgotten__one_session(rig: Rig) -> None:
    stop = event(E, 30, 1500, number="-1", token="ABC")
    await rig.started(start_1_6(0, 1000))
    await rig.hear(V1, stop)
    for n in range(1, CLOSED_KEPT + 3):
        number = await rig.started(start_1_6(60 * n, 1000 + 1000 * n))
        await rig.hear(V1, event(E, 60 * n + 30, 1500 + 1000 * n, number=number))
    await rig.hear(V1, stop)
    rig.restart()
    await rig.hear(V1, stop)
    assert len(rig.memory.sessions) == CLOSED_KEPT + 3


async def test_stop_for_a_number_that_nobody_gave__each_its_own_review(rig: Rig) -> None:
    await rig.hear(
        V1,
        event(E, 60, 1500, number="77"),
        event(E, 60, 1500, number="77"),
        event(E, 160, 5500, number="77"),
        event(U, 200, 9000, number="78", connector=1),
    )
    assert [s.state for s in rig.sessions] == [SessionState.REVIEW] * 3
    assert [s.transaction.generation for s in rig.sessions] == [0, 1, 0]


async def test_start_again_once_the_clock_is_set__the_same_session(rig: Rig) -> None:
    number = await rig.started(start_1_6(0, 1000, moment=EPOCH))
    rig.restart()
    again = start_1_6(24 * 60, 1000)
    assert await rig.started(again) == number
    assert rig.anomalies() == ["time_before_2020"]


# Late ------------------------------------------------------------------------------------------


async def test_value_after_the_bill__credit_and_a_new_bill(rig: Rig) -> None:
    await rig.hear(V2, started_2_x(), event(E, 70, 1500, number="tx", seq_no=5))
    await rig.bill()
    assert rig.session.gross_minor == 18
    await rig.hear(V2, event(U, 10, 1400, number="tx", seq_no=3, charging=IDLE))
    await rig.bill()
    assert rig.session.gross_minor == 139
    kinds = [e.kind for e in rig.memory.entries if "cdr" in e.kind]
    assert kinds == [EntryKind.CDR, EntryKind.CREDIT_CDR, EntryKind.CDR]
    await rig.hear(V2, event(U, 11, 1400, number="tx", seq_no=4))
    await rig.bill()
    assert len(rig.memory.cdrs) == 3, "nothing changed"
    holes = [(r["first_seq_no"], r["last_seq_no"]) for r in rig.records("sequence_hole")]
    assert holes == [(1, 4)], "logged once"
    assert sorted(r["code"] for r in rig.records("anomaly")) == ["late_event", "seq_no_hole"]


async def test_signed_values__each_once_whatever_message_repeats_them(rig: Rig) -> None:
    first = event(U, 1, 1000, number="tx", seq_no=1, signed=(b"OCMF|1",))
    again = event(U, 1, 1000, number="tx", seq_no=1, signed=(b"OCMF|1", b"OCMF|2"))
    await rig.hear(V2, started_2_x(), first, first)
    rig.restart()
    await rig.hear(V2, again, again)
    values = rig.memory.signed[rig.session.transaction.session_id]
    assert [(v.n, v.raw) for v in values] == [(0, b"OCMF|1"), (1, b"OCMF|2")]
    assert len(rig.records("signed_value")) == 2
    assert not rig.session.bill_due
    await rig.hear(V2, event(E, 30, 1500, number="tx", seq_no=2))
    await rig.bill()
    await rig.hear(V2, event(E, 30, 1500, number="tx", seq_no=2, signed=(b"OCMF|3",)))
    assert rig.session.bill_due, "it may change the bill"


async def test_running_session__its_row_is_fresh_but_not_written_for_every_value(rig: Rig) -> None:
    await rig.hear(V2, started_2_x())
    for n in range(1, 10):
        rig.clock.advance(1)
        value = event(U, n, 1000 + n, number="tx", seq_no=n, power_w=100 * n)
        await rig.hear(V2, value)
    # Written at 0 s and after 5 s.
    assert rig.session.transaction.last_power_w == 500
    rig.restart()
    rig.clock.advance(1)
    await rig.hear(V2, event(U, 10, 2000, number="tx", seq_no=10, power_w=77))
    assert rig.session.transaction.last_power_w == 77


# Texts and numbers at their limits -------------------------------------------------------------


async def test_odd_texts__stored_and_found_again(rig: Rig) -> None:
    name = "tx\0\ud800" + "x" * 2000
    rig.add_token("ABC")
    await rig.hear(
        V2,
        started_2_x(name, token="abc\0"),
        event(U, 10, 1200, number=name, seq_no=1),
        event(E, 30, 1500, number=name, seq_no=2, stop_reason="\0" * 600),
    )
    session = rig.session.transaction
    assert "\0" not in f"{session.transaction_id}{session.stop_reason}{session.id_token_key}"
    assert max(len(session.transaction_id), len(session.stop_reason or "")) == 512
    rig.restart()
    await rig.hear(V2, event(U, 10, 1200, number=name, seq_no=1))
    assert len(rig.memory.sessions) == 1


@pytest.mark.parametrize("register_wh", [10**15, 2**53 - 1, -5])
async def test_registers_beyond_all_meters__review_and_no_exception(
    rig: Rig, register_wh: int
) -> None:
    number = await rig.started(start_1_6(0, 1000))
    await rig.hear(V1, event(E, 30, register_wh, number=number))
    await rig.bill()
    assert rig.session.state is SessionState.REVIEW


async def test_sequence_numbers_at_the_limit(rig: Rig) -> None:
    await rig.hear(V2, started_2_x(), event(E, 30, 1500, number="tx", seq_no=2**31 - 1))
    await rig.bill()
    assert rig.session.state is SessionState.BILLED
    [hole] = rig.records("sequence_hole")
    assert (hole["first_seq_no"], hole["last_seq_no"]) == (1, 2**31 - 2)


# Memory and failure ----------------------------------------------------------------------------


async def test_commit_fails__forgotten_and_handled_again(rig: Rig) -> None:
    rig.memory.fail_commit = Unavailable("no database")
    with pytest.raises(Unavailable):
        await rig.hear(V1, start_1_6(0, 1000))
    rig.restart()
    assert not rig.memory.sessions
    number = await rig.started(start_1_6(0, 1000))
    assert rig.session.transaction.transaction_id == number


async def test_station_forgotten_while_a_batch_loads__the_batch_goes_on(rig: Rig) -> None:
    await rig.hear(V1, Heartbeat())
    work = rig.memory.work()
    async with work as opened:
        load = opened.load

        async def load_slowly(wanted: object) -> object:
            rig.restart()
            return await load(wanted)  # type: ignore[arg-type] # what the use case wants

        opened.load = load_slowly  # type: ignore[method-assign] # a database that takes its time
        call = InboundCall(
            STATION_ID, V1, rig.clock.now(), "m", "A", Authorize(IdTokenRef("ABC", None)), b"[]"
        )
        [answer] = await rig.charging.handle(opened, [call])
    assert answer.status is STATUS.ACCEPTED  # type: ignore[union-attr] # an answer to Authorize
    assert rig.charging.stations_held == 0


async def test_memory__bounded_for_a_station(rig: Rig) -> None:
    for n in range(30):
        await rig.hear(
            V2,
            event(S, 100 * n, 1000 + n, number=f"t{n}", seq_no=0, evse=1, token="ABC"),
            event(E, 100 * n + 30, 1500 + n, number=f"t{n}", seq_no=1),
            event(U, 100 * n, 9, number=f"stray{n}", seq_no=4),
        )
    state = rig.charging._states[STATION_ID]
    assert len(state.transactions) <= 2 * CLOSED_KEPT + 1
    assert rig.charging.events_held <= 3 * (2 * CLOSED_KEPT + 1)
    rig.restart()
    assert (rig.charging.events_held, rig.charging.stations_held) == (0, 0)


async def test_memory__bounded_for_an_id_that_a_station_uses_again_and_again(rig: Rig) -> None:
    for n in range(30):
        await rig.hear(V2, started_2_x(minutes=100 * n))
        await rig.hear(V2, event(E, 100 * n + 30, 1500, number="tx", seq_no=1))
    (uses,) = rig.charging._states[STATION_ID].transactions.values()
    assert len(uses) <= 2 * CLOSED_KEPT + 1
    assert rig.charging.events_held == sum(len(use.keys) for use in uses)
    assert len(rig.memory.sessions) == 30


async def test_memory__bounded_while_a_station_repeats_what_has_long_ended(rig: Rig) -> None:
    said = [
        (
            event(S, 100 * n, 1000 + n, number=f"t{n}", seq_no=0, evse=1, token="ABC"),
            event(E, 100 * n + 30, 1500 + n, number=f"t{n}", seq_no=1),
        )
        for n in range(30)
    ]
    for messages in said:
        await rig.hear(V2, *messages)
    rig.restart()
    for messages in said:
        await rig.hear(V2, *messages)
    assert len(rig.charging._states[STATION_ID].transactions) <= 2 * CLOSED_KEPT + 1
    assert len(rig.memory.sessions) == 30


async def test_memory__bounded_in_all__the_station_silent_longest_goes(rig: Rig) -> None:
    policy = ChargingPolicy(stations_held_max=3, events_held_max=6)
    charging = Charging(rig.clock, rig.memory.entropy, policy)
    for n in range(6):
        rig.memory.stations[f"S{n}"] = STATION
        rig.memory.tariffs[f"S{n}"] = [IN_FORCE]

    async def hear(station_id: str, *messages: StationMessage) -> None:
        calls = [
            InboundCall(station_id, OcppVersion.V2_0_1, rig.clock.now(), "m", "A", m, b"[]")
            for m in messages
        ]
        async with rig.memory.work() as work:
            await charging.handle(work, calls)
            await work.commit()

    for n in range(4):
        await hear(f"S{n}", Heartbeat())
    assert (charging.stations_held, "S0" in charging._states) == (3, False)
    await hear("S1", *[event(U, n, n, number="tx", seq_no=n) for n in range(1, 6)])
    await hear("S3", *[event(U, n, n, number="tx", seq_no=n) for n in range(1, 4)])
    assert "S1" not in charging._states
    assert charging.events_held == 3
    await hear("S1", event(U, 1, 1, number="tx", seq_no=1))
    assert len([s for s in rig.memory.sessions.values() if s.transaction.station_id == "S1"]) == 1
    await hear("S2", *[event(U, n, n, number="tx", seq_no=n) for n in range(1, 9)])
    assert set(charging._states) == {"S2"}, "who is in the batch stays"


async def test_forget__what_is_not_in_memory__nothing_happens(rig: Rig) -> None:
    rig.charging.forget(["CP-9"])
    assert rig.charging.stations_held == 0
