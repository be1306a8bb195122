import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

from chargera.app.ports import InboundCall, LiveEvent, MessageRow, NewEntry
from chargera.domain.errors import NotFound, Unavailable
from chargera.domain.station import OcppVersion
from chargera.ocpp import v16, v201
from chargera.ocpp.connection import Channel, Connection
from chargera.ocpp.counters import CappedLog, ChannelCounters
from chargera.ocpp.dialect import Dialect
from chargera.ocpp.gateway import KEPT_MAX, GroupCommit
from chargera.ocpp.limits import ChannelLimits
from chargera.proofs.entry import EntryKind
from tests.unit.ocpp.doubles import (
    EPOCH,
    FakeTransport,
    FixedClock,
    MemoryDatabase,
    RecordingFeed,
    SilentLogger,
    SimpleDecisions,
    Ticks,
)

LIMITS = ChannelLimits(
    batch_max=4, database_patience_s=5.0, messages_burst=10_000, queued_messages_max=1000
)


class Station:
    """A connection with a transport that keeps what is sent."""

    def __init__(self, rig: "Rig", name: str, dialect: Dialect) -> None:
        self.rig = rig
        self.connection = Connection(name, dialect, 1, rig.channel, lambda connection: None)
        self.transport = FakeTransport()
        self.connection.on_ws_connected(self.transport)

    def call(self, message_id: str, action: str = "Heartbeat", payload: Any = None) -> None:
        self.connection.receive(orjson.dumps([2, message_id, action, payload or {}]))

    @property
    def answers(self) -> list[Any]:
        return [message[:3] for message in self.transport.sent]


class Rig:
    """A gateway with doubles around it."""

    def __init__(self, **options: Any) -> None:
        self.database = MemoryDatabase()
        self.decisions = SimpleDecisions()
        self.feed = RecordingFeed()
        self.ticks = Ticks()
        self.counters = ChannelCounters()
        self.logger = SilentLogger()
        log = CappedLog(self.logger, self.ticks)
        self.gateway = GroupCommit(
            self.decisions,
            self.database,
            self.feed,
            LIMITS,
            self.counters,
            log,
            self.ticks,
            **options,
        )
        self.channel = Channel(self.gateway, FixedClock(), self.ticks, LIMITS, self.counters, log)
        self.task = asyncio.create_task(self.gateway.run())

    def station(self, name: str = "CP-1", dialect: Dialect = v16.DIALECT) -> Station:
        return Station(self, name, dialect)

    async def settle(self) -> None:
        await asyncio.wait_for(self.gateway.drain(), 5)

    def fail(self, error: Exception, on: Callable[[list[MessageRow]], bool]) -> None:
        self.database.before_commit = lambda rows: error if on(rows) else None


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    rig.task.cancel()
    await asyncio.gather(rig.task, return_exceptions=True)


def row(outcome: str = "x") -> MessageRow:
    return MessageRow("CP-1", EPOCH, False, OcppVersion.V1_6, None, None, b"", None, outcome)


async def test_submit__one_call__is_answered_after_its_commit(rig: Rig) -> None:
    station = rig.station()
    rig.database.gate.clear()
    station.call("1")
    await rig.database.began.wait()
    assert station.answers == []
    assert rig.feed.events == []
    rig.database.gate.set()
    await rig.settle()
    assert station.answers == [[3, "1", {"currentTime": "2026-11-24T12:00:00.000Z"}]]
    assert rig.feed.events == [LiveEvent("session", "1")]
    (stored,) = rig.database.rows
    assert stored == MessageRow(
        station_id="CP-1",
        received_at=EPOCH,
        inbound=True,
        ocpp_version="1.6",
        action="Heartbeat",
        message_id="1",
        frame=b'[2,"1","Heartbeat",{}]',
        answer=b'[3,"1",{"currentTime":"2026-11-24T12:00:00.000Z"}]',
        outcome="ok",
    )


async def test_submit__while_a_commit_is_in_flight__gathers_into_batches(rig: Rig) -> None:
    stations = [rig.station(f"CP-{n}") for n in range(10)]
    rig.database.gate.clear()
    stations[0].call("first")
    await rig.database.began.wait()
    for station in stations[1:]:
        station.call("later")
    rig.database.gate.set()
    await rig.settle()
    assert [len(rows) for rows in rig.database.commits] == [1, 4, 4, 1]
    assert all(len(station.answers) == 1 for station in stations)
    assert rig.counters.batches == 4
    assert rig.counters.messages == {"Heartbeat": 10}


async def test_submit__of_stations_that_were_just_answered__share_a_commit(rig: Rig) -> None:
    first, second = rig.station("CP-1"), rig.station("CP-2")
    rig.database.gate.clear()
    first.call("1")
    await rig.database.began.wait()
    second.call("1")  # comes while the first is in flight
    rig.database.gate.set()
    for count in (1, 2, 3):
        await asyncio.wait_for(answered(first, count), 1)
        first.call(str(count + 1))
        await asyncio.wait_for(answered(second, count), 1)
        second.call(str(count + 1))
    await rig.settle()
    assert [len(rows) for rows in rig.database.commits] == [1, 2, 2, 2, 1]


async def test_submit__by_one_station_while_the_others_are_silent__is_not_kept_waiting(
    rig: Rig,
) -> None:
    stations = [rig.station(f"CP-{n}") for n in range(4)]
    for station in stations:
        station.call("1")
    await rig.settle()
    began_s = asyncio.get_running_loop().time()
    stations[0].call("2")
    await asyncio.wait_for(answered(stations[0], 2), 5)
    assert LIMITS.gather_s <= asyncio.get_running_loop().time() - began_s
    rig.database.began.clear()
    stations[0].call("3")
    for _ in range(3):  # a lone speaker is served at once
        await asyncio.sleep(0)
    assert rig.database.began.is_set()
    await rig.settle()


async def answered(station: Station, count: int) -> None:
    while len(station.answers) < count:
        await asyncio.sleep(0)


async def test_submit__calls_of_one_station__stay_in_order(rig: Rig) -> None:
    station = rig.station()
    for number in range(30):
        station.call(str(number))
    await rig.settle()
    assert [answer[1] for answer in station.answers] == [str(n) for n in range(30)]
    assert [r.outcome for r in rig.database.rows[:2]] == ["ok", "ok, queued"]


async def test_submit__unserved_action__is_answered_with_its_error_and_recorded(rig: Rig) -> None:
    old, new = rig.station("CP-1"), rig.station("CP-2", v201.DIALECT)
    old.call("a", "FirmwareStatusNotification", {"status": "Idle"})
    new.call("b", "MakeCoffee")
    await rig.settle()
    assert old.answers == [[4, "a", "NotSupported"]]
    assert new.answers == [[4, "b", "NotImplemented"]]
    assert sorted(rig.database.outcomes) == ["refused: NotImplemented", "refused: NotSupported"]
    assert all(stored.answer for stored in rig.database.rows)


async def test_submit__deviation__stands_in_the_outcome(rig: Rig) -> None:
    rig.station().call("a", "Heartbeat", {"extra": 1})
    await rig.settle()
    assert rig.database.outcomes[0].startswith("ok; deviation: payload: ")


async def test_submit__outcome_of_the_use_case__is_recorded(rig: Rig) -> None:
    def mark(call: InboundCall) -> None:
        call.outcome = "repeat"

    rig.decisions.fail_on = mark
    rig.station().call("a")
    await rig.settle()
    assert rig.database.outcomes == ["repeat"]


async def test_record__rows_and_entries__are_written_without_any_call(rig: Rig) -> None:
    entry = NewEntry(EntryKind.SECURITY_EVENT, "CP-1", None, {}, EPOCH)
    rig.gateway.record(row())
    rig.gateway.note(entry)
    await rig.settle()
    assert rig.database.rows == [row()]
    assert rig.database.entries == [entry]


async def test_record__without_end__is_bounded_and_said(rig: Rig) -> None:
    entry = NewEntry(EntryKind.SECURITY_EVENT, "CP-1", None, {}, EPOCH)
    for _ in range(KEPT_MAX + 1):
        rig.gateway.record(row())
        rig.gateway.note(entry)
    assert [line[0] for line in rig.logger.lines] == ["message log row lost", "log entry lost"]
    await rig.settle()
    assert (len(rig.database.rows), len(rig.database.entries)) == (KEPT_MAX, KEPT_MAX)


# Failing batches --------------------------------------------------------------------------------


async def test_poisoned_call__fails_alone_and_is_recorded(rig: Rig) -> None:
    stations = [rig.station(f"CP-{n}") for n in range(4)]
    rig.decisions.fail_on = lambda call: ValueError("boom") if call.message_id == "2" else None
    for number, station in enumerate(stations):
        station.call(str(number))
    await rig.settle()
    assert stations[2].answers == [[4, "2", "InternalError"]]
    for number in (0, 1, 3):
        assert stations[number].answers[0][:2] == [3, str(number)]
    assert sorted(rig.database.outcomes) == ["failed: InternalError: ValueError", "ok", "ok", "ok"]
    assert set(rig.decisions.forgotten) >= {f"CP-{n}" for n in range(4)}
    assert rig.counters.calls_failed == 1
    assert [event.key for event in rig.feed.events] == ["0", "1", "3"]


async def test_poisoned_commit__fails_alone_and_others_are_answered_once(rig: Rig) -> None:
    stations = [rig.station(f"CP-{n}") for n in range(4)]
    rig.fail(
        RuntimeError("constraint"),
        lambda rows: any(r.message_id == "3" and r.outcome == "ok" for r in rows),
    )
    for number, station in enumerate(stations):
        station.call(str(number))
    await rig.settle()
    assert stations[3].answers == [[4, "3", "InternalError"]]
    assert all(len(station.answers) == 1 for station in stations)


async def test_poisoned_row__blocks_nobody(rig: Rig) -> None:
    rig.fail(RuntimeError("row"), lambda rows: any(r.outcome == "poison" for r in rows))
    rig.gateway.record(row("poison"))
    station = rig.station()
    station.call("1")
    await rig.settle()
    station.call("2")
    await rig.settle()
    assert [answer[:2] for answer in station.answers][1] == [3, "2"]
    assert "call not recorded" in [line[0] for line in rig.logger.lines]


async def test_failing_call__whose_failure_cannot_be_recorded__waits_for_the_database(
    rig: Rig,
) -> None:
    errors = [RuntimeError("first"), Unavailable("away"), Unavailable("away")]
    rig.database.before_commit = lambda rows: errors.pop(0) if errors else None
    station = rig.station()
    station.call("1")
    await rig.settle()
    assert station.answers == [[4, "1", "InternalError"]]
    assert rig.database.outcomes == ["failed: InternalError: RuntimeError"]


async def test_unregistered_station__is_answered_and_recorded(rig: Rig) -> None:
    rig.decisions.fail_on = lambda call: NotFound("no such station")
    station = rig.station("CP-1", v201.DIALECT)
    station.call("1")
    await rig.settle()
    assert station.answers == [[4, "1", "InternalError"]]
    assert rig.database.outcomes == ["failed: InternalError: NotFound"]


async def test_refused_frame__in_a_failing_batch__keeps_its_answer(rig: Rig) -> None:
    errors: list[Exception] = [RuntimeError("once"), RuntimeError("twice")]
    rig.database.before_commit = lambda rows: errors.pop(0) if errors else None
    station = rig.station()
    station.call("1", "Authorize", {})
    await rig.settle()
    assert station.answers == [[4, "1", "OccurenceConstraintViolation"]]


# A database that does not answer ----------------------------------------------------------------


async def test_short_outage__stations_wait_and_are_answered(rig: Rig) -> None:
    down = True
    rig.database.before_commit = lambda rows: Unavailable("away") if down else None
    stations = [rig.station(f"CP-{n}") for n in range(3)]
    for station in stations:
        station.call("1")
    await asyncio.sleep(0.3)
    assert not rig.gateway.is_down
    assert all(station.answers == [] for station in stations)
    stations[0].call("2")
    down = False
    await rig.settle()
    assert [a[:2] for a in stations[0].answers] == [[3, "1"], [3, "2"]]
    assert all(not station.transport.closes for station in stations)
    assert "database answers again" in [line[0] for line in rig.logger.lines]


async def test_long_outage__stations_are_sent_away_and_nothing_is_answered(rig: Rig) -> None:
    down = True
    rig.database.before_commit = lambda rows: Unavailable("away") if down else None
    waiting, idle = rig.station("CP-1"), rig.station("CP-2")
    waiting.call("1")
    waiting.call("2")
    rig.gateway.record(row("kept"))
    await asyncio.sleep(0.25)
    rig.ticks.now_s += 6
    assert rig.gateway.is_down
    await asyncio.sleep(0.25)
    assert waiting.transport.closes == [(1013, "no database, try again later")]
    assert idle.transport.closes == []
    idle.call("3")
    await asyncio.sleep(0.25)
    assert idle.transport.closes == [(1013, "no database, try again later")]
    assert waiting.answers == idle.answers == []
    assert rig.counters.calls_sent_away == 3
    down = False
    await rig.settle()
    assert not rig.gateway.is_down
    assert rig.database.outcomes == ["kept"]


async def test_outage__that_ends_in_another_failure__is_told_apart(rig: Rig) -> None:
    errors: list[Exception] = [Unavailable("away"), RuntimeError("poison")]
    rig.database.before_commit = lambda rows: errors.pop(0) if errors else None
    stations = [rig.station(f"CP-{n}") for n in range(2)]
    for station in stations:
        station.call("1")
    await rig.settle()
    assert [station.answers[0][:2] for station in stations] == [[3, "1"], [3, "1"]]


# Fence and harness ------------------------------------------------------------------------------


async def test_fenced_connection__its_waiting_calls_are_recorded_and_not_handled(rig: Rig) -> None:
    old, other = rig.station("CP-1"), rig.station("CP-2")
    rig.database.gate.clear()
    other.call("x")
    await rig.database.began.wait()
    old.call("late")
    old.call("later still")
    old.connection.fence()
    rig.database.gate.set()
    await rig.settle()
    assert [call.message_id for call in rig.decisions.calls] == ["x"]
    assert rig.database.outcomes == ["ok", "fenced", "fenced"]
    assert old.answers == []


async def test_acknowledge_before_commit__answers_what_may_be_lost() -> None:
    rig = Rig(acknowledge_before_commit=True)
    rig.database.gate.clear()
    station = rig.station()
    station.call("1")
    await rig.database.began.wait()
    assert station.answers[0][:2] == [3, "1"]
    rig.database.gate.set()
    await rig.settle()
    assert len(station.answers) == 1
    rig.task.cancel()
    await asyncio.gather(rig.task, return_exceptions=True)


async def test_cancelled_commit__forgets_what_it_decided(rig: Rig) -> None:
    rig.database.gate.clear()
    rig.station().call("1")
    await rig.database.began.wait()
    rig.task.cancel()
    await asyncio.gather(rig.task, return_exceptions=True)
    assert rig.decisions.forgotten == ["CP-1"]
