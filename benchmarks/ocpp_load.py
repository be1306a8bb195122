"""The load: a process of its own that plays many stations, each with one CALL outstanding.

    python -m benchmarks.ocpp_load  <  one JSON document a line

The first line says where to connect (`Plan`); each further one asks for a turn
(`{"warm_up_s", "seconds"}`) and is answered by one line of figures. Sockets, framing and masking
are this file's own, on epoll: a generator must not be what is measured.
"""

import base64
import json
import os
import re
import secrets
import select
import socket
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks.ocpp_frames import REGISTER_WH_MIN, STEP_WH, Cycle, cycle_of
from benchmarks.processes import cpu_of_tree

READ_BYTES = 65_536
PATIENCE_S = 30.0
"""How long a server may be silent before the load gives up."""

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
RESULT = b"[3,"
_TRANSACTION_ID = re.compile(rb'"transactionId": ?(\d+)')


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to speak to, and as whom."""

    host: str
    port: int
    version: str
    server_pid: int
    """Whose CPU time is counted, with all its descendants."""
    stations: list[tuple[str, str]]
    """Station id and password of each connection."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What happened within one turn; `window` excludes the warm-up and the end of it."""

    acknowledged: dict[str, int]
    """Answers by action in the whole turn, warm-up and end included."""
    sessions: int
    """Sessions that were ended in the whole turn."""
    window_s: float
    window_messages: int
    window_sessions: int
    cpu_server_s: float
    cpu_database_s: float
    cpu_load_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float


class Station:
    """One connection: what it waits for and what it says next."""

    __slots__ = (
        "_cycle",
        "_mask",
        "_messages",
        "_prefix",
        "_received",
        "_socket",
        "event_no",
        "number",
        "place",
        "register_wh",
        "sent_at_s",
        "transaction_id",
    )

    def __init__(self, connected: socket.socket, cycle: Cycle, received: bytes) -> None:
        """Speak over a socket that is upgraded; `received` came after the upgrade."""
        self._socket = connected
        self._cycle = cycle
        self._received = received
        self._mask = secrets.token_bytes(4)
        self._prefix = secrets.token_hex(12).encode()
        self._messages = 0
        self.place = -1
        """Which message of the cycle is outstanding; -1: the boot notification."""
        self.event_no = 0
        self.number = 0
        self.transaction_id = b"0"
        self.register_wh = REGISTER_WH_MIN + secrets.randbelow(10**8)
        self.sent_at_s = 0.0

    def fileno(self) -> int:
        """Return what epoll knows it by."""
        return self._socket.fileno()

    @property
    def action(self) -> str:
        """The action that is outstanding."""
        return _ACTIONS[self._cycle.subprotocol][self.place]

    def begin(self) -> None:
        """Say the first message of all."""
        self._say(self._cycle.boot)

    def say_next(self) -> None:
        """Say the message after the one that was answered."""
        cycle = self._cycle
        self.place = place = (self.place + 1) % len(cycle.frames)
        if place == cycle.start:
            self.number += 1
            self.event_no = 0
            self.transaction_id = b"%b%012d" % (self._prefix, self.number)
        elif place > cycle.start:
            self.event_no += 1
            self.register_wh += STEP_WH
        self._say(cycle.frames[place])

    @property
    def is_between_sessions(self) -> bool:
        """Whether the message that was answered last was the end of its session."""
        return self.place == len(self._cycle.frames) - 1

    def _say(self, template: bytes) -> None:
        self._messages += 1
        frame = template % {
            b"id": b"%b%012d" % (self._prefix, self._messages),
            b"at": _now(),
            b"wh": self.register_wh,
            b"n": self.event_no,
            b"tx": self.transaction_id,
        }
        self.sent_at_s = time.perf_counter()
        self._socket.sendall(_masked(TEXT, frame, self._mask))

    def answers(self) -> Iterator[bytes]:
        """Yield the text messages that have come; answer pings; raise if the server closes."""
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionError("the server has closed a connection")
        data = self._received + data
        while len(data) >= 2:
            head, length = 2, data[1]
            if length == 126:
                head, length = 4, int.from_bytes(data[2:4])
            if length == 127 or len(data) < head + length:
                assert length != 127, "no answer is that long"
                break
            payload = data[head : head + length]
            if data[0] == TEXT:
                yield payload
            elif data[0] == PING:
                self._socket.sendall(_masked(PONG, payload, self._mask))
            elif data[0] == CLOSE:
                raise ConnectionError(f"the server has closed a connection: {payload!r}")
            data = data[head + length :]
        self._received = data

    def take(self, answer: bytes) -> None:
        """Check an answer to the outstanding message and keep the number that it may hold."""
        expected = b"%b%012d" % (self._prefix, self._messages)
        if not answer.startswith(RESULT) or expected not in answer:
            raise ConnectionError(f"{self.action} was answered {answer[:300]!r}")
        if self.place == self._cycle.start and (found := _TRANSACTION_ID.search(answer)):
            self.transaction_id = found[1]


class Load:
    """All connections of a plan."""

    def __init__(self, plan: Plan) -> None:
        """Connect and boot every station."""
        self._plan = plan
        self._cycle = cycle_of(plan.version)
        self._epoll = select.epoll()
        self._stations: dict[int, Station] = {}
        for station_id, password in plan.stations:
            station = _connect(plan, self._cycle, station_id, password)
            self._stations[station.fileno()] = station
            self._epoll.register(station.fileno(), select.EPOLLIN)
            station.begin()
        for _ in plan.stations:
            self._wait_for_boot()

    def _wait_for_boot(self) -> None:
        for descriptor, _ in self._epoll.poll(PATIENCE_S, 1):
            station = self._stations[descriptor]
            for answer in station.answers():
                station.take(answer)
                station.place = len(self._cycle.frames) - 1
                return
        raise TimeoutError("a station was not answered")

    def turn(self, warm_up_s: float, seconds: float) -> Turn:
        """Let all stations speak, count within the window, and let their sessions end."""
        counted = Counter[str]()
        latencies_s = array("d")
        sessions = 0
        running = len(self._stations)
        for station in self._stations.values():
            station.say_next()
        perf_counter, poll, stations = time.perf_counter, self._epoll.poll, self._stations
        began_s = opens_s = perf_counter() + warm_up_s
        closes_s = opens_s + seconds
        opened: tuple[Any, float, int, int] | None = None
        closed: tuple[Any, float, int, int] | None = None
        messages = 0
        while running:
            ready = poll(PATIENCE_S)
            if not ready:
                raise TimeoutError("the server answers nobody")
            now_s = perf_counter()
            if opened is None and now_s >= opens_s:
                opened = (self._cpu(), now_s, messages, sessions)
                latencies_s = array("d")
                began_s = perf_counter()
            elif opened is not None and closed is None and now_s >= closes_s:
                closed = (self._cpu(), now_s, messages, sessions)
                counted_latencies_s = latencies_s
                latencies_s = array("d")
            for descriptor, _ in ready:
                station = stations[descriptor]
                for answer in station.answers():
                    latencies_s.append(perf_counter() - station.sent_at_s)
                    station.take(answer)
                    messages += 1
                    counted[station.action] += 1
                    if station.is_between_sessions:
                        sessions += 1
                        if closed is not None:
                            running -= 1
                            continue
                    station.say_next()
        assert opened is not None
        assert closed is not None
        assert began_s
        (server, own), at_s, messages_before, sessions_before = opened
        (server_after, own_after), after_s, messages_after, sessions_after = closed
        spent = server_after.since(server)
        ordered = sorted(counted_latencies_s)
        return Turn(
            acknowledged=dict(counted),
            sessions=sessions,
            window_s=after_s - at_s,
            window_messages=messages_after - messages_before,
            window_sessions=sessions_after - sessions_before,
            cpu_server_s=spent.server,
            cpu_database_s=spent.database,
            cpu_load_s=own_after.since(own).total,
            p50_ms=1000 * ordered[len(ordered) // 2],
            p99_ms=1000 * ordered[len(ordered) * 99 // 100],
            max_ms=1000 * ordered[-1],
        )

    def _cpu(self) -> Any:
        return cpu_of_tree(self._plan.server_pid), cpu_of_tree(os.getpid())


def _connect(plan: Plan, cycle: Cycle, station_id: str, password: str) -> Station:
    """Return a station over an upgraded socket."""
    connected = socket.create_connection((plan.host, plan.port), timeout=PATIENCE_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    pair = base64.b64encode(f"{station_id}:{password}".encode()).decode()
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    connected.sendall(
        (
            f"GET /ocpp/{station_id} HTTP/1.1\r\nHost: {plan.host}:{plan.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {cycle.subprotocol}\r\n"
            f"Authorization: Basic {pair}\r\n\r\n"
        ).encode()
    )
    received = b""
    while b"\r\n\r\n" not in received:
        data = connected.recv(READ_BYTES)
        if not data:
            raise ConnectionError(f"the server refused {station_id}: {received[:300]!r}")
        received += data
    head, _, rest = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"the server refused {station_id}: {head[:300]!r}")
    return Station(connected, cycle, rest)


def _masked(first: int, payload: bytes, mask: bytes) -> bytes:
    """Return a client's frame (RFC 6455 section 5.2): header, mask, payload under the mask."""
    count = len(payload)
    if count < 126:
        head = bytes((first, 0x80 | count))
    else:
        head = bytes((first, 0x80 | 126)) + count.to_bytes(2)
    key = (mask * (count // 4 + 1))[:count]
    hidden = int.from_bytes(payload) ^ int.from_bytes(key)
    return head + mask + hidden.to_bytes(count)


def _now() -> bytes:
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:23].encode() + b"Z"


def _actions(version: str) -> dict[int, str]:
    frames = dict(enumerate(cycle_of(version).frames))
    return {-1: "BootNotification"} | {
        place: frame.split(b'"')[3].decode() for place, frame in frames.items()
    }


_ACTIONS = {f"ocpp{version}": _actions(version) for version in ("1.6", "2.0.1")}


def main() -> int:
    """Play turns as they are asked for, until there are no more."""
    plan = Plan(**json.loads(sys.stdin.readline()))
    load = Load(plan)
    print(json.dumps({"connected": len(plan.stations)}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(asdict(load.turn(**asked))), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
