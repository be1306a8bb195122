import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from picows import WSCloseCode, WSMsgType
from picows.picows import _make_test_ws_frame

from chargera.domain.messages import BootNotification, Heartbeat
from chargera.ocpp import framing, v16, v201
from chargera.ocpp.connection import RESUME_AT, Channel, Connection
from chargera.ocpp.counters import CappedLog, ChannelCounters
from chargera.ocpp.dialect import Dialect
from chargera.ocpp.limits import ChannelLimits
from tests.unit.ocpp.doubles import FakeTransport, FixedClock, HeldGateway, SilentLogger, Ticks

HEARTBEAT = b'[2,"%d","Heartbeat",{}]'
BOOT = b'[2,"b","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]'
LIMITS = ChannelLimits(messages_burst=10_000, probe_timeout_s=0.05)


class Line:
    """A connection with its surroundings."""

    def __init__(self, dialect: Dialect = v16.DIALECT, limits: ChannelLimits = LIMITS) -> None:
        self.ticks = Ticks()
        self.gateway = HeldGateway(self.ticks)
        self.counters = ChannelCounters()
        self.logger = SilentLogger()
        log = CappedLog(self.logger, self.ticks)
        channel = Channel(self.gateway, FixedClock(), self.ticks, limits, self.counters, log)
        self.ended: list[Connection] = []
        self.connection = Connection("CP-1", dialect, 1, channel, self.ended.append)
        self.transport = FakeTransport()
        self.connection.on_ws_connected(self.transport)

    @property
    def socket(self) -> Any:
        return self.transport.underlying_transport

    def frame(
        self, payload: bytes, kind: WSMsgType = WSMsgType.TEXT, fin: bool = True, rsv: bool = False
    ) -> None:
        self.connection.on_ws_frame(self.transport, _make_test_ws_frame(kind, payload, fin, rsv))

    def lose(self) -> None:
        self.connection.on_ws_disconnected(self.transport)


@pytest.fixture
def line() -> Line:
    return Line()


def test_receive__call__goes_to_the_gateway_read(line: Line) -> None:
    line.frame(HEARTBEAT % 1)
    (exchange,) = line.gateway.exchanges
    assert exchange.call is not None
    assert exchange.call.message == Heartbeat()
    assert (exchange.message_id, exchange.action, exchange.outcome) == ("1", "Heartbeat", "ok")
    assert exchange.call.frame == HEARTBEAT % 1
    assert line.transport.sent == []


def test_finish__sends_the_answer_and_takes_the_next(line: Line) -> None:
    for number in range(3):
        line.frame(HEARTBEAT % number)
    assert len(line.gateway.exchanges) == 1
    for number in range(3):
        line.gateway.finish(framing.encode_result(str(number), {}))
    assert line.transport.sent == [[3, "0", {}], [3, "1", {}], [3, "2", {}]]
    line.frame(HEARTBEAT % 9)
    assert len(line.gateway.exchanges) == 1


def test_receive__second_call_before_the_answer__is_marked_as_queued(line: Line) -> None:
    line.frame(HEARTBEAT % 1)
    line.frame(HEARTBEAT % 2)
    line.gateway.finish()
    assert line.gateway.exchanges[0].outcome == "ok, queued"


def test_receive__too_many_queued__closes_and_records_and_loses_nothing() -> None:
    line = Line(limits=replace(LIMITS, queued_messages_max=3))
    for number in range(6):
        line.frame(HEARTBEAT % number)
    assert [row.outcome for row in line.gateway.rows] == [
        "refused: too many messages wait for an answer"
    ]
    assert line.gateway.rows[0].frame == HEARTBEAT % 4
    assert line.transport.closes == [(1008, "one call at a time")]
    seen = []
    while line.gateway.exchanges:
        seen.append(line.gateway.finish().message_id)
    assert seen == ["0", "1", "2", "3"]  # what came later was not read any more


async def test_receive__long_queue__is_not_read_until_it_is_short(line: Line) -> None:
    for number in range(RESUME_AT + 5):
        line.frame(HEARTBEAT % number)
    assert not line.socket.reading
    for _ in range(4):
        line.gateway.finish()
    assert line.socket.reading


async def test_receive__over_the_rate__pauses_reading_and_drops_nothing() -> None:
    line = Line(limits=replace(LIMITS, messages_per_s=100, messages_burst=3))
    for number in range(5):
        line.frame(HEARTBEAT % number)
        line.gateway.finish()
    assert not line.socket.reading
    assert line.counters.throttled == 3
    line.ticks.now_s += 1
    await asyncio.sleep(0.1)
    assert line.socket.reading


async def test_receive__over_the_rate_with_a_long_queue__waits_for_both() -> None:
    line = Line(limits=replace(LIMITS, messages_per_s=1000, messages_burst=3))
    for number in range(RESUME_AT + 4):
        line.frame(HEARTBEAT % number)
    await asyncio.sleep(0.05)
    assert not line.socket.reading
    while line.gateway.exchanges:
        line.gateway.finish()
    assert line.socket.reading


async def test_lost_socket__while_throttled__is_not_touched_again() -> None:
    line = Line(limits=replace(LIMITS, messages_per_s=1000, messages_burst=1))
    line.frame(HEARTBEAT % 1)
    line.lose()
    await asyncio.sleep(0.02)
    assert not line.socket.reading


def test_boot__answered__is_remembered(line: Line) -> None:
    line.frame(BOOT)
    assert line.connection.booted_at_s is None
    line.ticks.now_s += 3
    exchange = line.gateway.finish(b'[3,"b",{}]')
    assert exchange.call is not None
    assert isinstance(exchange.call.message, BootNotification)
    assert line.connection.booted_at_s == line.ticks.now_s
    assert line.counters.answer_seconds.total_s == pytest.approx(3)


# What is no good call ---------------------------------------------------------------------------


def test_receive__payload_that_breaks_its_schema__is_refused_after_it_is_recorded(
    line: Line,
) -> None:
    line.frame(b'[2,"a","Authorize",{}]')
    exchange = line.gateway.exchanges[0]
    assert exchange.call is None
    assert exchange.outcome.startswith("refused: OccurenceConstraintViolation: idTag")
    assert line.transport.sent == []
    line.gateway.finish()
    assert line.transport.sent[0][:3] == [4, "a", "OccurenceConstraintViolation"]


@pytest.mark.parametrize(
    ("dialect", "frame", "answer"),
    [
        (v201.DIALECT, b"garbage", ["-1", "RpcFrameworkError"]),
        (v16.DIALECT, b"garbage", None),
        (v201.DIALECT, b'[2,"a","Heartbeat",{', ["a", "RpcFrameworkError"]),
        (v16.DIALECT, b'[2,"a","Heartbeat",{', ["a", "FormationViolation"]),
        (v201.DIALECT, b'[2,7,"Heartbeat",{}]', ["-1", "RpcFrameworkError"]),
        (v16.DIALECT, b'[2,7,"Heartbeat",{}]', None),
        (v201.DIALECT, b'[2,"a","Heartbeat",[]]', ["a", "FormatViolation"]),
        (v16.DIALECT, b'[2,"a","Heartbeat",[]]', ["a", "FormationViolation"]),
        (v201.DIALECT, b'[9,"a","Heartbeat",{}]', ["a", "MessageTypeNotSupported"]),
        (v16.DIALECT, b'[9,"a","Heartbeat",{}]', None),
        (v201.DIALECT, b'[3,"a",[]]', None),
        (v16.DIALECT, b'[4,"a"]', None),
        (v201.DIALECT, b'[3,"a",{"x":1,"x":2}]', None),
    ],
)
def test_receive__no_message__is_recorded_and_answered_as_the_version_says(
    dialect: Dialect, frame: bytes, answer: list[str] | None
) -> None:
    line = Line(dialect)
    line.frame(frame)
    exchange = line.gateway.finish()
    assert exchange.outcome.startswith("refused: ")
    assert exchange.frame == frame
    if answer is None:
        assert line.transport.sent == []
    else:
        assert line.transport.sent[0][:3] == [4, *answer]


def test_receive__reply_that_nobody_waits_for__is_recorded(line: Line) -> None:
    line.frame(b'[3,"x",{}]')
    exchange = line.gateway.finish()
    assert (exchange.outcome, exchange.message_id, exchange.answer) == ("unsolicited", "x", None)


def test_receive__deviation__is_counted_and_carried(line: Line) -> None:
    line.frame(b'[2,"a","Heartbeat",{"extra":1}]')
    call = line.gateway.exchanges[0].call
    assert call is not None
    assert call.deviation is not None
    assert line.counters.deviations == 1


# Frames of the WebSocket ------------------------------------------------------------------------


def test_fragments__are_joined(line: Line) -> None:
    frame = HEARTBEAT % 1
    line.frame(frame[:5], fin=False)
    line.frame(b"", WSMsgType.PONG)
    line.frame(b"", WSMsgType.PING)
    line.frame(frame[5:9], WSMsgType.CONTINUATION, fin=False)
    line.frame(frame[9:], WSMsgType.CONTINUATION)
    assert line.gateway.exchanges[0].frame == frame


def test_binary_message__is_read_like_a_text(line: Line) -> None:
    line.frame(HEARTBEAT % 1, WSMsgType.BINARY)
    assert line.gateway.exchanges[0].call is not None


@pytest.mark.parametrize(
    "frames",
    [
        [(b"x", WSMsgType.CONTINUATION, True)],
        [(b"x", WSMsgType.TEXT, False), (b"y", WSMsgType.TEXT, True)],
    ],
)
def test_fragments__out_of_order__close_and_are_recorded(
    line: Line, frames: list[tuple[bytes, WSMsgType, bool]]
) -> None:
    for payload, kind, fin in frames:
        line.frame(payload, kind, fin)
    assert line.transport.closes == [(1002, "fragments out of order")]
    assert line.gateway.rows[0].outcome == "refused: fragments out of order"


def test_fragments__too_large_together__close_and_are_recorded(line: Line) -> None:
    line.frame(b"x" * 60_000, fin=False)
    line.frame(b"x" * 60_000, WSMsgType.CONTINUATION, fin=False)
    assert line.transport.closes == [(1009, "at most 65536 bytes")]
    assert line.gateway.rows[0].outcome == "refused: too large"
    assert len(line.gateway.rows[0].frame) == 1024


def test_compressed_frame__closes_and_is_recorded(line: Line) -> None:
    line.frame(b"\xaa", rsv=True)
    assert line.transport.closes == [(1002, "no extension was agreed")]
    assert "compress" in line.gateway.rows[0].outcome


def test_close_frame__is_answered(line: Line) -> None:
    line.frame(b"\x03\xe8bye", WSMsgType.CLOSE)
    assert line.transport.closes == [(1000, "")]
    line.lose()
    assert line.counters.disconnects == {"closed by the station": 1}
    assert line.ended == [line.connection]


def test_frame_too_large_for_the_library__is_recorded(line: Line) -> None:
    line.transport.close_handshake = SimpleNamespace(
        sent=SimpleNamespace(code=WSCloseCode.MESSAGE_TOO_BIG), recv=None
    )
    line.lose()
    assert line.gateway.rows[0].outcome == "refused: a frame of more than 65536 bytes"


def test_lost_socket__what_was_received_is_still_worked_off(line: Line) -> None:
    line.frame(HEARTBEAT % 1)
    line.frame(HEARTBEAT % 2)
    line.lose()
    line.gateway.finish(b"[]")
    line.gateway.finish(b"[]")
    assert line.transport.sent == []
    assert not line.connection.is_open


def test_closed_connection__takes_nothing_more(line: Line) -> None:
    line.connection.close(WSCloseCode.GOING_AWAY, "the server stops")
    line.connection.close(WSCloseCode.GOING_AWAY, "twice")
    line.frame(HEARTBEAT % 1)
    assert line.gateway.exchanges == []
    assert line.transport.closes == [(1001, "the server stops")]


def test_unconnected__close_and_abort__are_harmless() -> None:
    line = Line()
    bare = Connection("CP-2", v16.DIALECT, 2, line.connection._channel, line.ended.append)
    bare.close(WSCloseCode.OK, "early")
    bare.stop_reading()
    bare.send(b"x")
    bare.fence()
    assert bare.end_reason == "superseded"
    bare._pause(1.0)
    bare.check_liveness(5000.0)


def test_send_away__leaves_the_queue_to_be_sent_again(line: Line) -> None:
    for number in range(4):
        line.frame(HEARTBEAT % number)
    assert line.connection.send_away("no database") == 3
    assert line.transport.closes == [(1013, "no database")]
    line.gateway.finish()
    assert line.gateway.exchanges == []


async def test_pings_and_fragments__count_against_the_rate_too() -> None:
    line = Line(limits=replace(LIMITS, messages_per_s=1000, messages_burst=2))
    line.frame(b"x", WSMsgType.PING)
    assert line.transport.pongs == [b"x"]
    assert line.socket.reading
    line.frame(b"", WSMsgType.BINARY, fin=False)
    assert not line.socket.reading
    assert line.counters.throttled == 1


def test_pings__of_a_station_that_reads_no_pong__are_bounded(line: Line) -> None:
    line.socket.unsent_bytes = 10
    for _ in range(101):
        line.frame(b"", WSMsgType.PING)
    assert line.connection.end_reason == "slow reader"


# Output, liveness and fence ---------------------------------------------------------------------


@pytest.mark.parametrize(("unsent_bytes", "messages"), [(1_048_577, 1), (10, 101)])
def test_send__to_a_station_that_does_not_read__is_bounded(
    line: Line, unsent_bytes: int, messages: int
) -> None:
    line.socket.unsent_bytes = unsent_bytes
    for _ in range(messages - 1):
        line.connection.send(b"[]")
    assert line.connection.is_open
    line.connection.send(b"[]")
    assert line.connection.end_reason == "slow reader"
    assert line.transport.disconnects == [False]


def test_send__to_a_station_that_reads_again__starts_counting_anew(line: Line) -> None:
    for _ in range(5):
        line.socket.unsent_bytes = 10
        for _ in range(90):
            line.connection.send(b"[]")
        line.socket.unsent_bytes = 0
        line.connection.send(b"[]")
    assert line.connection.is_open
    line.connection.pause_writing()
    line.connection.resume_writing()


def test_check_liveness__silence__is_pinged_once_and_then_ended(line: Line) -> None:
    start_s = line.ticks.now_s
    line.connection.check_liveness(start_s + 26)
    assert line.transport.pings == 0
    for silent_s in (27, 30, 53):
        line.connection.check_liveness(start_s + silent_s)
    assert line.transport.pings == 1
    assert line.connection.is_open
    line.connection.check_liveness(start_s + 54)
    assert line.connection.end_reason == "silent"
    assert line.transport.disconnects == [False]
    line.connection.check_liveness(start_s + 100)


def test_check_liveness__closed_socket_that_does_not_end__is_ended(line: Line) -> None:
    line.connection.close(WSCloseCode.GOING_AWAY, "bye")
    line.connection.check_liveness(line.ticks.now_s + 29)
    assert line.transport.disconnects == [True]
    line.connection.check_liveness(line.ticks.now_s + 30)
    assert line.transport.disconnects == [True, False]


def test_check_liveness__any_frame__is_a_sign_of_life(line: Line) -> None:
    line.connection.check_liveness(line.ticks.now_s + 27)
    line.ticks.now_s += 28
    line.frame(b"", WSMsgType.PONG)
    line.connection.check_liveness(line.ticks.now_s + 26)
    line.connection.check_liveness(line.ticks.now_s + 30)
    assert line.transport.pings == 2
    assert line.connection.is_open


def test_check_liveness__socket_that_we_do_not_read__is_left_alone(line: Line) -> None:
    line.connection.stop_reading()
    line.connection.check_liveness(line.ticks.now_s + 1000)
    assert line.connection.is_open


async def test_is_alive__answered_ping__is_life(line: Line) -> None:
    asyncio.get_running_loop().call_later(0.01, line.frame, b"?", WSMsgType.PONG)
    assert await line.connection.is_alive()
    assert line.transport.pings == 1


async def test_is_alive__silence_or_loss__is_none(line: Line) -> None:
    assert not await line.connection.is_alive()
    asyncio.get_running_loop().call_later(0.01, line.lose)
    assert not await line.connection.is_alive()
    assert not await line.connection.is_alive()


async def test_is_alive__twice__the_first_deadline_does_not_end_the_second(line: Line) -> None:
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, line.frame, b"", WSMsgType.PONG)
    assert await line.connection.is_alive()
    await asyncio.sleep(0.02)
    loop.call_later(0.03, line.frame, b"", WSMsgType.PONG)
    assert await line.connection.is_alive()


def test_fence__nothing_of_the_old_socket_counts_any_more(line: Line) -> None:
    line.frame(HEARTBEAT % 1)
    line.connection.fence()
    assert line.transport.closes == [(1008, "superseded")]
    assert line.transport.disconnects == [False]
    line.gateway.finish(framing.encode_result("1", {}))
    assert line.transport.sent == []


# Our calls --------------------------------------------------------------------------------------


async def test_ask__reply_while_the_stations_own_call_is_open__crosses(line: Line) -> None:
    line.frame(HEARTBEAT % 1)
    reply = line.connection.ask("m1", framing.encode_call("m1", "Reset", {"type": "Soft"}))
    assert line.transport.sent == [[2, "m1", "Reset", {"type": "Soft"}]]
    line.frame(b'[3,"other",{}]')
    assert not reply.done()
    line.frame(b'[3,"m1",{"status":"Accepted"}]')
    assert (await reply).message == framing.CallResult("m1", {"status": "Accepted"})
    line.gateway.finish(framing.encode_result("1", {}))
    assert line.transport.sent[1] == [3, "1", {}]
    assert line.gateway.exchanges[0].outcome == "unsolicited"


async def test_ask__lost_socket__ends_the_waiting(line: Line) -> None:
    reply = line.connection.ask("m1", b"[]")
    line.lose()
    assert await reply == (None, None)


async def test_ask__reply_after_nobody_waits__is_recorded(line: Line) -> None:
    line.connection.ask("m1", b"[]").cancel()
    line.frame(b'[4,"m1","InternalError","",{}]')
    line.connection.stop_waiting()
    line.frame(b'[3,"m1",{}]')
    assert [x.outcome for x in line.gateway.exchanges] == ["unsolicited"]
    assert orjson.loads(line.gateway.exchanges[0].frame)[0] == 3
