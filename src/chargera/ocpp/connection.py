"""One live socket of an authenticated station: order, bounds, liveness and the epoch fence.

A station has one call outstanding and so have we; the two may cross (OCPP-J 1.6 section 4.1.1,
2.0.1 part 4 section 4.1.4). Its further calls wait here, in order, while their predecessor is
with the gateway. Nothing in this module waits: frames come in as callbacks, answers go out when
the gateway has committed them.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, Protocol

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
)

from chargera.app.ports import Clock, InboundCall, MessageRow
from chargera.domain.messages import BootNotification
from chargera.ocpp import framing
from chargera.ocpp.counters import CappedLog, ChannelCounters
from chargera.ocpp.dialect import Dialect
from chargera.ocpp.framing import (
    BadFrame,
    Call,
    CallError,
    CallRefused,
    CallResult,
    FrameBounds,
    MessageType,
)
from chargera.ocpp.limits import ChannelLimits, TokenBucket

PING_AT = 0.9
GONE_AT = 1.8
"""Shares of the ping interval after which a silent socket is pinged and given up.

With sweeps every tenth of the interval it is gone before twice the interval.
"""

RESUME_AT = 8
"""A socket is read again when fewer of its messages wait."""

SUPERSEDED = "superseded"

_TEXT = WSMsgType.TEXT


class Exchange:
    """One frame of a station on its way through the gateway; mutable, for it is hot."""

    __slots__ = (
        "action",
        "answer",
        "call",
        "connection",
        "frame",
        "message_id",
        "outcome",
        "received_at",
        "received_s",
    )

    def __init__(
        self,
        connection: "Connection",
        frame: bytes,
        received_at: datetime,
        received_s: float,
        outcome: str,
    ) -> None:
        """`call` stays None for a frame that is recorded and, maybe, refused."""
        self.connection = connection
        self.frame = frame
        self.received_at = received_at
        self.received_s = received_s
        self.outcome = outcome
        self.call: InboundCall | None = None
        self.action: str | None = None
        self.message_id: str | None = None
        self.answer: bytes | None = None


class Gateway(Protocol):
    """Where a connection hands its messages over."""

    def submit(self, exchange: Exchange) -> None:
        """Take an exchange; its connection's `finish` is called once it is recorded."""

    def record(self, row: MessageRow) -> None:
        """Take a row for the message log; it is written with the next commit."""


class Channel(NamedTuple):
    """What all connections of a server share."""

    gateway: Gateway
    clock: Clock
    monotonic_s: Callable[[], float]
    limits: ChannelLimits
    counters: ChannelCounters
    log: CappedLog


class Reply(NamedTuple):
    """A station's answer to a call of ours; `message` None: the connection was lost."""

    message: CallResult | CallError | None
    frame: bytes | None


class Connection(WSListener):
    """A socket that belongs to a station until it ends or another socket supersedes it."""

    __slots__ = (
        "_awaited",
        "_bounds",
        "_bucket",
        "_busy",
        "_channel",
        "_fragments",
        "_on_end",
        "_pinged_at_s",
        "_probe",
        "_queue",
        "_resume",
        "_transport",
        "_unsent",
        "booted_at_s",
        "connected_at_s",
        "dialect",
        "end_reason",
        "epoch",
        "fenced",
        "last_seen_s",
        "station_id",
    )

    def __init__(
        self,
        station_id: str,
        dialect: Dialect,
        epoch: int,
        channel: Channel,
        on_end: Callable[["Connection"], None],
    ) -> None:
        """Speak `dialect` with a station; `on_end` is called once when the socket is gone."""
        limits = channel.limits
        self.station_id = station_id
        self.dialect = dialect
        self.epoch = epoch
        self.fenced = False
        self.end_reason: str | None = None
        self.connected_at_s = self.last_seen_s = channel.monotonic_s()
        self.booted_at_s: float | None = None
        self._channel = channel
        self._on_end = on_end
        self._bounds = FrameBounds(
            limits.frame_bytes_max(dialect.version), limits.depth_max, limits.members_max
        )
        self._bucket = TokenBucket(
            limits.messages_per_s, limits.messages_burst, self.connected_at_s
        )
        self._transport: WSTransport | None = None
        self._busy = False
        self._queue: deque[Exchange] | None = None
        self._fragments: bytearray | None = None
        self._resume: asyncio.TimerHandle | None = None
        self._unsent = 0
        self._pinged_at_s = 0.0
        self._probe: asyncio.Future[bool] | None = None
        self._awaited: tuple[str, asyncio.Future[Reply]] | None = None

    # The socket ---------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take the upgraded socket."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one WebSocket frame."""
        self.last_seen_s = self._channel.monotonic_s()
        if transport.is_close_frame_sent:
            return  # the library goes on parsing for a moment after it refused a frame
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            self._drop(b"", "a compressed frame, though no compression was agreed")
            self.close(WSCloseCode.PROTOCOL_ERROR, "no extension was agreed")
        elif frame.msg_type is _TEXT and frame.fin and self._fragments is None:
            self.receive(frame.get_payload_as_bytes())
        else:
            self._on_other_frame(transport, frame)

    def _on_other_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self._meter()
        match frame.msg_type:
            case WSMsgType.CLOSE:
                self.end_reason = self.end_reason or "closed by the station"
                transport.send_close(WSCloseCode.OK)
                transport.disconnect()
            case WSMsgType.TEXT | WSMsgType.BINARY | WSMsgType.CONTINUATION:
                self._on_fragment(frame)
            case WSMsgType.PONG:
                self._answer_probe(True)
            case WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
                self._bound_output(transport)

    def _on_fragment(self, frame: WSFrame) -> None:
        """Join the fragments of a message; a binary message is read like a text."""
        if (frame.msg_type is WSMsgType.CONTINUATION) is (self._fragments is None):
            self._drop(b"", "fragments out of order")
            self.close(WSCloseCode.PROTOCOL_ERROR, "fragments out of order")
            return
        fragments = self._fragments if self._fragments is not None else bytearray()
        fragments += frame.get_payload_as_bytes()
        if len(fragments) > self._bounds.bytes_max:
            self._drop(bytes(fragments[:1024]), "too large")
            self.close(WSCloseCode.MESSAGE_TOO_BIG, f"at most {self._bounds.bytes_max} bytes")
        elif frame.fin:
            self._fragments = None
            self.receive(bytes(fragments))
        else:
            self._fragments = fragments

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Note the end of the socket; what it had handed over is still recorded."""
        if self.end_reason is None and _was_too_large(transport):
            self._drop(b"", f"a frame of more than {self._bounds.bytes_max} bytes")
        self.end_reason = self.end_reason or "socket lost"
        self._channel.counters.disconnects[self.end_reason] += 1
        if self._resume is not None:
            self._resume.cancel()
        self._answer_probe(False)
        self._reply(None, None)
        self._on_end(self)

    @property
    def is_open(self) -> bool:
        """Whether messages can go either way."""
        return self.end_reason is None and self._transport is not None

    def close(self, code: WSCloseCode, reason: str) -> None:
        """End the connection with a close frame; what it has received is still recorded."""
        if self._transport is None or self.end_reason is not None:
            return
        self.end_reason = reason
        self._transport.send_close(code, reason[:120])
        self._transport.disconnect()

    def stop_reading(self) -> None:
        """Take nothing more in; what has been received is still answered."""
        if self._transport is not None:
            self._transport.underlying_transport.pause_reading()

    def send_away(self, reason: str) -> int:
        """Ask the station to come back later and send again what is not answered.

        Returns how many of its messages are left unanswered here.
        """
        queued = len(self._queue or ())
        self._queue = None
        self.close(WSCloseCode.TRY_AGAIN_LATER, reason)
        return queued

    def abort(self, reason: str) -> None:
        """End the connection at once, without waiting for a peer that may not be there."""
        self.end_reason = self.end_reason or reason
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def fence(self) -> None:
        """Let nothing of this socket count any more: another socket speaks for the station."""
        self.fenced = True
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.POLICY_VIOLATION, SUPERSEDED)
        self.abort(SUPERSEDED)

    # What the station says ----------------------------------------------------------------

    def receive(self, frame: bytes) -> None:
        """Take one message: read it, or queue it behind its predecessors."""
        if self.end_reason is not None:
            return
        self._meter()
        exchange = Exchange(self, frame, self._channel.clock.now(), self.last_seen_s, "ok")
        try:
            message = framing.decode(frame, self._bounds)
        except BadFrame as bad:
            self._refuse_frame(exchange, bad)
        else:
            if isinstance(message, Call):
                self._read_call(exchange, message)
            elif self._reply(message, frame):
                return
            else:
                exchange.message_id = message.message_id
                exchange.outcome = "unsolicited"
        if self._busy:
            self._enqueue(exchange)
        else:
            self._busy = True
            self._channel.gateway.submit(exchange)

    def _read_call(self, exchange: Exchange, call: Call) -> None:
        message_id, action, payload = call
        exchange.message_id = message_id
        exchange.action = action
        try:
            read = self.dialect.read(action, payload)
        except CallRefused as refused:
            code = self.dialect.code(refused.fault)
            exchange.outcome = f"refused: {code}: {refused.detail}"
            exchange.answer = framing.encode_error(message_id, code, refused.detail)
            self._channel.counters.refusals[code] += 1
            return
        if read.deviation is not None:
            self._channel.counters.deviations += 1
        exchange.call = InboundCall(
            self.station_id,
            self.dialect.version,
            exchange.received_at,
            message_id,
            action,
            read.message,
            exchange.frame,
            read.deviation,
        )

    def _refuse_frame(self, exchange: Exchange, bad: BadFrame) -> None:
        """Record what is no message, and answer it as far as the version has an answer."""
        code = self.dialect.code(bad.fault)
        self._channel.counters.refusals[code] += 1
        exchange.outcome = f"refused: {code}: {bad.detail}"
        exchange.message_id = bad.message_id
        if bad.message_type in (MessageType.CALLRESULT, MessageType.CALLERROR):
            return
        message_id = bad.message_id
        if message_id is None and self.dialect.answers_unreadable:
            message_id = framing.UNREADABLE_ID
        foreign_type = bad.fault is framing.Fault.MESSAGE_TYPE
        if message_id is None or (foreign_type and not self.dialect.answers_unreadable):
            return  # OCPP-J 1.6 section 4.1.3: a message of another type is ignored
        exchange.answer = framing.encode_error(message_id, code, bad.detail)

    def _drop(self, frame: bytes, why: str) -> None:
        """Record a frame that ends the connection."""
        self._channel.counters.refusals["Dropped"] += 1
        self._channel.gateway.record(
            MessageRow(
                station_id=self.station_id,
                received_at=self._channel.clock.now(),
                inbound=True,
                ocpp_version=self.dialect.version,
                action=None,
                message_id=None,
                frame=frame,
                answer=None,
                outcome=f"refused: {why}",
            )
        )

    def _enqueue(self, exchange: Exchange) -> None:
        """Let a message wait for its predecessors; a station should not have sent it yet."""
        if self._queue is None:
            self._queue = deque()
        if len(self._queue) >= self._channel.limits.queued_messages_max:
            self._drop(exchange.frame, "too many messages wait for an answer")
            self._channel.log.warning("too many messages wait", station_id=self.station_id)
            self.close(WSCloseCode.POLICY_VIOLATION, "one call at a time")
            return
        if exchange.outcome == "ok":
            exchange.outcome = "ok, queued"
        self._queue.append(exchange)
        if len(self._queue) > RESUME_AT:
            self._pause(0.0)

    def finish(self, exchange: Exchange, now_s: float) -> None:
        """Answer an exchange that is recorded by now, and go on with the next message."""
        if exchange.answer is not None and not self.fenced:
            self.send(exchange.answer)
        call = exchange.call
        if call is not None:
            self._channel.counters.answer_seconds.observe(now_s - exchange.received_s)
            if call.message.__class__ is BootNotification:
                self.booted_at_s = now_s
        if not self._queue:
            self._busy = False
            return
        self._channel.gateway.submit(self._queue.popleft())
        if len(self._queue) == RESUME_AT and self._resume is None:
            self._read_again()

    # Pace ---------------------------------------------------------------------------------

    def _meter(self) -> None:
        """Count a frame against the station's rate."""
        wait_s = self._bucket.take(self.last_seen_s)
        if wait_s:
            self._channel.counters.throttled += 1
            self._pause(wait_s)

    def _pause(self, wait_s: float) -> None:
        """Stop reading the socket: for a time, or until few messages wait."""
        if self._transport is None:
            return
        self._transport.underlying_transport.pause_reading()
        if wait_s:
            if self._resume is not None:
                self._resume.cancel()
            loop = asyncio.get_running_loop()
            self._resume = loop.call_later(wait_s, self._read_again)

    def _read_again(self) -> None:
        self._resume = None
        if self.end_reason is None and self._transport is not None:
            if self._queue and len(self._queue) > RESUME_AT:
                return
            self.last_seen_s = self._channel.monotonic_s()
            self._transport.underlying_transport.resume_reading()

    def pause_writing(self) -> None:
        """Ignore the transport's hint: `send` has its own, harder bound."""

    def resume_writing(self) -> None:
        """Ignore the transport's hint."""

    def send(self, frame: bytes) -> None:
        """Send a message, unless the connection has ended."""
        transport = self._transport
        if transport is None or self.end_reason is not None:
            return
        transport.send(_TEXT, frame)
        self._bound_output(transport)

    def _bound_output(self, transport: WSTransport) -> None:
        unsent_bytes = transport.underlying_transport.get_write_buffer_size()
        if not unsent_bytes:
            self._unsent = 0
            return
        self._unsent += 1
        limits = self._channel.limits
        if unsent_bytes > limits.output_bytes_max or self._unsent > limits.output_messages_max:
            self._channel.log.warning("a station does not read", station_id=self.station_id)
            self.abort("slow reader")

    # Liveness -----------------------------------------------------------------------------

    def check_liveness(self, now_s: float) -> None:
        """Ping a silent socket, and give it up when it stays silent; called every so often."""
        transport = self._transport
        if transport is None:
            return
        silent_s = now_s - self.last_seen_s
        interval_s = self._channel.limits.ping_interval_s
        if self.end_reason is not None:
            if silent_s >= interval_s:  # a peer that takes neither our data nor its end
                transport.disconnect(graceful=False)
            return
        if silent_s < PING_AT * interval_s or not transport.underlying_transport.is_reading():
            return
        if silent_s >= GONE_AT * interval_s:
            self.abort("silent")
        elif self._pinged_at_s < self.last_seen_s:
            self._pinged_at_s = now_s
            transport.send_ping()

    async def is_alive(self) -> bool:
        """Ping and say whether a pong came back in time."""
        if self._transport is None or self.end_reason is not None:
            return False
        loop = asyncio.get_running_loop()
        assert self._probe is None, "one claim an identity at a time"
        self._probe = loop.create_future()
        self._transport.send_ping(b"?")
        timeout_s = self._channel.limits.probe_timeout_s
        timer = loop.call_later(timeout_s, self._answer_probe, False)
        try:
            return await self._probe
        finally:
            timer.cancel()
            self._probe = None

    def _answer_probe(self, is_alive: bool) -> None:
        if self._probe is not None and not self._probe.done():
            self._probe.set_result(is_alive)

    # What we ask --------------------------------------------------------------------------

    def ask(self, message_id: str, frame: bytes) -> "asyncio.Future[Reply]":
        """Send a call of ours and return the future of its reply; one at a time."""
        assert self._awaited is None, "one outstanding call"
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._awaited = (message_id, future)
        self.send(frame)
        return future

    def stop_waiting(self) -> None:
        """Expect no reply any more; one that comes late is unsolicited."""
        self._awaited = None

    def _reply(self, message: CallResult | CallError | None, frame: bytes | None) -> bool:
        """Give a reply to whom it is for; False if nobody asked."""
        if self._awaited is None:
            return False
        message_id, future = self._awaited
        if message is not None and message.message_id != message_id:
            return False
        self._awaited = None
        if not future.done():
            future.set_result(Reply(message, frame))
        return True


def _was_too_large(transport: WSTransport) -> bool:
    """Say whether the WebSocket library ended the connection because of a frame's size."""
    sent = getattr(transport.close_handshake, "sent", None)
    return sent is not None and sent.code == WSCloseCode.MESSAGE_TOO_BIG
